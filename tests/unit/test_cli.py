"""The command line: exit codes, one line for an error, and an answer at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import nbformat
import pytest

from eslab import cli
from eslab.errors import InputError

HEAVY = ("duckdb", "pandas", "pyarrow", "plotly", "ipywidgets", "nbclient", "nbformat")


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    """Return the exit code, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as end:
        cli.main(argv)
    captured = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return end.value.code, captured.out, captured.err


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    path = tmp_path / "one.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("6 * 7")]), path)
    return path


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"eslab {version('eslab')}\n", "")
    code, out, _ = run(capsys, "nb", "update", "--help")
    assert code == 0
    assert "--check" in out


@pytest.mark.parametrize("argv", [[], ["nb"]])
def test_without_a_command_there_is_help(
    capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    code, out, err = run(capsys, *argv)
    assert (code, err) == (2, "")
    assert "--help" in out


@pytest.mark.parametrize(
    ("argv", "named", "help_of"),
    [
        (["frobnicate"], "frobnicate", "eslab"),
        (["nb", "frobnicate"], "frobnicate", "eslab nb"),
        (["nb", "update", "--frobnicate"], "--frobnicate", "eslab nb update"),
        (["--quiet"], "--quiet", "eslab"),
        (["-x"], "-x", "eslab"),
        (["demo", "--bogus"], "--bogus", "eslab demo"),
        (["demo", "extra"], "extra", "eslab demo"),
        (["demo", "--out"], "--out", "eslab"),
        (["demo", "--year=3"], "--year", "eslab"),
        (["copy", "a"], "TO", "eslab copy"),
    ],
)
def test_wrong_usage_is_one_line_that_says_what(
    capsys: pytest.CaptureFixture[str], argv: list[str], named: str, help_of: str
) -> None:
    code, out, err = run(capsys, *argv)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("eslab: error: ")
    assert named in line
    assert line.endswith(f"; see {help_of} --help")


@pytest.mark.parametrize(
    "argv", [["demo", "--out", ""], ["demo", "--store="], ["verify", ""], ["nb", "update", ""]]
)
def test_an_empty_path_is_refused(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    assert run(capsys, *argv) == (2, "", "eslab: error: a path is needed, and '' is none\n")


@pytest.mark.parametrize("argv", [["demo", "--help"], ["nb", "update", "--help"]])
def test_help_says_what_the_defaults_are(
    capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    _, out, _ = run(capsys, *argv)
    # In the boxes of help, lines are broken anywhere.
    words = " ".join(out.replace("│", " ").split())
    assert "by default" in words


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("argv", [["--help"], ["nb", "update", "--check", "NB"]])
def test_output_that_cannot_be_written_is_one_line(notebook: Path, argv: list[str]) -> None:
    command = [sys.executable, "-c", "from eslab.cli import main; main()", *argv]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [str(notebook) if part == "NB" else part for part in command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (
        2,
        "eslab: error: the output cannot be written: No space left on device\n",
    )


def test_a_reader_that_has_seen_enough_is_no_error(notebook: Path) -> None:
    command = [sys.executable, "-c", "from eslab.cli import main; main()"]
    process = subprocess.Popen(
        [*command, "nb", "update", "--check", str(notebook)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 1


def test_an_error_of_eslab_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "nb", "update", "no/such.ipynb")
    assert (code, out) == (2, "")
    assert err == "eslab: error: no notebook or folder 'no/such.ipynb'\n"


def test_an_error_of_several_lines_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise InputError("first\n  second")

    monkeypatch.setattr(cli, "app", refuse)
    assert run(capsys, "nb") == (2, "", "eslab: error: first second\n")


def test_a_fault_of_eslab_itself_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(**_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(cli, "app", break_down)
    with pytest.raises(KeyError, match="a bug"):
        cli.main([])


def test_update_writes_and_check_only_looks(
    capsys: pytest.CaptureFixture[str], notebook: Path
) -> None:
    before = notebook.read_bytes()
    code, out, _ = run(capsys, "nb", "update", "--check", str(notebook))
    assert code == 1
    assert "cell [1]: was never run" in out
    assert notebook.read_bytes() == before
    assert run(capsys, "nb", "update", str(notebook)) == (0, f"updated {notebook}\n", "")
    assert run(capsys, "nb", "update", "--check", str(notebook.parent)) == (0, "", "")


def test_notebooks_is_the_default_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "nb", "update") == (
        2,
        "",
        "eslab: error: no notebook or folder 'notebooks'\n",
    )


def test_ctrl_c_is_130(notebook: Path) -> None:
    cell = nbformat.v4.new_code_cell("open('started', 'w').close(); import time; time.sleep(60)")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), notebook)
    command = [sys.executable, "-c", "from eslab.cli import main; main()", "nb", "update"]
    process = subprocess.Popen(
        [*command, str(notebook)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TERM": "dumb"},
    )
    deadline = time.monotonic() + 30
    while not (notebook.parent / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err.strip()) == (130, "")


def test_the_command_loads_nothing_heavy() -> None:
    code = f"import sys, eslab.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout == "[]\n"
