// The recording page: shows what the session says, and turns keys, gamepad and touch into motion and events.
"use strict";

const HEARTBEAT = 50; // ms between two messages: the session stops all motion after 200 ms without one
const SILENT = 1000; // ms without a message after which the session counts as lost
const FINE = 0.25; // of the speed, while Shift is held
const OVER = 4000, REPLACED = 4001; // why the session disconnects us

// As seen from the chosen view: across (to the right), along (away from the viewer), lift (up).
const MOTION_KEYS = {
  KeyW: [0, 1, 0], KeyS: [0, -1, 0], KeyA: [-1, 0, 0], KeyD: [1, 0, 0], KeyE: [0, 0, 1], KeyQ: [0, 0, -1],
  ArrowUp: [0, 1, 0], ArrowDown: [0, -1, 0], ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0],
  PageUp: [0, 0, 1], PageDown: [0, 0, -1],
};
const EVENT_KEYS = {
  Backspace: "discard", KeyR: "redo", KeyZ: "undo", KeyH: "home", KeyP: "pause", KeyT: "take_over",
  Escape: "stop", Space: "gripper", KeyK: "keep",
};
const GAMEPAD_EVENTS = {
  0: "gripper", 1: "discard", 2: "pause", 3: "redo", 4: "take_over", 8: "undo", 9: "enter", 12: "home", 13: "stop",
};
const WORDS = {
  connecting: "Connecting", waiting: "Ready", recording: "Recording", paused: "Paused", review: "Review",
  trouble: "Trouble", stopped: "Stopped", finished: "Session over",
};

const $ = (id) => document.getElementById(id);
const buttons = [...document.querySelectorAll("[data-event]")];
const held = new Set(); // codes of the keys that are down
const stick = { pad: [0, 0, 0], lift: [0, 0, 0], gamepad: [0, 0, 0] };
let about = { cameras: [], proprio: [] };
let state = { phase: "connecting", allowed: [] };
let socket = null, heardAt = 0, drawing = Promise.resolve(), fineButton = false, wasPressed = {};

// ---------------------------------------------------------------- connection

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  socket = new WebSocket(`${scheme}://${location.host}/ws${location.search}`);
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => {
    heardAt = performance.now();
    if (typeof data === "string") hear(JSON.parse(data));
    else receive(data);
  };
  socket.onclose = ({ code }) => lost(code);
}

function send(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function hear(message) {
  if ("pong" in message) showLink(`${Math.round(performance.now() - message.pong)} ms`, false);
  if (!("about" in message)) return;
  about = message.about;
  describe();
  veil();
  sendMotion();
}

function lost(code) {
  letGo();
  if (code === OVER) {
    showLink("session over", true);
    veil("Session over", state.message);
  } else if (code === REPLACED) {
    showLink("not connected", true);
    veil("Another window steers", "Only one page at a time may move the robot.", true);
  } else {
    showLink("not connected", true);
    if (state.phase !== "finished") veil("Connection lost", "The arm stands still. Trying again …");
    setTimeout(connect, 500);
  }
}

function beat() {
  sendMotion();
  const silent = performance.now() - heardAt > SILENT;
  if (silent && socket?.readyState === WebSocket.OPEN) showLink("the session is silent", true);
}

// One message: the length of a JSON header (4 bytes), the header, a JPEG for each camera.
function receive(buffer) {
  const length = new DataView(buffer).getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  showStatus(header.status, header.dropped);
  if (header.frame) drawing = drawing.then(() => draw(header, buffer, 4 + length)).catch(console.error);
}

async function draw(header, buffer, start) {
  for (const [name, size] of Object.entries(header.cameras)) {
    const canvas = document.querySelector(`canvas[data-camera="${CSS.escape(name)}"]`);
    const jpeg = new Blob([new Uint8Array(buffer, start, size)], { type: "image/jpeg" });
    start += size;
    if (!canvas) continue;
    const bitmap = await createImageBitmap(jpeg);
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
    }
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
  }
  send({ seen: header.frame });
}

