// The saga timeline: it draws the marks that it is given, and tells of the one that is selected.
// Where marks stand, and what is said of them, was decided before: here is no word about sagas.

const ROW = 60;
const BAR = 18;
const RIGHT = 26;
const LETTER = 6.4;
const LEVELS = [BAR / 2 + 14, -BAR / 2 - 5, -BAR / 2 - 17];
const NARROWEST = 2;
const SPEEDS = [0.5, 1, 2, 4, 8];
const EVENT_LASTS = 600;
const HINT = "↑ ↓ steps · ← → attempts · C compensation · E next error · Shift+← → events · Home End · Space plays";
const ANCHORS = { left: "start", center: "middle", right: "end" };

// What is marked beside attempts: a path around (0, 0), how it is painted, and what is written on it.
const NOTES = {
  received: { d: "M-5,0A5,5 0 1 0 5,0A5,5 0 1 0 -5,0Z", fill: COLOURS.ok },
  parked: { d: "M-5,0A5,5 0 1 0 5,0A5,5 0 1 0 -5,0Z", stroke: COLOURS.ok },
  "not handled": { d: "M-6,-6L6,6M-6,6L6,-6", stroke: COLOURS.failed, width: 3 },
  set: { d: "M0,-7L7,0L0,7L-7,0Z", stroke: COLOURS.neutral },
  fired: { d: "M0,-7L7,0L0,7L-7,0Z", stroke: COLOURS.neutral, fill: COLOURS.retry },
  cancelled: { d: "M-5,-5L5,5M-5,5L5,-5", stroke: COLOURS.neutral },
  timeout: { d: "M0,12L0,-23M0,-23L10,-18.5L0,-14Z", stroke: COLOURS.neutral, fill: COLOURS.retry },
  late: { d: "M-6,-6L6,-6L6,6L-6,6Z", stroke: COLOURS.ok },
  resumed: { d: "M-5,-7L8,0L-5,7Z", stroke: COLOURS.done, fill: COLOURS.done },
  wrong: { d: "M0,-9L9,7L-9,7Z", stroke: COLOURS.failed, text: "!", aside: 15 },
};

function note(mark, x, y) {
  const { d, stroke = "none", fill = "none", width = 2, text, aside = 0 } = NOTES[mark];
  const made = drawn("g", { transform: `translate(${x + aside},${y})` });
  made.append(drawn("path", { d, stroke, fill, "stroke-width": width, "stroke-linejoin": "round" }));
  if (text) {
    const sign = { text, y: 5, "text-anchor": "middle", "font-size": 11, "font-weight": "bold" };
    made.append(drawn("text", { ...sign, fill: stroke }));
  }
  return made;
}

