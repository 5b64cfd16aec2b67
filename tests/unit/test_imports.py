"""`import eslab` is light, and hands out exactly what it promises."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import eslab

HEAVY = (
    "anywidget",
    "duckdb",
    "ipywidgets",
    "numpy",
    "opentelemetry",
    "pandas",
    "plotly",
    "pyarrow",
)


def loaded_by(statement: str, *, path: Path | None = None) -> list[str]:
    """Return the heavy packages that a fresh Python has loaded after a statement."""
    code = f"import sys; {statement}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=path
    )
    return done.stdout.split()


def test_import_eslab_is_light() -> None:
    assert loaded_by("import eslab") == []


@pytest.mark.parametrize("package", HEAVY)
def test_a_heavy_import_would_be_found(tmp_path: Path, package: str) -> None:
    """The guard: each package, imported by a package of eslab's shape, is seen."""
    planted = tmp_path / "planted"
    planted.mkdir()
    (planted / "__init__.py").write_text(f"import {package}\n")
    assert package in loaded_by("import planted", path=tmp_path)


def test_all_is_importable() -> None:
    for name in eslab.__all__:
        assert getattr(eslab, name) is not None
    assert len(set(eslab.__all__)) == len(eslab.__all__)
    assert set(eslab.__all__) <= set(dir(eslab))


def test_all_is_complete() -> None:
    """Every public name is announced: what the package binds, and what it loads lazily."""
    tree = ast.parse(Path(eslab.__file__).read_text(encoding="utf-8"))
    bound: set[str] = set()
    ours = {"load_ipython_extension"}  # nobody but IPython calls it
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("eslab"):
            bound |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
    assert {name for name in bound if not name.startswith("_")} - ours <= set(eslab.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        eslab.no_such_name  # noqa: B018 - asking for it is the fault
