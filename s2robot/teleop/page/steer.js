// What the person wants: keys, touch and gamepad become motion and events.
"use strict";

const FINE = 0.25; // of the speed, while Shift is held

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
const held = new Set(); // codes of the keys that are down
const stick = { pad: [0, 0, 0], lift: [0, 0, 0], gamepad: [0, 0, 0] };
let pointer = null; // where a held mouse points in the first camera's frame: 0 to 1 from the left, from the top
let fineButton = false, wasPressed = {}, gamepad = null; // its index

// ---------------------------------------------------------------- motion and events

function motion() {
  const sum = [0, 0, 0];
  const parts = [...[...held].map((code) => MOTION_KEYS[code] ?? [0, 0, 0]), ...Object.values(stick)];
  for (const part of parts) part.forEach((value, axis) => { sum[axis] += value; });
  const fine = held.has("ShiftLeft") || held.has("ShiftRight") || fineButton ? FINE : 1;
  const scale = (fine * $("speed").value) / 100;
  return inBaseFrame(...sum.map((value) => Math.max(-1, Math.min(1, value)) * scale));
}

function inBaseFrame(across, along, lift) {
  const sign = $("robot-view").checked && !about.pointer ? 1 : -1; // the front camera faces the robot
  return [sign * along, -sign * across, lift];
}

const isFocused = () => document.hasFocus() && document.visibilityState === "visible";

const sendMotion = (focused = isFocused()) => send({ motion: focused ? motion() : [0, 0, 0], focused, pointer: focused ? pointer : null });

function letGo() {
  held.clear();
  for (const name of Object.keys(stick)) stick[name] = [0, 0, 0];
  fineButton = false;
  pointer = null;
  showKnobs();
  sendMotion(false);
}

// A window that does not steer may still stop everything.
const mayAsk = (event) => steers || event === "stop";

// Enter presses the large button, but throws nothing away: that takes a key of its own.
function wish(event) {
  const meant = event === "enter" ? state.likely : event;
  if (!mayAsk(meant)) $("message").textContent = "Another window steers: only the emergency stop works here";
  else if (meant) send({ event: meant });
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

// In a plane: while the button is held, the robot goes where it points. The frame may not fill its canvas.
function watchPointer(canvas) {
  canvas.style.touchAction = "none";
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    const scale = Math.min(box.width / canvas.width, box.height / canvas.height);
    const x = 0.5 + (event.clientX - box.left - box.width / 2) / (scale * canvas.width);
    const y = 0.5 + (event.clientY - box.top - box.height / 2) / (scale * canvas.height);
    pointer = [x, y].map((value) => Math.max(0, Math.min(1, value)));
    sendMotion();
  };
  const release = () => {
    pointer = null;
    sendMotion();
  };
  canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); point(event); });
  canvas.addEventListener("pointermove", (event) => { if (canvas.hasPointerCapture(event.pointerId)) point(event); });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) canvas.addEventListener(end, release);
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

// One gamepad steers: the first there is, and where that is unplugged the next whose button is pressed.
function chooseGamepad() {
  const connected = [...(navigator.getGamepads?.() ?? [])].filter((pad) => pad?.connected);
  const usable = connected.filter((pad) => pad.mapping === "standard");
  if (usable.length < connected.length) {
    const unusable = connected.find((pad) => pad.mapping !== "standard");
    $("gamepad").textContent = `${unusable.id} is ignored: this browser has no standard mapping of it`;
  }
  const chosen = usable.find((pad) => pad.index === gamepad);
  if (chosen) return chosen;
  const next = usable.find((pad) => gamepad === null || pad.buttons.some((button) => button.pressed));
  if (next) {
    gamepad = next.index;
    $("gamepad").textContent = `${next.id} steers`;
  }
  return next;
}

function pollGamepad() {
  const pad = chooseGamepad();
  if (!pad) {
    if (stick.gamepad.some(Boolean)) stick.gamepad = [0, 0, 0];
    fineButton = false;
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

// Whether a button that asks first was pressed twice within 3 s.
function isSure(button) {
  if (!button.dataset.twice || button.dataset.asked) return true;
  const text = button.textContent;
  button.dataset.asked = true;
  button.textContent = button.dataset.twice;
  setTimeout(() => { delete button.dataset.asked; button.textContent = text; }, 3000);
  return false;
}

function steerHere() {
  if (isSure($("steer-here"))) send({ steer: true });
}

function onButton(button) {
  if (isSure(button)) wish(button.dataset.event);
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
$("steer-here").addEventListener("click", steerHere);
$("speed").addEventListener("input", () => { showSpeed(); $("speed").blur(); });
$("robot-view").addEventListener("change", () => {
  remember("robot-view", $("robot-view").checked ? "1" : "");
  showKeys();
});
$("speed").value = recall("speed") ?? 50;
$("robot-view").checked = recall("robot-view") === "1";
showSpeed();
setInterval(() => { pollGamepad(); beat(); }, HEARTBEAT);
setInterval(() => send({ ping: performance.now() }), 1000);
connect();
