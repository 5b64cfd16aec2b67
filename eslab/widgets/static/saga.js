// The widget of a saga timeline: how the saga went, and below it how it goes with a fault.

function render({ model, el }) {
  const { root, body, said } = frame(el, "saga", "Saga timeline");
  const told = story(model);
  const tell = () => (said.textContent = model.get("said"));
  body.append(told.root);
  keys(root, told.actions);
  model.on("change:said", tell);
  tell();
  return () => {
    model.off("change:said", tell);
    told.release();
    root.remove();
  };
}

export default { render };