// A fill of slanted lines; of these there is one for each colour in a drawing.
function hatching(id, colour) {
  return drawn(
    "pattern",
    { id, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    drawn("rect", { width: 6, height: 6, fill: colour, "fill-opacity": 0.25 }),
    drawn("line", { x1: 1.5, y1: 0, x2: 1.5, y2: 6, stroke: colour, "stroke-width": 2.5 }),
  );
}

function paint(style, hatch) {
  const slanted = style.hatch === "/";
  return {
    fill: slanted ? `url(#${hatch(style.colour)})` : style.colour,
    "fill-opacity": slanted ? 1 : style.hatch ? 0.25 : style.opacity,
    stroke: style.colour,
    "stroke-width": 1.5,
    "stroke-dasharray": style.hatch === "." ? "4 3" : "none",
    rx: 2,
  };
}

// By whole characters: half of one is drawn as a question mark.
function fitted(text, letters) {
  const all = [...text];
  return all.length <= letters ? text : `${all.slice(0, Math.max(1, letters - 1)).join("")}…`;
}

// Returns a timeline: `root` is its element, `show(page)` draws other marks, and `actions` are its
// keys, for whatever stands around it.
//   faults: pairs of a name and of what it does, to choose from
//   fail(bar, fault): lets an attempt go wrong instead; returns a promise
//   effects(): a promise of what the attempts recorded
function timeline({ name, faults = [], fail = null, effects = null }) {
  const id = `t${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;
  let page = null;
  let now = 0; // which moment; all later marks are faint
  let selected = null; // "bar 3" or "spot 1"
  let built = null; // the elements of what is drawn
  let timer = null;
  let began = 0;
  let width = 0; // of the drawing, in pixels
  let fault = faults[0]?.[0]; // what is to go wrong
  let recorded = null; // what the attempts recorded, when the kernel has said so
  let described = null; // what is told of what is selected

  // The elements.

  const title = element("strong");
  const subtitle = element("span", { class: "eslab-dim" });
  const legend = element("div", { class: "eslab-row eslab-legend" });
  const first = button("|◀", "First event", () => seek(0));
  const previous = button("◀", "Previous event", () => seek(now - 1));
  const play = button("▶ Play", "Play in the order of the events", () => (timer ? pause() : start()));
  const next = button("▶", "Next event", () => seek(now + 1));
  const last = button("▶|", "Last event", () => seek(Infinity));
  const speed = focusable("select", { name: "Speed" });
  for (const factor of SPEEDS) speed.append(new Option(`${factor}×`, factor, false, factor === 1));
  const slider = focusable("input", { type: "range", name: "Event", min: 0, step: 1 });
  slider.addEventListener("input", () => seek(Number(slider.value)));
  const tabular = button("Table", "Show the attempts as a table", () => {
    tabular.setAttribute("aria-pressed", String(table_.hidden));
    table_.hidden = !table_.hidden;
    list();
  });
  tabular.setAttribute("aria-pressed", "false");
  const event = element("div", { class: "eslab-event", "aria-live": "polite" });
  const svg = drawn("svg", { role: "group", "aria-label": name });
  const host = element("div", { class: "eslab-drawing" }, svg);
  const state = focusable("div", { class: "eslab-panel eslab-state", tabindex: "0", role: "region", name: "State" });
  const details = focusable("div", { class: "eslab-panel eslab-details", tabindex: "0", role: "region", name: "Selection" });
  const table_ = focusable("div", { class: "eslab-panel", tabindex: "0", role: "region", name: "Attempts" });
  table_.hidden = true;
  const controls = element(
    "div", { class: "eslab-row" },
    first, previous, play, next, last, speed, slider, tabular,
  );
  const root = element(
    "div", { class: "eslab-timeline" },
    element("div", { class: "eslab-heading" }, title, subtitle),
    legend,
    element("div", { class: "eslab-main" }, element("div", {}, host, controls, event), state),
    details, table_,
    element("div", { class: "eslab-dim", text: HINT }),
  );

  // What is drawn.

  function show(marks) {
    const atEnd = !page || now >= page.moments.length - 1;
    page = marks;
    recorded = null;
    if (selected && !mark(selected)) selected = null;
    now = atEnd ? page.moments.length - 1 : now;
    title.textContent = page.title;
    subtitle.textContent = page.subtitle;
    subtitle.className = page.alarm ? "eslab-alarm" : "eslab-dim";
    explain();
    list();
    slider.max = Math.max(0, page.moments.length - 1);
    build();
    tell();
  }

  function mark(which) {
    const [kind, place] = which.split(" ");
    return page[`${kind}s`][place];
  }

  function explain() {
    const sample = (width, inner) => {
      const made = drawn("svg", { width, height: 16, viewBox: `0 0 ${width} 16`, "aria-hidden": "true" });
      made.append(...inner);
      return made;
    };
    const styles = page.styles.map((style) => {
      const hatch = `${id}-legend-${style.colour.slice(1)}`;
      const box = drawn("rect", { x: 1, y: 2, width: 22, height: 12, ...paint(style, () => hatch) });
      return element("span", {}, sample(26, [drawn("defs", {}, hatching(hatch, style.colour)), box]), style.words);
    });
    const notes = page.notes.map(([kind, words]) => {
      const small = drawn("g", { transform: kind === "timeout" ? "translate(5,12) scale(.6)" : "translate(10,8) scale(.8)" });
      small.append(note(kind, kind === "wrong" ? -15 : 0, 0));
      return element("span", {}, sample(20, [small]), words);
    });
    legend.replaceChildren(...styles, ...notes);
  }

  function build() {
    if (!page || !width) return;
    const focused = svg.contains(document.activeElement);
    const pen = document.createElement("canvas").getContext("2d");
    pen.font = `12.5px ${themed(root, "--jp-ui-font-family", "system-ui, sans-serif")}`;
    const names = Math.max(0, ...page.rows.map((text) => pen.measureText(text).width));
    const left = Math.min(Math.max(48, names + 4), 190, width / 3) + 14;
    const plot = Math.max(60, width - left - RIGHT);
    const parts = page.parting !== null; // from another one, on the same axis
    const top = 12 + 18 * parts + (page.folds.length ? 22 : 0);
    const rows = Math.max(1, page.rows.length);
    const bottom = top + ROW * rows;
    const x = (value) => left + (plot * value) / page.span;
    const middle = (row) => top + ROW * row + ROW * 0.52;
    svg.setAttribute("width", width);
    svg.setAttribute("height", bottom + 44);
    const hatches = new Map();
    const defs = drawn("defs");
    const hatch = (colour) => {
      if (!hatches.has(colour)) {
        hatches.set(colour, `${id}-${colour.slice(1)}`);
        defs.append(hatching(hatches.get(colour), colour));
      }
      return hatches.get(colour);
    };
    const text = (at, y, words, more = {}) =>
      drawn("text", { x: at, y, text: words, class: "eslab-ink", "font-size": 11.5, ...more });
    const line = (x1, y1, x2, y2, more = {}) =>
      drawn("line", { x1, y1, x2, y2, class: "eslab-grid", ...more });
    const back = drawn("g", { "aria-hidden": "true" });
    const front = drawn("g", { "aria-hidden": "true", "pointer-events": "none" });

    for (const [start, end, words] of page.folds) {
      const centre = (x(start) + x(end)) / 2;
      back.append(
        drawn("rect", { x: x(start), y: top, width: x(end) - x(start), height: bottom - top, fill: COLOURS.neutral, "fill-opacity": 0.14 }),
        text(centre, top - 6, fitted(words, (x(end) - x(start) + 20) / LETTER), { "text-anchor": "middle" }),
        text(centre, bottom + 4, "//", { "text-anchor": "middle", "font-weight": "bold" }),
      );
    }
    if (parts) {
      const [place, says] = page.parting;
      const at = x(place);
      const end = at > left + plot / 2;
      const words = text(at + (end ? -6 : 6), 14, says, { "text-anchor": end ? "end" : "start" });
      back.append(line(at, 4, at, bottom, { class: "eslab-parting" }), words);
    }
    for (const [tick, words] of page.ticks) {
      back.append(line(x(tick), top, x(tick), bottom), text(x(tick), bottom + 16, words, { "text-anchor": "middle" }));
    }
    back.append(text(left + plot / 2, bottom + 35, page.axis, { "text-anchor": "middle" }));
    const stripes = page.rows.map((step, row) => {
      const stripe = drawn("rect", { x: 0, y: top + ROW * row, width, height: ROW, class: "eslab-stripe" });
      const words = text(left - 12, middle(row) + 4, fit(pen, fitted(step, 60), left - 14), { "text-anchor": "end", "font-size": 12.5 });
      words.append(drawn("title", { text: step }));
      back.append(stripe, line(left, middle(row), left + plot, middle(row)), words);
      return stripe;
    });
    if (page.pivot !== null) {
      const y = middle(page.pivot);
      back.append(text(left - 12, y + 18, "pivot", { "text-anchor": "end" }));
      const rule = { class: "eslab-rule" };
      const edge = top + ROW * (page.pivot + 1);
      back.append(line(0, edge - 1.5, left + plot, edge - 1.5, rule), line(0, edge + 1.5, left + plot, edge + 1.5, rule));
    }

    const waits = page.waits.map(([row, start, end, version]) => {
      const made = line(x(start), middle(row), x(end), middle(row), { class: "eslab-wait" });
      back.append(made);
      return { made, start: x(start), end: x(end), version };
    });
    const bars = page.bars.map((bar, place) => {
      const made = selectable(`bar ${place}`, bar.name);
      const y = middle(bar.row);
      const hit = { x: x(bar.pieces[0][0]) - 4, y: y - BAR / 2 - 4, height: BAR + 8, class: "eslab-ring", rx: 4 };
      const end = x(bar.pieces.at(-1)[1]);
      made.append(drawn("rect", { ...hit, width: Math.max(12, end - hit.x + 4) }));
      const boxes = bar.pieces.map(([from, to]) => {
        const box = drawn("rect", { y: y - BAR / 2, height: BAR, ...paint(bar.style, hatch) });
        made.append(box);
        return { box, from: x(from), to: x(to) };
      });
      for (let piece = 1; piece < bar.pieces.length; piece++) {
        made.append(line(x(bar.pieces[piece - 1][1]), y, x(bar.pieces[piece][0]), y, { class: "eslab-wait" }));
      }
      const cross = bar.failed ? drawn("path", { d: `M${end - 6},${y - 6}l12,12m-12,0l12,-12`, stroke: COLOURS.failed, "stroke-width": 3 }) : null;
      if (cross) made.append(cross);
      return { made, boxes, cross, bar };
    });
    const arcs = page.arcs.map((arc) => {
      const y = middle(arc.row) - BAR / 2 - 2;
      const [from, to] = [x(arc.start), x(arc.end)];
      const path = `M${from},${y}v-6A${Math.abs(from - to) / 2},13 0 0 ${from > to ? 0 : 1} ${to},${y - 6}`;
      const made = drawn("g", { class: "eslab-arc" },
        drawn("path", { d: path, fill: "none", stroke: COLOURS.compensation, "stroke-width": 2, "stroke-dasharray": arc.completed ? "none" : "2 3" }),
        drawn("path", { d: `M${to - 5},${y - 8}h10L${to},${y}Z`, fill: COLOURS.compensation }));
      front.append(made);
      return { made, arc };
    });
    const spots = page.spots.map((spot, place) => {
      const made = selectable(`spot ${place}`, spot.name);
      const aside = NOTES[spot.mark].aside ?? 0;
      const high = spot.mark === "timeout" ? 26 : 11;
      made.append(
        drawn("rect", { x: x(spot.x) + aside - 11, y: middle(spot.row) - high, width: 22, height: high + 11, class: "eslab-ring", rx: 4 }),
        note(spot.mark, x(spot.x), middle(spot.row)),
      );
      return { made, spot };
    });
    const widths = Object.keys(page.labels).map(Number);
    const letters = Math.max(widths[0], ...widths.filter((one) => one * LETTER <= plot));
    const labels = page.labels[letters].map(([row, at, anchor, words, level, version]) => {
      const made = text(x(at), middle(row) + LEVELS[level], words, { "text-anchor": ANCHORS[anchor], "font-size": 11 });
      front.append(made);
      return { made, version };
    });
    const head = drawn("g", { class: "eslab-playhead" },
      drawn("line", { y1: top - 2, y2: bottom }),
      drawn("path", { d: `M-5,${top - 9}h10l-5,8Z` }));
    front.append(head);

    svg.replaceChildren(defs, back, ...bars.map((one) => one.made), ...spots.map((one) => one.made), front);
    built = { x, bars, spots, waits, arcs, labels, stripes, head };
    reveal();
    choose(selected, { focus: focused });
  }

  function selectable(which, words) {
    const made = drawn("g", {
      class: "eslab-mark", role: "button", tabindex: "-1", "aria-label": words, "aria-pressed": "false",
      "data-lm-suppress-shortcuts": "true", "data-mark": which,
    });
    made.append(drawn("title", { text: words }));
    made.addEventListener("click", () => choose(which, { focus: true }));
    made.addEventListener("focus", () => which !== selected && choose(which));
    return made;
  }

  // Shows what there was at the moment of the playhead, and the rest faintly.
  function reveal() {
    if (!built) return;
    const moment = page.moments[now];
    const version = now >= page.moments.length - 1 ? Infinity : moment.version;
    const edge = version === Infinity ? Infinity : built.x(moment.x);
    for (const { made, boxes, cross, bar } of built.bars) {
      const future = bar.version > version;
      const going = !future && (bar.ended === null ? version !== Infinity : bar.ended > version);
      made.classList.toggle("eslab-future", future);
      made.classList.toggle("eslab-going", going);
      made.classList.toggle("eslab-current", version !== Infinity && (bar.version === version || bar.ended === version));
      for (const { box, from, to } of boxes) {
        const end = going ? Math.max(from, Math.min(to, edge)) : to;
        box.setAttribute("x", from);
        box.setAttribute("width", Math.max(NARROWEST, end - from));
      }
      if (cross) cross.style.display = future || going ? "none" : "";
    }
    for (const { made, spot } of built.spots) made.classList.toggle("eslab-future", spot.version > version);
    for (const { made, version: at, start, end } of built.waits) {
      made.style.display = at > version ? "none" : "";
      made.setAttribute("x2", Math.max(start, Math.min(end, edge)));
    }
    for (const { made, version: at } of built.labels) made.style.display = at > version ? "none" : "";
    for (const { made, arc } of built.arcs) {
      made.style.display = page.bars[arc.undoing].version > version ? "none" : "";
    }
    built.head.style.display = version === Infinity ? "none" : "";
    built.head.setAttribute("transform", `translate(${moment ? built.x(moment.x) : 0},0)`);
  }

  // What is told.

  function tell() {
    const moment = page.moments[now];
    const count = page.moments.length;
    const words = moment ? `${now + 1} of ${count}: ${moment.words}` : "nothing was recorded yet";
    event.setAttribute("aria-live", timer ? "off" : "polite");
    event.replaceChildren(
      element("b", { text: words }),
      element("span", { class: "eslab-dim", text: moment ? `${moment.type}, ${moment.at}` : "" }),
    );
    slider.value = now;
    slider.setAttribute("aria-valuetext", words);
    enable(first, now > 0);
    enable(previous, now > 0);
    enable(next, now < count - 1);
    enable(last, now < count - 1);
    play.textContent = timer ? "‖ Pause" : "▶ Play";
    play.setAttribute("aria-label", timer ? "Pause" : "Play in the order of the events");
    const rows = (moment?.state ?? []).map(([sign, name, text, before]) => {
      const value = element("td");
      if (sign === "~") value.append(element("s", { text: before }), " → ");
      value.append(element(sign === "-" ? "s" : "span", { text }));
      const row = lineOf(name, value);
      row.prepend(element("td", { text: sign, class: "eslab-sign" }));
      row.classList.toggle("eslab-changed", Boolean(sign));
      return row;
    });
    const heading = moment ? `State after version ${moment.version}` : "State";
    state.replaceChildren(element("b", { text: heading }), element("table", { class: "eslab-facts" }, element("tbody", {}, ...rows)));
  }

  function list() {
    if (table_.hidden || !page) return;
    table_.replaceChildren(table(page.table.columns, page.table.rows, { numbers: ["order", "attempt"] }));
  }

  function lineOf(name, value) {
    return element("tr", {}, element("th", { text: name, scope: "row" }), value);
  }

  // What says the same is left alone: somebody may be choosing there what goes wrong.
  function describe() {
    const { name, facts, payload, partner } = selected ? mark(selected) : {};
    const told = JSON.stringify([selected, name, facts, payload, partner]);
    if (told === described) return;
    described = told;
    const focused = details.contains(document.activeElement);
    details.scrollTop = 0;
    compose();
    if (focused && !details.contains(document.activeElement)) details.focus({ preventScroll: true });
  }

  function compose() {
    if (!selected) {
      details.replaceChildren(element("span", {
        class: "eslab-dim",
        text: "Select an attempt: click it, or use the arrows.",
      }));
      return;
    }
    const one = mark(selected);
    const rows = one.facts.map(([key, text]) => lineOf(key, element("td", { text })));
    const told = element("div", {}, element("table", { class: "eslab-facts" }, element("tbody", {}, ...rows)));
    const sides = element("div", { class: "eslab-sides" }, told);
    if (one.payload) sides.append(element("pre", { class: "eslab-code", text: one.payload }));
    const parts = [element("b", { text: one.name }), sides];
    if (one.kind !== undefined) {
      told.append(caused(one));
      const acts = element("div", { class: "eslab-row" });
      parts.push(acts);
      if (one.partner !== null) {
        const words = one.kind === "compensate" ? "What it undoes (C)" : "Its compensation (C)";
        acts.append(button(words, words, () => choose(`bar ${one.partner}`, { focus: true })));
      }
      if (fail) parts.push(failing(one, acts));
    }
    details.replaceChildren(...parts);
  }

  // What the command of an attempt recorded; only the kernel knows.
  function caused(bar) {
    const place = element("div", { class: "eslab-dim" });
    if (!effects) return place;
    const fill = (all) => {
      const own = all.filter(([step, kind]) => step === bar.step && kind === bar.kind);
      place.replaceChildren(...own.map(([, , text]) => element("div", { text: `recorded ${text}` })));
    };
    if (recorded) fill(recorded);
    else {
      const of = page;
      effects().then((found) => {
        if (of === page) recorded = found;
        fill(found);
      }, (error) => (place.textContent = `what it recorded is not known: ${error.message}`));
    }
    return place;
  }

  function failing(bar, acts) {
    const choice = focusable("select", { name: "What goes wrong" });
    for (const [one, words] of faults) choice.append(new Option(`${one}: it ${words}`, one));
    choice.value = fault;
    choice.addEventListener("change", () => (fault = choice.value));
    const problem = element("div", { class: "eslab-error", role: "alert" });
    const act = button("Fail here instead", `Fail here instead: ${bar.step}, attempt ${bar.attempt}`, () => {
      act.textContent = "Running on a branch…";
      problem.textContent = "";
      fail(bar, fault)
        .catch((error) => (problem.textContent = error.message))
        .finally(() => (act.textContent = "Fail here instead"));
    });
    acts.append(choice, act);
    return problem;
  }

  // What a person does.

  function choose(which, { focus = false } = {}) {
    selected = which;
    if (built) {
      const all = [...built.bars, ...built.spots].map((one) => one.made);
      const entry = which ?? all[0]?.dataset.mark;
      const bar = which?.startsWith("bar") ? Number(which.slice(4)) : null;
      const partner = bar === null ? null : page.bars[bar].partner;
      for (const made of all) {
        made.setAttribute("aria-pressed", String(made.dataset.mark === which));
        made.setAttribute("tabindex", made.dataset.mark === entry ? "0" : "-1");
        made.classList.toggle("eslab-partner", partner !== null && made.dataset.mark === `bar ${partner}`);
        if (focus && made.dataset.mark === which) made.focus({ preventScroll: true });
      }
      for (const { made, arc } of built.arcs) {
        made.classList.toggle("eslab-lit", bar !== null && (arc.undoing === bar || arc.undone === bar));
      }
      const row = which ? mark(which).row : null;
      built.stripes.forEach((stripe, place) => stripe.classList.toggle("eslab-lit", place === row));
    }
    describe();
  }

  function items() {
    const place = (kind) => (one, index) => ({ which: `${kind} ${index}`, row: one.row, x: one.x ?? one.pieces[0][0], version: one.version, wrong: one.failed || one.mark === "wrong" || one.mark === "not handled" });
    return [...page.bars.map(place("bar")), ...page.spots.map(place("spot"))].sort((a, b) => a.version - b.version || a.x - b.x);
  }

  function move(find) {
    const all = items();
    if (!all.length) return;
    const here = all.find((one) => one.which === selected);
    const there = here ? find(all, here) : all[0];
    if (there) choose(there.which, { focus: true });
  }

  const along = (by) => () => move((all, here) => {
    const row = all.filter((one) => one.row === here.row);
    return row[row.indexOf(here) + by];
  });
  const across = (by) => () => move((all, here) => {
    for (let row = here.row + by; row >= 0 && row < page.rows.length; row += by) {
      const there = all.filter((one) => one.row === row);
      const near = (one) => Math.abs(one.x - here.x);
      if (there.length) return there.reduce((best, one) => (near(one) < near(best) ? one : best));
    }
    return null;
  });
  const error = () => {
    const wrong = items().filter((one) => one.wrong);
    const here = wrong.findIndex((one) => one.which === selected);
    const version = selected ? mark(selected).version : -1;
    const there = here >= 0 ? wrong[(here + 1) % wrong.length] : wrong.find((one) => one.version > version) ?? wrong[0];
    if (there) choose(there.which, { focus: true });
  };
  const partner = () => {
    const other = selected ? mark(selected).partner : null;
    if (other !== null && other !== undefined) choose(`bar ${other}`, { focus: true });
  };

  function seek(wanted) {
    const place = Math.min(page.moments.length - 1, Math.max(0, wanted));
    if (place === now || place < 0) return;
    now = place;
    reveal();
    tell();
  }

  function start() {
    if (now >= page.moments.length - 1) seek(0);
    began = performance.now();
    timer = setInterval(tick, 40);
    tell();
  }

  function pause() {
    clearInterval(timer);
    timer = null;
    tell();
  }

  function tick() {
    // Whole events since the last one, or a busy browser would lose some.
    const lasts = EVENT_LASTS / Number(speed.value);
    const steps = Math.floor((performance.now() - began) / lasts);
    began += steps * lasts;
    if (steps) seek(now + steps);
    if (now >= page.moments.length - 1) pause();
  }

  speed.addEventListener("change", () => (began = performance.now()));
  const actions = {
    ArrowLeft: along(-1),
    ArrowRight: along(1),
    ArrowUp: across(-1),
    ArrowDown: across(1),
    "Shift+ArrowLeft": () => seek(now - 1),
    "Shift+ArrowRight": () => seek(now + 1),
    Home: () => seek(0),
    End: () => seek(Infinity),
    " ": () => (timer ? pause() : start()),
    c: partner,
    C: partner,
    e: error,
    E: error,
  };
  keys(root, actions);
  const rebuild = painter(build);
  // Not what the width is when it is drawn: while a theme changes, that may be another one.
  const watcher = new ResizeObserver(([entry]) => {
    width = entry.contentRect.width;
    rebuild();
  });
  watcher.observe(host);
  describe();
  return {
    root,
    actions,
    show,
    release() {
      clearInterval(timer);
      watcher.disconnect();
      rebuild.cancel();
    },
  };
}

// How a saga went, and below it how it goes with a fault; it follows a model that has `page`, `live`,
// `instead` and `faults`, and obeys `watch`, `leave`, `effects`, `fail` and `forget`.
function story(model) {
  const id = crypto.randomUUID();
  const live = element("div", { class: "eslab-dim", "aria-live": "polite" });
  const went = timeline({
    name: "What the saga did and undid",
    faults: model.get("faults"),
    effects: () => ask(model, "effects"),
    fail: ({ step, kind, attempt }, fault) =>
      ask(model, "fail", { step, fault, undo: kind === "compensate", attempt }, { patience: 120_000 }),
  });
  const words = element("div", { class: "eslab-instead", "aria-live": "polite" });
  const forget = () => ask(model, "forget").catch((error) => (words.textContent = error.message));
  const heading = element("strong", { text: "Instead" });
  const close = button("Close", "Show only how it went", forget);
  const box = element("div", { class: "eslab-alternative" }, element("div", { class: "eslab-row" }, heading, close), words);
  const root = element("div", {}, went.root, live, box);
  let goes = null;

  function draw() {
    const page = model.get("page");
    root.hidden = !page.moments;
    if (page.moments) went.show(page);
  }

  function compare() {
    const { page, words: text = "" } = model.get("instead");
    box.hidden = !page;
    words.textContent = text;
    if (!page) {
      goes?.release();
      goes?.root.remove();
      goes = null;
      return;
    }
    if (!goes) {
      goes = timeline({ name: "What the saga does and undoes instead" });
      box.append(goes.root);
    }
    goes.show(page);
  }

  const tell = () => (live.textContent = model.get("live"));
  model.on("change:page", draw);
  model.on("change:live", tell);
  model.on("change:instead", compare);
  draw();
  tell();
  compare();
  ask(model, "watch", { page: id }).catch((error) => {
    if (model.get("live")) live.textContent = `It is not followed: ${error.message}`;
  });
  return {
    root,
    actions: went.actions,
    release() {
      ask(model, "leave", { page: id }).catch(() => {});
      model.off("change:page", draw);
      model.off("change:live", tell);
      model.off("change:instead", compare);
      went.release();
      goes?.release();
    },
  };
}
