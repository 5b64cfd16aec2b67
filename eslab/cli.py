"""The command line, `eslab`: what a Makefile, a CI job or a shell needs without a notebook.

Commands import what they need when they run, so that `eslab --help` answers at once. Whatever is
refused is one line on standard error; typer's boxes are for help.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from eslab.errors import EslabError, InputError

if TYPE_CHECKING:
    from eslab.store.duckdb import DuckDBStore

__all__ = ["app", "main"]

app = typer.Typer(
    name="eslab",
    help="An event-sourcing lab for notebooks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
notebooks = typer.Typer(
    name="nb", help="Keep notebooks reproducible, byte for byte.", no_args_is_help=True
)
app.add_typer(notebooks)


def _path(text: str) -> Path:
    if not text:
        raise InputError("a path is needed, and '' is none")
    return Path(text)


StoreFile = Annotated[Path, typer.Argument(parser=_path, metavar="FILE", help="A store file.")]
NewFile = Annotated[
    Path, typer.Argument(parser=_path, metavar="TO", help="A file that does not exist yet.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"eslab {version('eslab')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """An event-sourcing lab for notebooks."""


@app.command()
def demo(
    year: Annotated[
        bool, typer.Option("--year", help="All flights of 2013 instead of the first week.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON, and nothing else.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            parser=_path,
            help="Write a report with the pictures to DIR/report.html.",
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=_path,
            help="Keep the events in FILE; by default they are in memory only.",
        ),
    ] = None,
) -> None:
    """Do the main job on real flights: import, read models, replay, lag, a saga that undoes."""
    from rich.console import Console

    from eslab import demo as demonstration

    if out is not None:
        demonstration.check_folder(out)
    console = Console(highlight=False, quiet=as_json)
    done = demonstration.run_demo(
        year=year,
        path=":memory:" if store is None else store,
        progress=not as_json,
        say=lambda text: console.print(f"{text} ...", style="dim"),
    )
    demonstration.print_summary(done, console)
    if as_json:
        typer.echo(done.json())
    if out is not None:
        console.print(f"report: {done.write_report(out)}", markup=False, soft_wrap=True)


@app.command()
def verify(
    file: StoreFile,
) -> None:
    """Prove that the log in FILE is whole; exit with 1 if it is not."""
    report = _opened(file, read_only=True).verify()
    typer.echo(str(report))
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def recover(
    file: StoreFile,
    write: Annotated[bool, typer.Option("--yes", help="Do it, instead of saying what.")] = False,
) -> None:
    """Save what can be saved of a FILE that cannot be opened; without --yes only say what."""
    from eslab.store.duckdb.salvage import salvage

    report = salvage(file, write=write)
    typer.echo(str(report))
    if not (report.whole or report.done):
        raise typer.Exit(1)


@app.command()
def copy(
    file: StoreFile,
    to: Annotated[
        Path, typer.Argument(parser=_path, metavar="TO", help="A file that does not exist yet.")
    ],
) -> None:
    """Write a copy of the store in FILE to TO, as a backup or to look at."""
    typer.echo(f"copied to {_opened(file).copy_to(to)}")


@app.command()
def restore(
    copy: Annotated[Path, typer.Argument(parser=_path, metavar="COPY", help="A copy of a store.")],
    to: Annotated[
        Path, typer.Argument(parser=_path, metavar="TO", help="A file that does not exist yet.")
    ],
) -> None:
    """Make a store in TO of a COPY, in a new epoch."""
    from eslab.store import restore_store

    typer.echo(f"restored to {restore_store(copy, to)}")


def _opened(file: Path, *, read_only: bool = False) -> DuckDBStore:
    """Open a store that is there; it is closed when the process ends."""
    from eslab.clock import RandomIds, SystemClock
    from eslab.store.duckdb import DuckDBStore

    if not file.exists():
        raise InputError(f"there is no file {file}")
    return DuckDBStore.open(file, clock=SystemClock(), ids=RandomIds(), read_only=read_only)


@notebooks.command("update")
def update_notebooks(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            parser=_path, help="Notebooks, or folders of them; by default the folder notebooks."
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; exit with 1 if an update would change one."),
    ] = False,
) -> None:
    """Run notebooks in a fresh kernel and write them in their one normal form."""
    from eslab.testing import notebooks as normaliser

    chosen = paths or [Path("notebooks")]
    if not check:
        for path in normaliser.update(chosen):
            typer.echo(f"updated {path}")
        return
    problems = normaliser.check(chosen)
    for problem in problems:
        typer.echo(str(problem))
    if problems:
        raise typer.Exit(1)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; ends by `SystemExit` with the exit code.

    The code is 0 when all is well, 1 when a check found something, 2 when eslab or the usage is
    refused or the output cannot be written (one line on standard error, no traceback), 130 after
    Ctrl-C.

    Args:
        argv: the arguments without the program's name; those of the process by default.

    Raises:
        SystemExit: always.

    Example:
        >>> main(["nb", "update", "no/such/folder"])
        Traceback (most recent call last):
            ...
        SystemExit: 2
    """
    try:
        code = app(
            args=None if argv is None else list(argv), prog_name="eslab", standalone_mode=False
        )
        sys.stdout.flush()
    except typer.TyperException as error:
        if not error.format_message():  # no command was given, and help was
            raise SystemExit(2) from None
        _refuse(_usage(error))
    except EslabError as error:
        _refuse(str(error))
    except BrokenPipeError:
        # Whoever read has seen enough.
        _drop_output()
        raise SystemExit(1) from None
    except OSError as error:
        if error.filename is not None:
            _refuse(f"{error.filename}: {error.strerror}")
        # Without a name it is standard output.
        _drop_output()
        _refuse(f"the output cannot be written: {error.strerror}")
    raise SystemExit(code or 0)


def _refuse(message: str) -> NoReturn:
    print(f"eslab: error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(2) from None


def _usage(error: typer.TyperException) -> str:
    message = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    command = "eslab" if context is None else context.command_path
    return f"{message[:1].lower()}{message[1:]}; see {command} --help"


def _drop_output() -> None:
    """Let what is still buffered go nowhere, or Python complains of it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
