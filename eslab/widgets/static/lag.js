// The lag chart: what is drawn of a lab's projections, as of a moment, and what follows.

const SECOND = 1_000_000;
const ALL = 24_000; // points that are kept of all lines; beyond that every second one goes
const SPANS = 1_200; // verdicts that are kept of a projection
const CHECK = 1_000; // ms after which a page says again that it shows the chart
const DRAWN = 3; // updates after which it says so at the latest; the kernel waits at twice as many
const SETTLE = 120; // ms for which a slider rests before the kernel is asked
const NAMES = 150;
const UPPER = 170;
const LOWER = 120;
const ROW = 20;
const GAP = 40;
const TOP = 22;
const BOTTOM = 42;
const RIGHT = 14;
const DASHES = { solid: [], dash: [7, 4], dot: [2, 3], dashdot: [8, 3, 2, 3], longdash: [13, 5] };
const TICKS = [
  [1e1, "10 µs"], [1e2, "100 µs"], [1e3, "1 ms"], [1e4, "10 ms"], [1e5, "100 ms"], [1e6, "1 s"],
  [1e7, "10 s"], [6e7, "1 min"], [6e8, "10 min"], [3.6e9, "1 h"], [3.6e10, "10 h"],
  [8.64e10, "1 d"], [8.64e11, "10 d"], [8.64e12, "100 d"],
];
const STEPS = [
  ...[0, 1, 2, 3, 4, 5].flatMap((power) => [1, 2, 5].map((one) => one * 10 ** power)),
  ...[1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400,
    172800, 604800, 1209600, 2419200, 7862400, 15724800, 31536000].map((one) => one * SECOND),
];
const SIGNS = { rebuild: "◇", "dead letter": "✕", pause: "‖" };

