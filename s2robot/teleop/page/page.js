// The recording page: connects to the session and shows what it says; steer.js says what the person wants.
"use strict";

const HEARTBEAT = 50; // ms between two messages: the session stops all motion after 200 ms without one
const SILENT = 1000; // ms without a message after which the session counts as lost
const OVER = 4000; // the session disconnects us: it is over

const WORDS = {
  connecting: "Connecting", waiting: "Ready", recording: "Recording", paused: "Paused", review: "Review",
  trouble: "Trouble", stopped: "Stopped", finished: "Session over",
};

const $ = (id) => document.getElementById(id);
const buttons = [...document.querySelectorAll("[data-event]")];
let about = { cameras: [], proprio: [] };
let state = { phase: "connecting", allowed: [] };
let socket = null, heardAt = 0, drawing = Promise.resolve(), steers = true;

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
  steers = header.steers;
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

// A click makes a camera larger, the wheel zooms in where the pointer is.
function watchCamera(figure, canvas) {
  let zoom = 1;
  figure.addEventListener("click", () => {
    for (const other of $("cameras").children) other.classList.toggle("large", other === figure && !figure.matches(".large"));
  });
  figure.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = figure.getBoundingClientRect();
    if (zoom === 1) canvas.style.transformOrigin = `${event.clientX - box.left}px ${event.clientY - box.top}px`;
    zoom = Math.min(8, Math.max(1, zoom * (event.deltaY < 0 ? 1.25 : 0.8)));
    canvas.style.transform = `scale(${zoom})`;
  }, { passive: false });
  figure.addEventListener("dblclick", () => { zoom = 1; canvas.style.transform = ""; });
}

// At the edges of each camera whose place is known: the keys that bring the gripper that way.
function showKeys() {
  for (const old of document.querySelectorAll("figure .key")) old.remove();
  for (const [name, [right, up]] of Object.entries(about.axes ?? {})) {
    const figure = document.querySelector(`canvas[data-camera="${CSS.escape(name)}"]`)?.parentElement;
    for (const [key, code] of [["W", "KeyW"], ["S", "KeyS"], ["A", "KeyA"], ["D", "KeyD"]]) {
      const motion = inBaseFrame(...MOTION_KEYS[code]);
      const [x, y] = [right, up].map((axis) => axis.reduce((sum, value, i) => sum + value * motion[i], 0));
      if (Math.max(Math.abs(x), Math.abs(y)) < 0.2) continue; // towards the camera, or away from it
      const label = document.createElement("span");
      label.textContent = key;
      label.className = `key ${Math.abs(x) > Math.abs(y) ? (x > 0 ? "right" : "left") : (y > 0 ? "up" : "down")}`;
      figure?.append(label);
    }
  }
}

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
    if (about.pointer && name === about.cameras[0]) {
      figure.title = "Hold the button: it goes where you point";
      watchPointer(canvas);
    } else {
      figure.title = "Click: larger. Wheel: zoom, double click: all of it";
      watchCamera(figure, canvas);
    }
    return figure;
  }));
  showKeys();
  $("proprio").replaceChildren(...about.proprio.map((label) => {
    const row = document.createElement("div"), term = document.createElement("dt");
    term.textContent = label;
    row.append(term, document.createElement("dd"));
    return row;
  }));
  document.querySelector("[data-event=take_over]").hidden = !about.policy;
  for (const event of ["undo", "pause"]) document.querySelector(`[data-event=${event}]`).hidden = isDeployed();
  $("deployed").hidden = !isDeployed();
  $("counted").textContent = isDeployed() ? "rollouts" : "demos";
  nameEntries(about.action ?? []);
}

function showStatus(now, dropped) {
  state = now;
  Object.assign(document.body.dataset, { phase: now.phase, success: now.success, steers });
  $("elsewhere").hidden = steers;
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

const colour = (entry, count) => `hsl(${(360 * entry) / count} 70% 50%)`;

function nameEntries(names) {
  $("entries").replaceChildren(...names.map((name, entry) => {
    const label = document.createElement("b");
    label.textContent = name;
    label.style.color = colour(entry, names.length);
    return label;
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
    line.style.stroke = colour(entry, entries.length);
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
    button.disabled = !now.allowed.includes(event) || !mayAsk(event);
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

function veil(title, text = "") {
  $("veil").hidden = !title;
  document.querySelector(".panel").inert = Boolean(title);
  $("veil").querySelector("strong").textContent = title ?? "";
  $("veil").querySelector("p").textContent = text;
}
