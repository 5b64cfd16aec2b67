// The replay player: playing and seeking need no kernel.

const SPEEDS = [0.5, 1, 2, 4, 8, 16, 32, 64];
const LONGEST_GAP = 2000;
const [SET, INSERT, REMOVE] = [0, 1, 2];
const COLUMNS = [
  "streams", "types", "versions", "positions", "moments", "previous",
  "digests", "data", "about", "changes",
];
const MARK_WORDS = { "+": "appeared", "-": "disappeared", "~": "changed" };
const SHOWN_MARKS = { "+": "+", "-": "−", "~": "~", "=": "=", "!": "!" };
const MANY = 20;
const MOST = 200;
const LETTERS = 300;
const LANES = 8;
const LANE = 24;
const ACTIONS = {
  skip: "leave it out",
  edit: "let it say something else",
  insert: "let something more happen behind it",
  move: "move it",
  command: "carry out a command after it",
};
const KEYS = [
  ["Space", "play, pause"],
  ["← →", "one back, one on"],
  ["Shift + ← →", "ten back, ten on"],
  ["Home, End", "first, last"],
  ["[ ]", "previous, next of the same type"],
  ["D", "compare with this version"],
  ["B", "what if: a branch from here"],
  ["/", "search"],
  ["T", "table"],
  ["?", "these keys"],
];

// What was recorded: columns, which grow while the rest is loaded.

const replays = new WeakMap();

function replayOf(model) {
  if (!replays.has(model)) replays.set(model, new Replay(model));
  return replays.get(model);
}

class Replay {
  constructor(model) {
    Object.assign(this, model.get("head"));
    this.initials = JSON.parse(this.initials);
    for (const name of COLUMNS) this[name] = [];
    this.clock = [];
    this.errors = new Map();
    this.between = new Map();
    this.kinds = new Map();
    this.watchers = new Set();
    this.trouble = "";
    this.model = model;
    this.states = new States(this);
    // Goes ahead while the rest is loaded, and leaves copies behind.
    this.ahead = new States(this, this.states.kept);
    this.add(JSON.parse(model.get("first")));
    this.load();
  }

  get loaded() {
    return this.types.length;
  }

  add(chunk) {
    for (const name of COLUMNS) for (const value of chunk[name]) this[name].push(value);
    for (const [number, error] of Object.entries(chunk.errors)) this.errors.set(+number, error);
    for (const [number, some] of Object.entries(chunk.between)) this.between.set(+number, some);
    for (const type of chunk.types) this.kinds.set(type, (this.kinds.get(type) ?? 0) + 1);
    // Where the clock went back, time stands still.
    for (const moment of chunk.moments) {
      this.clock.push(Math.max(moment, this.clock.at(-1) ?? moment));
    }
    this.ahead.passed();
  }

  async load() {
    while (this.loaded < this.count && !this.trouble) {
      try {
        this.add(JSON.parse(await ask(this.model, "frames", { after: this.loaded })));
      } catch (error) {
        this.trouble = error.message;
      }
      for (const watcher of this.watchers) watcher();
    }
  }

  // Where an event stands on the time axis, between 0 and 1.
  place(number) {
    const [start, end] = this.span;
    if (end > start) return (this.clock[number - 1] - start) / (end - start);
    return this.count > 1 ? (number - 1) / (this.count - 1) : 0;
  }

  at(place) {
    const [start, end] = this.span;
    if (end <= start) return 1 + Math.round(place * (this.count - 1));
    return Math.max(1, this.by(start + place * (end - start)));
  }

  // The last event that had occurred by a moment.
  by(moment) {
    return this.clock.findLastIndex((one) => one <= moment) + 1;
  }

  say(number) {
    if (!number) return `${this.title} no events`;
    const index = number - 1;
    const place = this.single ? `v${number}` : `${number}`;
    const stream = this.single ? "" : ` ${this.streams[index]} v${this.versions[index]}`;
    const state = this.state ? `state=sha256:${this.digests[index]}...` : "no state";
    const error = this.errors.has(number) ? " NOT APPLIED" : "";
    return `${this.title} ${place}/${this.count}${stream} ${this.types[index]} ${state}${error}`;
  }
}

// States: one set is kept, and moved to where it is asked for.

function copied(value) {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(copied);
  const made = Object.create(null); // a key may be called __proto__
  for (const key in value) made[key] = copied(value[key]);
  return made;
}

function size(value) {
  if (!value || typeof value !== "object") return 1;
  let count = 1;
  for (const inner of Object.values(value)) count += size(inner);
  return count;
}

function applied(state, [keys, kind, ...values]) {
  const last = keys.length - 1;
  for (let index = 0; index < last; index += 1) state = state[keys[index]];
  const key = keys[last];
  if (kind === REMOVE) {
    if (Array.isArray(state)) state.splice(key, 1);
    else delete state[key];
  } else if (kind === INSERT && Array.isArray(state)) state.splice(key, 0, copied(values[0]));
  else state[key] = copied(values.at(-1));
}

function undone([keys, kind, ...values]) {
  if (kind === SET) return [keys, SET, values[1], values[0]];
  return [keys, kind === INSERT ? REMOVE : INSERT, values[0]];
}

class States {
  constructor(replay, kept = []) {
    this.replay = replay;
    this.number = 0;
    this.held = Object.create(null);
    this.kept = kept;
    this.room = 400_000;
  }

  // Copies are kept here and there, so that no way is far.
  passed() {
    const { loaded } = this.replay;
    this.move(loaded);
    const cost = size(this.held);
    if (cost < this.room && loaded > 2000) {
      this.room -= cost;
      this.kept.push({ number: loaded, cost, held: copied(this.held) });
    }
  }

  after(number) {
    this.move(number);
    return this.held;
  }

  move(number) {
    let best = null;
    let least = Math.abs(number - this.number);
    for (const one of this.kept) {
      const way = Math.abs(number - one.number) + one.cost;
      if (way < least) [best, least] = [one, way];
    }
    if (best) [this.number, this.held] = [best.number, copied(best.held)];
    while (this.number < number) this.forward(++this.number);
    while (this.number > number) this.back(this.number--);
  }

  forward(number) {
    const { streams, previous, changes, between, initials } = this.replay;
    const stream = streams[number - 1];
    if (!previous[number - 1]) {
      this.held[stream] = copied(initials[stream.split("-", 1)[0]]);
    }
    for (const change of between.get(number) ?? []) applied(this.held[stream], change);
    for (const change of changes[number - 1]) applied(this.held[stream], change);
  }

