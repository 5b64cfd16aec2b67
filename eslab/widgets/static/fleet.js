// The widget of very many sagas: a matrix that filters them, a small picture of each, and the
// timeline of the one that is opened.

const CELL = 12;
const SMALLEST = 3;
const LINE = 22;
const HEIGHT = 330;
const NAME = "11px system-ui, sans-serif";

// Draws the outcome of a step into a square; the shape tells what colour may not.
function outcome(context, [, colour, shape], x, y) {
  const [left, right, top, bottom] = [x + 1.5, x + CELL - 1.5, y + 1.5, y + CELL - 1.5];
  const [centre, middle] = [x + CELL / 2, y + CELL / 2];
  context.fillStyle = context.strokeStyle = colour;
  context.lineWidth = 1.6;
  context.beginPath();
  if (shape === "dot") context.arc(centre, middle, 1.6, 0, 7);
  else if (shape === "cross") {
    context.lineWidth = 2.6;
    context.moveTo(left + 0.5, top + 0.5);
    context.lineTo(right - 0.5, bottom - 0.5);
    context.moveTo(left + 0.5, bottom - 0.5);
    context.lineTo(right - 0.5, top + 0.5);
  } else if (shape === "up") {
    context.moveTo(centre, top);
    context.lineTo(right, bottom);
    context.lineTo(left, bottom);
    context.closePath();
  } else if (shape.startsWith("back")) {
    context.moveTo(right, top);
    context.lineTo(right, bottom);
    context.lineTo(left, middle);
    context.closePath();
  } else context.rect(left, top, right - left, bottom - top);
  if (["dot", "square", "back"].includes(shape)) context.fill();
  else context.stroke();
  if (shape === "alarm") {
    context.font = "bold 10px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText("!", centre, middle + 0.5);
  }
}

