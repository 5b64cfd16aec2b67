// The controls of the replay player: a slider, buttons and a clock of their own, so that playing
// does not wait for the kernel. Native elements, because they come with keys and names.

const SPEEDS = [0.5, 1, 2, 4, 8];

function render({ model, el }) {
  el.classList.add("eslab-controls");
  const last = () => model.get("last");
  const version = () => model.get("version");

  // JupyterLab's command mode takes keys from elements that do not carry this themselves.
  function focusable(tag, name) {
    const element = document.createElement(tag);
    element.setAttribute("aria-label", name);
    element.setAttribute("data-lm-suppress-shortcuts", "true");
    element.title = name;
    return element;
  }

  function seek(wanted) {
    const next = Math.min(last(), Math.max(1, wanted));
    if (next !== version()) {
      model.set("version", next);
      model.save_changes();
    }
  }

  function button(text, name, act) {
    const element = focusable("button", name);
    element.type = "button";
    element.textContent = text;
    element.addEventListener("click", act);
    buttons.append(element);
    return element;
  }

  const buttons = document.createElement("div");
  buttons.className = "eslab-buttons";
  const first = button("|◀ First", "First version", () => seek(1));
  const previous = button("◀ Previous", "Previous version", () => seek(version() - 1));
  const play = button("", "Play", () => (timer ? pause() : start()));
  const next = button("Next ▶", "Next version", () => seek(version() + 1));
  const end = button("Last ▶|", "Last version", () => seek(last()));

  const speed = focusable("select", "Speed");
  for (const factor of SPEEDS) {
    speed.append(new Option(`${factor}×`, factor, factor === 1, factor === 1));
  }
  speed.addEventListener("change", () => (began = performance.now()));
  buttons.append(speed);

  const slider = focusable("input", "Version");
  slider.type = "range";
  slider.min = 1;
  slider.step = 1;
  slider.addEventListener("input", () => seek(Number(slider.value)));

  // It stays in the page, so that screen readers notice when its text changes.
  const said = document.createElement("div");
  said.className = "eslab-said";
  said.setAttribute("role", "status");
  said.setAttribute("aria-live", "polite");

  let timer = null;
  let began = 0;

  function start() {
    if (version() >= last()) seek(1);
    began = performance.now();
    timer = setInterval(tick, 40);
    show();
  }

  function pause() {
    clearInterval(timer);
    timer = null;
    show();
  }

  function tick() {
    // Whole steps since the last one, or a busy browser would lose some.
    const each = 1000 / Number(speed.value);
    const steps = Math.floor((performance.now() - began) / each);
    began += steps * each;
    if (steps) seek(version() + steps);
    if (version() >= last()) pause();
  }

  function show() {
    const now = version();
    slider.max = Math.max(1, last());
    slider.value = now;
    slider.setAttribute("aria-valuetext", `version ${now} of ${last()}`);
    said.textContent = model.get("said");
    play.textContent = timer ? "‖ Pause" : "▶ Play";
    play.setAttribute("aria-label", timer ? "Pause" : "Play");
    play.title = timer ? "Pause" : "Play";
    for (const element of [play, slider, speed]) element.disabled = last() < 2;
    // Not disabled: a disabled button would drop the focus of who is pressing it.
    for (const element of [first, previous]) element.setAttribute("aria-disabled", now <= 1);
    for (const element of [next, end]) element.setAttribute("aria-disabled", now >= last());
  }

  el.append(buttons, slider, said);
  model.on("change:version change:last change:said", show);
  show();
  return () => {
    clearInterval(timer);
    model.off("change:version change:last change:said", show);
  };
}

export default { render };