// ---------------------------------------------------------------- what is shown

function describe() {
  $("task").textContent = about.task || "Record demos";
  document.title = `${about.task || "demos"}: s2robot ${about.mode ?? "record"}`;
  document.querySelector(".brand").textContent = `s2robot ${about.mode ?? "record"}`;
  $("origin").textContent = [about.operator, about.env, about.store].filter(Boolean).join(" · ");
  $("cameras").replaceChildren(...about.cameras.map((name) => {
    const figure = document.createElement("figure"), canvas = document.createElement("canvas");
    const caption = document.createElement("figcaption");
    canvas.dataset.camera = caption.textContent = name;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `camera ${name}`);
    figure.append(canvas, caption);
    return figure;
  }));
  $("proprio").replaceChildren(...about.proprio.map((label) => {
    const row = document.createElement("div"), term = document.createElement("dt");
    term.textContent = label;
    row.append(term, document.createElement("dd"));
    return row;
  }));
  document.querySelector("[data-event=take_over]").hidden = !about.policy;
  for (const event of ["undo", "pause"]) document.querySelector(`[data-event=${event}]`).hidden = isDeployed();
  $("deployed").hidden = !isDeployed();
  $("robot").open = matchMedia("(min-width: 60rem)").matches;
}

function showStatus(now, dropped) {
  state = now;
  Object.assign(document.body.dataset, { phase: now.phase, success: now.success });
  $("phase").textContent = WORDS[now.phase];
  $("message").textContent = now.message;
  $("demos").textContent = now.demos + (now.writing ? ` +${now.writing}` : "");
  $("target").textContent = now.target;
  $("steps").textContent = now.steps;
  $("seconds").textContent = `${now.seconds.toFixed(1)} s`;
  $("rate").textContent = now.achieved === null ? `${now.rate} Hz` : `${now.achieved.toFixed(1)} / ${now.rate} Hz`;
  $("rate-cell").className = now.achieved !== null && now.achieved < 0.95 * now.rate ? "bad" : "";
  $("jitter").textContent = now.jitter === null ? "–" : `${(1000 * now.jitter).toFixed(1)} ms`;
  $("late").textContent = now.overruns;
  $("late-cell").className = now.overruns > 0.1 * now.steps ? "bad" : "";
  $("dropped").textContent = dropped;
  showOutcome(now);
  showButtons(now);
  showFacts(now.facts);
  showChunk(now.chunk);
  [...$("proprio").querySelectorAll("dd")].forEach((cell, i) => { cell.textContent = now.proprio[i]?.toFixed(3) ?? ""; });
}

function showFacts(facts) {
  $("facts").replaceChildren(...Object.entries(facts).map(([name, value]) => {
    const row = document.createElement("div"), term = document.createElement("dt");
    const cell = document.createElement("dd");
    term.textContent = name;
    cell.textContent = value;
    row.append(term, cell);
    return row;
  }));
}

// One line for each entry of the action, over the steps of the chunk.
function showChunk(chunk) {
  const entries = chunk.length ? chunk[0].map((_, i) => chunk.map((action) => action[i])) : [];
  $("chunk").replaceChildren(...entries.map((values, entry) => {
    const largest = Math.max(1e-6, ...values.map(Math.abs));
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    const at = (value, step) => `${(320 * step) / Math.max(1, values.length - 1)},${45 - (40 * value) / largest}`;
    line.setAttribute("points", values.map(at).join(" "));
    line.setAttribute("class", `entry${entry % 4}`);
    return line;
  }));
}

function showOutcome(now) {
  const decided = now.phase === "review";
  $("success").textContent = decided ? (now.success ? "✓ yes" : "✗ no") : "–";
  $("success").className = decided ? (now.success ? "won" : "lost") : "";
  $("replay").hidden = now.replay === null;
  if (now.replay !== null) $("replay").firstElementChild.style.width = `${(100 * (now.replay + 1)) / now.steps}%`;
}

