// The replay player. Its frames live here: playing and seeking need no kernel.

const SPEEDS = [0.5, 1, 2, 4, 8, 16, 32, 64];
const LONGEST_GAP = 2000;
const [SET, INSERT, REMOVE] = [0, 1, 2];
const MARK_WORDS = { "+": "appeared", "-": "disappeared", "~": "changed" };
const SHOWN_MARKS = { "+": "+", "-": "−", "~": "~", "=": "=", "!": "!" };
const MANY = 20;
const MOST = 500;
const LETTERS = 300;
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

// ---- What was recorded: columns, which grow while the rest is loaded.

const recordings = new WeakMap();

function recordingOf(model) {
  if (!recordings.has(model)) recordings.set(model, new Recording(model));
  return recordings.get(model);
}

class Recording {
  constructor(model) {
    Object.assign(this, model.get("head"));
    this.initials = JSON.parse(this.initials);
    this.columns = ["streams", "types", "versions", "positions", "moments", "previous"];
    this.columns.push("digests", "data", "about", "changes");
    for (const name of this.columns) this[name] = [];
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
    for (const name of this.columns) for (const value of chunk[name]) this[name].push(value);
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
    let [low, high] = [0, this.loaded];
    const moment = start + place * (end - start);
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.clock[middle] <= moment) low = middle + 1;
      else high = middle;
    }
    return Math.max(1, low);
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

// ---- States: one set is kept, and moved to where it is asked for.

function copied(value) {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(copied);
  const made = {};
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
  constructor(recording, kept = []) {
    this.recording = recording;
    this.number = 0;
    this.held = {};
    this.kept = kept;
    this.room = 400_000;
  }

  // A copy is kept here and there, as long as there is room, so that no way is far.
  passed() {
    const { loaded } = this.recording;
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
    const { streams, previous, changes, between, initials } = this.recording;
    const stream = streams[number - 1];
    if (!previous[number - 1]) {
      this.held[stream] = copied(initials[stream.split("-", 1)[0]] ?? {});
    }
    for (const change of between.get(number) ?? []) applied(this.held[stream], change);
    for (const change of changes[number - 1]) applied(this.held[stream], change);
  }

  back(number) {
    const { streams, previous, changes, between } = this.recording;
    const stream = streams[number - 1];
    if (!previous[number - 1]) {
      delete this.held[stream];
      return;
    }
    for (const change of changes[number - 1].toReversed()) {
      applied(this.held[stream], undone(change));
    }
    for (const change of (between.get(number) ?? []).toReversed()) {
      applied(this.held[stream], undone(change));
    }
  }
}

// ---- Values, paths and what differs.

const isHolder = (value) => value !== null && typeof value === "object";

function spaced(value) {
  if (Array.isArray(value)) return `[${value.map(spaced).join(", ")}]`;
  if (!isHolder(value)) return JSON.stringify(value) ?? "nothing";
  const parts = Object.entries(value).map(([key, inner]) => `${JSON.stringify(key)}: ${spaced(inner)}`);
  return `{${parts.join(", ")}}`;
}

function short(value) {
  const text = spaced(value);
  return text.length > LETTERS ? `${text.slice(0, LETTERS - 1)}…` : text;
}

function pathText(keys) {
  let text = "";
  for (const key of keys) {
    if (typeof key === "number") text += `[${key}]`;
    else if (/^[\p{L}_][\p{L}\p{N}_-]*$/u.test(key)) text += text ? `.${key}` : key;
    else text += `[${JSON.stringify(key)}]`;
  }
  return text;
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
    if (Array.isArray(before)) {
      const shared = Math.min(before.length, after.length);
      for (let index = 0; index < shared; index += 1) {
        differences(before[index], after[index], [...keys, index], found);
      }
      after.slice(shared).forEach((value, index) => found.push([[...keys, shared + index], INSERT, value]));
      before.slice(shared).forEach((value, index) => found.push([[...keys, shared + index], REMOVE, value]));
      return found;
    }
    for (const key of [...new Set([...Object.keys(before), ...Object.keys(after)])].sort()) {
      if (!(key in after)) found.push([[...keys, key], REMOVE, before[key]]);
      else if (!(key in before)) found.push([[...keys, key], INSERT, after[key]]);
      else differences(before[key], after[key], [...keys, key], found);
    }
  } else if (before !== after && spaced(before) !== spaced(after)) found.push([keys, SET, before, after]);
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
  made.dataset.mark = sign;
  if (MARK_WORDS[sign]) {
    made.title = MARK_WORDS[sign];
    made.setAttribute("role", "img");
    made.setAttribute("aria-label", MARK_WORDS[sign]);
  }
  return made;
}

// ---- The widget.

function render({ model, el }) {
  const recording = recordingOf(model);
  const { root, body, said } = frame(el, "player", `Replay of ${recording.title}`);
  const player = new Player(model, recording, root, said);
  body.append(...player.parts());
  const moved = () => player.show();
  const marked = () => player.marked();
  const grown = () => player.grown();
  recording.watchers.add(grown);
  model.on("change:version", moved);
  model.on("change:pins", marked);
  model.on("change:breakpoints", marked);
  player.grown();
  player.marked();
  return () => {
    recording.watchers.delete(grown);
    model.off("change:version", moved);
    model.off("change:pins", marked);
    model.off("change:breakpoints", marked);
    player.release();
  };
}

