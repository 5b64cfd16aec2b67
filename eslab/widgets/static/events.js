// The stream browser: conditions, a histogram to brush, one page of rows, and one event opened.

const ENDS = (one) => [[`${one} from`, "from"], [`${one} until`, "until"]];
const MOMENTS = (one) => [[`${one} from`, "from 2026-01-31 12:00"], [`${one} before`, "before"]];
const FILTERS = {
  stream: ["stream", [["stream id", "order-*"]]],
  category: ["category", [["category", "order"]]],
  payload: ["payload", [["path", "amount"], ["operator", null], ["value", "30"]]],
  occurred: ["occurred", MOMENTS("occurred")],
  recorded: ["recorded", MOMENTS("recorded")],
  versions: ["version", ENDS("version")],
  positions: ["position", ENDS("position")],
  correlation_id: ["correlation id", [["correlation id", "of a conversation"]]],
  tags: ["tag", [["tag", "course:c1"]]],
};
const LANDMARKS = {
  occurred: ["time", [["time", "2026-01-31 12:00"]]],
  recorded: ["recorded time", [["recorded time", "2026-01-31 12:00"]]],
  position: ["position", [["position", "1,000"]]],
  version: ["version", [["version", "3"]]],
};
const COLUMNS = ["position", "occurred at (UTC)", "type", "stream", "version", "data"];
const HATCHES = ["", "/", ".", "x", "-", "+", "|"];
const STEPS = [1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 0.5, 1, 5, 15, 30, 60, 300, 900, 1800, 3600, 10800, 21600, 43200]
  .concat([1, 2, 7, 14, 28, 91, 182, 365, 1825, 7300].map((days) => days * 86400))
  .map((seconds) => Math.round(seconds * 1e6));
const DAY = 86400e6;
const LEAVES = 100;

let entries = 0;

const isEnabled = (control) => control.getAttribute("aria-disabled") !== "true";
const whole = (number) => number.toLocaleString("en-US");
const clear = (part, ...children) => part.replaceChildren(...children);