function showButtons(now) {
  const primary = now.likely ?? (now.phase === "review" ? "discard" : null);
  for (const button of buttons) {
    const event = button.dataset.event;
    button.disabled = !now.allowed.includes(event);
    button.classList.toggle("primary", event === primary);
  }
  label("start", now.phase === "paused" ? "Go on" : "Start");
  label("keep", now.phase === "review" ? (now.success ? "Keep" : "Keep anyway") : "Done");
  if (isDeployed()) {
    label("keep", now.phase === "review" ? "Success" : "Success, done");
    label("discard", now.phase === "review" ? "Failure" : "Failed, done");
  }
  label("keep_key", primary === "keep" ? "Enter" : "K");
  label("home", { stopped: "Release, go home", trouble: "Try again" }[now.phase] ?? "Home");
  label("gripper", now.closed ? "Open" : "Close");
  label("take_over", now.by_person ? "Hand back" : "Take over");
  document.querySelector("[data-event=gripper]").setAttribute("aria-pressed", now.closed);
  $("pilot").hidden = !about.policy || now.phase !== "recording";
  $("pilot").textContent = now.by_person ? "You steer" : "The policy steers";
}

const isDeployed = () => about.mode === "deploy";
const label = (event, text) => { document.querySelector(`[data-label=${event}]`).textContent = text; };

function showLink(text, isLost) {
  $("link").lastElementChild.textContent = text;
  $("link").className = isLost ? "lost" : "";
}

function veil(title, text = "", mayReconnect = false) {
  $("veil").hidden = !title;
  document.querySelector(".panel").inert = Boolean(title);
  $("veil").querySelector("strong").textContent = title ?? "";
  $("veil").querySelector("p").textContent = text;
  $("reconnect").hidden = !mayReconnect;
}

// ---------------------------------------------------------------- motion and events

function motion() {
  const sum = [0, 0, 0];
  const parts = [...[...held].map((code) => MOTION_KEYS[code] ?? [0, 0, 0]), ...Object.values(stick)];
  for (const part of parts) part.forEach((value, axis) => { sum[axis] += value; });
  const fine = held.has("ShiftLeft") || held.has("ShiftRight") || fineButton ? FINE : 1;
  const scale = (fine * $("speed").value) / 100;
  const [across, along, lift] = sum.map((value) => Math.max(-1, Math.min(1, value)) * scale);
  const sign = $("robot-view").checked ? 1 : -1; // the front camera faces the robot
  return [sign * along, -sign * across, lift];
}

const isFocused = () => document.hasFocus() && document.visibilityState === "visible";

const sendMotion = (focused = isFocused()) => send({ motion: focused ? motion() : [0, 0, 0], focused });

function letGo() {
  held.clear();
  for (const name of Object.keys(stick)) stick[name] = [0, 0, 0];
  fineButton = false;
  showKnobs();
  sendMotion(false);
}

// Enter presses the large button, but throws nothing away: that takes a key of its own.
function wish(event) {
  const meant = event === "enter" ? state.likely : event;
  if (meant) send({ event: meant });
  else $("message").textContent = "Keep it with K, or discard it";
}

function onKeyDown(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || ($("help").open && event.code !== "Escape")) return;
  if (event.key === "?") return openHelp();
  if ($("help").open) return; // Escape closes it by itself
  if (event.code in MOTION_KEYS || event.code.startsWith("Shift")) {
    if (!event.code.startsWith("Shift")) event.preventDefault();
    held.add(event.code);
    sendMotion();
  } else if (event.code in EVENT_KEYS || event.code === "Enter" || event.code === "NumpadEnter") {
    event.preventDefault();
    if (!event.repeat) wish(EVENT_KEYS[event.code] ?? "enter");
  } else if (event.key === "+" || event.key === "-") {
    $("speed").value = Number($("speed").value) + (event.key === "+" ? 10 : -10);
    showSpeed();
  }
}

function openHelp() {
  letGo();
  if (state.phase === "recording") wish("pause");
  $("help").showModal();
}

function onKeyUp(event) {
  if (held.delete(event.code)) sendMotion();
}