function render({ model, el }) {
  const { root, body, said } = frame(el, "fleet", "Very many sagas");
  const looks = model.get("cells");
  let sagas = null;
  let filter = null; // a status and a column of the matrix
  let shown = []; // places of the sagas that are drawn
  let selected = 0; // which of these
  let grid = { columns: 1, pitch: 100, names: 60, width: 0, cell: CELL };

  const heading = element("strong");
  const refresh = button("", "", () => {
    ask(model, "refresh").catch((error) => (problem.textContent = error.message));
  });
  const find = focusable("input", { type: "search", name: "Find a saga by its id", placeholder: "id contains…" });
  const all = button("All", "Show the sagas of every cell", () => choose(null));
  const tabular = button("Table", "Show the sagas as a table", () => {
    const open = listing.hidden;
    listing.hidden = !open;
    tabular.setAttribute("aria-pressed", String(open));
    list();
  });
  tabular.setAttribute("aria-pressed", "false");
  const matrix = element("div", { class: "eslab-matrix" });
  const legend = element("div", { class: "eslab-row eslab-legend" });
  const told = element("div", { class: "eslab-event", "aria-live": "polite" });
  const scroll = focusable("div", { class: "eslab-scroll", tabindex: "0", role: "application", name: "Sagas: arrows select one, Enter opens its timeline" });
  const space = element("div");
  const picture = canvas(HEIGHT, "Sagas, each with the outcome of its steps", draw);
  picture.setAttribute("aria-hidden", "true");
  const problem = element("div", { class: "eslab-error", role: "alert" });
  const listing = focusable("div", { class: "eslab-panel", tabindex: "0", role: "region", name: "Sagas as a table" });
  listing.hidden = true;
  const shut = button("Close", "Close the timeline", () => {
    ask(model, "close_saga").catch((error) => (problem.textContent = error.message));
    scroll.focus();
  });
  const opened = element("div", { class: "eslab-alternative" }, element("div", { class: "eslab-row" }, shut));
  const one = story(model);
  opened.append(one.root);
  space.style.position = "relative";
  picture.style.position = "sticky";
  picture.style.top = "0";
  space.append(picture);
  scroll.append(space);
  body.append(
    element("div", { class: "eslab-heading" }, heading),
    matrix,
    element("div", { class: "eslab-row" }, find, all, refresh, tabular),
    legend, scroll, told, problem, listing,
    element("div", { class: "eslab-dim", text: "↑ ↓ ← → sagas · Page ↑ ↓ · Home End · Enter opens one, and so does a click" }),
    opened,
  );

  // What there is.

  const kind = (place) => sagas.kinds[sagas.of[place]];
  const named = (place) => (sagas.several ? `${kind(place).saga}-${sagas.ids[place]}` : sagas.ids[place]);

  function load() {
    sagas = model.get("sagas");
    const drawnHere = sagas.ids.length;
    const more = sagas.count > drawnHere ? `; the ${drawnHere.toLocaleString("en")} most urgent are drawn` : "";
    heading.textContent = `${sagas.count.toLocaleString("en")} saga${sagas.count === 1 ? "" : "s"}${more}`;
    if (filter && !(sagas.statuses.some(([status]) => status === filter[0]) && sagas.columns.includes(filter[1]))) filter = null;
    const letters = new Set(sagas.kinds.flatMap(({ cells }) => [...cells]));
    legend.replaceChildren(...Object.entries(looks).filter(([letter]) => letters.has(letter)).map(([, look]) => {
      const small = element("canvas", { width: CELL * 2, height: CELL * 2, "aria-hidden": "true" });
      small.style.width = small.style.height = `${CELL}px`;
      const context = small.getContext("2d");
      context.scale(2, 2);
      outcome(context, look, 0, 0);
      return element("span", {}, small, look[0]);
    }));
    cross();
    sift();
  }

  function cross() {
    if (!sagas.statuses.length) {
      matrix.replaceChildren(element("p", { text: "There is no saga here: lab.start_saga(...) one." }));
      return;
    }
    const head = element("tr", {}, element("td"), ...sagas.columns.map((text) => element("th", { text, scope: "col" })));
    const rows = sagas.statuses.map(([status, colour], row) => {
      const cells = sagas.columns.map((step, column) => {
        const count = sagas.matrix[row][column];
        if (!count) return element("td", { text: "·", class: "eslab-dim" });
        const words = `${count.toLocaleString("en")} ${status}: ${step}`;
        const act = button(count.toLocaleString("en"), words, () => choose(pressed(act) ? null : [status, step]));
        act.dataset.cell = `${status} ${step}`;
        act.style.borderLeft = `6px solid ${colour}`;
        return element("td", {}, act);
      });
      return element("tr", {}, element("th", { text: status, scope: "row" }), ...cells);
    });
    // Not its caption: that would be as narrow as the table.
    const words = "Where they stand, and at which step they failed; a cell shows only its sagas";
    matrix.replaceChildren(
      element("div", { text: words, class: "eslab-dim", "aria-hidden": "true" }),
      element("table", { name: words }, element("thead", {}, head), element("tbody", {}, ...rows)),
    );
    mark();
  }

  const pressed = (act) => act.getAttribute("aria-pressed") === "true";

  function mark() {
    for (const act of matrix.querySelectorAll("button")) {
      act.setAttribute("aria-pressed", String(filter !== null && act.dataset.cell === filter.join(" ")));
    }
    enable(all, filter !== null || find.value !== "");
  }

  function choose(cell) {
    filter = cell;
    if (!cell) find.value = "";
    sift();
  }

  function sift() {
    const text = find.value.trim().toLowerCase();
    const fits = sagas.kinds.map(({ status, failed }) => !filter || (status === filter[0] && failed === filter[1]));
    shown = [];
    for (let place = 0; place < sagas.ids.length; place++) {
      if (fits[sagas.of[place]] && (!text || named(place).toLowerCase().includes(text))) shown.push(place);
    }
    selected = 0;
    scroll.scrollTop = 0;
    mark();
    measure();
    tell();
    list();
  }

  // How it is drawn: in columns, read downwards a screen at a time, and only what is in sight.

  function measure(width = picture.clientWidth || 600) {
    const steps = Math.max(1, ...sagas.kinds.map(({ cells }) => cells.length));
    const letters = Math.min(18, Math.max(2, ...shown.slice(0, 500).map((place) => named(place).length)));
    const names = letters * 6.6 + 14;
    const columns = Math.max(1, Math.floor(width / (names + steps * CELL + 16)));
    // Very many steps are drawn smaller, rather than cut.
    const cell = Math.max(SMALLEST, Math.min(CELL, (width - names - 16) / steps));
    const pitch = columns > 1 ? width / columns : names + steps * cell + 16;
    grid = { names, columns, width, cell, pitch };
    const lines = Math.ceil(shown.length / grid.columns);
    const height = Math.min(HEIGHT, Math.max(LINE, lines * LINE) + 4);
    scroll.style.height = `${height}px`;
    picture.style.height = `${height}px`;
    space.style.height = `${Math.max(height, lines * LINE + 4)}px`;
    picture.paint();
  }

  function draw(context, width) {
    if (!sagas) return;
    // While a theme changes the width is another one for a moment.
    if (width !== grid.width) {
      measure(width);
      return;
    }
    const ink = themed(root, "--jp-content-font-color1", "#333");
    const brand = themed(root, "--jp-brand-color1", COLOURS.ok);
    const height = parseFloat(picture.style.height);
    const from = Math.floor(scroll.scrollTop / LINE);
    const until = Math.ceil((scroll.scrollTop + height) / LINE);
    for (let line = from; line < until; line++) {
      for (let column = 0; column < grid.columns; column++) {
        const at = line * grid.columns + column;
        if (at >= shown.length) return;
        const { cells, place: failed } = kind(shown[at]);
        const x = column * grid.pitch;
        const y = line * LINE - scroll.scrollTop + 4;
        context.font = NAME;
        context.fillStyle = ink;
        context.textAlign = "right";
        context.textBaseline = "middle";
        context.fillText(fitted(named(shown[at]), 18), x + grid.names - 6, y + CELL / 2, grid.names - 10);
        [...cells].forEach((letter, step) => {
          context.save();
          context.translate(x + grid.names + step * grid.cell, y + (CELL - grid.cell) / 2);
          context.scale(grid.cell / CELL, grid.cell / CELL);
          outcome(context, looks[letter], 0, 0);
          context.restore();
        });
        if (failed !== null && cells[failed] !== "f") {
          context.fillStyle = COLOURS.failed;
          context.fillRect(x + grid.names + failed * grid.cell + 1, y + CELL + 1, grid.cell - 2, 2);
        }
        if (at === selected) {
          context.strokeStyle = brand;
          context.lineWidth = 2;
          context.strokeRect(x + 1, y - 3, grid.names + cells.length * grid.cell + 6, LINE - 1);
        }
      }
    }
  }

  // What is told.

  // Of many steps in a row with one outcome, only the first and the last are named.
  function runs(steps, cells) {
    const said = [];
    for (let from = 0, until; from < steps.length; from = until) {
      until = from + 1;
      while (until < steps.length && cells[until] === cells[from]) until++;
      const [word] = looks[cells[from] ?? "."];
      const names = steps.slice(from, until);
      if (names.length > 5) said.push(`${names.length} steps ${word}: ${names[0]} … ${names.at(-1)}`);
      else said.push(...names.map((step) => `${step} ${word}`));
    }
    return said;
  }

  function words(place) {
    const { saga, status, failed, cells, steps, place: at } = kind(place);
    const of = runs(steps, [...cells]).join(", ");
    const where = at !== null ? `, failed at ${failed}` : "";
    return [`${saga} ${sagas.ids[place]}: ${status}${where}`, of];
  }

  function tell() {
    const place = shown[selected];
    const of = shown.length === sagas.ids.length ? "" : ` of ${sagas.ids.length.toLocaleString("en")}`;
    const count = `${shown.length.toLocaleString("en")}${of} shown`;
    if (place === undefined) {
      told.replaceChildren(element("b", { text: count }));
      return;
    }
    const [first, second] = words(place);
    told.replaceChildren(element("b", { text: first }), element("span", { text: second }), element("span", { class: "eslab-dim", text: count }));
  }

  function list() {
    if (listing.hidden) return;
    const rows = shown.slice(0, 200).map((place) => [kind(place).saga, sagas.ids[place], kind(place).status, kind(place).failed, words(place)[1]]);
    const caption = shown.length > rows.length ? `The first ${rows.length} of ${shown.length.toLocaleString("en")}` : "";
    listing.replaceChildren(table(["saga", "id", "status", "failed", "steps"], rows, { caption }));
  }

  // What a person does.

  function select(at) {
    if (!shown.length) return;
    selected = Math.min(shown.length - 1, Math.max(0, at));
    const top = Math.floor(selected / grid.columns) * LINE;
    const height = scroll.clientHeight;
    if (top < scroll.scrollTop) scroll.scrollTop = top;
    else if (top + LINE + 4 > scroll.scrollTop + height) scroll.scrollTop = top + LINE + 4 - height;
    picture.paint();
    tell();
  }

  function open() {
    const place = shown[selected];
    if (place === undefined) return;
    problem.textContent = "";
    ask(model, "open_saga", { saga: kind(place).saga, saga_id: sagas.ids[place] }).catch((error) => (problem.textContent = error.message));
  }

  scroll.addEventListener("scroll", () => picture.paint());
  scroll.addEventListener("click", (event) => {
    const box = picture.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left) / grid.pitch);
    const line = Math.floor((event.clientY - box.top + scroll.scrollTop) / LINE);
    const at = line * grid.columns + column;
    if (column >= grid.columns || at >= shown.length) return;
    select(at);
    open();
  });
  find.addEventListener("input", sift);
  const across = () => Math.max(1, Math.floor(scroll.clientHeight / LINE)) * grid.columns;
  keys(scroll, {
    ArrowLeft: () => select(selected - 1),
    ArrowRight: () => select(selected + 1),
    ArrowUp: () => select(selected - grid.columns),
    ArrowDown: () => select(selected + grid.columns),
    PageUp: () => select(selected - across()),
    PageDown: () => select(selected + across()),
    Home: () => select(0),
    End: () => select(shown.length - 1),
    Enter: open,
    " ": open,
  });
  const watcher = new ResizeObserver(() => measure());

  const say = () => (said.textContent = model.get("said"));
  const age = () => {
    refresh.textContent = model.get("old") ? "Refresh: the log went on" : "Refresh";
    refresh.setAttribute("aria-label", `${refresh.textContent}; look at all sagas again`);
    refresh.title = refresh.getAttribute("aria-label");
  };
  const hold = () => (opened.hidden = !model.get("page").moments);
  model.on("change:sagas", load);
  model.on("change:said", say);
  model.on("change:page", hold);
  model.on("change:old", age);
  load();
  age();
  say();
  hold();
  watcher.observe(body);
  return () => {
    model.off("change:sagas", load);
    model.off("change:said", say);
    model.off("change:page", hold);
    model.off("change:old", age);
    watcher.disconnect();
    picture.release();
    one.release();
    root.remove();
  };
}

export default { render };