// Microseconds since 1970, which a Date would round; a bin may reach out of the years 1 to 9999.
function isoText(given) {
  const moment = Math.min(253402300799e6, Math.max(-62135596800e6, given));
  const seconds = Math.floor(moment / 1e6);
  const rest = String(moment - seconds * 1e6).padStart(6, "0");
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}.${rest}`;
}

function momentText(moment) {
  return isoText(moment).replace("T", " ").replace(/\.?0+$/, "").replace(/^(.{16}):00$/, "$1");
}

function tickText(moment, step) {
  const text = isoText(moment);
  if (step >= DAY) return text.slice(0, 10);
  if (moment % DAY === 0) return text.slice(5, 10);
  if (step >= 60e6) return text.slice(11, 16);
  return step >= 1e6 ? text.slice(11, 19) : text.slice(14).replace(/\.?0+$/, "");
}

// A rate of a bin: events a second, a minute, an hour or a day; the first that is at least 1.
function rateText(count, width) {
  const units = [["s", 1e6], ["min", 60e6], ["h", 3600e6], ["d", DAY]];
  const [unit, length] = units.find(([, one]) => (count * one) / width >= 1) ?? units.at(-1);
  const rate = (count * length) / width;
  return `${rate >= 100 ? whole(Math.round(rate)) : rate.toPrecision(2)}/${unit}`;
}

// What a person types: one of some kinds of things, and its inputs. What is wrong stands below.
function entry(name, verb, kinds, submit) {
  const id = `eslab-events-${++entries}`;
  const select = focusable("select", { name });
  for (const [kind, [text]] of Object.entries(kinds)) {
    select.append(element("option", { text, value: kind }));
  }
  const fields = element("span", { class: "eslab-events-fields" });
  const wrong = element("span", { class: "eslab-error", role: "alert", id });
  const form = element("form", { class: "eslab-events-entry", name },
    select, fields, focusable("button", { text: verb, type: "submit" }), wrong);

  const inputs = () => [...fields.querySelectorAll("input, select")];
  const complain = (words) => {
    wrong.textContent = words && `✕ ${words}`;
    for (const input of inputs()) {
      input.toggleAttribute("aria-invalid", Boolean(words));
      if (words) input.setAttribute("aria-describedby", id);
    }
  };
  const choose = (operators) => {
    const [, parts] = kinds[select.value];
    clear(fields, ...parts.map(([label, example]) => {
      if (example === null) {
        const made = focusable("select", { name: label });
        made.append(...operators.map((text) => element("option", { text, value: text })));
        return made;
      }
      return focusable("input", { type: "text", name: label, placeholder: example, autocomplete: "off", spellcheck: "false" });
    }));
    complain("");
  };
  // JupyterLab keeps a form from being submitted by Enter.
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.target.tagName !== "INPUT") return;
    event.preventDefault();
    form.requestSubmit();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await submit(select.value, inputs().map((input) => input.value));
      complain("");
      for (const input of fields.querySelectorAll("input")) input.value = "";
    } catch (error) {
      complain(error.message);
    }
  });
  return { form, select, choose, focus: () => inputs()[0].focus() };
}

// The lines of a hatching in a tile of 6 pixels, as `HATCHES` names them.
function hatching(context, hatch) {
  const lines = {
    "/": [[0, 6, 6, 0]],
    x: [[0, 6, 6, 0], [0, 0, 6, 6]],
    "-": [[0, 3, 6, 3]],
    "|": [[3, 0, 3, 6]],
    "+": [[0, 3, 6, 3], [3, 0, 3, 6]],
  };
  const tile = new OffscreenCanvas(6, 6);
  const pen = tile.getContext("2d");
  pen.strokeStyle = pen.fillStyle = "rgba(255,255,255,0.75)";
  for (const [x1, y1, x2, y2] of lines[hatch] ?? []) {
    pen.beginPath();
    pen.moveTo(x1, y1);
    pen.lineTo(x2, y2);
    pen.stroke();
  }
  if (hatch === ".") pen.fillRect(2, 2, 2, 2);
  return context.createPattern(tile, "repeat");
}

// How many events of each type occurred when. A drag or Shift and arrows choose bins.
function histogram(choose) {
  const LEFT = 48, TOP = 8, BOTTOM = 20, HEIGHT = 118;
  let summary = null, page = null, bins = [], cursor = -1, anchor = -1, dragging = false;

  const info = element("div", { class: "eslab-events-info" });
  const picture = canvas(HEIGHT, "events over time", paint);
  const slider = focusable("div", {
    class: "eslab-events-histogram",
    role: "slider",
    tabindex: "0",
    name: "time: arrows go from bin to bin, Shift and arrows choose bins, Enter filters by them",
    "aria-valuemin": "0",
  }, picture);
  const part = element("div", {}, info, slider);

  const scale = () => (picture.clientWidth - LEFT - 4) / Math.max(bins.length, 1);
  const chosen = () => (anchor < 0 ? [cursor, cursor] : [Math.min(anchor, cursor), Math.max(anchor, cursor)]);
  const start = (bin) => bins[0].start + bin * summary.width;

  function tell() {
    if (!bins.length) info.textContent = summary ? "No event matches." : "Counting…";
    else if (cursor < 0) {
      const [first, last] = [start(0), start(bins.length)];
      info.textContent = `Events in ${summary.per}, ${momentText(first)} to ${momentText(last)} UTC, by when they occurred`;
    } else {
      const [low, high] = chosen();
      const counts = new Map();
      for (const bin of bins.slice(low, high + 1)) {
        for (const [group, count] of bin.parts) counts.set(group, (counts.get(group) ?? 0) + count);
      }
      const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
      const names = [...counts].sort((one, other) => other[1] - one[1])
        .map(([group, count]) => `${summary.groups[group][0]} ${whole(count)}`);
      info.textContent = `${momentText(start(low))} to ${momentText(start(high + 1))}: ${whole(total)}, `
        + `${rateText(total, (high - low + 1) * summary.width)}${names.length ? ` · ${names.join(" · ")}` : ""}`;
    }
    slider.setAttribute("aria-valuemax", String(Math.max(bins.length - 1, 0)));
    slider.setAttribute("aria-valuenow", String(Math.max(cursor, 0)));
    slider.setAttribute("aria-valuetext", info.textContent);
    picture.paint();
  }

  function paint(context, width, height) {
    if (!bins.length) return;
    const grey = themed(slider, "--jp-ui-font-color2", "#666");
    const floor = height - BOTTOM, step = scale();
    const most = Math.max(...bins.map((bin) => bin.total));
    const up = (count) => (count / most) * (floor - TOP);
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = context.strokeStyle = grey;
    context.textBaseline = "middle";
    context.textAlign = "right";
    context.fillText(whole(most), LEFT - 6, TOP + 2);
    context.fillText("0", LEFT - 6, floor);
    context.globalAlpha = 0.35;
    context.fillRect(LEFT, floor, width - LEFT - 4, 1);
    context.fillRect(LEFT, TOP, width - LEFT - 4, 1);
    context.globalAlpha = 1;
    const [low, high] = chosen();
    if (cursor >= 0) {
      context.fillStyle = themed(slider, "--jp-layout-color3", "#bdbdbd");
      context.globalAlpha = 0.6;
      context.fillRect(LEFT + low * step, TOP, (high - low + 1) * step, floor - TOP);
      context.globalAlpha = 1;
    }
    const hatches = new Map();
    bins.forEach((bin, index) => {
      let top = floor;
      for (const [group, count] of bin.parts) {
        const [, colour, hatch] = summary.groups[group];
        const tall = up(count);
        const box = [LEFT + index * step + 0.5, top - tall, Math.max(step - 1, 1), tall];
        context.fillStyle = colour;
        context.fillRect(...box);
        if (hatch && step > 3) {
          if (!hatches.has(hatch)) hatches.set(hatch, hatching(context, hatch));
          context.fillStyle = hatches.get(hatch);
          context.fillRect(...box);
        }
        top -= tall;
      }
    });
    axis(context, width, floor, grey);
    where(context, floor);
  }

  function axis(context, width, floor, grey) {
    const span = bins.length * summary.width;
    const x = (moment) => LEFT + ((moment - start(0)) / span) * (width - LEFT - 4);
    const step = STEPS.find((one) => span / one <= (width - LEFT) / 95) ?? STEPS.at(-1);
    context.fillStyle = grey;
    context.textAlign = "center";
    context.textBaseline = "top";
    for (let tick = Math.ceil(start(0) / step) * step; tick <= start(bins.length); tick += step) {
      if (x(tick) < LEFT + 30 || x(tick) > width - 34) continue;
      context.fillRect(Math.round(x(tick)), floor, 1, 4);
      context.fillText(tickText(tick, step), x(tick), floor + 6);
    }
  }

  // A bracket under the bars says where the page is.
  function where(context, floor) {
    if (!page?.length) return;
    const moments = page.map((row) => row.at);
    const at = (moment) => LEFT + ((moment - start(0)) / summary.width) * scale();
    const [first, last] = [at(Math.min(...moments)), at(Math.max(...moments))];
    context.fillStyle = themed(slider, "--jp-ui-font-color0", "#000");
    context.fillRect(first - 1, floor + 1, Math.max(last - first, 0) + 3, 3);
    context.fillRect(first - 1, floor - 5, 2, 9);
    context.fillRect(last, floor - 5, 2, 9);
  }

  const binAt = (event) => {
    const left = event.clientX - picture.getBoundingClientRect().left - LEFT;
    return Math.min(bins.length - 1, Math.max(0, Math.floor(left / scale())));
  };
  const apply = () => {
    const [low, high] = chosen();
    choose(isoText(start(low)), isoText(start(high + 1)));
  };
  slider.addEventListener("pointerdown", (event) => {
    if (!bins.length || event.button) return;
    slider.setPointerCapture(event.pointerId);
    dragging = true;
    cursor = anchor = binAt(event);
    tell();
  });
  slider.addEventListener("pointermove", (event) => {
    if (!bins.length || (!dragging && anchor >= 0)) return;
    cursor = binAt(event);
    tell();
  });
  slider.addEventListener("pointerup", () => {
    if (!dragging) return;
    dragging = false;
    if (anchor !== cursor) apply();
    anchor = -1;
    tell();
  });
  slider.addEventListener("pointerleave", () => {
    if (dragging || slider.contains(document.activeElement)) return;
    cursor = anchor = -1;
    tell();
  });
  slider.addEventListener("blur", () => {
    cursor = anchor = -1;
    tell();
  });
  const go = (to, extend) => {
    if (!bins.length) return;
    const from = cursor;
    cursor = Math.min(bins.length - 1, Math.max(0, to));
    anchor = extend ? (anchor < 0 ? Math.max(from, 0) : anchor) : -1;
    tell();
  };
  keys(slider, {
    ArrowLeft: (event) => go(cursor < 0 ? bins.length - 1 : cursor - 1, event.shiftKey),
    ArrowRight: (event) => go(cursor + 1, event.shiftKey),
    Home: (event) => go(0, event.shiftKey),
    End: (event) => go(bins.length - 1, event.shiftKey),
    Enter: () => cursor >= 0 && apply(),
  });

  return {
    part,
    release: picture.release,
    show(found, rows) {
      page = rows;
      if (found !== summary) {
        summary = found;
        bins = summary ? binned(summary) : [];
        cursor = anchor = -1;
      }
      tell();
    },
    rows() {
      return bins.filter((bin) => bin.total).flatMap((bin) => bin.parts.map(([group, count]) =>
        [momentText(bin.start), summary.groups[group][0], whole(count)]));
    },
  };
}

// Bins one beside the other, the empty ones among them.
function binned({ bars, width }) {
  if (!bars.length) return [];
  const first = bars[0][0];
  const place = (start) => Math.round((start - first) / width);
  const count = place(bars.at(-1)[0]) + 1;
  const bins = Array.from({ length: count }, (_, index) => ({ start: first + index * width, total: 0, parts: [] }));
  for (const [start, group, events] of bars) {
    const bin = bins[place(start)];
    bin.parts.push([group, events]);
    bin.total += events;
  }
  return bins;
}

// A JSON value whose leaves are texts already; what is deep or long is made when it is opened.
function tree(node, keys, only) {
  const inside = node.keys ?? node.items.map((inner, index) => [index, inner]);
  const list = element("ul", { class: "eslab-events-tree" });
  let shown = 0;
  const more = () => {
    for (const [key, inner] of inside.slice(shown, shown + LEAVES)) {
      list.append(branch(String(key), inner, [...keys, key], only));
    }
    shown += LEAVES;
    if (shown < inside.length) {
      const rest = button(`${whole(inside.length - shown)} more`, "show more", () => {
        rest.parentElement.remove();
        more();
      });
      list.append(element("li", {}, rest));
    }
  };
  more();
  if (!inside.length) list.append(element("li", { class: "eslab-events-dim", text: "nothing" }));
  return list;
}

function branch(key, node, keys, only) {
  const label = element("span", { class: "eslab-events-key", text: key });
  if (typeof node === "string") {
    const leaf = element("li", {}, label, element("span", { class: "eslab-events-leaf", text: node }));
    const path = pathText(keys);
    if (only) leaf.append(button("=", `only events with ${path} = ${node.slice(0, 80)}`, () => only(path, node)));
    return leaf;
  }
  const count = (node.keys ?? node.items).length;
  const summary = focusable("summary", {}, label,
    element("span", { class: "eslab-events-dim", text: node.keys ? `{${count}}` : `[${count}]` }));
  // Its keys open and close it, and no row.
  summary.addEventListener("keydown", (event) => event.key === "Enter" && event.stopPropagation());
  const details = element("details", {}, summary);
  details.addEventListener("toggle", () => details.childElementCount < 2 && details.append(tree(node, keys, only)));
  details.open = count <= 20;
  return element("li", {}, details);
}

function render({ model, el }) {
  const { root, body, said } = frame(el, "events", "Stream browser");
  const state = { rows: [], rank: 0, at: 0, newestFirst: true, summary: null, opened: null, going: false, next: null };
  const releases = [];
  let revision = -1;

  // Whatever needs the kernel says so when it does not answer.
  const note = element("span", { class: "eslab-error", role: "alert" });
  const pending = element("span", { class: "eslab-events-dim", "aria-live": "polite" });
  async function call(intent, args = {}) {
    const late = setTimeout(() => { pending.textContent = "waiting for the kernel…"; }, 700);
    try {
      return await ask(model, intent, args);
    } finally {
      clearTimeout(late);
      pending.textContent = "";
    }
  }
  const attempt = async (work) => {
    try {
      note.textContent = "";
      return await work();
    } catch (error) {
      note.textContent = `✕ ${error.message}`;
    }
  };
  const narrow = (field, values) => attempt(() => call("filter", { field, values }));

  const filters = entry("filter by", "Filter", FILTERS, (field, values) => call("filter", { field, values }));
  const jumps = entry("jump to", "Jump", LANDMARKS, async (to, [value]) => {
    await jump(to, value);
    focusRow();
  });
  for (const one of [filters, jumps]) {
    one.select.addEventListener("change", () => one.choose(model.get("shown").operators));
    one.form.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      focusRow();
    });
  }
  const chips = element("div", { class: "eslab-events-chips", role: "group", name: "conditions" });
  const over = histogram((first, last) => narrow("occurred", [first, last]));
  releases.push(over.release);
  const overTable = element("div", { class: "eslab-events-bins eslab-panel", tabindex: "0", role: "region", name: "events over time, as a table" });
  const types = element("div", { class: "eslab-events-types", role: "group", name: "types: how many events, and a click to filter" });
  const range = element("span", { class: "eslab-events-range" });
  const newer = button("", "look at the newer events too", () => attempt(() => call("refresh")));
  const detail = element("div", { class: "eslab-events-detail eslab-panel", role: "region", name: "the event that is opened" });
  const moves = {
    newest: button("⇤ Newest", "to the newest events (End)", () => go("newest")),
    newer: button("‹ Newer", "to newer events", () => go("newer")),
    older: button("Older ›", "to older events", () => go("older")),
    oldest: button("Oldest ⇥", "to the oldest events (Home)", () => go("oldest")),
  };
  const order = button("", "change the order of the rows", () => {
    state.newestFirst = !state.newestFirst;
    show(0);
    go(state.newestFirst ? "newest" : "oldest");
  });
  const asTable = button("Table", "show the events over time as a table, or as a picture", () => {
    overTable.hidden = !overTable.hidden;
    draw();
  });

  // The rows are made once, and only their texts change: paging leaves nothing behind.
  const lines = Array.from({ length: model.get("shown").size }, (_, index) => {
    const cells = COLUMNS.map((name) => element("td", { class: `eslab-events-${name.split(" ")[0]}` }));
    const swatch = element("span");
    const type = element("span");
    cells[2].append(swatch, type);
    const row = focusable("tr", { tabindex: "-1" }, ...cells);
    row.addEventListener("click", () => {
      if (getSelection().toString()) return;
      const again = state.at === index && state.opened;
      select(index);
      if (again) shut();
      else open(display()[index]?.position);
    });
    return { row, cells, swatch, type };
  });
  const grid = element("table", { class: "eslab-events-grid", role: "grid", name: "events" },
    element("thead", {}, element("tr", {}, ...COLUMNS.map((text) => element("th", { text, scope: "col", class: `eslab-events-${text.split(" ")[0]}` })))),
    element("tbody", {}, ...lines.map(({ row }) => row)));
  const pane = element("div", { class: "eslab-events-pane" }, grid);
  body.append(
    element("div", { class: "eslab-events-bar" }, filters.form, jumps.form),
    chips,
    over.part,
    overTable,
    element("div", { class: "eslab-events-middle" }, types, pane),
    element("div", { class: "eslab-row eslab-events-pager" },
      range, ...Object.values(moves), order, asTable, newer, pending, note),
    detail,
  );
  overTable.hidden = true;
  // Keys scroll it.
  overTable.addEventListener("keydown", (event) => RANGE_KEYS.includes(event.key) && event.stopPropagation());
  filters.choose(model.get("shown").operators);
  jumps.choose([]);

  const display = () => (state.newestFirst ? state.rows : [...state.rows].reverse());
  const swatchOf = (type) => {
    const group = state.summary?.types.find(([name]) => name === type)?.[2];
    const [, colour, hatch] = state.summary?.groups[group ?? state.summary.groups.length - 1] ?? ["", COLOURS.neutral, ""];
    return { class: `eslab-events-swatch eslab-events-hatch-${HATCHES.indexOf(hatch)}`, style: `background-color: ${colour}` };
  };
  const dress = (swatch, type) => {
    for (const [key, value] of Object.entries(swatchOf(type))) swatch.setAttribute(key, value);
  };

  function draw() {
    const rows = display();
    lines.forEach(({ row, cells, swatch, type }, index) => {
      const one = rows[index];
      const texts = one ? [whole(one.position), one.occurred, null, one.stream, whole(one.version), one.data] : [];
      row.classList.toggle("eslab-events-empty", !one);
      row.tabIndex = one && index === state.at ? 0 : -1;
      row.setAttribute("aria-selected", String(Boolean(one) && index === state.at));
      row.dataset.position = one?.position ?? "";
      cells.forEach((cell, place) => {
        if (place !== 2) cell.textContent = texts[place] ?? "";
        cell.title = place === 2 ? one?.type ?? "" : texts[place] ?? "";
      });
      type.textContent = one?.type ?? "";
      if (one) dress(swatch, one.type);
      swatch.hidden = !one;
    });
    drawRange();
    over.show(state.summary, state.rows);
    asTable.setAttribute("aria-pressed", String(!overTable.hidden));
    over.part.hidden = !overTable.hidden;
    if (!overTable.hidden) clear(overTable, table(["from (UTC)", "type", "events"], over.rows(), { numbers: ["events"], caption: `Events in bins of ${state.summary?.per ?? "…"}` }));
  }

  function drawRange() {
    const { rank, rows, summary } = state;
    const count = summary?.count;
    grid.setAttribute("aria-rowcount", String(count ?? -1));
    const [first, last] = state.newestFirst || count === undefined || rank === null
      ? [rank + 1, rank + rows.length]
      : [count - rank - rows.length + 1, count - rank];
    const numbers = rank === null ? "the oldest" : `${whole(first)}–${whole(last)}`;
    range.textContent = rows.length ? `${numbers} of ${count === undefined ? "…" : whole(count)}` : "no event matches";
    const end = rank !== null && count !== undefined && rank + rows.length >= count;
    for (const name of ["newest", "newer"]) enable(moves[name], rank !== 0);
    for (const name of ["older", "oldest"]) enable(moves[name], !end && rows.length > 0);
    order.textContent = state.newestFirst ? "↓ newest first" : "↓ oldest first";
  }

  function drawConditions() {
    const { conditions, types: chosen } = model.get("shown");
    clear(chips, ...conditions.map(([, words], place) => {
      const chip = button("", `remove the condition: ${words}`, () => attempt(() => call("drop", { place })).then(() => root.focus()));
      chip.append(element("span", { text: words }), element("span", { text: "✕", "aria-hidden": "true" }));
      return chip;
    }));
    if (conditions.length > 1) chips.append(button("Clear all", "remove all conditions", () => attempt(() => call("clear")).then(() => root.focus())));
    chips.hidden = !conditions.length;
    drawTypes(chosen);
  }

  function drawTypes(chosen) {
    const held = document.activeElement?.dataset?.type;
    const listed = state.summary?.types ?? [];
    const most = Math.max(1, ...listed.map(([, count]) => count));
    clear(types, ...listed.map(([name, count]) => {
      const one = button("", `${name}: ${whole(count)} events`, () => {
        const now = chosen ?? [];
        narrow("types", now.includes(name) ? now.filter((other) => other !== name) : [...now, name]);
      });
      one.dataset.type = name;
      one.setAttribute("aria-pressed", String(chosen?.includes(name) ?? false));
      const swatch = element("span");
      dress(swatch, name);
      const bar = element("span", { class: "eslab-events-share" });
      bar.style.width = `${(100 * count) / most}%`;
      one.append(swatch, element("span", { text: name }), element("span", { text: whole(count) }), bar);
      return one;
    }));
    if (state.summary?.unlisted) types.append(element("span", { text: `and ${whole(state.summary.unlisted)} types more` }));
    if (held !== undefined) [...types.children].find((one) => one.dataset.type === held)?.focus();
  }

  function drawDetail() {
    const found = state.opened;
    detail.hidden = !found;
    if (!found) return clear(detail);
    const link = (place) => button(`${place.text} · @${whole(place.position)}`, `go to ${place.text}`, () => follow(place.position));
    const links = (places) => (places.length ? places.map(link) : [element("span", { class: "eslab-events-dim", text: "none" })]);
    const section = (title, ...children) => element("section", {}, element("h4", { text: title }), ...children);
    const copy = button("Copy", `copy ${found.replay}`, async () => {
      try {
        await navigator.clipboard.writeText(found.replay); // there is none without https
        copy.textContent = "Copied";
      } catch {
        copy.textContent = "Select it to copy";
      }
    });
    const cause = found.cause
      ? [link(found.cause)]
      : [element("span", { class: found.command ? "eslab-code" : "eslab-events-dim", text: found.command ? `command ${found.command}` : "not recorded" })];
    const facts = element("dl", {}, ...found.facts.flatMap(([key, text]) => [element("dt", { text: key }), element("dd", { text })]));
    clear(detail,
      element("div", { class: "eslab-row eslab-events-title" },
        element("strong", { text: found.type }),
        element("span", { text: `${found.stream} · v${whole(found.version)} · @${whole(found.position)}` }),
        button("Only this stream", "filter by this stream", () => narrow("stream", [found.stream])),
        ...(found.correlation ? [button("Only this conversation", "filter by this correlation id", () => narrow("correlation_id", [found.correlation]))] : []),
        button("✕", "close the event (Escape)", () => { shut(); focusRow(); })),
      element("div", { class: "eslab-events-columns" },
        section("Data", tree(found.data, [], (path, text) => narrow("payload", [path, "=", text]))),
        section("Metadata", facts, ...(found.metadata.keys.length ? [tree(found.metadata, [], null)] : [])),
        section("Cause", ...cause,
          ...(found.siblings.length ? [element("h4", { text: "Caused together with it" }), ...links(found.siblings)] : []),
          element("h4", { text: "Effects" }), ...links(found.effects),
          ...(found.more ? [element("span", { class: "eslab-events-dim", text: "and more" })] : []),
          element("h4", { text: "Replay this stream" }),
          element("div", { class: "eslab-row" }, element("code", { class: "eslab-code", text: found.replay }), copy))));
  }

  // Going from page to page: one request at a time, and of those that wait the latest.
  async function go(move, at = 0) {
    if (state.going) {
      state.next = [move, at];
      return;
    }
    if (!isEnabled(moves[move])) return;
    state.going = true;
    const [before, asked] = [state.rows, revision];
    const args = {
      newest: {},
      oldest: { after: 0 },
      older: { before: before.at(-1)?.position ?? null },
      newer: { after: before[0]?.position ?? null },
    }[move];
    const answer = await attempt(() => call("page", args));
    state.going = false;
    if (answer?.revision === asked && asked === revision && answer.rows.length) {
      const { rank, summary } = state;
      state.rank = {
        newest: 0,
        oldest: summary ? summary.count - answer.rows.length : null,
        older: rank === null ? null : rank + before.length,
        newer: rank === null ? null : Math.max(0, rank - answer.rows.length),
      }[move];
      state.rows = answer.rows;
      show(at);
    }
    const { next } = state;
    state.next = null;
    if (next) go(...next);
  }

  function edge(move, at) {
    if (!state.going && !isEnabled(moves[move])) select(Math.min(at, Math.max(state.rows.length - 1, 0)));
    else go(move, at);
  }

  async function jump(to, value) {
    const asked = revision;
    const answer = await call("jump", { to, value, newest_first: state.newestFirst });
    if (asked !== revision || answer.revision !== revision) return null;
    state.rows = answer.rows;
    state.rank = answer.rank;
    show(display().findIndex((row) => row.position === answer.position));
    return answer.position;
  }

  // An effect may be one that the conditions leave out: it is opened all the same.
  async function follow(position) {
    await attempt(async () => {
      const found = await jump("position", String(position)).catch(() => null);
      await open(position);
      if (found !== position) note.textContent = `@${whole(position)} is opened; the conditions leave it out of the rows`;
    });
    detail.querySelector("button")?.focus();
  }

  function show(at) {
    const inside = grid.contains(document.activeElement);
    state.at = Math.min(Math.max(at, 0), Math.max(state.rows.length - 1, 0));
    draw();
    if (inside) focusRow();
    if (state.opened) open(display()[state.at]?.position);
  }

  function select(at) {
    state.at = at;
    draw();
    focusRow();
    if (state.opened) open(display()[at]?.position);
  }

  function step(by) {
    const to = state.at + by;
    if (!grid.contains(document.activeElement) && by > 0 && state.at === 0) focusRow();
    else if (to >= 0 && to < state.rows.length) select(to);
    else go((by > 0) === state.newestFirst ? "older" : "newer", by > 0 ? 0 : lines.length - 1);
  }

  const focusRow = () => lines[state.at].row.focus({ preventScroll: true });

  let wanted = 0;
  async function open(position) {
    if (position === undefined) return;
    const mine = ++wanted;
    const found = await attempt(() => call("inspect", { position }));
    if (mine !== wanted || !found) return;
    state.opened = found;
    drawDetail();
  }

  function shut() {
    wanted += 1;
    state.opened = null;
    drawDetail();
  }

  keys(root, {
    ArrowDown: () => step(1),
    ArrowUp: () => step(-1),
    PageDown: () => go(state.newestFirst ? "older" : "newer", state.at),
    PageUp: () => go(state.newestFirst ? "newer" : "older", state.at),
    Home: () => edge("oldest", state.newestFirst ? lines.length - 1 : 0),
    End: () => edge("newest", state.newestFirst ? 0 : lines.length - 1),
    Enter: () => open(display()[state.at]?.position),
    Escape: () => { shut(); focusRow(); },
    "/": () => filters.focus(),
  });

  async function follows() {
    const shown = model.get("shown");
    revision = shown.revision;
    Object.assign(state, { rows: shown.page, rank: 0, at: 0, summary: shown.summary ?? state.summary });
    const counted = shown.summary !== null;
    // Until it is counted, types and times stay as they were.
    if (!counted) state.summary = state.summary && { ...state.summary, count: undefined };
    draw();
    drawConditions();
    if (!state.newestFirst) go("oldest");
    if (counted) return;
    const found = await attempt(() => call("summary"));
    if (found?.revision !== revision) return;
    state.summary = found;
    if (state.rank === null) state.rank = found.count - state.rows.length;
    draw();
    drawConditions();
  }
  const speak = () => { said.textContent = model.get("said"); };
  const hint = () => {
    const count = model.get("newer");
    newer.hidden = !count;
    newer.textContent = `${whole(count)} newer ${count === 1 ? "event" : "events"}: refresh`;
  };
  for (const [name, act] of [["change:shown", follows], ["change:said", speak], ["change:newer", hint]]) {
    model.on(name, act);
    releases.push(() => model.off(name, act));
  }
  speak();
  hint();
  drawDetail();
  follows();
  const watch = (on) => ask(model, "watch", { on }).catch(() => {});
  watch(true);
  releases.push(() => watch(false));
  return () => releases.forEach((release) => release());
}

export default { render };
