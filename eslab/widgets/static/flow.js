// The message flow: a sequence diagram and a tree of the same messages, of which only those that
// are in sight are on the page.

const TIMES = 84; // the width of the times at the left
const NARROWEST = 72; // of a lane
const COLUMN = 20; // of the tree: its width
const ROWS = { sequence: 34, tree: 24 };
const DASHES = { solid: "", dash: "7 4", dot: "2 3" };
const PAGE = 200; // rows of the table at once
const SPEEDS = [1, 2, 4, 8, 16, 32, 64];

let flows = 0; // each has rows with ids of their own

// The marks, around 0,0.
function mark({ shape, colour }, x, y, way = 1) {
  const path = (d, fill = "none", more = {}) =>
    drawn("path", { d, fill, stroke: colour, "stroke-width": 1.5, ...more });
  const shapes = {
    triangle: () => [path(`M${-5 * way},-6L${7 * way},0L${-5 * way},6Z`, colour)],
    hollow: () => [path(`M${-5 * way},-6L${7 * way},0L${-5 * way},6Z`)],
    circle: () => [drawn("circle", { r: 5, fill: colour })],
    ring: () => [drawn("circle", { r: 4, fill: "none", stroke: colour, "stroke-width": 1.5 })],
    cross: () => [path("M-5,-5L5,5M-5,5L5,-5", "none", { "stroke-width": 3 })],
    flag: () => [
      drawn("path", { d: "M-4,7V-7", stroke: "#7F7F7F", "stroke-width": 1.5 }),
      path("M-4,-7L6,-3L-4,1Z", colour, { stroke: "#7F7F7F" }),
    ],
    clock: () => [path("M0,-5.5A5.5,5.5 0 1 1 -0.01,-5.5ZM0,-4V0H3")],
    diamond: () => [path("M0,-6L6,0L0,6L-6,0Z", colour)],
    ask: () => [drawn("text", { y: 5, "text-anchor": "middle", class: "strong", text: "?" })],
  };
  return drawn("g", { transform: `translate(${x},${y})` }, ...shapes[shape]());
}

function arrow(style, from, to, y, thick) {
  const way = to > from ? 1 : -1;
  const end = to - way * 2;
  const width = thick ? 3 : 1.5;
  const back = end - way * 8;
  const solid = style.dash === "solid";
  return [
    drawn("line", {
      x1: from, y1: y, x2: end, y2: y, stroke: style.colour, "stroke-width": width,
      "stroke-dasharray": DASHES[style.dash],
    }),
    drawn("path", {
      d: `M${back},${y - 4}L${end},${y}L${back},${y + 4}${solid ? "Z" : ""}`,
      stroke: style.colour, "stroke-width": width, fill: solid ? style.colour : "none",
    }),
  ];
}

// How wide a text is: a canvas measures it without laying out the page.
const rulers = {};
function wide(text, strong = false) {
  const weight = strong ? "600" : "400";
  if (!rulers[weight]) {
    const family = themed(document.body, "--jp-ui-font-family", "system-ui, sans-serif");
    rulers[weight] = document.createElement("canvas").getContext("2d");
    rulers[weight].font = `${weight} 12px ${family}`;
  }
  return rulers[weight].measureText(text).width;
}

// The beginning of a text; no sign of two halves is cut between them.
function beginning(text, length) {
  return `${text.slice(0, length).replace(/[\ud800-\udbff]$/, "")}…`;
}

const short = (text) => (text.length > 80 ? beginning(text, 79) : text);

function fitted(text, room, strong = false) {
  if (wide(text, strong) <= room) return text;
  let most = text.length - 1;
  while (most > 1 && wide(beginning(text, most), strong) > room) {
    most -= Math.max(1, Math.floor(most / 8));
  }
  return beginning(text, most);
}