class Player {
  constructor(model, recording, root, said) {
    Object.assign(this, { model, recording, root, said });
    this.states = recording.states;
    this.show = painter(() => this.draw());
    this.open = new Map();
    this.whole = new Set();
    this.stops = new Map();
    this.matches = [];
    this.wishes = [];
    this.from = 0;
    this.sent = 0;
    this.told = -Infinity;
    this.toolbar();
    this.views();
    this.panels();
    keys(root, {
      " ": () => this.toggle(),
      ArrowRight: () => this.step(1),
      ArrowLeft: () => this.step(-1),
      "Shift+ArrowRight": () => this.step(10),
      "Shift+ArrowLeft": () => this.step(-10),
      Home: () => this.seek(1),
      End: () => this.seek(recording.count),
      "]": () => this.same(1),
      "[": () => this.same(-1),
      d: () => this.panel("compare"),
      D: () => this.panel("compare"),
      b: () => this.panel("branch"),
      B: () => this.panel("branch"),
      t: () => this.panel("table"),
      T: () => this.panel("table"),
      "/": () => this.panel("search", true),
      "?": () => this.panel("keys"),
    });
  }

  get version() {
    return Math.min(this.model.get("version"), this.recording.loaded);
  }

  // The kernel hears of it at most twenty times a second; the latest wins.
  seek(wanted) {
    const next = Math.min(this.recording.loaded, Math.max(1, wanted));
    if (!this.recording.loaded || next === this.model.get("version")) return;
    this.model.set("version", next);
    const wait = this.told + 50 - performance.now();
    this.sent ||= setTimeout(() => {
      this.sent = 0;
      this.told = performance.now();
      this.model.save_changes();
    }, Math.max(0, wait));
  }

  step(count) {
    this.pause();
    this.seek(this.version + count);
  }

  same(direction, type = this.recording.types[this.version - 1]) {
    const { types } = this.recording;
    const found = direction > 0 ? types.indexOf(type, this.version) : this.version > 1
      ? types.lastIndexOf(type, this.version - 2) : -1;
    if (found >= 0) this.step(found + 1 - this.version);
    else this.tell(`no ${type} ${direction > 0 ? "comes behind" : "is before"} this one`);
    return found >= 0;
  }

  tell(text) {
    this.note.textContent = text;
  }

  // ---- Playing.

  toggle() {
    if (this.timer) this.pause();
    else this.play();
  }

  play() {
    if (this.recording.count < 2) return;
    if (this.version >= this.recording.count) this.seek(1);
    this.said.setAttribute("aria-live", "off");
    this.due = performance.now() + this.pace();
    this.timer = setInterval(() => this.tick(), 16);
    this.controls();
  }

  pause() {
    if (!this.timer) return;
    clearInterval(this.timer);
    this.timer = 0;
    this.said.setAttribute("aria-live", "polite");
    this.controls();
    this.show();
  }

  // Milliseconds until the next event.
  pace() {
    const speed = Number(this.speed.value);
    if (!this.gaps.checked) return 1000 / speed;
    const { moments } = this.recording;
    const gap = (moments[this.version] - moments[this.version - 1]) / 1000;
    return Math.min(LONGEST_GAP, Math.max(0, gap || 0) / speed);
  }

  tick() {
    // Whole steps since the last one, or a busy browser would lose some.
    const now = performance.now();
    for (let steps = 0; this.due <= now && steps < 500; steps += 1) {
      this.seek(this.version + 1);
      if (this.version >= this.recording.count || this.stops.has(this.version)) {
        const stop = this.stops.get(this.version);
        if (stop) this.tell(`stopped at ${stop.join(", ")}`);
        this.pause();
        return;
      }
      this.due += this.pace();
    }
    if (this.due <= now) this.due = now;
  }

  // ---- The controls.

