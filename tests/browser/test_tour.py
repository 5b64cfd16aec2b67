"""The tour as a reader sees it: in JupyterLab, with its widgets alive, in light and dark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from browser import looks
from browser.jupyter import OpenNotebook

pytestmark = pytest.mark.browser

TOUR = Path(__file__).parents[2] / "notebooks" / "00_tour.ipynb"


def test_the_tour(open_in_lab: Callable[[Path], OpenNotebook]) -> None:
    notebook = open_in_lab(TOUR)
    looks.runs(notebook)
    assert looks.figures_are_drawn(notebook) > 0
    looks.slider_moves_the_text(notebook, notebook.page.get_by_role("slider").first)
    notebook.screenshot("tour-light")
    notebook.dark()
    notebook.screenshot("tour-dark")
