"""The notebook of sagas as a reader sees it: in JupyterLab, in light and dark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from browser import looks
from browser.jupyter import OpenNotebook

pytestmark = pytest.mark.browser

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "02_sagas.ipynb"


def test_the_notebook_of_sagas(open_in_lab: Callable[[Path], OpenNotebook]) -> None:
    notebook = open_in_lab(NOTEBOOK)
    looks.runs(notebook)
    assert looks.figures_are_drawn(notebook) > 0
    notebook.screenshot("sagas-light")
    notebook.dark()
    notebook.screenshot("sagas-dark")