// What is known of the messages, and which of them are shown in which order.
function conversation(flow) {
  const { messages, tree } = flow;
  const count = messages.id.length;
  const effects = Array.from({ length: count }, () => []);
  messages.cause.forEach((cause, index) => cause >= 0 && effects[cause].push(index));
  const inTree = [];
  const counts = new Map(); // of those that have one cause
  for (const [index, column, begins, size] of tree) {
    const cause = messages.cause[index];
    const nth = (counts.get(cause) ?? 0) + 1;
    counts.set(cause, nth);
    inTree[index] = { column, begins, size, nth };
  }
  const beside = (index) => counts.get(messages.cause[index]);
  const depth = [];
  messages.cause.forEach((cause, index) => depth.push(cause < 0 ? 0 : depth[cause] + 1));
  const texts = messages.said.map((said, index) =>
    [said, messages.where[index], messages.note[index], messages.id[index], messages.between[index]]
      .join("\n").toLowerCase());
  const path = (index) => {
    const found = new Set();
    for (let one = index; one >= 0; one = messages.cause[one]) found.add(one);
    return found;
  };
  return { ...messages, count, effects, inTree, beside, depth, texts, path };
}

function render({ model, el }) {
  const flow = model.get("flow");
  const id = `eslab-flow-${++flows}`;
  const told = conversation(flow);
  const deepest = flow.tree.reduce((most, [, column]) => Math.max(most, column), 0);
  const collapsed = new Set();
  let form = flow.form;
  let selected = 0;
  let path = told.path(0);
  let order = [];
  let rowOf = new Map();
  let hits = [];
  let hit = new Set();
  let playing = 0;
  let tabled = false;
  let page = 0;

  const { root, body, said } = frame(el, "flow", "Message flow");
  said.textContent = model.get("said");

  // The controls.

  const forms = {
    sequence: button("Sequence", "Sequence diagram (S)", () => choose("sequence")),
    tree: button("Tree", "Causation tree (C)", () => choose("tree")),
  };
  const tableButton = button("Table", "Show the messages as a table (T)", () => toggleTable());
  const play = button("▶", "Play along (Space)", () => (playing ? pause() : start()));
  const speed = focusable("select", { name: "Messages a second" });
  for (const one of SPEEDS) speed.append(element("option", { text: `${one}/s`, value: one }));
  speed.value = "4";
  const failure = button("Next failure", "Next failure (E)", () => nextFailure());
  const expand = button("Expand all", "Show all effects in the tree", () => fold(false));
  const collapse = button("Collapse all", "Hide all effects in the tree", () => fold(true));
  const search = focusable("input", {
    type: "search", class: "eslab-flow-search", placeholder: "search ( / )",
    name: "Search names, streams and ids",
  });
  const found = element("span", { class: "eslab-flow-quiet", "aria-live": "polite" });
  body.append(
    element("div", { class: "eslab-row" }, forms.sequence, forms.tree, tableButton, play, speed,
      failure, expand, collapse, element("span", { class: "eslab-flow-space" }), found, search),
  );
  enable(failure, told.failed.includes(true));

  // The parts.

  const head = element("div", { class: "eslab-flow-head", "aria-hidden": "true" });
  const sizer = element("div", { role: "presentation" });
  const list = focusable("div", { class: "eslab-flow-list", tabindex: "0" }, sizer);
  const tableBox = focusable("div", {
    class: "eslab-flow-table eslab-panel", tabindex: "0", role: "region", name: "Table of messages",
  });
  const details = focusable("div", {
    class: "eslab-flow-details eslab-panel", tabindex: "0", role: "region",
    name: "The selected message",
  });
  const left = element("div", { class: "eslab-flow-left" }, head, list, tableBox);
  const legend = element("div", { class: "eslab-flow-legend", "aria-hidden": "true" });
  for (const style of Object.values(flow.styles)) {
    const sign = drawn("svg", { width: 32, height: 16 });
    sign.append(...arrow(style, 0, 34, 8, false).slice(0, 1), mark(style, 16, 8));
    legend.append(element("span", {}, sign, element("span", { text: style.words })));
  }
  const hint = element("div", {
    class: "eslab-flow-quiet",
    text: "↑ ↓ messages · ← cause · → effect · Enter folds · E next failure · Space plays · "
      + "/ searches · S sequence · C causation tree · T table",
  });
  body.append(element("div", { class: "eslab-flow-parts" }, left, details), legend, hint);

  // Which rows there are.

  function arrange() {
    if (form === "sequence") {
      order = Array.from({ length: told.count }, (_, index) => index);
    } else {
      order = [];
      for (let row = 0; row < told.count;) {
        const [index, , , size] = flow.tree[row];
        order.push(index);
        row += collapsed.has(index) ? size : 1;
      }
    }
    rowOf = new Map(order.map((index, row) => [index, row]));
    for (const [name, one] of Object.entries(forms)) {
      one.setAttribute("aria-pressed", String(!tabled && name === form));
    }
    tableButton.setAttribute("aria-pressed", String(tabled));
    const trees = form === "tree" && !tabled;
    expand.hidden = collapse.hidden = !trees;
    head.hidden = tabled || form !== "sequence";
    list.hidden = details.hidden = tabled;
    tableBox.hidden = !tabled;
    list.setAttribute("role", form === "tree" ? "tree" : "listbox");
    list.setAttribute("aria-label", form === "tree" ? "Causation tree" : "Sequence diagram");
    clear();
    if (tabled) turnTo(selected);
    else paint();
  }

  // What is in sight.

  const rows = new Map();
  let width = 0;
  let step = NARROWEST;

  function clear() {
    for (const row of rows.values()) row.remove();
    rows.clear();
  }

  function measure() {
    const inner = list.clientWidth - 3;
    step = Math.max(NARROWEST, (inner - TIMES) / Math.max(1, flow.lanes.length));
    const wanted = form === "sequence" ? TIMES + step * flow.lanes.length : inner;
    if (Math.round(wanted) === width) return;
    width = Math.round(wanted);
    clear();
  }

  const lane = (index) => TIMES + step * (index + 0.5);

  function drawHead() {
    const picture = drawn("svg", { width: width + 20, height: 40 });
    flow.lanes.forEach(({ name, more }, index) => {
      const middle = { x: lane(index) + 3, "text-anchor": "middle" };
      picture.append(drawn("g", {},
        drawn("title", { text: `${name} ${more}` }),
        drawn("text", { ...middle, y: 16, class: "strong", text: fitted(name, step - 8, true) }),
        drawn("text", { ...middle, y: 32, class: "small", text: fitted(more, step - 8) })));
    });
    head.replaceChildren(picture);
    head.scrollLeft = list.scrollLeft;
  }

  const paint = painter(() => {
    if (!list.clientWidth || tabled) return;
    const before = width;
    measure();
    if (form === "sequence" && (before !== width || !head.firstChild)) drawHead();
    const height = ROWS[form];
    sizer.style.height = `${height * order.length}px`;
    sizer.style.width = form === "sequence" ? `${width}px` : "";
    const first = Math.max(0, Math.floor(list.scrollTop / height) - 4);
    const last = Math.min(order.length, Math.ceil((list.scrollTop + list.clientHeight) / height) + 4);
    const wanted = new Set(order.slice(first, last));
    for (const [index, row] of rows) {
      if (wanted.has(index)) continue;
      row.remove();
      rows.delete(index);
    }
    // Each stands before the next one: who does not see them hears them in this order.
    let next = null;
    for (let place = last - 1; place >= first; place--) {
      const index = order[place];
      if (!rows.has(index)) {
        rows.set(index, drawRow(index, place));
        list.insertBefore(rows.get(index), next);
      }
      next = rows.get(index);
      state(next, index);
    }
  });

  function drawRow(index, place) {
    const tree = form === "tree";
    const row = element("div", {
      class: "eslab-flow-row",
      role: tree ? "treeitem" : "option",
      id: `${id}-${index}`,
      name: spoken(index),
      "aria-posinset": tree ? told.inTree[index].nth : place + 1,
      "aria-setsize": tree ? told.beside(index) : order.length,
    });
    row.style.top = `${place * ROWS[form]}px`;
    row.style.height = `${ROWS[form]}px`;
    row.style.width = `${width + 3}px`;
    if (tree) row.append(treePicture(index));
    else {
      row.append(element("span", { class: "eslab-flow-time", text: told.time[index] }),
        sequencePicture(index));
    }
    row.addEventListener("click", (event) => {
      select(index, { scroll: false });
      if (tree && event.target.closest(".fold")) toggle(index);
    });
    if (tree) {
      row.addEventListener("dblclick", () => toggle(index));
      row.setAttribute("aria-level", told.depth[index] + 1);
      if (told.effects[index].length) {
        row.setAttribute("aria-expanded", String(!collapsed.has(index)));
      }
    }
    return row;
  }

  function state(row, index) {
    row.setAttribute("aria-selected", String(index === selected));
    row.classList.toggle("path", path.has(index));
    row.classList.toggle("later", index > selected);
    if (index === selected) list.setAttribute("aria-activedescendant", row.id);
    for (const text of row.querySelectorAll("text.said")) {
      text.classList.toggle("hit", hit.has(index));
    }
  }

  function spoken(index) {
    const parts = [flow.styles[told.style[index]].words, told.said[index], told.between[index],
      told.note[index]];
    return parts.filter(Boolean).join(", ");
  }

  // Where the arrow of a message goes, and its name: above the arrow; without one beside the mark,
  // at the side that has room.
  function placed(index) {
    const from = lane(told.source[index]);
    const ends = told.targets[index].map(lane).filter((one) => one !== from);
    const far = ends.reduce(
      (one, two) => (Math.abs(two - from) > Math.abs(one - from) ? two : one), from);
    const note = told.note[index] ? wide(told.note[index], true) + 12 : 0;
    const length = wide(told.said[index]) + note + 4;
    let left = Math.min(from, far) + (far === from ? 12 : 10);
    let room = width - left;
    if (length > room && far !== from) {
      left = Math.max(TIMES, width - length);
      room = width - left;
    } else if (length > room && from - 10 - TIMES > room) {
      left = Math.max(TIMES, from - 10 - length);
      room = from - 10 - left;
    }
    return { from, ends, far, left, length, room };
  }

  function sequencePicture(index) {
    const height = ROWS.sequence;
    const y = height * 0.72;
    const style = flow.styles[told.style[index]];
    const picture = drawn("svg", { width, height, "aria-hidden": "true" });
    flow.lanes.forEach((_, one) =>
      picture.append(drawn("line", {
        class: "life", x1: lane(one), x2: lane(one), y1: 0, y2: height,
      })));
    const { from, ends, far, left, room } = placed(index);
    for (const end of ends) picture.append(...arrow(style, from, end, y, path.has(index)));
    picture.append(mark(style, from, y, far < from ? -1 : 1));
    words(picture, index, left, far === from ? y + 4 : y - 7, room);
    return picture;
  }

  function words(picture, index, x, y, room, strong = false) {
    const text = fitted(told.said[index], room, strong);
    const said = drawn("text", { x, y, text, class: `said${strong ? " strong" : ""}` });
    said.classList.toggle("bad", told.failed[index]);
    picture.append(said);
    const note = told.note[index];
    if (!note) return;
    const left = x + wide(text, strong) + 10;
    picture.append(drawn("text", { x: left, y, class: "bad small strong", text: note }));
  }

  function treePicture(index) {
    const height = ROWS.tree;
    const y = height / 2;
    const { column, begins } = told.inTree[index];
    const style = flow.styles[told.style[index]];
    const picture = drawn("svg", { width, height, "aria-hidden": "true" });
    const rail = (x1, y1, x2, y2, dash = "") =>
      picture.append(drawn("line", { class: "rail", x1, y1, x2, y2, "stroke-dasharray": dash }));
    const at = (one) => 30 + COLUMN * one;
    // In each column at the left something is yet to come.
    for (let one = 0; one < column; one++) rail(at(one), 0, at(one), height);
    const caused = told.cause[index] >= 0;
    if (begins) rail(at(column - 1), y, at(column) - 7, y, DASHES[style.dash]);
    else if (caused) rail(at(column), 0, at(column), y - 7, DASHES[style.dash]);
    const many = told.effects[index].length > 0;
    const open = many && !collapsed.has(index);
    if (open) rail(at(column), y + 7, at(column), height);
    if (many) {
      picture.append(drawn("text", { x: 4, y: y + 4, class: "fold", text: open ? "▾" : "▸" }),
        drawn("rect", { class: "fold", width: 18, height, fill: "transparent" }));
    }
    picture.append(mark(style, at(column), y));
    const x = at(column) + 16;
    const second = Math.min(width * 0.62, Math.max(width * 0.4, at(deepest) + 240));
    const hidden = many && !open ? `  (${told.inTree[index].size - 1} hidden)` : "";
    const strong = ["command", "call", "event"].includes(told.kind[index]);
    const other = told.where[index] && !told.failed[index];
    const room = (other ? second : width - 80) - x - 6;
    words(picture, index, x, y + 4, room, strong);
    const right = width - 8 - wide(told.time[index]) - 12;
    if (other || hidden) {
      const begin = told.note[index] ? 0 : second;
      if (begin) {
        picture.append(drawn("text", {
          x: begin, y: y + 4, class: "small", text: fitted(told.where[index] + hidden, right - begin),
        }));
      }
    }
    picture.append(drawn("text", {
      x: width - 8, y: y + 4, class: "small", "text-anchor": "end", text: told.time[index],
    }));
    return picture;
  }

  // Selecting.

  function select(index, { scroll = true } = {}) {
    if (index < 0 || index >= told.count) return;
    selected = index;
    path = told.path(index);
    if (form === "tree") reveal(index);
    if (tabled) turnTo(index);
    else if (form === "sequence") redrawPath();
    if (scroll && !tabled) into(index);
    paint();
    describe();
  }

  let thick = new Set();
  function redrawPath() {
    for (const index of new Set([...thick, ...path])) {
      if (thick.has(index) === path.has(index) || !rows.has(index)) continue;
      rows.get(index).remove();
      rows.delete(index);
    }
    thick = path;
  }

  function reveal(index) {
    const closed = [...told.path(told.cause[index])].filter((one) => collapsed.has(one));
    if (!closed.length) return;
    closed.forEach((one) => collapsed.delete(one));
    arrange();
  }

  function into(index) {
    const height = ROWS[form];
    const top = (rowOf.get(index) ?? 0) * height;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + height > list.scrollTop + list.clientHeight) {
      list.scrollTop = top + height - list.clientHeight;
    }
    if (form !== "sequence") return;
    const { from, far, left, length } = placed(index);
    const west = Math.min(from, far, left) - 20;
    const east = Math.max(from, far, left + length) + 20;
    if (west < list.scrollLeft + TIMES) list.scrollLeft = west - TIMES;
    else if (east > list.scrollLeft + list.clientWidth) list.scrollLeft = east - list.clientWidth;
  }

  function move(by) {
    pause();
    const at = rowOf.get(selected) ?? 0;
    select(order[Math.max(0, Math.min(order.length - 1, at + by))]);
  }

  const inSight = () => Math.max(1, Math.floor(list.clientHeight / ROWS[form]) - 1);

  function toggle(index) {
    if (form !== "tree" || !told.effects[index].length) return;
    if (collapsed.has(index)) collapsed.delete(index);
    else collapsed.add(index);
    arrange();
  }

  function fold(all) {
    collapsed.clear();
    if (all) told.effects.forEach((caused, index) => caused.length && collapsed.add(index));
    if (all) selected = [...told.path(selected)].pop();
    arrange();
    select(selected);
  }

  function child() {
    const [first] = told.effects[selected];
    if (first === undefined) return;
    pause();
    select(first);
  }

  function parent() {
    if (told.cause[selected] < 0) return;
    pause();
    select(told.cause[selected]);
  }

  function nextFailure() {
    pause();
    const next = told.failed.indexOf(true, selected + 1);
    const index = next < 0 ? told.failed.indexOf(true) : next;
    if (index >= 0) select(index);
  }

  function choose(wanted) {
    const lost = tableBox.contains(document.activeElement);
    form = wanted;
    tabled = false;
    width = 0;
    head.replaceChildren();
    arrange();
    if (lost) list.focus();
    if (form === "tree") reveal(selected);
    into(selected);
    paint();
  }

  // Searching.

  function look() {
    const wanted = search.value.trim().toLowerCase();
    hits = [];
    if (wanted) told.texts.forEach((text, index) => text.includes(wanted) && hits.push(index));
    hit = new Set(hits);
    if (hits.length && !hit.has(selected)) select(hits.find((one) => one > selected) ?? hits[0]);
    count();
    paint();
  }

  function count() {
    const at = hits.indexOf(selected);
    found.textContent = !search.value.trim() ? "" : hits.length
      ? `${at < 0 ? "–" : at + 1} of ${hits.length}` : "nothing found";
  }

  function next(by) {
    if (!hits.length) return;
    const at = hits.indexOf(selected);
    select(hits[(at + by + hits.length) % hits.length]);
    count();
  }

  search.addEventListener("input", look);
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter") next(event.shiftKey ? -1 : 1);
    else if (event.key === "Escape") {
      search.value = "";
      look();
      list.focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });

  // Playing: messages whose time has not come are pale.

  function start() {
    if (tabled) choose(form);
    if (selected === told.count - 1) select(0);
    let begun = performance.now();
    const tick = (now) => {
      const each = 1000 / Number(speed.value);
      const steps = Math.floor((now - begun) / each);
      if (steps > 0) {
        begun += steps * each;
        select(Math.min(told.count - 1, selected + steps));
        if (selected === told.count - 1) return pause();
      }
      playing = requestAnimationFrame(tick);
    };
    playing = requestAnimationFrame(tick);
    list.classList.add("eslab-flow-playing");
    heading.setAttribute("aria-live", "off");
    shown(play, "❚❚", "Pause (Space)");
  }

  function pause() {
    if (!playing) return;
    cancelAnimationFrame(playing);
    playing = 0;
    list.classList.remove("eslab-flow-playing");
    heading.setAttribute("aria-live", "polite");
    shown(play, "▶", "Play along (Space)");
    describe();
  }

  function shown(control, text, name) {
    control.textContent = text;
    control.title = name;
    control.setAttribute("aria-label", name);
  }

  // What is selected.

  const heading = element("h4", { "aria-live": "polite" });
  const facts = element("dl");
  const links = element("div");
  const recorded = element("div");
  details.append(heading, facts, links, recorded);
  let asked = 0;

  function describe() {
    const index = selected;
    heading.textContent = told.said[index];
    facts.replaceChildren();
    const fact = (name, text) => {
      if (text) facts.append(element("dt", { text: name }), element("dd", { text }));
    };
    fact("what", flow.styles[told.style[index]].words);
    fact("between", told.between[index]);
    fact("when", told.at[index] && `${told.at[index]} (${told.time[index]})`);
    fact("message", `${index + 1} of ${told.count}`);
    fact("detail", told.detail[index]);
    fact("note", told.note[index]);
    fact("id", told.id[index]);
    link(index);
    clearTimeout(asked);
    recorded.replaceChildren();
    if (told.position[index] === null) {
      recorded.append(element("p", {
        class: "eslab-flow-quiet", text: "The log has no event of this message itself.",
      }));
      return;
    }
    // Whoever holds an arrow key down looks at none of those in between.
    asked = setTimeout(() => fetchRecorded(index), playing ? 400 : 120);
  }

  function link(index) {
    const cause = told.cause[index];
    const caused = told.effects[index];
    const to = (one) => button(short(`${one + 1}. ${told.said[one]}`),
      `Go to message ${one + 1}: ${told.said[one]}`, () => {
        select(one);
        list.focus(); // this button is gone
      });
    const line = (name, ...those) => {
      const parts = element("div", {}, element("span", { class: "eslab-flow-quiet", text: name }));
      for (const one of those) parts.append(element("br"), to(one));
      return parts;
    };
    links.replaceChildren();
    links.append(cause < 0 ? line("no cause is known") : line("caused by", cause));
    if (caused.length) links.append(line(`caused ${caused.length}`, ...caused.slice(0, 12)));
    if (caused.length > 12) {
      links.append(element("span", { class: "eslab-flow-quiet", text: `and ${caused.length - 12} more` }));
    }
  }

  async function fetchRecorded(index) {
    try {
      const answer = await ask(model, "details", { order: index }, { patience: 10_000 });
      if (index !== selected) return;
      const code = (value) => element("div", {
        class: "eslab-code", text: JSON.stringify(value, null, 1),
      });
      recorded.replaceChildren(
        element("div", { class: "eslab-flow-quiet", text: answer.recorded }), code(answer.data),
        element("div", { class: "eslab-flow-quiet", text: "metadata" }), code(answer.metadata),
      );
    } catch (error) {
      if (index !== selected) return;
      recorded.replaceChildren(element("div", { class: "eslab-error", text: error.message }));
    }
  }

  // The table.

  function toggleTable() {
    pause();
    tabled = !tabled;
    arrange();
    if (!tabled) into(selected);
    (tabled ? tableBox : list).focus();
  }

  // To the page of a message, which is marked.
  function turnTo(index) {
    page = Math.floor(index / PAGE);
    fillTable();
    const row = tableBox.querySelector("tbody").rows[index - page * PAGE];
    row.setAttribute("aria-current", "true");
    tableBox.scrollTop = Math.max(0, row.offsetTop - tableBox.clientHeight / 2);
  }

  function fillTable() {
    const first = page * PAGE;
    const last = Math.min(told.count, first + PAGE);
    const cells = [];
    for (let index = first; index < last; index++) {
      const cause = told.cause[index];
      cells.push([index + 1, cause < 0 ? "" : cause + 1, told.time[index],
        told.position[index] ?? "", flow.styles[told.style[index]].words, short(told.between[index]),
        [told.said[index], told.note[index]].filter(Boolean).join(" ")]);
    }
    const columns = ["#", "caused by", "time", "position", "what", "between", "message"];
    const caption = `messages ${first + 1} to ${last} of ${told.count}, in causal order`;
    const turn = (by) => {
      page += by;
      fillTable();
      tableBox.querySelectorAll("button")[by < 0 ? 0 : 1].focus();
    };
    tableBox.replaceChildren();
    if (told.count > PAGE) {
      const back = button("Earlier", "Earlier messages", () => page > 0 && turn(-1));
      const forth = button("Later", "Later messages", () => last < told.count && turn(1));
      enable(back, page > 0);
      enable(forth, last < told.count);
      tableBox.append(element("div", { class: "eslab-row" }, back, forth));
    }
    tableBox.append(
      table(columns, cells, { caption, numbers: ["#", "caused by", "time", "position"] }));
  }

  // Keys.

  keys(root, {
    ArrowDown: () => move(1),
    ArrowUp: () => move(-1),
    ArrowLeft: parent,
    ArrowRight: child,
    PageDown: () => move(inSight()),
    PageUp: () => move(-inSight()),
    Home: () => move(-told.count),
    End: () => move(told.count),
    Enter: () => toggle(selected),
    " ": () => (playing ? pause() : start()),
    "/": () => search.focus(),
    e: nextFailure,
    n: () => next(1),
    "Shift+N": () => next(-1),
    s: () => choose("sequence"),
    c: () => choose("tree"),
    t: toggleTable,
  });

  // The table scrolls by itself.
  tableBox.addEventListener("keydown", (event) => {
    if (RANGE_KEYS.includes(event.key)) event.stopPropagation();
  });
  list.addEventListener("scroll", () => {
    head.scrollLeft = list.scrollLeft;
    paint();
  });
  const watcher = new ResizeObserver(paint);
  watcher.observe(list);

  arrange();
  describe();
  return () => {
    watcher.disconnect();
    paint.cancel();
    cancelAnimationFrame(playing);
    clearTimeout(asked);
  };
}

export default { render };
