"""The notebook of replays and branches as a reader sees it: in JupyterLab, in light and dark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from browser import looks
from browser.jupyter import OpenNotebook

pytestmark = pytest.mark.browser

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "03_replay.ipynb"


def test_the_notebook_of_replays(open_in_lab: Callable[[Path], OpenNotebook]) -> None:
    notebook = open_in_lab(NOTEBOOK)
    looks.runs(notebook)
    notebook.screenshot("replays-light")
    notebook.dark()
    notebook.screenshot("replays-dark")