  back(number) {
    const { streams, previous, changes, between } = this.replay;
    const stream = streams[number - 1];
    if (!previous[number - 1]) {
      delete this.held[stream];
      return;
    }
    const made = [...(between.get(number) ?? []), ...changes[number - 1]];
    for (const change of made.reverse()) applied(this.held[stream], undone(change));
  }
}

// Values, paths and what differs.

const isHolder = (value) => value !== null && typeof value === "object";

const whole = new Intl.NumberFormat("en").format;
const pretty = (text) => JSON.stringify(JSON.parse(text), null, 2);
// What would turn the direction of a text is written as JSON can.
const TURNS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
const escaped = (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`;

function spaced(value) {
  if (Array.isArray(value)) return `[${value.map(spaced).join(", ")}]`;
  if (!isHolder(value)) return (JSON.stringify(value) ?? "nothing").replace(TURNS, escaped);
  const parts = Object.entries(value).map(([key, inner]) => `${spaced(key)}: ${spaced(inner)}`);
  return `{${parts.join(", ")}}`;
}

function short(value) {
  const text = spaced(value);
  return text.length > LETTERS ? `${text.slice(0, LETTERS - 1)}…` : text;
}

function pathKeys(path) {
  const part = /\.?([\p{L}_][\p{L}\p{N}_-]*)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]/uy;
  const keys = [];
  for (let found = part.exec(path); found; found = part.exec(path)) {
    keys.push(found[1] ?? (found[2] === undefined ? JSON.parse(found[3]) : +found[2]));
  }
  return keys;
}

const valueAt = (state, keys) => keys.reduce((value, key) => value?.[key], state);

function markOf([, kind, ...values]) {
  if (kind !== SET) return kind === INSERT ? "+" : "-";
  return values[0] === null ? "+" : values[1] === null ? "-" : "~";
}

function differences(before, after, keys = [], found = []) {
  if (isHolder(before) && isHolder(after) && Array.isArray(before) === Array.isArray(after)) {
    if (Array.isArray(before)) return listDifferences(before, after, keys, found);
    for (const key of [...new Set([...Object.keys(before), ...Object.keys(after)])].sort()) {
      if (!(key in after)) found.push([[...keys, key], REMOVE, before[key]]);
      else if (!(key in before)) found.push([[...keys, key], INSERT, after[key]]);
      else differences(before[key], after[key], [...keys, key], found);
    }
  } else if (before !== after) found.push([keys, SET, before, after]);
  return found;
}

// What is the same at the beginning and at the end is left out, as the kernel does.
function listDifferences(before, after, keys, found) {
  const same = (at) => spaced(before.at(at)) === spaced(after.at(at));
  const shorter = Math.min(before.length, after.length);
  let [start, end] = [0, 0];
  while (start < shorter && same(start)) start += 1;
  while (end < shorter - start && same(-1 - end)) end += 1;
  const both = shorter - end;
  for (let at = start; at < both; at += 1) differences(before[at], after[at], [...keys, at], found);
  const middle = (list) => list.slice(both, list.length - end);
  middle(after).forEach((value, at) => found.push([[...keys, both + at], INSERT, value]));
  for (const value of middle(before)) found.push([[...keys, both], REMOVE, value]);
  return found;
}

function momentText(micros) {
  const text = new Date(Math.floor(micros / 1000)).toISOString();
  const rest = String(((micros % 1e6) + 1e6) % 1e6).padStart(6, "0").replace(/0+$/, "");
  return `${text.slice(0, 10)} ${text.slice(11, 19)}${rest && `.${rest}`}`;
}

function durationText(micros) {
  const seconds = micros / 1e6;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${+seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

function mark(sign) {
  const made = element("b", { text: SHOWN_MARKS[sign] ?? "", class: "eslab-mark" });
  if (MARK_WORDS[sign]) {
    made.title = MARK_WORDS[sign];
    made.setAttribute("role", "img");
    made.setAttribute("aria-label", MARK_WORDS[sign]);
  }
  return made;
}

// A button that does not draw the eye.
function quiet(text, name, act) {
  const made = button(text, name, act);
  made.classList.add("eslab-quiet");
  return made;
}

// A row of texts and of cells that are made already.
function row(...cells) {
  return element("tr", {}, ...cells.map((cell) => (
    cell instanceof Node ? cell : element("td", { text: cell })
  )));
}

const line = (...parts) => element("div", { class: "eslab-row" }, ...parts);
const sign = (text) => element("td", { class: "eslab-sign" }, ...(text ? [mark(text)] : []));
const named = (text) => element("th", { scope: "row", text });
const indent = (depth) => `${depth * 16 + 4}px`;
const dim = (text) => element("span", { class: "eslab-dim", text });

function sheet(name, rows, ...above) {
  return element("table", { class: "eslab-tree", name }, ...above, element("tbody", {}, ...rows));
}

// The widget.

function render({ model, el }) {
  const replay = replayOf(model);
  const { root, body, said } = frame(el, "player", `Replay of ${replay.title}`);
  const { types, moments, streams, single, count } = replay;
  const show = painter(draw);
  const folds = new Map(); // which objects and lists are open, where somebody said so
  const wholes = new Set(); // of which more is shown
  let stops = new Map(); // the names of the breakpoints at a version
  let pinRows = [];
  let series = new Map(); // the values at a path
  let matches = [];
  let compared = 0; // the version that is compared with
  let binned = null;
  let placed = null; // where the lanes stand
  let pending = 0; // the version to which they are dragged
  let timer = 0;
  let due = 0; // when the next event is played
  let sent = 0;
  let toldAt = -Infinity; // when the kernel heard of the version
  let shownAt = 0;
  let highest = 0;
  let changedIn = new Map(); // what changed, by what holds it
  let leadsTo = new Map(); // what leads to a change, by what holds it
  let aboutOpen = false;
  const wishes = [];
  let offered = ""; // what the form is for
  let typeInput = null;
  let dataInput = null;
  let afterInput = null;
  let trying = false;

  // The controls.

  const firstButton = button("|◀", "First", () => move(1 - now()));
  const backButton = button("◀", "One back", () => move(-1));
  const startButton = button("▶ Play", "Play", toggle);
  const nextButton = button("▶", "One on", () => move(1));
  const lastButton = button("▶|", "Last", () => move(count));
  const speedInput = focusable("select", { name: "Speed", title: "Speed" });
  for (const factor of SPEEDS) {
    speedInput.append(new Option(`${factor}×`, factor, factor === 1, factor === 1));
  }
  const gapsInput = focusable("input", { type: "checkbox", name: "In original gaps" });
  const gaps = element("label", { title: "Wait between events as long as it took, at most 2 s" });
  gaps.append(gapsInput, " original gaps");
  for (const control of [speedInput, gapsInput]) {
    control.addEventListener("change", () => (due = performance.now() + pace()));
  }
  const gotoInput = focusable("input", {
    type: "text",
    name: "Go to a version, a time or the next of a type",
    placeholder: "go to: 7, 12:30, a type",
    class: "eslab-goto",
  });
  gotoInput.addEventListener("keydown", (event) => {
    if (event.key === "Escape") root.focus();
    if (event.key === "Enter" && jump(gotoInput.value.trim())) {
      gotoInput.value = "";
      root.focus();
    }
  });
  const tabs = {};
  const tab = (kind, text, name) => {
    tabs[kind] = button(text, name, () => switchTo(kind));
    tabs[kind].setAttribute("aria-pressed", "false");
    return tabs[kind];
  };
  const group = (...controls) => element("span", { class: "eslab-group" }, ...controls);
  const bar = line(
    group(firstButton, backButton, startButton, nextButton, lastButton),
    group(speedInput, gaps),
    group(
      button("‹ type", "Previous of the same type", () => nextOf(-1)),
      button("type ›", "Next of the same type", () => nextOf(1)),
      gotoInput,
    ),
    group(
      tab("search", "Search", "Search"),
      tab("compare", "Compare", "Compare two versions"),
      ...(replay.branch ? [tab("branch", "What if", "What if: a branch from here")] : []),
      tab("table", "Table", "Table"),
      tab("keys", "?", "Keys"),
    ),
  );
  // What was done, and what could not be.
  const note = element("div", { class: "eslab-note", "aria-live": "polite" });

  // The strip of the whole replay, and the lanes around the playhead.

  const strip = canvas(58, "Events over time", drawStrip);
  const slider = focusable("div", {
    class: "eslab-strip",
    role: "slider",
    tabindex: "0",
    name: single ? "Version" : "Frame",
    "aria-valuemin": String(Math.min(1, count)),
    "aria-valuemax": String(count),
  }, strip);
  dragged(slider, (x, width) => seek(replay.at((x - 4) / (width - 8))));
  const lanes = canvas(48, "Events around this one, a lane for each type", drawLanes);
  lanes.style.cursor = "pointer";
  const under = (x) => {
    const { first, left, step } = placed ?? { first: 0, left: 0, step: 1 };
    return first + Math.round((x - left) / step);
  };
  dragged(lanes, (x) => (pending = under(x)), () => seek(pending));
  lanes.addEventListener("pointermove", (event) => {
    const number = under(event.offsetX);
    const type = types[number - 1];
    lanes.title = type === undefined ? ""
      : `${single ? "v" : ""}${number} ${type}\n${momentText(moments[number - 1])} UTC`;
  });

  // What stands below.

  const box = (name) => focusable("div", { class: "eslab-panel", name, role: "region", tabindex: "0" });
  const eventPanel = box("Event");
  const statePanel = box("State");
  const halves = element("div", { class: "eslab-halves" }, eventPanel, statePanel);
  const pinBox = element("div", { class: "eslab-pins" });
  const more = Object.fromEntries(
    ["search", "compare", "branch", "table", "keys"].map((kind) => {
      const made = element("div", { class: "eslab-more" });
      made.hidden = true;
      return [kind, made];
    }),
  );
  more.keys.append(table(["key", "what it does"], KEYS));
  const where = "in types, data and changes";
  const queryInput = focusable("input", { type: "search", name: `Search ${where}`, placeholder: where });
  const matchCount = element("span", { class: "eslab-dim", "aria-live": "polite" });
  queryInput.addEventListener("input", () => find(queryInput.value));
  queryInput.addEventListener("keydown", (event) => {
    if (event.key === "Enter") match(event.shiftKey ? -1 : 1);
    if (event.key === "Escape") {
      switchTo("search");
      root.focus();
    }
  });
  more.search.append(line(
    queryInput,
    button("◀ Previous", "Previous match", () => match(-1)),
    button("Next ▶", "Next match", () => match(1)),
    matchCount,
  ));
  const word = single ? "version" : "frame";
  const otherInput = focusable("input", { type: "number", min: "1", name: `The other ${word}` });
  otherInput.addEventListener("change", () => {
    compared = Math.min(replay.loaded, Math.max(1, Math.round(Number(otherInput.value)) || 1));
    show();
  });
  const differ = element("span");
  const differing = element("div");
  more.compare.append(line(`From ${word}`, otherInput, differ), differing);

  // What if: edits from here, tried out on a branch by the kernel.

  const actionInput = focusable("select", { name: "What is to be otherwise" });
  for (const [value, text] of Object.entries(ACTIONS)) {
    if (value !== "command" || replay.commands.length) actionInput.append(new Option(text, value));
  }
  actionInput.addEventListener("change", () => offer(true));
  const hereText = element("b");
  const form = element("span", { class: "eslab-form" });
  const wishList = element("ol", { class: "eslab-wishes" });
  const outcome = element("div", { "aria-live": "polite" });
  const tryButton = button("Try it on a branch", "Try it on a branch", tryOut);
  const another = button("Add another", "Add this, and say another", add);
  more.branch.append(
    line("What if, at", hereText, actionInput, form),
    wishList,
    line(another, tryButton, dim("What is recorded stays as it is.")),
    outcome,
  );

  body.append(
    bar, more.search, slider, lanes, pinBox, halves, note,
    more.compare, more.branch, more.table, more.keys,
  );
  keys(root, {
    " ": toggle,
    ArrowRight: () => move(1),
    ArrowLeft: () => move(-1),
    "Shift+ArrowRight": () => move(10),
    "Shift+ArrowLeft": () => move(-10),
    Home: () => seek(1),
    End: () => seek(count),
    "]": () => nextOf(1),
    "[": () => nextOf(-1),
    d: () => switchTo("compare"),
    b: () => switchTo("branch"),
    t: () => switchTo("table"),
    "/": () => switchTo("search", true),
    "?": () => switchTo("keys"),
  });

  function now() {
    return Math.min(model.get("version"), replay.loaded);
  }

  // The kernel hears of it at most twenty times a second; the latest wins.
  function seek(wanted) {
    const next = Math.min(replay.loaded, Math.max(1, wanted));
    if (!replay.loaded || next === model.get("version")) return;
    model.set("version", next);
    const wait = toldAt + 50 - performance.now();
    sent ||= setTimeout(() => {
      sent = 0;
      toldAt = performance.now();
      model.save_changes();
    }, Math.max(0, wait));
  }

  function move(by) {
    pause();
    seek(now() + by);
  }

  function nextOf(direction, type = types[now() - 1]) {
    const version = now();
    const found = direction > 0 ? types.indexOf(type, version)
      : version > 1 ? types.lastIndexOf(type, version - 2) : -1;
    if (found >= 0) move(found + 1 - version);
    else tell(`no ${type} ${direction > 0 ? "comes behind" : "is before"} this one`);
    return found >= 0;
  }

  function tell(text) {
    note.textContent = text;
  }

  // Playing.

  function toggle() {
    if (timer) pause();
    else play();
  }

  function play() {
    if (count < 2) return;
    if (now() >= count) seek(1);
    said.setAttribute("aria-live", "off");
    due = performance.now() + pace();
    timer = setInterval(tick, 16);
    drawControls();
  }

  function pause() {
    if (!timer) return;
    clearInterval(timer);
    timer = 0;
    said.setAttribute("aria-live", "polite");
    drawControls();
    show();
  }

  // Milliseconds until the next event.
  function pace() {
    const speed = Number(speedInput.value);
    if (!gapsInput.checked) return 1000 / speed;
    const gap = (moments[now()] - moments[now() - 1]) / 1000;
    return Math.min(LONGEST_GAP, Math.max(0, gap || 0) / speed);
  }

  function tick() {
    // Whole steps since the last one, or a busy browser would lose some.
    const moment = performance.now();
    for (let steps = 0; due <= moment && steps < 500; steps += 1) {
      seek(now() + 1);
      if (now() >= count || stops.has(now())) {
        const stop = stops.get(now());
        if (stop) tell(`stopped at ${stop.join(", ")}`);
        pause();
        return;
      }
      due += pace();
    }
    if (due <= moment) due = moment;
  }

  // The controls.

  function jump(text) {
    if (!text) return false;
    if (/^\d[\d,]*$/.test(text)) {
      const number = Number(text.replaceAll(",", ""));
      const known = number >= 1 && number <= count;
      if (known) move(number - now());
      else tell(`there are the versions 1 to ${count}, not ${number}`);
      return known;
    }
    const lower = text.toLowerCase();
    const names = [...replay.kinds.keys()];
    const type = names.find((name) => name.toLowerCase() === lower)
      ?? names.find((name) => name.toLowerCase().includes(lower));
    if (type) return nextOf(1, type);
    const day = momentText(replay.clock[now() - 1] ?? 0).slice(0, 10);
    const said = /^\d\d?:\d\d/.test(text)
      ? `${day}T${text.replace(/^(?=\d:)/, "0")}` : text.replace(" ", "T");
    // A day alone is one in UTC already, and what says no zone is meant in UTC.
    const moment = Date.parse(/T(?!.*(z|[+-]\d\d:?\d\d)$)/i.test(said) ? `${said}Z` : said);
    if (Number.isNaN(moment)) {
      tell(`“${text}” is no version, no time and no type of these events`);
      return false;
    }
    const found = replay.by(moment * 1000);
    if (found) move(found - now());
    else tell(`nothing had occurred by ${momentText(moment * 1000)}`);
    return found > 0;
  }

  function drawControls() {
    const version = now();
    const playing = Boolean(timer);
    const word = playing ? "Pause" : "Play";
    startButton.textContent = `${playing ? "‖" : "▶"} ${word}`;
    startButton.setAttribute("aria-label", word);
    startButton.title = word;
    enable(startButton, count > 1);
    for (const control of [firstButton, backButton]) enable(control, version > 1);
    for (const control of [nextButton, lastButton]) enable(control, version < count);
  }

  // The strip of the whole replay, and the lanes around the playhead.

  function dragged(area, act, end = () => {}) {
    let held = false;
    const go = (event) => {
      const box = area.getBoundingClientRect();
      act(Math.min(box.width, Math.max(0, event.clientX - box.left)), box.width);
    };
    area.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      held = true;
      area.setPointerCapture(event.pointerId);
      pause();
      go(event);
    });
    area.addEventListener("pointermove", (event) => held && go(event));
    area.addEventListener("pointerup", () => {
      if (held) end();
      held = false;
    });
    area.addEventListener("pointercancel", () => (held = false));
  }

  function colours() {
    return {
      ink: themed(root, "--jp-content-font-color1", "#333"),
      dim: themed(root, "--jp-ui-font-color2", "#666"),
      line: themed(root, "--jp-border-color2", "#999"),
      here: themed(root, "--jp-brand-color1", COLOURS.ok),
      bad: themed(root, "--jp-error-color1", COLOURS.failed),
      font: `11px ${themed(root, "--jp-ui-font-family", "system-ui, sans-serif")}`,
    };
  }

  // Counted once for a width: the playhead moves far more often.
  function bins(width) {
    const key = `${width} ${replay.loaded}`;
    if (binned?.key !== key) {
      const counts = new Uint32Array(Math.max(1, Math.ceil(width / 5)));
      for (let number = 1; number <= replay.loaded; number += 1) {
        counts[Math.min(counts.length - 1, Math.floor(replay.place(number) * counts.length))] += 1;
      }
      binned = { key, counts, highest: counts.reduce((a, b) => Math.max(a, b), 1) };
    }
    return binned;
  }

  function drawStrip(context, width) {
    const version = now();
    const { dim, here, bad, line, font } = colours();
    if (!count) return;
    const [left, wide, top, base] = [4, width - 8, 8, 40];
    const x = (number) => left + replay.place(number) * wide;
    const { counts, highest } = bins(wide);
    context.fillStyle = dim;
    counts.forEach((count, index) => {
      if (!count) return;
      const height = Math.max(2, (base - top) * (count / highest));
      const each = wide / counts.length;
      context.fillRect(left + index * each, base - height, Math.max(1, each - 1), height);
    });
    context.fillStyle = line;
    context.fillRect(left, base, wide, 1);
    context.fillStyle = here;
    // One mark a pixel, however many there are.
    const spots = (numbers) => {
      const known = [...numbers].filter((number) => number <= replay.loaded);
      return new Set(known.map((number) => Math.round(x(number))));
    };
    for (const at of spots(matches)) context.fillRect(at - 0.5, base + 1, 1.5, 4);
    for (const at of spots(replay.snapshots)) shape(context, at, base + 5, DIAMOND, dim);
    for (const at of spots(stops.keys())) shape(context, at, top - 3, FLAG, COLOURS.retry);
    const [wrong] = replay.errors.keys();
    if (wrong) shape(context, Math.min(x(wrong), left + wide - 5), top + 4, CROSS, bad);
    if (compared) playhead(context, x(compared), top - 4, base + 6, dim, [3, 3]);
    playhead(context, x(version), top - 6, base + 8, here);
    context.fillStyle = dim;
    context.font = font;
    const y = base + 16;
    const [start, end] = replay.span;
    context.fillText(momentText(start), left, y);
    context.textAlign = "right";
    context.fillText(momentText(end), left + wide, y);
    context.textAlign = "center";
    const words = replay.loaded < count
      ? replay.trouble || `loading: ${whole(replay.loaded)} of ${whole(count)}`
      : end > start ? "events over time (UTC)" : "events, all at one moment";
    context.fillText(words, left + wide / 2, y);
    context.textAlign = "left";
  }

  function drawLanes(context, width, height) {
    const version = now();
    if (!count) return;
    const { ink, dim, here, bad, line, font } = colours();
    context.font = font.replace("11px", "12px");
    let names = [...replay.kinds.keys()];
    if (names.length > LANES) {
      names.sort((one, other) => replay.kinds.get(other) - replay.kinds.get(one));
      names = [...names.slice(0, LANES - 1), "other types"];
    }
    const widest = Math.max(...names.map((name) => context.measureText(name).width));
    const left = Math.min(width * 0.3, widest) + 24;
    const room = width - left - 20;
    const around = Math.max(3, Math.min(15, Math.floor(room / 44)));
    const first = Math.max(1, Math.min(version - around, replay.loaded - 2 * around));
    const last = Math.min(replay.loaded, first + 2 * around);
    const step = room / Math.max(around, last - first);
    placed = { first, left: left + 8, step };
    const x = (number) => left + 8 + step * (number - first);
    const top = 24;
    const bottom = top + names.length * LANE;
    names.forEach((name, row) => {
      const y = top + (row + 0.5) * LANE;
      context.fillStyle = name === types[version - 1] ? ink : dim;
      context.textAlign = "right";
      context.fillText(fit(context, name, left - 16), left - 12, y + 4);
      context.fillStyle = line;
      context.fillRect(left, y, width - left, 1);
    });
    context.font = font;
    context.textAlign = "center";
    const lane = (number) => {
      const row = names.indexOf(types[number - 1]);
      return top + ((row < 0 ? names.length : row + 1) - 0.5) * LANE;
    };
    playhead(context, x(version), top - 6, bottom + 4, here, [], 1.5);
    if (compared >= first && compared <= last) {
      playhead(context, x(compared), top - 6, bottom + 4, dim, [3, 3], 1.5);
    }
    const gaps = moments.slice(first, last)
      .map((moment, index) => moment - moments[first + index - 1]);
    const usual = [...gaps].sort((one, other) => one - other)[gaps.length >> 1] ?? 0;
    let free = -Infinity;
    for (let number = first; number <= last; number += 1) {
      const [at, y] = [x(number), lane(number)];
      if (replay.errors.has(number)) shape(context, at, y, CROSS, bad);
      else {
        context.beginPath();
        context.arc(at, y, number === version ? 7 : 4.5, 0, 2 * Math.PI);
        context.fillStyle = number === version ? here : dim;
        context.fill();
      }
      if (stops.has(number)) shape(context, at, top - 6, FLAG, COLOURS.retry);
      if (replay.snapshots.includes(number)) shape(context, at, bottom + 1, DIAMOND, dim);
      if (number === version || (number % 5 === 0 && Math.abs(number - version) * step > 34)) {
        context.fillStyle = number === version ? ink : dim;
        const text = whole(number);
        const half = context.measureText(text).width / 2;
        context.fillText(text, Math.min(at, width - half), bottom + 18);
      }
      // Long waits and a clock that went back are said between the events.
      const gap = gaps[number - first - 1];
      if (number > first && (gap < 0 || (gap > 1e6 && gap > 10 * usual))) {
        const text = gap < 0 ? `${durationText(-gap)} back` : durationText(gap);
        const middle = at - step / 2;
        const half = context.measureText(text).width / 2 + 3;
        if (middle - half > free && Math.abs(middle - x(version)) > half) {
          context.fillStyle = gap < 0 ? bad : dim;
          context.fillText(text, middle, top - 5);
          free = middle + half;
        }
      }
    }
    context.textAlign = "left";
  }

  // What stands below.

  function switchTo(kind, stay = false) {
    const panel = more[kind];
    if (!tabs[kind]) return;
    panel.hidden = !panel.hidden && !stay;
    tabs[kind].setAttribute("aria-pressed", String(!panel.hidden));
    if (kind === "compare") compared = panel.hidden ? 0 : now();
    if (kind === "search") {
      if (panel.hidden) find("");
      else queryInput.focus();
    }
    if (kind === "branch" && !panel.hidden) offer();
    show();
  }

  function grown() {
    lanes.style.height = `${Math.max(1, Math.min(LANES, replay.kinds.size)) * LANE + 48}px`;
    series = new Map();
    if (queryInput.value) find(queryInput.value);
    show();
  }

  function marked() {
    stops = new Map();
    for (const { name, versions } of model.get("breakpoints")) {
      for (const version of versions) {
        stops.set(version, [...(stops.get(version) ?? []), name]);
      }
    }
    for (const row of pinRows) row.release();
    pinRows = model.get("pins").map(pinRow);
    pinBox.replaceChildren(...pinRows.map((row) => row.part));
    show();
  }

  function draw() {
    const version = now();
    said.textContent = `StreamPlayer(${replay.say(version)})`;
    drawControls();
    slider.setAttribute("aria-valuenow", String(version));
    const value = version ? `${version} of ${count}, ${types[version - 1]}` : "no events";
    slider.setAttribute("aria-valuetext", value);
    strip.paint();
    lanes.paint();
    if (!version) {
      eventPanel.replaceChildren(element("p", { text: "There are no events." }));
      for (const part of [statePanel, slider, lanes]) part.hidden = true;
      return;
    }
    if (shownAt !== version) tell(stops.has(version) ? `at ${stops.get(version).join(", ")}` : "");
    shownAt = version;
    drawEvent(version);
    drawState(version);
    for (const row of pinRows) row.draw();
    if (!more.compare.hidden) drawCompare();
    if (!more.table.hidden) drawTable();
    if (!more.branch.hidden) offer();
    // It grows with what is in it, and does not shrink again: nothing below jumps.
    highest = Math.max(highest, Math.min(380, statePanel.scrollHeight + 2));
    statePanel.style.minHeight = `${highest}px`;
    reveal();
  }

  function drawEvent(version) {
    const index = version - 1;
    const gap = index ? moments[index] - moments[index - 1] : 0;
    const since = !index ? ""
      : gap > 0 ? `, ${durationText(gap)} later`
        : gap ? `, ${durationText(-gap)} before the event in front of it: the clock went back`
          : ", at the same moment";
    const stream = single ? "" : `${streams[index]} v${replay.versions[index]}, `;
    const place = `${stream}position ${whole(replay.positions[index])}`;
    const parts = [
      element("div", {}, element("b", { text: types[index] }), dim(`  ${place}`)),
      element("div", { class: "eslab-dim", text: `${momentText(moments[index])} UTC${since}` }),
    ];
    const error = replay.errors.get(version);
    if (error) {
      const why = error.replace(/^not applied: /, "");
      parts.push(element("p", { class: "eslab-error" }, element("b", { text: "✕ Not applied: " }), why));
    }
    parts.push(fields("Data", JSON.parse(replay.data[index])));
    const about = element("details", {}, focusable("summary", { text: "About it" }));
    about.open = aboutOpen;
    about.addEventListener("toggle", () => (aboutOpen = about.open));
    about.append(fields("About it", JSON.parse(replay.about[index])));
    parts.push(about);
    eventPanel.replaceChildren(...parts);
  }

  function fields(name, values) {
    const cells = ([key, value]) => row(named(pathText([key])), short(value));
    return sheet(name, Object.entries(values).map(cells));
  }

  // The state, as a tree with marks.

  function drawState(version) {
    if (!replay.state) {
      const text = "No state: no aggregate of it is known to the lab.";
      statePanel.replaceChildren(element("p", { text }));
      return;
    }
    const changes = replay.changes[version - 1];
    const state = replay.states.after(version)[streams[version - 1]];
    changedIn = new Map();
    for (const change of changes) {
      const parent = JSON.stringify(change[0].slice(0, -1));
      if (!changedIn.has(parent)) changedIn.set(parent, new Map());
      changedIn.get(parent).set(change[0].at(-1), change);
    }
    // What leads to a change, by what holds it.
    leadsTo = new Map();
    for (const [keys] of changes) {
      keys.forEach((key, depth) => {
        const holder = JSON.stringify(keys.slice(0, depth));
        leadsTo.set(holder, [...(leadsTo.get(holder) ?? []), key]);
      });
    }
    const counts = Object.entries(MARK_WORDS)
      .map(([sign, word]) => `${changes.filter((one) => markOf(one) === sign).length} ${word}`)
      .filter((told) => !told.startsWith("0 "));
    const rows = [];
    addRows(state, [], rows);
    const told = dim(`  after this event: ${counts.join(", ") || "nothing changed"}`);
    const heading = element("div", {}, element("b", { text: "State" }), told);
    statePanel.replaceChildren(heading, sheet("State", rows));
  }

  // What changed is in sight.
  function reveal() {
    const row = statePanel.querySelector(".eslab-changed");
    if (!row) return;
    const [box, seen] = [row.getBoundingClientRect(), statePanel.getBoundingClientRect()];
    if (box.top < seen.top || box.bottom > seen.bottom) {
      statePanel.scrollTop += box.top - seen.top - seen.height / 3;
    }
  }

  function addRows(holder, keys, rows) {
    const here = JSON.stringify(keys);
    const changed = changedIn.get(here) ?? new Map();
    const list = Array.isArray(holder);
    const gone = [...changed].filter(([, change]) => change[1] === REMOVE);
    let names = list ? [...holder.keys()] : Object.keys(holder);
    const all = names.length;
    const most = wholes.has(here) ? MOST : MANY;
    if (all > most) {
      // Of many the first, and whatever changed; to sort them all would take too long.
      const inner = (leadsTo.get(here) ?? []).filter((name) => name in holder);
      names = [...new Set([...names.slice(0, most), ...inner])];
    }
    const hidden = all - names.length;
    if (list) names.sort((one, other) => one - other);
    else names = [...new Set([...names, ...gone.map(([name]) => name)])].sort();
    for (const name of names) {
      const change = changed.get(name);
      const removed = change?.[1] === REMOVE;
      const value = removed && !list ? change[2] : holder[name];
      addRow(rows, [...keys, name], value, removed && list ? undefined : change);
    }
    if (list) for (const [name, change] of gone) addRow(rows, [...keys, name], change[2], change);
    const opened = wholes.has(here) && all > MANY;
    if (hidden || opened) {
      const text = hidden ? `… ${whole(hidden)} more ` : "";
      const word = opened ? "Show fewer" : "Show more";
      const fold = quiet(`${text}${opened ? "▴" : "▾"}`, word, () => {
        if (!wholes.delete(here)) wholes.add(here);
        show();
      });
      const cell = element("td", { colspan: "3" }, fold);
      cell.style.paddingLeft = indent(keys.length);
      rows.push(row("", cell));
    }
  }

  function addRow(rows, keys, value, change) {
    const gone = change?.[1] === REMOVE;
    const here = JSON.stringify(keys);
    const inner = isHolder(value) && !gone && Object.keys(value).length;
    const open = inner && (folds.get(here) ?? (keys.length < 4 || leadsTo.has(here)));
    const label = pathText(keys.slice(-1));
    const name = named();
    name.style.paddingLeft = indent(keys.length - (inner ? 1 : 0));
    if (inner) {
      const fold = quiet(`${open ? "▾" : "▸"} ${label}`, label, () => {
        folds.set(here, !open);
        show();
      });
      fold.setAttribute("aria-expanded", String(Boolean(open)));
      name.append(fold);
    } else name.textContent = label;
    const cell = element("td");
    if (inner) cell.append(dim(`${Array.isArray(value) ? "list" : "object"} of ${whole(inner)}`));
    else if (gone) cell.append(element("s", { text: short(value) }));
    else if (change && markOf(change) === "~") {
      cell.append(element("s", { class: "eslab-dim", text: short(change[2]) }), ` → ${short(value)}`);
    } else cell.textContent = short(value);
    const pinned = element("td", {}, gone ? "" : pinButton(keys));
    const made = row(sign(change && markOf(change)), name, cell, pinned);
    if (change) made.className = "eslab-changed";
    rows.push(made);
    if (open) addRows(value, keys, rows);
  }

  function pinButton(keys) {
    const path = pathText(keys);
    const held = model.get("pins").includes(path);
    const name = `${held ? "Unpin" : "Pin"} ${path}`;
    const made = quiet(held ? "◆" : "◇", name, () => pin(path));
    made.setAttribute("aria-pressed", String(held));
    return made;
  }

  // Pins: the value at a path over time.

  // Pins a path, or unpins it.
  function pin(path) {
    const kept = model.get("pins").filter((one) => one !== path);
    model.set("pins", kept.length < model.get("pins").length ? kept : [...kept, path]);
    model.save_changes();
  }

  function pointsOf(path) {
    if (!series.has(path)) {
      const keys = pathKeys(path);
      const states = new States(replay);
      const points = [];
      for (let number = 1; number <= replay.loaded; number += 1) {
        states.move(number);
        const found = valueAt(states.held[streams[number - 1]], keys);
        const value = isHolder(found) ? short(found) : found;
        if (!points.length || value !== points.at(-1)[1]) points.push([number, value]);
      }
      series.set(path, points);
    }
    return series.get(path);
  }

  function pinRow(path) {
    const value = element("span", { class: "eslab-code" });
    const trend = canvas(30, `${path} over time`, (context, width) => drawSeries(context, width, path));
    const end = quiet("✕", `Unpin ${path}`, () => pin(path));
    const head = element("div", {}, element("b", { text: path }), " ", value, " ", end);
    const part = element("div", { class: "eslab-pin" }, head, trend);
    return {
      part,
      release: trend.release,
      draw: () => {
        const version = now();
        const state = replay.states.after(version)[streams[version - 1]];
        value.textContent = short(valueAt(state, pathKeys(path)));
        trend.paint();
      },
    };
  }

  function drawSeries(context, width, path) {
    if (!replay.loaded) return;
    const { here, dim } = colours();
    const points = pointsOf(path);
    const known = [...new Set(points.map(([, value]) => value))].filter((one) => one != null);
    // Texts of numbers, as decimals are, are numbers; other values are steps in their order.
    const numbers = known.every((one) => (
      one !== "" && typeof one !== "boolean" && Number.isFinite(Number(one))
    ));
    const levels = new Map(known.map((one, index) => [one, numbers ? Number(one) : index]));
    const level = (value) => levels.get(value) ?? NaN;
    let [low, high] = [Infinity, -Infinity];
    for (const one of levels.values()) [low, high] = [Math.min(low, one), Math.max(high, one)];
    const x = (number) => 4 + replay.place(number) * (width - 8);
    const y = (value) => 26 - (high > low ? (value - low) / (high - low) : 0.5) * 22;
    context.strokeStyle = dim;
    context.lineWidth = 1.5;
    context.beginPath();
    let drawing = false;
    points.forEach(([number, value], index) => {
      const [start, end] = [x(number), x(points[index + 1]?.[0] ?? replay.loaded)];
      const at = y(level(value));
      if (Number.isNaN(at)) {
        drawing = false;
        return;
      }
      if (drawing) context.lineTo(start, at);
      else context.moveTo(start, at);
      context.lineTo(Math.max(end, start + 1), at);
      drawing = true;
    });
    context.stroke();
    playhead(context, x(now()), 1, 29, here, [], 1.5);
  }

  // Search.

  function find(text) {
    const wanted = text.trim().toLowerCase();
    matches = [];
    for (let index = 0; wanted && index < replay.loaded; index += 1) {
      const told = [types[index], replay.data[index]];
      if (!single) told.push(streams[index]);
      told.push(...replay.changes[index].map(([keys]) => pathText(keys)));
      if (told.some((one) => one.toLowerCase().includes(wanted))) matches.push(index + 1);
    }
    tellMatches();
    show();
  }

  function tellMatches() {
    const place = matches.indexOf(now()) + 1;
    const many = whole(matches.length);
    const told = place ? `${whole(place)} of ${many}` : `${many} found`;
    matchCount.textContent = queryInput.value.trim() ? told : "";
  }

  function match(direction) {
    const version = now();
    if (!matches.length) return;
    const found = direction > 0
      ? matches.find((number) => number > version) ?? matches[0]
      : matches.findLast((number) => number < version) ?? matches.at(-1);
    move(found - version);
    tellMatches();
  }

  // Comparison and table.

  function drawCompare() {
    const version = now();
    const from = compared;
    const pick = (number) => {
      const states = replay.states.after(number);
      return copied(single ? states[streams[number - 1]] : states);
    };
    const found = from === version ? [] : differences(pick(from), pick(version));
    const rows = found.slice(0, MOST).map((change) => {
      const [keys, kind, ...values] = change;
      const [before, after] = kind === INSERT ? ["", short(values[0])] : values.map(short);
      return row(sign(markOf(change)), named(pathText(keys)), before, after ?? "");
    });
    if (found.length > MOST) rows.push(row("", `… ${whole(found.length - MOST)} more`, "", ""));
    const head = ["", "path", `at ${from}`, `at ${version}`]
      .map((text) => element("th", { scope: "col", text }));
    const same = "the state is the same";
    const told = found.length ? `${whole(found.length)} of the state's paths differ` : same;
    otherInput.max = count;
    // Whoever types here goes on typing.
    if (document.activeElement !== otherInput) otherInput.value = from;
    differ.textContent = `to ${version}: ${told}`;
    differing.replaceChildren(
      sheet("What differs", rows, element("thead", {}, element("tr", {}, ...head))),
    );
  }

  function drawTable() {
    const version = now();
    const first = Math.max(1, Math.min(version - 8, replay.loaded - 16));
    const last = Math.min(replay.loaded, first + 16);
    const rows = [];
    for (let number = first; number <= last; number += 1) {
      const index = number - 1;
      const changes = replay.changes[index];
      const told = changes.slice(0, 3).map((change) => {
        const values = change.slice(2).map(short);
        return `${SHOWN_MARKS[markOf(change)]} ${pathText(change[0])}: ${values.join(" → ")}`;
      });
      if (changes.length > 3) told.push(`… ${changes.length - 3} more`);
      if (replay.errors.has(number)) told.unshift(`✕ ${replay.errors.get(number)}`);
      rows.push([
        `${number === version ? "▶ " : ""}${whole(number)}`,
        momentText(moments[index]),
        ...(single ? [] : [`${streams[index]} v${replay.versions[index]}`]),
        types[index],
        told.join("\n"),
      ]);
    }
    const names = ["occurred at (UTC)", ...(single ? [] : ["stream"]), "type", "what it changed"];
    const number = single ? "version" : "number";
    const caption = `${whole(first)} to ${whole(last)} of ${whole(count)}`;
    const made = table([number, ...names], rows, { caption, numbers: [number] });
    made.tBodies[0].rows[version - first]?.setAttribute("aria-current", "true");
    more.table.replaceChildren(made);
  }

  // What if: edits from here, tried out on a branch by the kernel.

  // The form for what was chosen, at the version where the player stands.
  function offer(anew = false) {
    const version = now();
    const action = actionInput.value;
    const state = `${action} ${version}`;
    if (offered === state && !anew) return;
    offered = state;
    hereText.textContent = `${version} ${types[version - 1]}`;
    typeInput = dataInput = afterInput = null;
    const parts = [];
    if (action === "insert" || action === "command") {
      typeInput = focusable("select", { name: action === "insert" ? "Type of the event" : "Command" });
      const names = action === "insert"
        ? new Set([...replay.events, ...replay.kinds.keys()]) : replay.commands;
      for (const name of names) typeInput.append(new Option(name, name));
      parts.push(typeInput);
    }
    if (action !== "skip" && action !== "move") {
      dataInput = focusable("textarea", { name: "Its data, as JSON", rows: "4", spellcheck: "false" });
      dataInput.value = action === "edit" ? pretty(replay.data[version - 1]) : "{}";
      parts.push(dataInput);
    }
    if (action === "edit") dataInput.rows = Math.min(8, dataInput.value.split("\n").length);
    if (action === "insert") {
      const fill = () => {
        const index = types.lastIndexOf(typeInput.value);
        if (index >= 0) dataInput.value = pretty(replay.data[index]);
      };
      typeInput.addEventListener("change", fill);
      fill();
    }
    if (action === "move") {
      const name = "Behind which version; 0 is the beginning";
      afterInput = focusable("input", { type: "number", min: "0", max: count, name });
      afterInput.value = Math.max(0, version - 2);
      parts.push("behind", afterInput);
    }
    form.replaceChildren(...parts);
  }

  function wished() {
    const version = now();
    return {
      action: actionInput.value,
      version,
      ...(typeInput && { type: typeInput.value }),
      ...(dataInput && { data: dataInput.value }),
      ...(afterInput && { after: Math.round(Number(afterInput.value)) }),
    };
  }

  function add() {
    wishes.push(wished());
    listed();
  }

  function listed() {
    wishList.replaceChildren(...wishes.map((wish, index) => {
      const { action, version, type, after, data } = wish;
      const told = [action, version, types[version - 1], type];
      if (after !== undefined) told.push(`behind ${after}`);
      told.push(data?.replace(/\s+/g, " ").slice(0, 80));
      const end = quiet("✕", `Take back ${action} ${version}`, () => {
        wishes.splice(index, 1);
        listed();
      });
      return element("li", {}, told.filter(Boolean).join(" "), " ", end);
    }));
  }

  async function tryOut() {
    if (trying) return;
    trying = true;
    enable(tryButton, false);
    outcome.replaceChildren(dim("waiting for the kernel …"));
    try {
      const asked = wishes.length ? wishes : [wished()];
      const found = await ask(model, "what_if", { wishes: asked });
      outcome.replaceChildren(...outcomeParts(found));
    } catch (error) {
      const text = `✕ ${error.message}`;
      outcome.replaceChildren(element("p", { class: "eslab-error", text }));
    }
    trying = false;
    enable(tryButton, true);
  }

  function outcomeParts({ title, sections, exports }) {
    const parts = [element("p", {}, element("b", { text: title }))];
    for (const section of sections) {
      const rows = section.findings.map(([mark, text]) => row(sign(mark), text));
      parts.push(sheet(section.title, rows, element("caption", { text: section.title })));
    }
    const saves = Object.entries(exports).map(([name, text]) => button(name, `Save ${name}`, () => {
      const href = URL.createObjectURL(new Blob([text]));
      element("a", { download: name, href }).click();
      setTimeout(() => URL.revokeObjectURL(href), 1000);
    }));
    if (saves.length) parts.push(line("Take along:", ...saves));
    return parts;
  }

  replay.watchers.add(grown);
  model.on("change:version", show);
  model.on("change:pins", marked);
  model.on("change:breakpoints", marked);
  grown();
  marked();
  return () => {
    replay.watchers.delete(grown);
    model.off("change:version", show);
    model.off("change:pins", marked);
    model.off("change:breakpoints", marked);
    pause();
    show.cancel();
    clearTimeout(sent);
    for (const drawing of [strip, lanes, ...pinRows]) drawing.release();
  };
}

// Marks on a canvas.

function playhead(context, x, top, bottom, colour, dash = [], width = 2.5) {
  context.save();
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.setLineDash(dash);
  context.beginPath();
  context.moveTo(x, top);
  context.lineTo(x, bottom);
  context.stroke();
  context.restore();
}

const FLAG = [[-5, -4], [5, -4], [0, 4]];
const CROSS = [
  [-6, -4], [-4, -6], [0, -2], [4, -6], [6, -4], [2, 0],
  [6, 4], [4, 6], [0, 2], [-4, 6], [-6, 4], [-2, 0],
];
const DIAMOND = [[0, -4], [4, 0], [0, 4], [-4, 0]];

function shape(context, x, y, points, colour) {
  context.fillStyle = colour;
  context.beginPath();
  for (const [dx, dy] of points) context.lineTo(x + dx, y + dy);
  context.closePath();
  context.fill();
}

export default { render };