  toolbar() {
    const { recording } = this;
    this.first = button("|◀", "First", () => this.step(1 - this.version));
    this.back = button("◀", "One back", () => this.step(-1));
    this.start = button("▶ Play", "Play", () => this.toggle());
    this.next = button("▶", "One on", () => this.step(1));
    this.last = button("▶|", "Last", () => this.step(recording.count));
    this.speed = focusable("select", { name: "Speed", title: "Speed" });
    for (const factor of SPEEDS) {
      this.speed.append(new Option(`${factor}×`, factor, factor === 1, factor === 1));
    }
    this.gaps = focusable("input", { type: "checkbox", name: "In original gaps" });
    const gaps = element("label", { title: "Wait between events as long as it took, at most 2 s" });
    gaps.append(this.gaps, " original gaps");
    for (const control of [this.speed, this.gaps]) {
      control.addEventListener("change", () => (this.due = performance.now() + this.pace()));
    }
    this.before = button("‹ type", "Previous of the same type", () => this.same(-1));
    this.behind = button("type ›", "Next of the same type", () => this.same(1));
    this.goto = focusable("input", {
      type: "text",
      name: "Go to a version, a time or the next of a type",
      placeholder: "go to: 7, 12:30, a type",
      class: "eslab-goto",
    });
    this.goto.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.root.focus();
      if (event.key === "Enter" && this.jump(this.goto.value.trim())) {
        this.goto.value = "";
        this.root.focus();
      }
    });
    this.tabs = {};
    const tab = (kind, text, name) => {
      this.tabs[kind] = button(text, name, () => this.panel(kind));
      this.tabs[kind].setAttribute("aria-pressed", "false");
      return this.tabs[kind];
    };
    this.bar = element("div", { class: "eslab-row" });
    this.bar.append(
      element("span", { class: "eslab-group" }, this.first, this.back, this.start, this.next, this.last),
      element("span", { class: "eslab-group" }, this.speed, gaps),
      element("span", { class: "eslab-group" }, this.before, this.behind, this.goto),
      element("span", { class: "eslab-group eslab-tabs" },
        tab("search", "Search", "Search"),
        tab("compare", "Compare", "Compare two versions"),
        ...(recording.branch ? [tab("branch", "What if", "What if: a branch from here")] : []),
        tab("table", "Table", "Table"),
        tab("keys", "?", "Keys")),
    );
    // What was just done, and what could not be.
    this.note = element("div", { class: "eslab-note", "aria-live": "polite" });
  }

  jump(text) {
    const { recording } = this;
    if (!text) return false;
    if (/^\d[\d,]*$/.test(text)) {
      const number = Number(text.replaceAll(",", ""));
      if (number >= 1 && number <= recording.count) this.step(number - this.version);
      else this.tell(`there are the versions 1 to ${recording.count}, not ${number}`);
      return number >= 1 && number <= recording.count;
    }
    const lower = text.toLowerCase();
    const type = [...recording.kinds.keys()].find((name) => name.toLowerCase() === lower)
      ?? [...recording.kinds.keys()].find((name) => name.toLowerCase().includes(lower));
    if (type) return this.same(1, type);
    const day = momentText(recording.clock[this.version - 1] ?? 0).slice(0, 10);
    const whole = /^\d\d?:\d\d/.test(text) ? `${day}T${text.padStart(5, "0")}` : text.replace(" ", "T");
    const moment = Date.parse(/[zZ]$|[+-]\d\d:?\d\d$/.test(whole) ? whole : `${whole}Z`.replace(/^(\d{4}-\d\d-\d\d)Z$/, "$1T00:00Z"));
    if (Number.isNaN(moment)) {
      this.tell(`“${text}” is no version, no time and no type of these events`);
      return false;
    }
    const found = recording.clock.findLastIndex((one) => one <= moment * 1000);
    if (found < 0) this.tell(`nothing had occurred by ${momentText(moment * 1000)}`);
    else this.step(found + 1 - this.version);
    return found >= 0;
  }

  controls() {
    const { version, recording } = this;
    const playing = Boolean(this.timer);
    this.start.textContent = playing ? "‖ Pause" : "▶ Play";
    this.start.setAttribute("aria-label", playing ? "Pause" : "Play");
    this.start.title = playing ? "Pause" : "Play";
    enable(this.start, recording.count > 1);
    for (const control of [this.first, this.back]) enable(control, version > 1);
    for (const control of [this.next, this.last]) enable(control, version < recording.count);
  }

  // ---- The strip of the whole replay, and the lanes around the playhead.

  views() {
    const { recording } = this;
    this.strip = canvas(58, "Events over time", (context, width, height) => this.drawStrip(context, width, height));
    this.slider = focusable("div", {
      class: "eslab-strip",
      role: "slider",
      tabindex: "0",
      name: recording.single ? "Version" : "Frame",
      "aria-valuemin": String(Math.min(1, recording.count)),
      "aria-valuemax": String(recording.count),
    }, this.strip);
    this.dragged(this.slider, (x, width) => this.seek(recording.at((x - 4) / (width - 8))));
    const rows = Math.min(8, recording.kinds.size + (recording.kinds.size > 8 ? 1 : 0)) || 1;
    this.lanes = canvas(rows * 24 + 48, "Events around this one, a lane for each type", (context, width, height) => this.drawLanes(context, width, height));
    this.lanes.style.cursor = "pointer";
    this.dragged(this.lanes, (x) => {
      if (!this.window) return;
      const { first, left, step } = this.window;
      this.pending = first + Math.round((x - left) / step);
    }, () => this.seek(this.pending));
    this.lanes.addEventListener("pointermove", (event) => {
      if (!this.window) return;
      const { first, left, step } = this.window;
      const number = first + Math.round((event.offsetX - left) / step);
      const known = number >= 1 && number <= recording.loaded;
      this.lanes.title = known
        ? `${recording.single ? "v" : ""}${number} ${recording.types[number - 1]}\n${momentText(recording.moments[number - 1])} UTC`
        : "";
    });
  }

  dragged(area, act, end = () => {}) {
    let held = false;
    const go = (event) => {
      const box = area.getBoundingClientRect();
      act(Math.min(box.width, Math.max(0, event.clientX - box.left)), box.width);
    };
    area.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      held = true;
      area.setPointerCapture(event.pointerId);
      this.pause();
      go(event);
    });
    area.addEventListener("pointermove", (event) => held && go(event));
    area.addEventListener("pointerup", () => {
      if (held) end();
      held = false;
    });
    area.addEventListener("pointercancel", () => (held = false));
  }

  colours() {
    return {
      ink: themed(this.root, "--jp-content-font-color1", "#333"),
      dim: themed(this.root, "--jp-ui-font-color2", "#666"),
      line: themed(this.root, "--jp-border-color2", "#999"),
      here: themed(this.root, "--jp-brand-color1", COLOURS.ok),
      bad: themed(this.root, "--jp-error-color1", COLOURS.failed),
      font: `11px ${themed(this.root, "--jp-ui-font-family", "system-ui, sans-serif")}`,
    };
  }

  // Counted once for a width: the playhead moves far more often.
  bins(width) {
    const { recording } = this;
    const key = `${width} ${recording.loaded}`;
    if (this.binned?.key !== key) {
      const counts = new Uint32Array(Math.max(1, Math.ceil(width / 5)));
      for (let number = 1; number <= recording.loaded; number += 1) {
        counts[Math.min(counts.length - 1, Math.floor(recording.place(number) * counts.length))] += 1;
      }
      this.binned = { key, counts, highest: counts.reduce((a, b) => Math.max(a, b), 1) };
    }
    return this.binned;
  }

  drawStrip(context, width) {
    const { recording, version } = this;
    const { dim, here, bad, line, font } = this.colours();
    if (!recording.count) return;
    const [left, wide, top, base] = [4, width - 8, 8, 40];
    const x = (number) => left + recording.place(number) * wide;
    const { counts, highest } = this.bins(wide);
    context.fillStyle = dim;
    counts.forEach((count, index) => {
      if (!count) return;
      const height = Math.max(2, (base - top) * (count / highest));
      context.fillRect(left + (index * wide) / counts.length, base - height, Math.max(1, wide / counts.length - 1), height);
    });
    context.fillStyle = line;
    context.fillRect(left, base, wide, 1);
    context.fillStyle = here;
    for (const number of this.matches.slice(0, 2000)) context.fillRect(x(number) - 0.5, base + 1, 1.5, 4);
    for (const number of recording.snapshots) {
      if (number <= recording.loaded) shape(context, x(number), base + 5, [[0, -4], [4, 0], [0, 4], [-4, 0]], dim);
    }
    for (const number of this.stops.keys()) {
      if (number <= recording.loaded) shape(context, x(number), top - 3, [[-5, -4], [5, -4], [0, 4]], COLOURS.retry);
    }
    const wrong = recording.errors.keys().next().value;
    if (wrong) cross(context, Math.min(x(wrong), left + wide - 5), top + 4, bad);
    if (this.from) playhead(context, x(this.from), top - 4, base + 6, dim, [3, 3]);
    playhead(context, x(version), top - 6, base + 8, here);
    context.fillStyle = dim;
    context.font = font;
    const y = base + 16;
    const [start, end] = recording.span;
    context.fillText(momentText(start), left, y);
    context.textAlign = "right";
    context.fillText(momentText(end), left + wide, y);
    context.textAlign = "center";
    const words = recording.loaded < recording.count
      ? recording.trouble || `loading: ${recording.loaded.toLocaleString("en")} of ${recording.count.toLocaleString("en")}`
      : end > start ? "events over time (UTC)" : "events, all at one moment";
    context.fillText(words, left + wide / 2, y);
    context.textAlign = "left";
  }

  drawLanes(context, width, height) {
    const { recording, version } = this;
    if (!recording.count) return;
    const { ink, dim, here, bad, line, font } = this.colours();
    context.font = font.replace("11px", "12px");
    let names = [...recording.kinds.keys()];
    if (names.length > 8) {
      names = [...recording.kinds].sort((one, other) => other[1] - one[1]).slice(0, 7).map(([name]) => name);
      names.push("other types");
    }
    const left = Math.min(width * 0.3, Math.max(...names.map((name) => context.measureText(name).width))) + 24;
    const room = width - left - 20;
    const around = Math.max(3, Math.min(15, Math.floor(room / 44)));
    const first = Math.max(1, Math.min(version - around, recording.loaded - 2 * around));
    const last = Math.min(recording.loaded, first + 2 * around);
    const step = room / Math.max(around, last - first);
    this.window = { first, left: left + 8, step };
    const x = (number) => left + 8 + step * (number - first);
    const top = 24;
    const bottom = top + names.length * 24;
    names.forEach((name, row) => {
      const y = top + row * 24 + 12;
      context.fillStyle = name === recording.types[version - 1] ? ink : dim;
      context.textAlign = "right";
      context.fillText(fit(context, name, left - 16), left - 12, y + 4);
      context.fillStyle = line;
      context.fillRect(left, y, width - left, 1);
    });
    context.font = font;
    context.textAlign = "center";
    const lane = (number) => {
      const row = names.indexOf(recording.types[number - 1]);
      return top + (row < 0 ? names.length - 1 : row) * 24 + 12;
    };
    playhead(context, x(version), top - 6, bottom + 4, here, [], 1.5);
    if (this.from >= first && this.from <= last) {
      playhead(context, x(this.from), top - 6, bottom + 4, dim, [3, 3], 1.5);
    }
    const gaps = [];
    for (let number = first; number < last; number += 1) gaps.push(recording.moments[number] - recording.moments[number - 1]);
    const usual = [...gaps].sort((one, other) => one - other)[gaps.length >> 1] ?? 0;
    let free = -Infinity;
    for (let number = first; number <= last; number += 1) {
      const [at, y] = [x(number), lane(number)];
      if (recording.errors.has(number)) cross(context, at, y, bad, number === version ? 7 : 5);
      else {
        context.beginPath();
        context.arc(at, y, number === version ? 7 : 4.5, 0, 2 * Math.PI);
        context.fillStyle = number === version ? here : dim;
        context.fill();
      }
      if (this.stops.has(number)) shape(context, at, top - 6, [[-5, -4], [5, -4], [0, 4]], COLOURS.retry);
      if (recording.snapshots.includes(number)) shape(context, at, bottom + 1, [[0, -4], [4, 0], [0, 4], [-4, 0]], dim);
      if (number === version || (number % 5 === 0 && Math.abs(number - version) * step > 34)) {
        context.fillStyle = number === version ? ink : dim;
        const text = number.toLocaleString("en");
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

  // ---- What stands below.

  panels() {
    const box = (name) => focusable("div", { class: "eslab-panel", name, role: "region", tabindex: "0" });
    this.event = box("Event");
    this.state = box("State");
    this.halves = element("div", { class: "eslab-halves" }, this.event, this.state);
    this.pinned = element("div", { class: "eslab-pins" });
    this.more = Object.fromEntries(
      ["search", "compare", "branch", "table", "keys"].map((kind) => {
        const made = element("div", { class: "eslab-more" });
        made.hidden = true;
        return [kind, made];
      }),
    );
    this.searchPanel();
    if (this.recording.branch) this.branchPanel();
    this.more.keys.append(table(["key", "what it does"], KEYS));
  }

  parts() {
    return [this.bar, this.more.search, this.slider, this.lanes, this.pinned, this.halves, this.note,
      this.more.compare, this.more.branch, this.more.table, this.more.keys];
  }

  panel(kind, stay = false) {
    const panel = this.more[kind];
    if (!this.tabs[kind]) return;
    panel.hidden = !panel.hidden && !stay;
    this.tabs[kind].setAttribute("aria-pressed", String(!panel.hidden));
    if (kind === "compare") this.from = panel.hidden ? 0 : this.version;
    if (kind === "search") {
      if (panel.hidden) this.find("");
      else this.query.focus();
    }
    if (kind === "branch" && !panel.hidden) this.offer();
    this.show();
  }

  grown() {
    const { recording } = this;
    this.slider.setAttribute("aria-valuemax", String(recording.count));
    this.lanes.style.height = `${Math.max(1, Math.min(8, recording.kinds.size)) * 24 + 48}px`;
    this.series = new Map();
    if (this.query?.value) this.find(this.query.value);
    this.show();
  }

  marked() {
    this.stops = new Map();
    for (const { name, versions } of this.model.get("breakpoints")) {
      for (const version of versions) {
        this.stops.set(version, [...(this.stops.get(version) ?? []), name]);
      }
    }
    this.pinRows = this.model.get("pins").map((path) => this.pinRow(path));
    this.release(this.pinned);
    this.pinned.replaceChildren(...this.pinRows.map((row) => row.part));
    this.show();
  }

  draw() {
    const { recording, version } = this;
    this.said.textContent = `StreamPlayer(${recording.say(version)})`;
    this.controls();
    this.slider.setAttribute("aria-valuenow", String(version));
    this.slider.setAttribute("aria-valuetext", version ? `${version} of ${recording.count}, ${recording.types[version - 1]}` : "no events");
    this.strip.paint();
    this.lanes.paint();
    if (!version) {
      this.event.replaceChildren(element("p", { text: "There are no events." }));
      this.state.hidden = true;
      this.slider.hidden = true;
      this.lanes.hidden = true;
      return;
    }
    if (this.shown !== version) this.tell(this.stops.has(version) ? `at ${this.stops.get(version).join(", ")}` : "");
    this.shown = version;
    this.drawEvent(version);
    this.drawState(version);
    for (const row of this.pinRows) row.draw();
    if (!this.more.compare.hidden) this.drawCompare();
    if (!this.more.table.hidden) this.drawTable();
    if (!this.more.branch.hidden) this.offer();
    // They grow with what is in them, and do not shrink again: nothing below jumps.
    this.highest ??= new Map();
    for (const half of [this.event, this.state]) {
      const high = Math.max(this.highest.get(half) ?? 0, Math.min(380, half.scrollHeight + 2));
      this.highest.set(half, high);
      half.style.minHeight = `${high}px`;
    }
    this.reveal();
  }

  drawEvent(version) {
    const { recording } = this;
    const index = version - 1;
    const back = index > 0 && recording.moments[index] < recording.moments[index - 1];
    const gap = index ? recording.moments[index] - recording.moments[index - 1] : 0;
    const since = !index ? "" : back ? `, ${durationText(-gap)} before the event in front of it: the clock went back` : gap ? `, ${durationText(gap)} later` : ", at the same moment";
    const place = recording.single ? `position ${recording.positions[index].toLocaleString("en")}`
      : `${recording.streams[index]} v${recording.versions[index]}, position ${recording.positions[index].toLocaleString("en")}`;
    const parts = [
      element("div", {}, element("b", { text: recording.types[index] }), element("span", { class: "eslab-dim", text: `  ${place}` })),
      element("div", { class: "eslab-dim", text: `${momentText(recording.moments[index])} UTC${since}` }),
    ];
    const error = recording.errors.get(version);
    if (error) {
      parts.push(element("p", { class: "eslab-error" }, element("b", { text: "✕ Not applied: " }), document.createTextNode(error.replace(/^not applied: /, ""))));
    }
    parts.push(this.fields("Data", JSON.parse(recording.data[index])));
    const about = element("details", {}, focusable("summary", { text: "About it" }));
    about.open = this.aboutOpen;
    about.addEventListener("toggle", () => (this.aboutOpen = about.open));
    about.append(this.fields("About it", JSON.parse(recording.about[index])));
    parts.push(about);
    this.event.replaceChildren(...parts);
  }

  fields(name, values) {
    const rows = Object.entries(values).map(([key, value]) =>
      element("tr", {}, element("th", { scope: "row", text: key }), element("td", { text: short(value) })));
    return element("table", { class: "eslab-tree", name }, element("tbody", {}, ...rows));
  }

  // ---- The state, as a tree with marks.

  drawState(version) {
    const { recording } = this;
    if (!recording.state) {
      this.state.replaceChildren(element("p", { text: "No state: no aggregate of it is known to the lab." }));
      return;
    }
    const changes = recording.changes[version - 1];
    const state = this.states.after(version)[recording.streams[version - 1]];
    this.changed = new Map();
    for (const change of changes) {
      const parent = JSON.stringify(change[0].slice(0, -1));
      if (!this.changed.has(parent)) this.changed.set(parent, new Map());
      this.changed.get(parent).set(change[0].at(-1), change);
    }
    // What leads to a change, by what holds it.
    this.touched = new Map();
    for (const [keys] of changes) {
      keys.forEach((key, depth) => {
        const holder = JSON.stringify(keys.slice(0, depth));
        this.touched.set(holder, [...(this.touched.get(holder) ?? []), key]);
      });
    }
    const counts = Object.entries(MARK_WORDS)
      .map(([sign, word]) => [changes.filter((change) => markOf(change) === sign).length, word])
      .filter(([count]) => count)
      .map(([count, word]) => `${count} ${word}`);
    const rows = [];
    this.rows(state, [], rows);
    this.state.replaceChildren(
      element("div", {}, element("b", { text: "State" }), element("span", { class: "eslab-dim", text: `  after this event: ${counts.join(", ") || "nothing changed"}` })),
      element("table", { class: "eslab-tree", name: "State" }, element("tbody", {}, ...rows)),
    );
  }

  // What changed is in sight.
  reveal() {
    const row = this.state.querySelector(".eslab-changed");
    if (!row) return;
    const [box, seen] = [row.getBoundingClientRect(), this.state.getBoundingClientRect()];
    if (box.top < seen.top || box.bottom > seen.bottom) {
      this.state.scrollTop += box.top - seen.top - seen.height / 3;
    }
  }

  rows(holder, keys, rows) {
    const here = JSON.stringify(keys);
    const changed = this.changed.get(here) ?? new Map();
    const list = Array.isArray(holder);
    const gone = [...changed].filter(([, change]) => change[1] === REMOVE);
    let names = list ? [...holder.keys()] : Object.keys(holder);
    const all = names.length;
    const most = this.whole.has(here) ? MOST : MANY;
    if (all > most) {
      // Of many the first, and whatever changed; to sort them all would take too long.
      const inner = (this.touched.get(here) ?? []).filter((name) => name in holder);
      names = [...new Set([...names.slice(0, most), ...inner])];
    }
    const hidden = all - names.length;
    if (list) names.sort((one, other) => one - other);
    else names = [...new Set([...names, ...gone.map(([name]) => name)])].sort();
    for (const name of names) {
      const change = changed.get(name);
      const removed = change?.[1] === REMOVE;
      const value = removed && !list ? change[2] : holder[name];
      this.row(rows, [...keys, name], value, removed && list ? undefined : change);
    }
    if (list) for (const [name, change] of gone) this.row(rows, [...keys, name], change[2], change);
    if (hidden || (this.whole.has(here) && all > MANY)) {
      const text = hidden ? `… ${hidden.toLocaleString("en")} more` : "show fewer";
      const more = focusable("button", { type: "button", class: "eslab-quiet", text });
      more.addEventListener("click", () => {
        if (!this.whole.delete(here)) this.whole.add(here);
        this.show();
      });
      const cell = element("td", { colspan: "3" }, more);
      cell.style.paddingLeft = `${keys.length * 14 + 6}px`;
      rows.push(element("tr", {}, element("td"), cell));
    }
  }

  row(rows, keys, value, change) {
    const sign = change ? markOf(change) : "";
    const gone = change?.[1] === REMOVE;
    const here = JSON.stringify(keys);
    const inner = isHolder(value) && !gone && Object.keys(value).length;
    const open = inner && (this.open.get(here) ?? (keys.length < 4 || this.touched.has(here)));
    const name = element("th", { scope: "row" });
    name.style.paddingLeft = `${(keys.length - 1) * 14 + 4}px`;
    const label = typeof keys.at(-1) === "number" ? `[${keys.at(-1)}]` : keys.at(-1);
    if (inner) {
      const fold = focusable("button", { type: "button", class: "eslab-quiet", text: `${open ? "▾" : "▸"} ${label}`, "aria-expanded": String(Boolean(open)) });
      fold.addEventListener("click", () => {
        this.open.set(here, !open);
        this.show();
      });
      name.append(fold);
    } else name.textContent = label;
    const cell = element("td");
    if (inner) cell.append(element("span", { class: "eslab-dim", text: `${Array.isArray(value) ? "list" : "object"} of ${inner.toLocaleString("en")}` }));
    else if (gone) cell.append(element("s", { text: short(value) }));
    else if (change?.[1] === SET && sign !== "+") cell.append(element("s", { class: "eslab-dim", text: short(change[2]) }), document.createTextNode(` → ${short(value)}`));
    else cell.textContent = short(value);
    const pins = this.model.get("pins");
    const path = pathText(keys);
    const held = pins.includes(path);
    const pin = focusable("button", { type: "button", class: "eslab-quiet", text: held ? "◆" : "◇", name: `${held ? "Unpin" : "Pin"} ${path}`, title: held ? "Do not show it over time" : "Show it over time", "aria-pressed": String(held) });
    pin.addEventListener("click", () => this.pin(held ? pins.filter((one) => one !== path) : [...pins, path]));
    const sort = element("tr", { class: sign ? "eslab-changed" : "" }, element("td", {}, ...(sign ? [mark(sign)] : [])), name, cell, element("td", {}, ...(gone ? [] : [pin])));
    rows.push(sort);
    if (open) this.rows(value, keys, rows);
  }

  // ---- Pins: the value at a path over time.

  pin(paths) {
    this.model.set("pins", paths);
    this.model.save_changes();
  }

  points(path) {
    this.series ??= new Map();
    if (!this.series.has(path)) {
      const { recording } = this;
      const keys = pathKeys(path);
      const states = new States(recording);
      const points = [];
      for (let number = 1; number <= recording.loaded; number += 1) {
        states.move(number);
        const value = valueAt(states.held[recording.streams[number - 1]], keys);
        const same = points.length && (isHolder(value) ? short(value) : value) === points.at(-1)[1];
        if (!same) points.push([number, isHolder(value) ? short(value) : value]);
      }
      this.series.set(path, points);
    }
    return this.series.get(path);
  }

  pinRow(path) {
    const value = element("span", { class: "eslab-code" });
    const line = canvas(30, `${path} over time`, (context, width) => this.drawSeries(context, width, path));
    const end = button("✕", `Unpin ${path}`, () => this.pin(this.model.get("pins").filter((one) => one !== path)));
    end.classList.add("eslab-quiet");
    const part = element("div", { class: "eslab-pin" }, element("div", {}, element("b", { text: path }), " ", value, end), line);
    part.release = () => line.release();
    return {
      part,
      draw: () => {
        const { streams } = this.recording;
        const now = valueAt(this.states.after(this.version)[streams[this.version - 1]], pathKeys(path));
        value.textContent = now === undefined ? "nothing" : short(now);
        line.paint();
      },
    };
  }

  drawSeries(context, width, path) {
    const { recording } = this;
    if (!recording.loaded) return;
    const { here, dim } = this.colours();
    const points = this.points(path);
    const known = [...new Set(points.map(([, value]) => value))].filter((value) => value != null);
    // Texts of numbers, as decimals are, are numbers; other values are steps in their order.
    const numbers = known.every((value) => value !== "" && typeof value !== "boolean" && Number.isFinite(Number(value)));
    const level = (value) => (value == null ? NaN : numbers ? Number(value) : known.indexOf(value));
    let [low, high] = [Infinity, -Infinity];
    for (const value of known) [low, high] = [Math.min(low, level(value)), Math.max(high, level(value))];
    const x = (number) => 4 + recording.place(number) * (width - 8);
    const y = (value) => 26 - (high > low ? (value - low) / (high - low) : 0.5) * 22;
    context.strokeStyle = dim;
    context.lineWidth = 1.5;
    context.beginPath();
    let drawing = false;
    points.forEach(([number, value], index) => {
      const [start, end] = [x(number), x(points[index + 1]?.[0] ?? recording.loaded)];
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
    playhead(context, x(this.version), 1, 29, here, [], 1.5);
  }

  // ---- Search.

  searchPanel() {
    this.query = focusable("input", { type: "search", name: "Search in types, data and changes", placeholder: "in types, data and changes" });
    this.found = element("span", { class: "eslab-dim", "aria-live": "polite" });
    this.query.addEventListener("input", () => this.find(this.query.value));
    this.query.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.match(event.shiftKey ? -1 : 1);
      if (event.key === "Escape") {
        this.panel("search");
        this.root.focus();
      }
    });
    this.more.search.append(element("div", { class: "eslab-row" }, this.query,
      button("◀ Previous", "Previous match", () => this.match(-1)),
      button("Next ▶", "Next match", () => this.match(1)), this.found));
  }

  find(text) {
    const { recording } = this;
    const wanted = text.trim().toLowerCase();
    this.matches = [];
    for (let index = 0; wanted && index < recording.loaded; index += 1) {
      const told = `${recording.types[index]} ${recording.single ? "" : recording.streams[index]} ${recording.data[index]}`;
      if (told.toLowerCase().includes(wanted)
        || recording.changes[index].some(([keys]) => pathText(keys).toLowerCase().includes(wanted))) {
        this.matches.push(index + 1);
      }
    }
    this.count();
    this.show();
  }

  count() {
    const place = this.matches.indexOf(this.version) + 1;
    const many = this.matches.length.toLocaleString("en");
    this.found.textContent = !this.query.value.trim() ? "" : place ? `${place.toLocaleString("en")} of ${many}` : `${many} found`;
  }

  match(direction) {
    const { matches, version } = this;
    if (!matches.length) return;
    const found = direction > 0
      ? matches.find((number) => number > version) ?? matches[0]
      : matches.findLast((number) => number < version) ?? matches.at(-1);
    this.step(found - version);
    this.count();
  }

  // ---- Comparison and table.

  drawCompare() {
    const { recording, version, from } = this;
    const pick = (number) => {
      const states = this.states.after(number);
      return copied(recording.single ? states[recording.streams[number - 1]] : states);
    };
    const found = from === version ? [] : differences(pick(from), pick(version));
    const word = recording.single ? "version" : "frame";
    const input = focusable("input", { type: "number", min: "1", max: String(recording.count), name: `The other ${word}`, value: String(from) });
    input.addEventListener("change", () => {
      this.from = Math.min(recording.loaded, Math.max(1, Math.round(Number(input.value)) || 1));
      this.show();
    });
    const rows = found.slice(0, MOST).map((change) => {
      const [keys, kind, ...values] = change;
      const sign = markOf(change);
      const [before, after] = kind === INSERT ? [undefined, values[0]] : kind === REMOVE ? [values[0], undefined] : values;
      const cell = (value) => element("td", { text: value === undefined ? "" : short(value) });
      return element("tr", {}, element("td", {}, mark(sign)), element("th", { scope: "row", text: pathText(keys) }), cell(before), cell(after));
    });
    const head = ["", "path", `at ${from}`, `at ${version}`].map((text) => element("th", { scope: "col", text }));
    const heading = element("div", { class: "eslab-row" }, element("span", { text: `From ${word}` }), input, element("span", { text: `to ${version}: ${found.length ? `${found.length.toLocaleString("en")} of the state's paths differ` : "the state is the same"}` }));
    if (this.more.compare.contains(document.activeElement) && document.activeElement.tagName === "INPUT") {
      // Whoever types here goes on typing.
      this.more.compare.lastChild.replaceWith(element("table", { class: "eslab-tree", name: "What differs" }, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows)));
      this.more.compare.firstChild.lastChild.replaceWith(heading.lastChild);
      return;
    }
    this.more.compare.replaceChildren(heading, element("table", { class: "eslab-tree", name: "What differs" }, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows)));
  }

  drawTable() {
    const { recording, version } = this;
    const first = Math.max(1, Math.min(version - 8, recording.loaded - 16));
    const last = Math.min(recording.loaded, first + 16);
    const rows = [];
    for (let number = first; number <= last; number += 1) {
      const index = number - 1;
      const changes = recording.changes[index];
      const told = changes.slice(0, 3).map((change) => {
        const values = change.slice(2).map(short);
        return `${SHOWN_MARKS[markOf(change)]} ${pathText(change[0])}: ${values.join(" → ")}`;
      });
      if (changes.length > 3) told.push(`… ${changes.length - 3} more`);
      if (recording.errors.has(number)) told.unshift(`✕ ${recording.errors.get(number)}`);
      rows.push([
        `${number === version ? "▶ " : ""}${number.toLocaleString("en")}`,
        momentText(recording.moments[index]),
        ...(recording.single ? [] : [`${recording.streams[index]} v${recording.versions[index]}`]),
        recording.types[index],
        told.join("\n"),
      ]);
    }
    const names = [recording.single ? "version" : "number", "occurred at (UTC)", ...(recording.single ? [] : ["stream"]), "type", "what it changed"];
    const made = table(names, rows, { caption: `${first.toLocaleString("en")} to ${last.toLocaleString("en")} of ${recording.count.toLocaleString("en")}`, numbers: [names[0]] });
    made.tBodies[0].rows[version - first]?.setAttribute("aria-current", "true");
    this.more.table.replaceChildren(made);
  }

  // ---- What if: edits from here, tried out on a branch by the kernel.

  branchPanel() {
    const { recording } = this;
    const actions = { skip: "leave it out", edit: "let it say something else", insert: "let something more happen behind it", move: "move it", command: "carry out a command after it" };
    this.action = focusable("select", { name: "What is to be otherwise" });
    for (const [value, text] of Object.entries(actions)) {
      if (value !== "command" || recording.commands.length) this.action.append(new Option(text, value));
    }
    this.action.addEventListener("change", () => this.offer(true));
    this.here = element("b");
    this.form = element("span", { class: "eslab-form" });
    this.list = element("ol", { class: "eslab-wishes" });
    this.outcome = element("div", { "aria-live": "polite" });
    this.trial = button("Try it on a branch", "Try it on a branch", () => this.tryOut());
    this.more.branch.append(
      element("div", { class: "eslab-row" }, element("span", { text: "What if, at " }), this.here, this.action, this.form),
      this.list,
      element("div", { class: "eslab-row" }, button("Add another", "Add this, and say another", () => this.add()), this.trial, element("span", { class: "eslab-dim", text: "What is recorded stays as it is." })),
      this.outcome,
    );
  }

  // The form for what was chosen, at the version where the player stands.
  offer(anew = false) {
    const { recording, version } = this;
    const action = this.action.value;
    const state = `${action} ${version}`;
    if (this.offered === state && !anew) return;
    this.offered = state;
    this.here.textContent = `${version} ${recording.types[version - 1]}`;
    const pretty = JSON.stringify(JSON.parse(recording.data[version - 1]), null, 2);
    const parts = [];
    this.type = this.data = this.after = null;
    if (action === "insert" || action === "command") {
      this.type = focusable("select", { name: action === "insert" ? "Type of the event" : "Command" });
      const names = action === "insert" ? new Set([...recording.events, ...recording.kinds.keys()]) : recording.commands;
      for (const name of names) this.type.append(new Option(name, name));
      parts.push(this.type);
    }
    if (action === "edit" || action === "insert" || action === "command") {
      this.data = focusable("textarea", { name: "Its data, as JSON", rows: String(Math.min(8, action === "edit" ? pretty.split("\n").length : 4)), spellcheck: "false" });
      this.data.value = action === "edit" ? pretty : "{}";
      const fill = () => {
        const index = recording.types.lastIndexOf(this.type.value);
        if (index >= 0) this.data.value = JSON.stringify(JSON.parse(recording.data[index]), null, 2);
      };
      if (action === "insert") {
        this.type.addEventListener("change", fill);
        fill();
      }
      parts.push(this.data);
    }
    if (action === "move") {
      this.after = focusable("input", { type: "number", min: "0", max: String(recording.count), name: "Behind which version; 0 is the beginning", value: String(Math.max(0, version - 2)) });
      parts.push(element("span", { text: "behind" }), this.after);
    }
    this.form.replaceChildren(...parts);
  }

  wish() {
    const { version } = this;
    return {
      action: this.action.value,
      version,
      ...(this.type && { type: this.type.value }),
      ...(this.data && { data: this.data.value }),
      ...(this.after && { after: Math.round(Number(this.after.value)) }),
    };
  }

  add() {
    this.wishes.push(this.wish());
    this.listed();
  }

  listed() {
    this.list.replaceChildren(...this.wishes.map((wish, index) => {
      const told = [wish.action, `${wish.version} ${this.recording.types[wish.version - 1]}`, wish.type, wish.after === undefined ? "" : `behind ${wish.after}`, wish.data?.replace(/\s+/g, " ").slice(0, 80)];
      const end = button("✕", `Take back ${wish.action} ${wish.version}`, () => {
        this.wishes.splice(index, 1);
        this.listed();
      });
      end.classList.add("eslab-quiet");
      return element("li", {}, element("span", { text: told.filter(Boolean).join(" ") }), " ", end);
    }));
  }

  async tryOut() {
    if (this.trying) return;
    this.trying = true;
    enable(this.trial, false);
    this.outcome.replaceChildren(element("p", { class: "eslab-dim", text: "waiting for the kernel …" }));
    try {
      const wishes = this.wishes.length ? this.wishes : [this.wish()];
      this.outcome.replaceChildren(...this.outcomeParts(await ask(this.model, "what_if", { wishes })));
    } catch (error) {
      this.outcome.replaceChildren(element("p", { class: "eslab-error", text: `✕ ${error.message}` }));
    }
    this.trying = false;
    enable(this.trial, true);
  }

  outcomeParts({ title, sections, exports }) {
    const parts = [element("p", {}, element("b", { text: title }))];
    for (const section of sections) {
      const rows = section.findings.map(([sign, text]) => element("tr", {}, element("td", {}, mark(sign)), element("td", { text })));
      parts.push(element("table", { class: "eslab-tree", name: section.title }, element("caption", { text: section.title }), element("tbody", {}, ...rows)));
    }
    const names = Object.keys(exports);
    if (names.length) {
      parts.push(element("div", { class: "eslab-row" }, element("span", { text: "Take along:" }), ...names.map((name) => button(name, `Save ${name}`, () => {
        const link = element("a", { download: name, href: URL.createObjectURL(new Blob([exports[name]])) });
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 1000);
      }))));
    }
    return parts;
  }

  release(inside) {
    if (inside) {
      for (const part of inside.children) part.release?.();
      return;
    }
    this.pause();
    this.show.cancel();
    clearTimeout(this.sent);
    this.strip.release();
    this.lanes.release();
    this.release(this.pinned);
  }
}

// ---- Marks on a canvas.

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

function shape(context, x, y, points, colour) {
  context.fillStyle = colour;
  context.beginPath();
  for (const [dx, dy] of points) context.lineTo(x + dx, y + dy);
  context.closePath();
  context.fill();
}

function cross(context, x, y, colour, radius = 5) {
  context.strokeStyle = colour;
  context.lineWidth = 3;
  context.beginPath();
  for (const slope of [-1, 1]) {
    context.moveTo(x - radius, y - slope * radius);
    context.lineTo(x + radius, y + slope * radius);
  }
  context.stroke();
}

function fit(context, text, width) {
  let shown = text;
  while (shown.length > 1 && context.measureText(shown === text ? text : `${shown}…`).width > width) shown = shown.slice(0, -1);
  return shown === text ? text : `${shown}…`;
}

export default { render };
