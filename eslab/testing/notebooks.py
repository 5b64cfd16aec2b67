"""The notebook normaliser: committed notebooks are regression tests, so their bytes must be stable.

`update` runs notebooks in a fresh kernel and writes them in one normal form; `check` says what an
update would change. Nothing that depends on the machine, the clock or the run is left in a file:
no widget state, no timings, no random cell ids.

The normal form is the one that JupyterLab saves (2026-11): whoever opens a notebook and runs
nothing has changed nothing. So numbers in outputs are written as JavaScript writes them, and
``language_info`` is whole. The version of Python in it is the only trace of a machine: JupyterLab
writes that of its kernel, an update keeps the one in the file, and any will do. One thing is left:
plotly adds a picture to each figure that it draws, in the pixels of the screen. `forget_drawings`
keeps it from being saved where the server can be told so, and `check` does not mind it.

Cell ids are derived from the cell's source (2026-11): an id that is kept from the file would be
random once more in every notebook that a program writes, and one that counts cells would change
in every cell below an inserted one.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from difflib import unified_diff
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eslab.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from nbclient import NotebookClient
    from nbformat import NotebookNode

__all__ = [
    "KERNEL_ENVIRONMENT",
    "Problem",
    "check",
    "find",
    "forget_drawings",
    "in_normal_form",
    "kernel_environment",
    "normalise",
    "run_twice",
    "unexecuted",
    "update",
]

KERNEL_ENVIRONMENT = {
    "COLUMNS": "100",
    "ESLAB_RENDER": "static",
    "LC_ALL": "C.UTF-8",
    "LINES": "40",
    "NO_COLOR": "1",
    "PYTHONHASHSEED": "0",
    "TZ": "UTC",
}
"""What the kernel's environment has in every run, so that outputs do not depend on the machine."""

