"""The tour as a reader sees it: in JupyterLab, with its widgets alive, in light and dark."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from browser import looks
from browser.jupyter import OpenNotebook, Server

pytestmark = pytest.mark.browser

TOUR = Path(__file__).parents[2] / "notebooks" / "00_tour.ipynb"


def test_opening_and_saving_the_tour_leaves_it_as_it_is(
    open_in_lab: Callable[[Path], OpenNotebook], server: Server
) -> None:
    notebook = open_in_lab(TOUR)
    # Plotly writes to what it has drawn, and draws only what is in sight.
    notebook.screenshot("tour-unrun")
    assert looks.figures_are_drawn(notebook) > 0
    saved = server.root / TOUR.name
    copied = saved.stat().st_mtime_ns
    notebook.command("docmanager:save")
    assert saved.stat().st_mtime_ns > copied
    own = f'"version": "{platform.python_version()}"'
    committed = re.sub(r'"version": "3\.[0-9.]+"', own, TOUR.read_text(encoding="utf-8"))
    assert saved.read_text(encoding="utf-8") == committed


def test_the_tour(open_in_lab: Callable[[Path], OpenNotebook]) -> None:
    notebook = open_in_lab(TOUR)
    looks.runs(notebook)
    assert looks.figures_are_drawn(notebook) > 0
    looks.slider_moves_the_text(notebook, notebook.page.get_by_role("slider", name="version"))
    notebook.screenshot("tour-light")
    notebook.dark()
    notebook.screenshot("tour-dark")
