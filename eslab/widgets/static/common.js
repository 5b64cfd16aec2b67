// What all widgets share. It stands in front of each widget's own module.

const COLOURS = {
  ok: "#0072B2",
  pending: "#56B4E9",
  retry: "#E69F00",
  failed: "#D55E00",
  compensation: "#CC79A7",
  done: "#009E73",
  neutral: "#7F7F7F",
};
const CALM = matchMedia("(prefers-reduced-motion: reduce)");

// Text goes into the page as text: never as markup.
function element(tag, { text, name, ...attributes } = {}, ...children) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name !== undefined) made.setAttribute("aria-label", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function drawn(tag, { text, ...attributes } = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// JupyterLab's command mode takes keys from elements that do not carry this attribute themselves.
function focusable(tag, options = {}, ...children) {
  return element(tag, { "data-lm-suppress-shortcuts": "true", ...options }, ...children);
}

function button(text, name, act) {
  const made = focusable("button", { text, name, title: name, type: "button" });
  made.addEventListener("click", act);
  return made;
}

// Not disabled: a disabled button would drop the focus of who is pressing it.
function enable(control, able) {
  control.setAttribute("aria-disabled", String(!able));
}

// The frame of a widget: what is in it, and below that a line which screen readers read out. It
// stays in the page, so that they notice when its text changes.
function frame(el, kind, name) {
  const said = element("div", { class: "eslab-said", role: "status", "aria-live": "polite" });
  const body = element("div", { class: "eslab-body" });
  const root = focusable("div", {
    class: `eslab eslab-${kind}`,
    "data-eslab": kind,
    name,
    role: "group",
    tabindex: "0",
  });
  root.append(body, said);
  el.append(root);
  standInFor(root);
  return { root, body, said };
}

// The static display that stands above a widget is for when there is none: it comes back when the
// widget leaves the page, which an observer of its size notices too.
function standInFor(root) {
  let above = null;
  new ResizeObserver(() => {
    const sibling = root.closest(".jp-OutputArea-child")?.previousElementSibling;
    if (sibling?.querySelector(".eslab-static")) above = sibling;
    if (above) above.style.display = root.isConnected ? "none" : "";
  }).observe(root);
}

// Keys act wherever the focus is inside the widget, except where an element uses them itself.
const OWN_KEYS = {
  BUTTON: [" ", "Enter"],
  INPUT: null,
  SELECT: null,
  TEXTAREA: null,
};
const RANGE_KEYS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"];

function keys(root, actions) {
  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { tagName, type } = event.target;
    const own = tagName === "INPUT" && type === "range" ? RANGE_KEYS : OWN_KEYS[tagName];
    if (own === null || own?.includes(event.key)) return;
    const act = actions[event.shiftKey ? `Shift+${event.key}` : event.key]
      ?? actions[event.key] ?? actions[event.key.toLowerCase()];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act(event);
  });
}

const NO_ANSWER = "the kernel does not answer: is it running?";

// An intent: its name and its arguments; the promise is of what the kernel answers.
const waiting = new WeakMap();

function ask(model, intent, args = {}, { patience = 30_000 } = {}) {
  if (!waiting.has(model)) {
    const open = new Map();
    // Two displays of a widget are given objects of their own for one model, and each hears the
    // answers to both: their numbers must not meet.
    waiting.set(model, { open, last: Math.floor(Math.random() * 2 ** 48) });
    model.on("msg:custom", (message) => {
      const settle = open.get(message.answer);
      if (!settle) return;
      open.delete(message.answer);
      settle(message);
    });
  }
  const state = waiting.get(model);
  const id = ++state.last;
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      state.open.delete(id);
      reject(new Error(NO_ANSWER));
    }, patience);
    state.open.set(id, (message) => {
      clearTimeout(late);
      if (message.error !== undefined) reject(new Error(message.error));
      else resolve(message.result);
    });
    try {
      model.send({ intent, id, arguments: args });
    } catch {
      // Where the kernel has gone JupyterLab cannot even send, and says no more than that.
      clearTimeout(late);
      state.open.delete(id);
      reject(new Error(NO_ANSWER));
    }
  });
}

// Draws in the next frame, once, however often it was called: the latest wins.
function painter(draw) {
  let due = 0;
  const paint = () => {
    due ||= requestAnimationFrame(() => {
      due = 0;
      draw();
    });
  };
  paint.cancel = () => cancelAnimationFrame(due);
  return paint;
}

// A canvas as sharp as the screen; `draw(context, width, height)` gets CSS pixels. Its height may be
// changed later, by its style.
function canvas(height, name, draw) {
  const made = element("canvas", { role: "img", name });
  made.style.width = "100%";
  made.style.height = `${height}px`;
  const paint = painter(() => {
    const { clientWidth: width, clientHeight: height } = made;
    if (!width) return;
    const ratio = devicePixelRatio || 1;
    if (made.width !== Math.round(width * ratio) || made.height !== Math.round(height * ratio)) {
      made.width = Math.round(width * ratio);
      made.height = Math.round(height * ratio);
    }
    const context = made.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    draw(context, width, height);
  });
  const watcher = new ResizeObserver(paint);
  watcher.observe(made);
  const stop = onTheme(paint);
  made.paint = paint;
  made.release = () => {
    watcher.disconnect();
    stop();
    paint.cancel();
  };
  return made;
}

// A value as JSON, in which nothing turns the direction of the text around it.
const TURNS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

function quoted(value) {
  const text = JSON.stringify(value) ?? "nothing";
  return text.replace(TURNS, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

// The way to a value, as Python's `path_text` writes it.
const PLAIN = /^[\p{L}_][\p{L}\p{N}_-]*$/u;
const pathText = (keys) => keys
  .map((key) => (PLAIN.test(key) ? `.${key}` : `[${quoted(key)}]`)).join("").replace(/^\./, "");

// What a variable of JupyterLab's theme is where the element stands.
function themed(el, variable, fallback) {
  return getComputedStyle(el).getPropertyValue(variable).trim() || fallback;
}

// The name of a new theme is there before its style sheet is, so it acts again after a while.
function onTheme(act) {
  let later = [];
  const watcher = new MutationObserver(() => {
    later.forEach(clearTimeout);
    later = [0, 100, 500, 2_000].map((wait) => setTimeout(act, wait));
  });
  const attributeFilter = ["data-jp-theme-light", "data-jp-theme-name", "class"];
  watcher.observe(document.body, { attributes: true, attributeFilter });
  return () => {
    watcher.disconnect();
    later.forEach(clearTimeout);
  };
}

// A table of texts; numbers stand at the right.
function table(columns, rows, { caption, numbers = [] } = {}) {
  const row = (tag, cells) =>
    element("tr", {}, ...cells.map((text, index) => {
      const cell = element(tag, { text: String(text ?? "") });
      if (tag === "th") cell.setAttribute("scope", "col");
      if (numbers.includes(columns[index])) cell.style.textAlign = "right";
      return cell;
    }));
  const made = element("table", { class: "eslab-table" });
  if (caption) made.append(element("caption", { text: caption }));
  made.append(
    element("thead", {}, row("th", columns)),
    element("tbody", {}, ...rows.map((cells) => row("td", cells))),
  );
  return made;
}

// As much of a text as a canvas has room for.
function fit(pen, text, width) {
  const room = (shown) => pen.measureText(shown).width <= width;
  if (text.length < 500 && room(text)) return text;
  const letters = [...text.slice(0, 500)];
  while (letters.length > 1 && !room(`${letters.join("")}…`)) letters.pop();
  return `${letters.join("")}…`;
}
