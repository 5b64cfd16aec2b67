"""The committed notebooks can serve as tests; nbval, in the same run, compares their outputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from eslab.testing.notebooks import in_normal_form, run_twice, unexecuted

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = [pytest.param(path, id=path.stem) for path in sorted(FOLDER.glob("*.ipynb"))]


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_every_cell_was_run(notebook: Path) -> None:
    """Nbval passes a cell without a count, whatever it prints."""
    assert unexecuted(notebook) == []


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_the_file_is_in_its_normal_form(notebook: Path) -> None:
    assert in_normal_form(notebook), f"run: eslab nb update {notebook}"


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_every_cell_runs_twice(notebook: Path) -> None:
    run_twice(notebook)