_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_PLOTLY = "application/vnd.plotly.v1+json"
_DRAWING = "image/png"
_KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
_LANGUAGE = {
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
}
_LONGEST_DIFF = 12
_LARGEST_EXACT = 2**53
_LARGEST_IN_DIGITS = 1e21


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What keeps a notebook from being a regression test.

    Attributes:
        path: the notebook.
        cell: the number in the brackets beside the cell, from 1; `None` for the file as a whole.
        message: what is wrong, and what to do about it.

    Example:
        >>> print(Problem(path=Path("a.ipynb"), cell=2, message="was never run"))
        a.ipynb, cell [2]: was never run
    """

    path: Path
    cell: int | None
    message: str

    def __str__(self) -> str:
        place = "" if self.cell is None else f", cell [{self.cell}]"
        return f"{self.path.as_posix()}{place}: {self.message}"


def update(
    paths: Iterable[Path | str], *, timeout: int = 60, progress: bool | None = None
) -> list[Path]:
    """Run notebooks and write them in their normal form.

    Args:
        paths: notebooks, or folders of notebooks (not searched recursively).
        timeout: seconds that one cell may take.
        progress: show a bar on standard error; by default if that is a terminal.

    Returns:
        The notebooks whose bytes changed, in the order they were run.

    Raises:
        InputError: a path is no notebook, or a cell failed; the message names the notebook, the
            cell and the error. That notebook is left as it was, those before it are written.
        MissingDependencyError: the extra `lab` is not installed.
    """
    changed = []
    with _bar(find(paths), progress) as (todo, advance):
        for path in todo:
            before = _read_text(path)
            notebook = normalise(_parse(path, before))
            _run(path, notebook, timeout=timeout, advance=advance)
            after = _dump(normalise(notebook))
            if after != before:
                _replace(path, after)
                changed.append(path)
    return changed


def check(
    paths: Iterable[Path | str], *, timeout: int = 60, progress: bool | None = None
) -> list[Problem]:
    """Run notebooks and say what an update would change; no file is written.

    Args:
        paths: notebooks, or folders of notebooks (not searched recursively).
        timeout: seconds that one cell may take.
        progress: show a bar on standard error; by default if that is a terminal.

    Returns:
        The problems, notebook by notebook: cells never run, cells that fail, that write to
        standard error or whose outputs are not the committed ones, and files that are not in
        the normal form.

    Raises:
        InputError: a path does not exist or is no notebook.
        MissingDependencyError: the extra `lab` is not installed.
    """
    problems = []
    with _bar(find(paths), progress) as (todo, advance):
        for path in todo:
            problems += _check_one(path, timeout=timeout, advance=advance)
    return problems


def run_twice(path: Path | str, *, timeout: int = 60) -> None:
    """Run every cell of a notebook two times in a row: what a reader does who plays with it.

    Args:
        path: the notebook; it is not written.
        timeout: seconds that one cell may take each time.

    Raises:
        InputError: the path is no notebook, or a cell fails; the message says in which run.
        MissingDependencyError: the extra `lab` is not installed.
    """
    path = Path(path)
    notebook = normalise(_parse(path, _read_text(path)))
    doubled = []
    for cell in notebook.cells:
        repeated = notebook.__class__(cell, id=f"{cell.id}-again")
        doubled += [cell, repeated] if cell.cell_type == "code" else [cell]
    notebook.cells = doubled
    _run(path, notebook, timeout=timeout, advance=lambda: None, repeats=2)


def unexecuted(path: Path | str) -> list[int]:
    """Return the numbers of the code cells that were never run, counted from 1.

    Nothing compares the outputs of such a cell. Cells without source are not counted.

    Args:
        path: the notebook.

    Raises:
        InputError: the path is no notebook.
        MissingDependencyError: the extra `lab` is not installed.
    """
    path = Path(path)
    cells = _code_cells(_parse(path, _read_text(path)))
    return [number for number, cell in enumerate(cells, 1) if cell.execution_count is None]


def in_normal_form(path: Path | str) -> bool:
    """Say whether an update would leave the file alone if its outputs stayed the same.

    Args:
        path: the notebook; it is not run.

    Raises:
        InputError: the path is no notebook.
        MissingDependencyError: the extra `lab` is not installed.
    """
    path = Path(path)
    text = _read_text(path)
    return _dump(normalise(_parse(path, text))) == _undrawn(path, text)


def find(paths: Iterable[Path | str]) -> list[Path]:
    """Return the notebooks that the paths stand for: files as they are, folders sorted by name.

    Args:
        paths: notebooks, or folders of notebooks (not searched recursively).

    Raises:
        InputError: a path does not exist, is no notebook, or is a folder without any.

    Example:
        >>> find(["no/such.ipynb"])
        Traceback (most recent call last):
            ...
        eslab.errors.InputError: no notebook or folder 'no/such.ipynb'
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(path.glob("*.ipynb"))
            if not inside:
                raise InputError(f"no notebook in the folder {str(path)!r}")
            found += inside
        elif not path.is_file():
            raise InputError(f"no notebook or folder {str(path)!r}")
        elif path.suffix != ".ipynb":
            raise InputError(f"{str(path)!r} is no notebook: its name does not end in .ipynb")
        else:
            found.append(path)
    return list(dict.fromkeys(found))


@contextmanager
def kernel_environment() -> Iterator[dict[str, str]]:
    """Provide the environment for a kernel: that of the process, with everything local removed.

    IPython gets a profile folder of its own, for a person's startup files would change outputs;
    the folder ends with the context.

    Example:
        >>> with kernel_environment() as environment:
        ...     environment["TZ"], environment["ESLAB_RENDER"]
        ('UTC', 'static')
    """
    with tempfile.TemporaryDirectory(prefix="eslab-", ignore_cleanup_errors=True) as folder:
        yield {**os.environ, **KERNEL_ENVIRONMENT, "IPYTHONDIR": folder}


def normalise(notebook: NotebookNode) -> NotebookNode:
    """Take out of a notebook, in place, what differs between two runs; return it.

    Args:
        notebook: a notebook of format 4.
    """
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    _forget_drawings(notebook)
    notebook.metadata.pop("widgets", None)
    notebook.metadata["kernelspec"] = dict(_KERNELSPEC)
    version = notebook.metadata.get("language_info", {}).get("version", platform.python_version())
    notebook.metadata["language_info"] = {**_LANGUAGE, "version": version}
    # JupyterLab leaves an empty cell at the end, which never gets a count.
    notebook.cells = [
        cell for cell in notebook.cells if cell.cell_type != "code" or cell.source.strip()
    ]
    seen: Counter[str] = Counter()
    for cell in notebook.cells:
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]
        seen[digest] += 1
        cell["id"] = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            _normalise_output(output)
    return notebook