function duration(us) {
  const seconds = us / SECOND;
  if (us <= 0) return "0 s";
  if (seconds < 0.001) return `${Math.round(us)} µs`;
  if (seconds < 0.9995) return `${Number((seconds * 1e3).toPrecision(3))} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

// A moment in UTC, as precisely as steps of this length need it.
function clock(us, step = 1_000) {
  const iso = new Date(Math.floor(us / 1000)).toISOString();
  if (step >= 86400 * SECOND) return iso.slice(0, 10);
  if (step >= 60 * SECOND) return iso.slice(11, 16);
  if (step >= SECOND) return iso.slice(11, 19);
  if (step >= 1_000) return iso.slice(11, step >= 100_000 ? 21 : 23);
  return iso.slice(11, 20) + String(us % SECOND).padStart(6, "0");
}

// How many numbers of a sorted list are at most this one.
function upTo(sorted, value) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

// The lines, verdicts and incidents that are known; what is new takes the place of what was known
// of the same time.
class Known {
  constructor({ projections, lines, verdicts, incidents, at }) {
    this.projections = projections.map((each) => ({ ...each }));
    this.lines = new Map(projections.map(({ name }) => [name, lines[name] ?? [[], [], [], [], []]]));
    for (const [name, line] of this.lines) this.lines.set(name, line.map((column) => [...column]));
    this.verdicts = new Map(projections.map(({ name }) => [name, [...(verdicts[name] ?? [])]]));
    this.incidents = incidents;
    this.at = at;
    this.most = Math.max(600, Math.min(2_400, ALL / Math.max(1, projections.length)));
  }

  learn({ since, at = -Infinity, lines, verdicts, incidents, words }) {
    for (const [name, line] of this.lines) {
      const fresh = lines?.[name];
      if (fresh) this.extend(line, since, fresh);
    }
    for (const [name, spans] of this.verdicts) {
      const fresh = verdicts?.[name];
      if (fresh) this.judge(spans, fresh);
    }
    if (incidents) this.incidents = incidents;
    for (const projection of this.projections) {
      projection.words = words?.[projection.name] ?? projection.words;
    }
    this.at = Math.max(this.at, at);
  }

  extend(line, since, fresh) {
    let keep = line[0].length;
    while (keep && line[0][keep - 1] >= since) keep--;
    line.forEach((column, index) => {
      column.length = keep;
      for (const value of fresh[index]) column.push(value);
    });
    if (line[0].length > this.most) this.thin(line);
  }

  // Of four points next to each other the highest and the lowest stay: no peak is lost.
  thin(line) {
    const lag = line[4];
    const kept = [];
    for (let start = 0; start < lag.length; start += 4) {
      let low = start;
      let high = start;
      for (let index = start; index < Math.min(start + 4, lag.length); index++) {
        if (lag[index] < lag[low]) low = index;
        if (lag[index] > lag[high]) high = index;
      }
      kept.push(Math.min(low, high));
      if (low !== high) kept.push(Math.max(low, high));
    }
    if (kept.at(-1) !== lag.length - 1) kept.push(lag.length - 1);
    line.forEach((column) => {
      kept.forEach((from, to) => {
        column[to] = column[from];
      });
      column.length = kept.length;
    });
  }

  judge(spans, fresh) {
    const since = fresh[0][0];
    while (spans.length && spans.at(-1)[0] >= since) spans.pop();
    if (spans.length) spans.at(-1)[1] = Math.min(spans.at(-1)[1], since);
    for (const span of fresh) {
      const last = spans.at(-1);
      if (last && last[2] === span[2]) [last[1], last[3]] = [span[1], span[3]];
      else spans.push([...span]);
    }
    if (spans.length > SPANS) spans.splice(0, spans.length - SPANS);
  }

  get empty() {
    return [...this.lines.values()].every(([times]) => !times.length);
  }

  get start() {
    return Math.min(...[...this.lines.values()].map(([times]) => times[0] ?? Infinity));
  }

  get end() {
    return Math.max(...[...this.lines.values()].map(([times]) => times.at(-1) ?? -Infinity));
  }

  // What held at a moment: since the last row at or before it lag has grown, if it was not zero.
  cut(name, time) {
    const [times, heads, checkpoints, events, lags] = this.lines.get(name);
    const index = upTo(times, time) - 1;
    if (index < 0) return null;
    const lag = events[index] ? lags[index] + (time - times[index]) : 0;
    return { head: heads[index], checkpoint: checkpoints[index], events: events[index], lag };
  }

  // What was judged at a moment held since the one before it.
  span(name, time) {
    return this.verdicts.get(name).find(([start, end]) => start <= time && time <= end);
  }
}

// One panel: a time axis that all share, and a value axis.
class Panel {
  constructor(pen, { left, top, width, height, start, end, low = 0, high = 1 }) {
    Object.assign(this, { pen, left, top, width, height, start, end, low, high });
  }

  x(time) {
    return this.left + (this.width * (time - this.start)) / Math.max(1, this.end - this.start);
  }

  y(value) {
    return this.top + this.height * (1 - (value - this.low) / (this.high - this.low || 1));
  }

  grid(ticks, title, looks) {
    const { pen } = this;
    pen.fillStyle = looks.dim;
    pen.textAlign = "left";
    pen.fillText(title, 4, this.top - 9);
    pen.textAlign = "right";
    for (const [value, label] of ticks) {
      const y = Math.round(this.y(value)) + 0.5;
      stroke(pen, [[this.left, y], [this.left + this.width, y]], { colour: looks.grid });
      pen.fillText(label, this.left - 8, y + 4);
    }
  }

  // The points of a line that are shown, and one more at each side.
  line(times, values, { stepped = false, ...look }) {
    const first = Math.max(0, upTo(times, this.start) - 1);
    const last = Math.min(times.length, upTo(times, this.end) + 1);
    const points = [];
    for (let index = first; index < last; index++) {
      const x = this.x(times[index]);
      if (stepped && points.length) points.push([x, points.at(-1)[1]]);
      points.push([x, this.y(values(index))]);
    }
    this.pen.save();
    this.pen.beginPath();
    this.pen.rect(this.left, this.top - 3, this.width + 1, this.height + 6);
    this.pen.clip();
    stroke(this.pen, points, look);
    this.pen.restore();
  }
}

function stroke(pen, points, { colour, width = 1, dash = [], alpha = 1 }) {
  pen.save();
  pen.beginPath();
  points.forEach(([x, y], index) => (index ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.globalAlpha = alpha;
  pen.setLineDash(dash);
  pen.stroke();
  pen.restore();
}

function linearTicks(low, high, count = 4) {
  const wanted = Math.max(1, high - low) / count;
  const power = 10 ** Math.floor(Math.log10(wanted));
  const step = Math.max(1, [1, 2, 5, 10].find((one) => one * power >= wanted) * power);
  const ticks = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) {
    ticks.push([value, value.toLocaleString("en")]);
  }
  return ticks;
}

const linearPart = (high) => (high >= 1e4 ? 1e3 : 1);
const symlog = (us, linear) => Math.log10(1 + us / linear);

// The two panels of lines. They show positions where the gap between head and checkpoints can be
// seen, and else the gap.
function lines(pen, known, { left, width, start, end, looks, chosen, gaps = false }) {
  let [low, head, events, lag] = [Infinity, 0, 0, 0];
  for (const [times, heads, checkpoints, behind, lags] of known.lines.values()) {
    const last = upTo(times, end);
    for (let index = Math.max(0, upTo(times, start) - 1); index < last; index++) {
      low = Math.min(low, checkpoints[index]);
      head = Math.max(head, heads[index]);
      events = Math.max(events, behind[index]);
      lag = Math.max(lag, lags[index]);
    }
  }
  const positions = !gaps && events >= (head - low) / 40;
  const place = { left, width, start, end };
  const scale = positions ? { low: low === Infinity ? 0 : low, high: head } : { high: events || 1 };
  const upper = new Panel(pen, { ...place, ...scale, top: TOP, height: UPPER });
  const ticks = linearTicks(upper.low, upper.high);
  upper.grid(ticks, positions ? "position in the log" : "lag in events", looks);
  const linear = linearPart(lag);
  const lower = new Panel(pen, {
    ...place, high: symlog(lag, linear) || 1, top: TOP + UPPER + GAP, height: LOWER,
  });
  const shown = TICKS.filter(([us]) => us >= 5 * linear && us <= lag);
  const marks = [[0, "0"], ...shown].map(([us, label]) => [symlog(us, linear), label]);
  lower.grid(marks, "lag in seconds (symlog)", looks);
  if (positions) {
    const widest = [...known.lines.values()].reduce((one, other) => (one[0].length >= other[0].length ? one : other));
    upper.line(widest[0], (index) => widest[1][index], {
      stepped: true, colour: COLOURS.neutral, width: 4, alpha: 0.55,
    });
  }
  known.projections.forEach(({ name, colour, dash }, number) => {
    const [times, , checkpoints, behind, lags] = known.lines.get(name);
    const own = number === chosen;
    const dashes = times.length > 60 ? [] : DASHES[dash];
    const look = { colour, dash: dashes, width: own ? 2.5 : 1.5 };
    upper.line(times, (index) => (positions ? checkpoints : behind)[index], { ...look, stepped: true });
    lower.line(times, (index) => symlog(lags[index], linear), look);
  });
  return { upper, lower, positions, linear };
}

function timeAxis(panel, looks, title = `UTC, from ${clock(panel.start, 86400 * SECOND)}`) {
  const { pen, start, end } = panel;
  const most = Math.max(2, Math.floor(panel.width / 90));
  const wanted = (end - start) / most;
  const step = STEPS.find((one) => one >= wanted) ?? STEPS.at(-1);
  const bottom = panel.top + panel.height;
  pen.fillStyle = looks.dim;
  pen.textAlign = "center";
  for (let tick = Math.ceil(start / step) * step; tick <= end; tick += step) {
    const x = panel.x(tick);
    stroke(pen, [[x, bottom], [x, bottom + 5]], { colour: looks.dim });
    pen.fillText(clock(tick, step), Math.min(Math.max(x, 24), panel.left + panel.width - 20), bottom + 17);
  }
  pen.fillText(title, panel.left + panel.width / 2, bottom + 34);
}

function render({ model, el }) {
  const drawing = model.get("drawing");
  const viewer = Math.random().toString(36).slice(2);
  const known = new Known(drawing);
  const { root, body, said } = frame(el, "lag", "Projection lag");
  const state = {
    chosen: 0, cursor: null, pointed: false, range: 0, details: null,
    following: false, wanted: true, painted: 0, told: 0,
  };
  const name = () => known.projections[state.chosen]?.name;
  root.classList.add("eslab-lag");

  // What stands above the chart.
  const follow = button("Follow", "Follow the lab", () => {
    state.wanted = !state.wanted;
    update();
  });
  const range = focusable("select", { name: "Time that is shown" });
  for (const [label, seconds] of [["all", 0], ["last 10 min", 600], ["last minute", 60], ["last 10 s", 10]]) {
    range.append(element("option", { text: label, value: String(seconds) }));
  }
  range.addEventListener("change", () => {
    state.range = Number(range.value) * SECOND;
    chart.paint();
  });
  const status = element("span", { class: "eslab-lag-status" });
  const open = (text, label, part) => {
    const made = button(text, label, () => {
      part.hidden = !part.hidden;
      made.setAttribute("aria-expanded", String(!part.hidden));
      if (!part.hidden) part.dispatchEvent(new Event("opened"));
    });
    made.setAttribute("aria-expanded", "false");
    return made;
  };
  const details = element("div", { class: "eslab-panel eslab-lag-part", role: "region", name: "Verdict" });
  const tables = element("div", { class: "eslab-panel eslab-lag-part", role: "region", name: "Data" });
  const ask_if = element("div", { class: "eslab-lag-part", role: "region", name: "What if" });
  const ask_when = element("div", { class: "eslab-lag-part", role: "region", name: "When visible" });
  for (const part of [details, tables, ask_if, ask_when]) part.hidden = true;
  for (const part of [details, tables]) {
    part.tabIndex = 0;
    part.setAttribute("data-lm-suppress-shortcuts", "true");
  }
  const table_button = open("Table", "Show the data as tables", tables);
  const head = element("div", { class: "eslab-row" },
    follow, range, table_button,
    open("What if", "Try other rates on the virtual clock", ask_if),
    open("When visible?", "Ask when an event became visible", ask_when),
    status);
  const legend = element("div", { class: "eslab-lag-legend", role: "group", name: "Projections" });
  const note = element("p", { class: "eslab-lag-note" });
  const readout = element("div", { class: "eslab-lag-readout", "aria-live": "polite" });

  // The legend: choosing one puts it in front.
  const entries = known.projections.map(({ name: label, colour, dash }, number) => {
    const sample = drawn("svg", { width: 34, height: 10, "aria-hidden": "true" },
      drawn("line", {
        x1: 0, y1: 5, x2: 34, y2: 5, stroke: colour, "stroke-width": 2.5,
        "stroke-dasharray": DASHES[dash].join(" "),
      }));
    const words = element("span");
    const entry = focusable("button", { type: "button" });
    entry.append(sample, element("b", { text: label }), words);
    entry.addEventListener("click", () => choose(number));
    return { entry, words };
  });
  legend.append(...entries.map(({ entry }) => entry));

  // The chart.
  const left = Math.min(NAMES, Math.max(64, ...known.projections.map((each) => 7 * each.name.length + 14)));
  const rows = known.projections.length * ROW;
  const height = TOP + UPPER + GAP + LOWER + GAP + rows + BOTTOM;
  let panels = null;
  const chart = canvas(height, "Head and checkpoints, lag in seconds, and verdicts over time", draw);
  chart.classList.add("eslab-lag-chart");

  function span() {
    const end = Math.max(known.end, known.start + 1);
    return [state.range ? Math.max(known.start, end - state.range) : known.start, end];
  }

  function draw(pen, width) {
    if (known.empty) return;
    const looks = {
      text: themed(root, "--jp-content-font-color1", "#333"),
      dim: themed(root, "--jp-ui-font-color2", "#666"),
      page: themed(root, "--jp-layout-color1", "#fff"),
      grid: "rgba(127,127,127,0.3)",
    };
    pen.font = `12px ${themed(root, "--jp-ui-font-family", "system-ui, sans-serif")}`;
    const [start, end] = span();
    const place = { left, width: width - left - RIGHT, start, end };
    panels = lines(pen, known, { ...place, looks, chosen: state.chosen });
    panels.ribbon = new Panel(pen, { ...place, top: TOP + UPPER + LOWER + 2 * GAP, height: rows });
    ribbon(pen, panels.ribbon, looks);
    timeAxis(panels.ribbon, looks);
    if (state.cursor !== null) cursor(pen, looks);
  }

  function ribbon(pen, panel, looks) {
    pen.fillStyle = looks.dim;
    pen.textAlign = "left";
    const kinds = Object.keys(SIGNS).filter((kind) => known.incidents.some((one) => one[1] === kind));
    const signs = kinds.map((kind) => `${SIGNS[kind]} ${kind}`).join(", ");
    const occur = new Set([...known.verdicts.values()].flatMap((spans) => spans.map((one) => one[2])));
    const letters = Object.entries(drawing.looks).filter(([verdict]) => occur.has(verdict))
      .map(([verdict, [letter]]) => `${letter} ${verdict}`).join(", ");
    const key = `verdict: ${letters}${signs && `; ${signs}`}`;
    pen.fillText(fit(pen, key, panel.left + panel.width - 4), 4, panel.top - 9);
    known.projections.forEach(({ name: label }, number) => {
      const top = panel.top + number * ROW + 2;
      pen.fillStyle = number === state.chosen ? looks.text : looks.dim;
      pen.textAlign = "right";
      pen.fillText(fit(pen, label, left - 14), left - 8, top + 12);
      for (const each of known.verdicts.get(label)) cell(pen, panel, each, top, looks);
    });
    for (const [label, kind, time, until] of known.incidents) {
      const number = known.projections.findIndex((each) => each.name === label);
      if (number < 0 || time > panel.end || (until ?? panel.end) < panel.start) continue;
      const [x, y] = [Math.max(panel.left, panel.x(time)), panel.top + number * ROW];
      const to = Math.max(panel.left, panel.x(Math.min(until ?? panel.end, panel.end)));
      stroke(pen, [[x, y + ROW - 4], [to, y + ROW - 4]], { colour: "#000", width: 2 });
      if (time < panel.start) continue;
      pen.fillStyle = "#000";
      pen.textAlign = "center";
      pen.fillText(SIGNS[kind], x, y + 14);
    }
  }

  function cell(pen, panel, [from, to, verdict], top, looks) {
    if (to < panel.start || from > panel.end) return;
    const [letter, colour, hatched] = drawing.looks[verdict];
    let x = panel.x(Math.max(from, panel.start));
    const width = Math.max(3, panel.x(Math.min(to, panel.end)) - x);
    x = Math.min(x, panel.left + panel.width - width);
    pen.fillStyle = "#fff";
    pen.fillRect(x, top, width, ROW - 4);
    pen.globalAlpha = 0.6;
    pen.fillStyle = colour;
    pen.fillRect(x, top, width, ROW - 4);
    pen.globalAlpha = 1;
    if (hatched) {
      pen.save();
      pen.beginPath();
      pen.rect(x, top, width, ROW - 4);
      pen.clip();
      for (let at = x - ROW; at < x + width; at += 6) {
        stroke(pen, [[at, top + ROW], [at + ROW, top]], { colour: "#fff", width: 2 });
      }
      pen.restore();
    }
    pen.strokeStyle = colour;
    pen.lineWidth = 1.5;
    pen.strokeRect(x, top, width, ROW - 4);
    if (width < 12) return;
    pen.fillStyle = "#000";
    pen.textAlign = "center";
    pen.save();
    pen.font = `bold ${pen.font}`;
    pen.fillText(letter, x + width / 2, top + 12.5);
    pen.restore();
  }

  // Where the cursor stands: a line, and both gaps of the chosen projection.
  function cursor(pen, looks) {
    const { upper, lower, ribbon: below, positions, linear } = panels;
    const x = Math.round(upper.x(state.cursor)) + 0.5;
    if (x < upper.left || x > upper.left + upper.width + 1) return;
    stroke(pen, [[x, upper.top], [x, below.top + below.height]], { colour: looks.text, dash: [3, 3] });
    const cut = known.cut(name(), state.cursor);
    if (!cut) return;
    const { colour } = known.projections[state.chosen];
    const value = positions ? cut.checkpoint : cut.events;
    dot(pen, x, lower.y(Math.min(lower.high, symlog(cut.lag, linear))), colour, looks);
    if (cut.events) {
      const [y, high] = [upper.y(value), upper.y(positions ? cut.head : 0)];
      stroke(pen, [[x, y], [x, high]], { colour, width: 3 });
      label(pen, counted(cut.events, "event"), x, (y + high) / 2, upper, looks);
      if (positions) {
        const from = Math.max(upper.left, upper.x(state.cursor - cut.lag));
        stroke(pen, [[from, y], [x, y]], { colour, width: 3 });
        label(pen, duration(cut.lag), from - 10, y + 14, upper, looks);
      }
    }
    dot(pen, x, upper.y(value), colour, looks);
  }

  function dot(pen, x, y, colour, looks) {
    pen.beginPath();
    pen.arc(x, y, 4, 0, 2 * Math.PI);
    pen.fillStyle = colour;
    pen.fill();
    pen.strokeStyle = looks.page;
    pen.stroke();
  }

  function label(pen, text, x, y, panel, looks) {
    const width = pen.measureText(text).width + 8;
    const at = Math.min(Math.max(x + 8, panel.left), panel.left + panel.width - width);
    const middle = Math.min(Math.max(y, panel.top + 8), panel.top + panel.height - 8);
    pen.fillStyle = looks.page;
    pen.globalAlpha = 0.9;
    pen.fillRect(at, middle - 9, width, 18);
    pen.globalAlpha = 1;
    pen.fillStyle = looks.text;
    pen.textAlign = "left";
    pen.fillText(text, at + 4, middle + 4);
  }

  // What a person does.
  function choose(number) {
    state.chosen = Math.min(Math.max(number, 0), known.projections.length - 1);
    update();
  }

  function move(time) {
    state.pointed = false;
    state.cursor = time === null ? null : Math.min(Math.max(time, span()[0]), span()[1]);
    read();
    chart.paint();
  }

  function step(by) {
    const [times] = known.lines.get(name()) ?? [[]];
    if (!times.length) return;
    const now = state.cursor ?? times.at(-1);
    let index = upTo(times, now) - 1 + by;
    if (by > 0) index = Math.max(index, upTo(times, now));
    // Several rows may be of one moment.
    while (by < 0 && index > 0 && times[index] >= now) index--;
    move(times[Math.min(Math.max(index, 0), times.length - 1)]);
  }

  function change(by) {
    const edges = known.verdicts.get(name())?.map(judged) ?? [];
    const now = state.cursor ?? span()[1] + 1;
    move((by > 0 ? edges.find((edge) => edge > now) : edges.findLast((edge) => edge < now)) ?? now);
  }

  // The first moment at which a verdict was given: it holds since the one before.
  const judged = ([from, to]) => Math.min(to, from + drawing.length);

  function read() {
    const cut = state.cursor === null ? null : known.cut(name(), state.cursor);
    if (!cut) {
      readout.textContent = "";
      return;
    }
    const behind = cut.events
      ? `${counted(cut.events, "event")} and ${duration(cut.lag)} behind`
      : "caught up";
    const found = known.span(name(), state.cursor);
    const near = (span()[1] - span()[0]) / 100;
    const marks = known.incidents
      .filter(([of, , time, until]) => of === name() && time - near <= state.cursor && state.cursor <= (until ?? Infinity) + near)
      .map((one) => one[4]);
    readout.textContent = [
      `${clock(state.cursor)} ${name()}: ${behind} (checkpoint ${cut.checkpoint.toLocaleString("en")} of ${cut.head.toLocaleString("en")})`,
      found ? `${found[2]}: ${found[3]}` : "",
      ...marks.slice(0, 3),
    ].filter(Boolean).join("; ");
  }

  async function explain() {
    if (known.empty || !name()) return;
    const at = state.cursor ?? known.end;
    const found = known.span(name(), at);
    const time = Math.round(found ? Math.max(at, judged(found)) : at);
    details.hidden = false;
    details.replaceChildren(element("p", { text: "Asking the kernel…" }));
    try {
      const shown = await ask(model, "samples", { projection: name(), time });
      const more = shown.more ? `; ${shown.more.toLocaleString("en")} earlier samples are left out` : "";
      details.replaceChildren(
        element("b", { text: `${shown.verdict}: ${shown.rule}` }),
        button("Close", "Close the verdict", close),
        table(["time (UTC)", "sample", "checkpoint", "lag in events", "lag"], shown.samples, {
          caption: `${name()} at ${shown.at}, and what it was judged by${more}`,
          numbers: ["checkpoint", "lag in events", "lag"],
        }),
      );
    } catch (error) {
      details.replaceChildren(failed(error), button("Close", "Close the verdict", close));
    }
  }

  function close() {
    details.hidden = true;
    root.focus({ preventScroll: true });
  }

  const failed = (error) => element("p", { class: "eslab-error", text: error.message });

  chart.addEventListener("mousemove", (event) => {
    // Where nothing moved the page scrolled under the mouse: what the keys chose stays.
    if (!panels || !(event.movementX || event.movementY)) return;
    const { ribbon: below, start, end } = { ...panels, ...panels.upper };
    const row = Math.floor((event.offsetY - below.top) / ROW);
    if (row >= 0 && row < known.projections.length && row !== state.chosen) choose(row);
    move(start + ((end - start) * (event.offsetX - below.left)) / below.width);
    state.pointed = true;
  });
  chart.addEventListener("mouseleave", () => state.pointed && move(null));
  chart.addEventListener("click", (event) => {
    if (panels && event.offsetY >= panels.ribbon.top) explain();
    root.focus({ preventScroll: true });
  });
  keys(root, {
    ArrowLeft: () => step(-1),
    ArrowRight: () => step(1),
    "Shift+ArrowLeft": () => step(-10),
    "Shift+ArrowRight": () => step(10),
    ArrowUp: () => choose(state.chosen - 1),
    ArrowDown: () => choose(state.chosen + 1),
    Home: () => move(span()[0]),
    End: () => move(span()[1]),
    "[": () => change(-1),
    "]": () => change(1),
    Enter: explain,
    Escape: () => {
      if (!details.hidden) close();
      else move(null);
    },
    f: () => follow.click(),
    t: () => table_button.click(),
  });

  // Tables of the same data.
  function fill() {
    if (tables.hidden) return;
    const now = known.projections.map(({ name: label, words }) => {
      const cut = known.cut(label, known.end) ?? { checkpoint: 0, head: 0, events: 0, lag: 0 };
      const numbers = [cut.checkpoint, cut.head, cut.events].map((one) => one.toLocaleString("en"));
      return [label, ...numbers, duration(cut.lag), words.filter(Boolean).slice(1).join("; ")];
    });
    const judged = known.projections.flatMap(({ name: label }) =>
      known.verdicts.get(label).map(([from, to, verdict, rule]) => [label, clock(from), clock(to), verdict, rule]));
    tables.replaceChildren(
      table(["projection", "checkpoint", "head", "lag in events", "lag", "what is wrong"], now, {
        caption: "Now", numbers: ["checkpoint", "head", "lag in events", "lag"],
      }),
      table(["projection", "from (UTC)", "to (UTC)", "verdict", "rule"], judged.slice(-200), {
        caption: "Verdicts",
      }),
      table(["projection", "time (UTC)", "what happened"],
        known.incidents.map(([label, , time, , what]) => [label, clock(time), what]), {
          caption: "Rebuilds, dead letters, pauses",
        }),
    );
  }
  tables.addEventListener("opened", fill);

  // Everything that follows from what is known and chosen.
  function update() {
    known.projections.forEach(({ words }, number) => {
      const { entry, words: place } = entries[number];
      const [behind, standing, wrong] = words;
      place.textContent = [behind, standing].filter(Boolean).join(", ") + (wrong && ` ▲ ${wrong}`);
      entry.setAttribute("aria-pressed", String(number === state.chosen));
    });
    note.textContent = known.empty ? drawing.note : "";
    note.hidden = !known.empty;
    chart.hidden = known.empty;
    follow.setAttribute("aria-pressed", String(state.wanted));
    followed();
    read();
    chart.paint();
  }

  // Following: only while the chart is on the screen, and the kernel is asked for what was missed.
  let visible = false;
  let ended = "";
  const told = (text) => {
    status.textContent = text;
  };

  function followed() {
    const wanted = state.wanted && visible && !ended && known.projections.length > 0;
    if (wanted && !state.following) start();
    if (!wanted && state.following) stop();
    if (ended) told(`This is what was last seen: ${ended}.`);
    else if (!state.wanted) told("Not following.");
  }

  async function start() {
    state.following = true;
    told("…");
    try {
      const news = await ask(model, "follow", { viewer, reached: Math.round(known.at) });
      if (!state.following) return;
      told("Following.");
      learn(news);
    } catch (error) {
      state.following = false;
      ended = error.message;
      told(`This is what was last seen: ${ended}.`);
    }
  }

  function stop() {
    state.following = false;
    ask(model, "leave", { viewer }).catch(() => {});
  }

  // Says what was drawn; and hears if there is nothing to follow any more.
  async function seen() {
    if (!state.following) return;
    state.told = state.painted;
    try {
      await ask(model, "seen", { viewer, number: state.painted });
    } catch (error) {
      if (!state.following) return;
      state.following = false;
      ended = error.message;
      update();
    }
  }

  const settle = painter(() => {
    update();
    fill();
    if (state.painted >= state.told + DRAWN) seen();
  });

  function learn(news) {
    known.learn(news);
    settle();
  }

  const received = (message) => {
    if (message.news && state.following) {
      state.painted = message.number;
      // A page that missed one asks for all that it missed.
      if (message.news.since > known.at) start();
      else learn(message.news);
    }
  };
  model.on("msg:custom", received);
  const still = setInterval(seen, CHECK);
  const watcher = new IntersectionObserver(([entry]) => {
    visible = entry.isIntersecting && !document.hidden;
    followed();
  });
  watcher.observe(root);
  const hiding = () => {
    visible = !document.hidden && root.getClientRects().length > 0;
    followed();
  };
  document.addEventListener("visibilitychange", hiding);

  const wise = () => {
    said.textContent = model.get("said");
  };
  model.on("change:said", wise);
  wise();

  const names = known.projections.map((each) => each.name);
  const queue = what_if(model, ask_if, drawing.projections, drawing.run);
  when_visible(model, ask_when, names);
  body.append(head, legend, note, chart, readout, details, tables, ask_if, ask_when);
  update();

  return () => {
    if (state.following) stop();
    clearInterval(still);
    watcher.disconnect();
    document.removeEventListener("visibilitychange", hiding);
    model.off("msg:custom", received);
    model.off("change:said", wise);
    chart.release();
    queue.release();
    settle.cancel();
  };
}

function choice(name, names) {
  const made = focusable("select", { name });
  for (const each of names) made.append(element("option", { text: each, value: each }));
  return made;
}

// What if: sliders, and the queue that would build up and drain.
function what_if(model, part, projections, run) {
  const projection = choice("Projection", projections.map((each) => each.name));
  const said = element("p", { "aria-live": "polite", class: "eslab-lag-outcome" });
  let line = null;
  const chart = canvas(TOP + UPPER + GAP + LOWER + BOTTOM, "The lag that it would have", (pen, width) => {
    if (!line) return;
    const looks = {
      text: themed(part, "--jp-content-font-color1", "#333"),
      dim: themed(part, "--jp-ui-font-color2", "#666"),
      grid: "rgba(127,127,127,0.3)",
    };
    pen.font = `12px ${themed(part, "--jp-ui-font-family", "system-ui, sans-serif")}`;
    const label = projection.value;
    const known = {
      lines: new Map([[label, line]]),
      projections: [{ name: label, colour: COLOURS.ok, dash: "solid" }],
    };
    const [start, end] = [line[0][0], Math.max(line[0].at(-1), line[0][0] + 1)];
    const place = { left: 64, width: width - 64 - RIGHT, start, end, looks, chosen: 0 };
    timeAxis(lines(pen, known, { ...place, gaps: true }).lower, looks, "virtual time");
  });

  const power = (low, high, unit) => ({
    value: (at) => Math.round(Number((low * (high / low) ** (at / 1000)).toPrecision(2))),
    at: (value) => (1000 * Math.log(value / low)) / Math.log(high / low),
    text: unit,
  });
  const plain = (high, unit) => ({
    value: (at) => (at * high) / 1000, at: (value) => (1000 * value) / high, text: unit,
  });
  const sliders = {
    rate: ["append rate", power(1, 1000, (value) => `${value.toLocaleString("en")} a second`), 100],
    event_us: ["cost of an event", power(1, 100_000, (value) => duration(value)), 2_000],
    batch: ["batch size", power(1, 10_000, (value) => counted(value, "event")), 100],
    outage_start: ["outage from", plain(run, (value) => `${value.toFixed(1)} s`), 5],
    outage_length: ["outage length", plain(run, (value) => (value ? `${value.toFixed(1)} s` : "none")), 2],
  };
  const inputs = {};
  const setters = {};
  const fields = Object.entries(sliders).map(([key, [label, scale, first]]) => {
    const input = focusable("input", { type: "range", min: 0, max: 1000, step: 1, name: label });
    const output = element("output");
    const show = () => {
      output.textContent = scale.text(scale.value(Number(input.value)));
      input.setAttribute("aria-valuetext", output.textContent);
    };
    input.addEventListener("input", () => {
      show();
      soon();
    });
    setters[key] = (value) => {
      input.value = scale.at(value);
      show();
    };
    setters[key](first);
    inputs[key] = () => scale.value(Number(input.value));
    return element("label", {}, element("span", { text: label }), input, output);
  });
  // Each projection begins with what it costs, and with a rate at which it has to work.
  function begin() {
    const own = projections.find((each) => each.name === projection.value);
    for (const [key, value] of Object.entries(own?.what_if ?? {})) setters[key](value);
    soon();
  }
  projection.addEventListener("change", begin);

  // One question at a time; of those that come meanwhile only the last one is asked.
  let timer = 0;
  let asking = false;
  let again = false;
  function soon() {
    clearTimeout(timer);
    timer = setTimeout(tell, SETTLE);
  }
  async function tell() {
    if (asking) {
      again = true;
      return;
    }
    asking = true;
    again = false;
    const values = Object.fromEntries(Object.entries(inputs).map(([key, value]) => [key, value()]));
    try {
      const found = await ask(model, "what_if", { projection: projection.value, ...values });
      line = found.line;
      said.textContent = `${found.stable ? "✓" : "▲"} ${found.said}`;
      said.classList.remove("eslab-error");
    } catch (error) {
      said.textContent = error.message;
      said.classList.add("eslab-error");
    }
    asking = false;
    chart.paint();
    if (again) tell();
  }
  part.append(
    element("b", { text: `What if, for ${run} seconds on the virtual clock` }),
    element("div", { class: "eslab-lag-sliders" },
      element("label", {}, element("span", { text: "projection" }), projection), ...fields),
    said, chart);
  part.addEventListener("opened", () => {
    if (projections.length) begin();
    else said.textContent = "There are no projections.";
  });
  chart.paint();
  return {
    release() {
      clearTimeout(timer);
      chart.release();
    },
  };
}

// When did an event become visible in a projection?
function when_visible(model, part, names) {
  const projection = choice("Read model", names);
  const event = focusable("input", { name: "Event: its position or its id", placeholder: "position or id" });
  const answer = element("p", { "aria-live": "polite" });
  const tell = async () => {
    answer.classList.remove("eslab-error");
    answer.textContent = "…";
    try {
      answer.textContent = await ask(model, "visible", { projection: projection.value, event: event.value });
    } catch (error) {
      answer.textContent = error.message;
      answer.classList.add("eslab-error");
    }
  };
  event.addEventListener("keydown", ({ key }) => {
    if (key === "Enter") tell();
  });
  part.append(
    element("div", { class: "eslab-row" },
      element("span", { text: "When did event" }), event,
      element("span", { text: "become visible in" }), projection,
      button("Ask", "Ask when it became visible", tell)),
    answer);
}

export default { render };
