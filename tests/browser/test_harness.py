"""The browser tests can be trusted: a small notebook passes, and each planted fault is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from browser import looks
from browser.jupyter import OpenNotebook, Server, Watch
from playwright.sync_api import Page

from eslab.testing.notebooks import normalise

pytestmark = pytest.mark.browser

FIGURE = """\
import os
import plotly.graph_objects as go
assert os.environ["ESLAB_RENDER"] == "widget"
go.Figure(go.Scatter(x=[1, 2, 3], y=[2, 1, 3], mode="lines+markers"))"""
SLIDER = """\
import ipywidgets as widgets
slider = widgets.IntSlider(value={value}, min=0, max=5, description="version")
shown = widgets.HTML("state 0")
slider.observe(lambda change: setattr(shown, "value", f"state {{change.new}}"), "value")
widgets.VBox([slider, shown])"""
DEAF_SLIDER = """\
import ipywidgets as widgets
widgets.VBox([widgets.IntSlider(max=5), widgets.HTML("state")])"""

Open = Callable[..., OpenNotebook]


@pytest.fixture
def run(tmp_path: Path, open_in_lab: Callable[[Path], OpenNotebook]) -> Open:
    """Return a function that opens a notebook made of some cells, and runs it."""

    def write_and_run(*sources: str) -> OpenNotebook:
        path = tmp_path / "stand-in.ipynb"
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        # Without a kernelspec JupyterLab asks which kernel to take.
        nbformat.write(normalise(nbformat.v4.new_notebook(cells=cells)), path)
        notebook = open_in_lab(path)
        notebook.run_all()
        return notebook

    return write_and_run


def test_a_sound_notebook_passes(run: Open) -> None:
    notebook = run(FIGURE, SLIDER.format(value=0))
    looks.runs(notebook)
    assert looks.figures_are_drawn(notebook) == 1
    looks.slider_moves_the_text(notebook, notebook.page.get_by_role("slider"))
    light = notebook.screenshot("harness-light").read_bytes()
    notebook.dark()
    assert notebook.screenshot("harness-dark").read_bytes() != light


def test_a_cell_that_fails_is_found(run: Open) -> None:
    notebook = run("1 / 0")
    assert notebook.errors() == ["cell 1: ZeroDivisionError: division by zero"]
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        looks.runs(notebook)


def test_a_slider_that_nothing_listens_to_is_found(run: Open, page: Page) -> None:
    notebook = run(DEAF_SLIDER)
    page.set_default_timeout(2_000)
    with pytest.raises(Exception, match="Timeout"):
        looks.slider_moves_the_text(notebook, page.get_by_role("slider"))


def test_a_figure_that_is_not_drawn_is_found(run: Open) -> None:
    notebook = run(FIGURE)
    notebook.page.locator(".js-plotly-plot").evaluate("figure => figure.remove()")
    with pytest.raises(AssertionError):
        looks.figures_are_drawn(notebook)


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        (
            "() => fetch('http://192.0.2.1/pixel.gif').catch(() => null)",
            "a request leaves 127.0.0.1",
        ),
        ("() => { new Image().src = 'https://cdn.invalid/a.png' }", "a request leaves 127.0.0.1"),
        ("() => { new WebSocket('ws://192.0.2.1/') }", "a request leaves 127.0.0.1"),
        ("() => console.error('planted')", "console error: planted"),
        ("() => { setTimeout(() => { throw new Error('planted') }) }", "page error: planted"),
    ],
    ids=["fetch", "image", "websocket", "console", "exception"],
)
def test_a_fault_of_the_page_is_found(
    page: Page, server: Server, watch: Watch, script: str, fault: str
) -> None:
    page.goto(f"{server.url}/static/favicons/favicon.ico?token={server.token}")
    assert watch.faults == []
    page.evaluate(script)
    page.wait_for_timeout(200)
    assert any(found.startswith(fault) for found in watch.faults), watch.faults
    watch.faults.clear()
