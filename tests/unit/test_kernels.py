"""Notebooks are tested by nbval in the environment that `eslab nb update` gives them."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest

from eslab.testing import notebooks

CELL = "import os; print(*(os.environ.get(name) for name in ('TZ', 'ESLAB_RENDER', 'COLUMNS')))"


@pytest.mark.parametrize(
    ("plugins", "expected"), [(("-p", "kernels"), {"passed": 1}), ((), {"failed": 1})]
)
def test_what_was_updated_passes(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    plugins: tuple[str, ...],
    expected: dict[str, int],
) -> None:
    """The guard: without the plugin, a kernel in another environment is found."""
    path = pytester.path / "one.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)]), path)
    notebooks.update([path])
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    result = pytester.runpytest_subprocess(*plugins, "--nbval", "--nbval-current-env")
    result.assert_outcomes(**expected)
    assert os.environ["TZ"] == "Asia/Tokyo"
