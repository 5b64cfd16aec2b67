"""The layers of the house hold, and a breach of them would be found."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the package in a folder, and on no other one."""
    command = [sys.executable, "-c", LINT, "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a copy of the package and its rules."""
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CHECKOUT / "eslab", tmp_path / "eslab", ignore=ignore)
    return tmp_path


def test_the_layers_hold() -> None:
    done = lint(CHECKOUT)
    assert done.returncode == 0, done.stdout


def test_a_copy_holds_too(tree: Path) -> None:
    """Otherwise the faults below would be found for another reason."""
    done = lint(tree)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("errors.py", "import eslab.cli", "eslab.errors -> eslab.cli"),
        ("events.py", "def f():\n    from eslab.store import port", "eslab.events -> eslab.store"),
        (
            "schema/codec.py",
            "import eslab.testing.notebooks",
            "eslab.schema.codec -> eslab.testing",
        ),
        ("clock.py", "import ipywidgets", "eslab.clock -> ipywidgets"),
        ("events.py", "import opentelemetry", "eslab.events -> opentelemetry"),
        ("store/port.py", "import duckdb", "eslab.store.port -> duckdb"),
        ("attic.py", "", "attic"),
    ],
)
def test_a_breach_is_found(tree: Path, module: str, line: str, contract: str) -> None:
    with (tree / "eslab" / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    done = lint(tree)
    assert done.returncode != 0
    assert contract in " ".join(done.stdout.split())