def forget_drawings(*, model: dict[str, Any], **_: Any) -> None:
    """Take out of a notebook that is to be saved what plotly's figures were drawn as.

    A hook for Jupyter Server: ``--ContentsManager.pre_save_hook=`` and the name of this function.

    Args:
        model: what is to be saved, as the server's contents manager has it.
    """
    if model["type"] == "notebook":
        _forget_drawings(model["content"])


def _forget_drawings(notebook: dict[str, Any]) -> bool:
    """Do it in place; say whether there was any."""
    drawn = [
        output["data"]
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if {_PLOTLY, _DRAWING} <= output.get("data", {}).keys()
    ]
    for data in drawn:
        del data[_DRAWING]
    return bool(drawn)


def _undrawn(path: Path, text: str) -> str:
    """Return the text of a notebook as it was before its figures were drawn."""
    notebook = _parse(path, text)
    return _dump(notebook) if _forget_drawings(notebook) else text


def _normalise_output(output: NotebookNode) -> None:
    if output.output_type == "error":
        # A traceback has the paths and line numbers of the machine's packages.
        output["traceback"] = [f"{output.ename}: {output.evalue}"]
        return
    if _WIDGET_VIEW in output.get("data", {}) and len(output.data) > 1:
        del output.data[_WIDGET_VIEW]
    for field in ("data", "metadata"):
        if field in output:
            output[field] = _as_saved(output[field])