// ---------------------------------------------------------------- touch and gamepad

function watchLever(id, axes) {
  const lever = $(id);
  const move = (event) => {
    const box = lever.getBoundingClientRect();
    const x = Math.max(-1, Math.min(1, (2 * (event.clientX - box.left)) / box.width - 1));
    const y = Math.max(-1, Math.min(1, 1 - (2 * (event.clientY - box.top)) / box.height));
    stick[id] = axes(x, y);
    showKnobs();
    sendMotion();
  };
  const release = () => {
    stick[id] = [0, 0, 0];
    showKnobs();
    sendMotion();
  };
  lever.addEventListener("pointerdown", (event) => { lever.setPointerCapture(event.pointerId); move(event); });
  lever.addEventListener("pointermove", (event) => { if (lever.hasPointerCapture(event.pointerId)) move(event); });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) lever.addEventListener(end, release);
}

function showKnobs() {
  $("knob").style.setProperty("--x", stick.pad[0]);
  $("knob").style.setProperty("--y", stick.pad[1]);
  $("lift").firstElementChild.style.setProperty("--y", stick.lift[2]);
}

// Nothing below 0.15, then gently more: small corrections need a fine stick.
function curved(value = 0) {
  const beyond = Math.max(0, (Math.abs(value) - 0.15) / 0.85);
  return Math.sign(value) * beyond ** 2;
}

function pollGamepad() {
  const pad = [...(navigator.getGamepads?.() ?? [])].find((candidate) => candidate?.connected);
  if (!pad) {
    if (stick.gamepad.some(Boolean)) stick.gamepad = [0, 0, 0];
    return;
  }
  const pressed = (i) => pad.buttons[i]?.pressed ?? false;
  const triggers = (pad.buttons[7]?.value ?? 0) - (pad.buttons[6]?.value ?? 0);
  stick.gamepad = [curved(pad.axes[0]), -curved(pad.axes[1]), -curved(pad.axes[3]) + curved(triggers)];
  fineButton = pressed(5);
  for (const [button, event] of Object.entries(GAMEPAD_EVENTS)) {
    if (pressed(button) && !wasPressed[button]) wish(event);
    wasPressed[button] = pressed(button);
  }
}

// ---------------------------------------------------------------- begin

function showSpeed() {
  $("speed-shown").textContent = `${$("speed").value} %`;
  remember("speed", $("speed").value);
}

function remember(name, value) {
  try { localStorage.setItem(name, value); } catch { /* private window */ }
}

function recall(name) {
  try { return localStorage.getItem(name); } catch { return null; }
}

function onButton(button) {
  if (button.dataset.twice && !button.dataset.asked) {
    const text = button.textContent;
    Object.assign(button.dataset, { asked: true });
    button.textContent = button.dataset.twice;
    setTimeout(() => { delete button.dataset.asked; button.textContent = text; }, 3000);
  } else {
    wish(button.dataset.event);
  }
  button.blur(); // else Space would press it again
}

for (const button of buttons) button.addEventListener("click", () => onButton(button));
watchLever("pad", (x, y) => [x, y, 0]);
watchLever("lift", (x, y) => [0, 0, y]);
addEventListener("keydown", onKeyDown);
addEventListener("keyup", onKeyUp);
addEventListener("blur", letGo);
addEventListener("pagehide", letGo);
addEventListener("focus", () => sendMotion());
document.addEventListener("visibilitychange", () => { if (document.hidden) letGo(); });
$("help-open").addEventListener("click", openHelp);
$("reconnect").addEventListener("click", connect);
$("speed").addEventListener("input", () => { showSpeed(); $("speed").blur(); });
$("robot-view").addEventListener("change", () => remember("robot-view", $("robot-view").checked ? "1" : ""));
$("speed").value = recall("speed") ?? 50;
$("robot-view").checked = recall("robot-view") === "1";
showSpeed();
setInterval(() => { pollGamepad(); beat(); }, HEARTBEAT);
setInterval(() => send({ ping: performance.now() }), 1000);
connect();
