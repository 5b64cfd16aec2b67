// The widget of a saga timeline: how the saga went, and below it how it goes with a fault.

function render({ model, el }) {
  const { root, body, said } = frame(el, "saga", "Saga timeline");
  const looker = crypto.randomUUID();
  const live = element("div", { class: "eslab-dim" });
  const answered = ask.bind(null, model);

  const went = timeline({
    name: "What the saga did and undid",
    faults: model.get("faults"),
    effects: () => answered("effects"),
    fail: ({ step, kind, attempt }, fault) =>
      answered("fail", { step, fault, undo: kind === "compensate", attempt }, { patience: 120_000 }),
  });

  keys(root, went.actions);

  // How it goes instead.

  const words = element("div", { class: "eslab-instead", role: "status" });
  const close = button("Close", "Show only how it went", () => answered("forget").catch(() => {}));
  const heading = element("div", { class: "eslab-row" }, element("strong", { text: "Instead" }), close);
  const box = element("div", { class: "eslab-alternative" }, heading, words);
  let goes = null;

  function compare() {
    const instead = model.get("instead");
    box.hidden = !instead.page;
    if (!instead.page) {
      goes?.release();
      goes?.root.remove();
      goes = null;
      words.textContent = "";
      return;
    }
    if (!goes) {
      goes = timeline({ name: "What the saga does and undoes instead" });
      box.append(goes.root);
    }
    words.textContent = instead.words;
    goes.show(instead.page);
  }

  function tell() {
    said.textContent = model.get("said");
    live.textContent = model.get("live");
  }

  const draw = () => went.show(model.get("page"));
  body.append(went.root, live, box);
  model.on("change:page", draw);
  model.on("change:said change:live", tell);
  model.on("change:instead", compare);
  draw();
  tell();
  compare();
  answered("watch", { looker }).catch((error) => {
    if (model.get("live")) live.textContent = `It is not followed: ${error.message}`;
  });
  return () => {
    answered("leave", { looker }).catch(() => {});
    model.off("change:page", draw);
    model.off("change:said change:live", tell);
    model.off("change:instead", compare);
    went.release();
    goes?.release();
    root.remove();
  };
}

export default { render };