def _as_saved(value: Any) -> Any:
    """Return a JSON value with its numbers as they come back from JavaScript.

    That has one kind of number, a double, and writes 2.0 as 2.
    """
    if isinstance(value, dict):
        return type(value)({key: _as_saved(inner) for key, inner in value.items()})
    if isinstance(value, list):
        return [_as_saved(inner) for inner in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if isinstance(value, int) and abs(value) <= _LARGEST_EXACT:
        return value
    number = float(value)
    if number.is_integer() and abs(number) < _LARGEST_IN_DIGITS:
        return int(Decimal(repr(number)))
    return number


def _check_one(path: Path, *, timeout: int, advance: Callable[[], None]) -> list[Problem]:
    text = _undrawn(path, _read_text(path))
    committed = _parse(path, text)
    problems = [
        Problem(path=path, cell=number, message=f"was never run; run `eslab nb update {path}`")
        for number in unexecuted(path)
    ]
    fresh = normalise(_parse(path, text))
    try:
        _run(path, fresh, timeout=timeout, advance=advance)
    except _CellFailedError as error:
        return [*problems, error.problem]
    normalise(fresh)
    pairs = zip(_code_cells(committed), _code_cells(fresh), strict=True)
    for number, (old, new) in enumerate(pairs, 1):
        if any(output.get("name") == "stderr" for output in new.outputs):
            message = "writes to standard error, which no comparison sees; silence it"
            problems.append(Problem(path=path, cell=number, message=message))
        if old.outputs != new.outputs and old.execution_count is not None:
            message = "its outputs are not the committed ones:\n" + _difference(old, new)
            problems.append(Problem(path=path, cell=number, message=message))
    if not problems and _dump(fresh) != text:
        message = f"is not in the normal form; run `eslab nb update {path}`"
        problems.append(Problem(path=path, cell=None, message=message))
    return problems


def _difference(old: NotebookNode, new: NotebookNode) -> str:
    """Return the first lines in which two cells' outputs differ, indented for a message."""
    before, after = list(_lines(old.outputs)), list(_lines(new.outputs))
    lines = list(unified_diff(before, after, "committed", "this run", n=1, lineterm=""))
    shown = [f"    {line[:160]}" for line in lines[:_LONGEST_DIFF]]
    if len(lines) > _LONGEST_DIFF:
        shown.append(f"    ... and {len(lines) - _LONGEST_DIFF} lines more")
    return "\n".join(shown)


def _lines(outputs: Iterable[NotebookNode]) -> Iterator[str]:
    """Yield outputs as lines of text, each part under a line that names its kind."""
    for output in outputs:
        if output.output_type == "stream":
            parts = {output.name: output.text}
        elif output.output_type == "error":
            parts = {"error": f"{output.ename}: {output.evalue}"}
        else:
            parts = output.data
        for kind, value in sorted(parts.items()):
            yield f"[{kind}]"
            text = value if isinstance(value, str) else json.dumps(value, indent=1, sort_keys=True)
            yield from text.splitlines()


class _CellFailedError(InputError):
    """A cell failed; `problem` says which and how."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


def _run(
    path: Path,
    notebook: NotebookNode,
    *,
    timeout: int,
    advance: Callable[[], None],
    repeats: int = 1,
) -> None:
    """Execute a notebook in place, in a fresh kernel of this interpreter, in its own folder."""
    _require()
    from jupyter_client.kernelspec import KernelSpecManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError

    started = 0
    language = notebook.metadata["language_info"]

    def starts(**_: Any) -> None:
        nonlocal started
        started += 1

    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name=_KERNELSPEC["name"],
        resources={"metadata": {"path": str(path.resolve().parent)}},
        store_widget_state=False,
        record_timing=False,
        coalesce_streams=True,
        on_cell_execute=starts,
        on_cell_executed=lambda **_: advance(),
    )
    client.km = client.create_kernel_manager()
    # Without folders only the kernel of this interpreter is left: an installed kernelspec of the
    # same name may start another Python.
    client.km.kernel_spec_manager = KernelSpecManager(kernel_dirs=[])
    with kernel_environment() as environment:
        try:
            # What the kernel's process itself prints is no output of a cell.
            _execute(client, env=environment, stderr=subprocess.DEVNULL)
        except CellExecutionError as error:
            message = f"{error.ename}: {error.evalue}"
        except CellTimeoutError:
            message = f"took longer than {timeout} s"
        except RuntimeError as error:
            message = "the kernel died" if started else f"the kernel does not start: {error}"
        else:
            # The client has written that of its kernel.
            notebook.metadata["language_info"] = language
            return
    number, run = divmod(started - 1, repeats)
    if run:
        message = f"when it is run again: {message}"
    raise _CellFailedError(Problem(path=path, cell=number + 1 or None, message=message)) from None


def _execute(client: NotebookClient, **kernel: Any) -> None:
    """Execute a notebook in a thread of its own, and end its kernel on Ctrl-C.

    On the main thread nbclient takes the signal for itself, and stumbles over the kernel's end.
    """

    def cancel() -> None:
        for task in asyncio.all_tasks(loop):
            task.cancel()

    with (
        asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner,
        ThreadPoolExecutor(max_workers=1) as pool,
    ):
        loop = runner.get_loop()
        done = pool.submit(runner.run, client.async_execute(**kernel))
        try:
            done.result()
        except KeyboardInterrupt:
            loop.call_soon_threadsafe(cancel)
            raise


@contextmanager
def _bar(
    found: list[Path], progress: bool | None
) -> Iterator[tuple[Iterator[Path], Callable[[], None]]]:
    """Provide the notebooks to go through and what to call after each cell."""
    from tqdm import tqdm

    total = sum(len(_code_cells(_parse(path, _read_text(path)))) for path in found)
    hidden = None if progress is None else not progress
    with tqdm(total=total, unit="cell", file=sys.stderr, disable=hidden, leave=False) as bar:

        def todo() -> Iterator[Path]:
            for path in found:
                bar.set_description(path.name)
                yield path

        def advance() -> None:
            bar.update()

        yield todo(), advance


def _require() -> None:
    for package in ("ipykernel", "nbclient", "nbformat"):
        if not find_spec(package):
            raise MissingDependencyError(package, extra="lab", purpose="running notebooks")


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the notebook {str(path)!r} cannot be read: {error}") from None


def _parse(path: Path, text: str) -> NotebookNode:
    _require()
    import nbformat

    try:
        notebook: NotebookNode = nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]
    except Exception as error:
        # nbformat lets through whatever its validators raise, of several packages.
        reason = str(error).partition("\n")[0][:200]
        raise InputError(f"{str(path)!r} is no notebook: {reason}") from None
    return notebook


def _dump(notebook: NotebookNode) -> str:
    import nbformat

    text: str = nbformat.writes(notebook, version=4)  # type: ignore[no-untyped-call]
    return f"{text}\n"


def _replace(path: Path, text: str) -> None:
    """Write a file so that it is either the old or the new one, whatever happens meanwhile."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8", newline="\n")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise InputError(f"the notebook {str(path)!r} cannot be written: {error}") from None


def _code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
