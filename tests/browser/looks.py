"""What every notebook of eslab must do in JupyterLab, whatever it shows."""

from __future__ import annotations

import json

from browser.jupyter import OpenNotebook
from playwright.sync_api import Locator, expect

PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
# A slider writes its own value beside it, which would change even if nothing listened.
TEXT = """area => {
    const copy = area.cloneNode(true);
    copy.querySelectorAll('.widget-readout, [role=slider], input').forEach(part => part.remove());
    return copy.textContent;
}"""


def runs(notebook: OpenNotebook) -> None:
    """Run all cells; every one was run and none failed."""
    cells = [cell for cell in notebook.run_all() if cell["cell_type"] == "code"]
    assert notebook.errors() == []
    never = [cell["source"] for cell in cells if cell["source"] and not cell["execution_count"]]
    assert never == []


def figures_are_drawn(notebook: OpenNotebook) -> int:
    """Each plotly figure that a cell returned is on the page, with marks; returns their number."""
    outputs = (output for cell in notebook.cells() for output in cell.get("outputs", []))
    kinds = (output.get("data", {}).keys() for output in outputs)
    wanted = sum(PLOTLY in kind and WIDGET not in kind for kind in kinds)
    figures = notebook.page.locator(".jp-RenderedPlotly.js-plotly-plot")
    expect(figures).to_have_count(wanted)
    for index in range(wanted):
        figure = figures.nth(index)
        figure.scroll_into_view_if_needed()
        expect(figure.locator(".main-svg").first).to_be_visible()
        expect(figure.locator(".trace, .hm image, .gl-canvas").first).to_be_attached()
    return wanted


def slider_moves_the_text(notebook: OpenNotebook, slider: Locator) -> None:
    """A key moves the slider, and the text around it follows; a second key brings it back."""
    slider.scroll_into_view_if_needed()
    area = notebook.output_around(slider)
    cells = len(notebook.cells())
    value = float(slider.get_attribute("aria-valuenow") or slider.input_value())
    last = slider.get_attribute("aria-valuemax") or slider.get_attribute("max") or ""
    away, back = (
        ("ArrowLeft", "ArrowRight") if value == float(last) else ("ArrowRight", "ArrowLeft")
    )
    before = area.evaluate(TEXT)
    slider.focus()
    slider.press(away)
    changed = f"([area, before]) => ({TEXT})(area) !== before"
    same = f"([area, before]) => ({TEXT})(area) === before"
    notebook.page.wait_for_function(changed, arg=[area.element_handle(), before])
    expect(slider).to_be_focused()
    slider.press(back)
    notebook.page.wait_for_function(same, arg=[area.element_handle(), before])
    # JupyterLab's command mode takes keys that a widget lets through, and may insert cells.
    assert len(notebook.cells()) == cells, json.dumps(notebook.cells()[-1])
