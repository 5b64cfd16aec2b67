"""Magics of IPython: the views of a lab, SQL on its log, and specifications, in few letters.

``%load_ext eslab`` brings them. Each takes the lab from the variable ``lab`` of the notebook, or
from the only variable that holds one; ``--lab NAME`` says another. Tab completes the names of
streams, sagas, projections, types, categories and labs.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from IPython.core.error import UsageError
from IPython.core.magic import (
    Magics,
    cell_magic,
    line_cell_magic,
    line_magic,
    magics_class,
    no_var_expand,
)
from IPython.core.magic_arguments import argument, magic_arguments

from eslab.errors import InputError
from eslab.lab import Lab
from eslab.testing.cells import specify

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from eslab.store.result import Result
    from eslab.testing.read_models import GivenRows
    from eslab.testing.specification import Outcome
    from eslab.views import (
        EventsView,
        FleetView,
        LagView,
        LineageView,
        MessageFlow,
        SagasView,
        SagaTimeline,
        StreamPlayer,
    )

__all__ = ["LabMagics", "load"]

COMPLETIONS: Final = 100

_TEXTS: Final = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)
_PARAMETER: Final = re.compile(r"\$([A-Za-z_]\w*)")
_LAB: Final = argument("--lab", metavar="NAME", help="the variable that holds the lab")


def load(shell: InteractiveShell) -> None:
    """Make the magics known to a shell, with what Tab completes of them."""
    magics = LabMagics(shell)
    shell.register_magics(magics)
    for name, complete in magics.completers().items():
        shell.set_hook("complete_command", complete, re_key=rf"^\s*%%?{name}\b")


@magics_class
class LabMagics(Magics):
    """The views of a lab, SQL on its log, and specifications."""

    @magic_arguments("%events")
    @argument("stream", nargs="?", help="only events of this stream; * stands for any text")
    @argument("--category", help="only events of streams of this category")
    @argument("--type", action="append", dest="types", help="only this type; may be said again")
    @argument("--tag", action="append", dest="tags", help="only with this tag; may be said again")
    @argument("--correlation", metavar="ID", help="only events of this conversation")
    @argument("--where", metavar="SQL", help="only where this holds, such as 'len(tags) > 1'")
    @argument("--limit", type=int, default=1_000, help="how many at most, the newest ones")
    @_LAB
    @line_magic
    def events(self, line: str) -> EventsView:
        """Show recorded events: all of them, or those for which all that is said holds."""
        __tracebackhide__ = True
        said = _said(self.events, line)
        return self._lab(said.lab).events(
            stream=said.stream,
            category=said.category,
            types=said.types,
            tags=said.tags,
            correlation_id=said.correlation,
            where=said.where,
            limit=said.limit,
        )

    @magic_arguments("%replay")
    @argument("stream", help="the stream, such as order-42")
    @argument("--at", type=int, metavar="VERSION", help="the version at which it stands")
    @_LAB
    @line_magic
    def replay(self, line: str) -> StreamPlayer:
        """Replay a stream, step by step, with the state after each event."""
        __tracebackhide__ = True
        said = _said(self.replay, line)
        player = self._lab(said.lab).replay(said.stream)
        if said.at is not None:
            player.seek(said.at)
        return player

    @magic_arguments("%lag")
    @argument("projections", nargs="*", help="their names; none for all")
    @argument("--window", default="60 s", help="how far back the verdicts look, such as '5 min'")
    @_LAB
    @line_magic
    def lag(self, line: str) -> LagView:
        """Show how far projections are behind, now and over time."""
        __tracebackhide__ = True
        said = _said(self.lag, line)
        return self._lab(said.lab).lag(*said.projections, window=said.window)

    @magic_arguments("%saga")
    @argument("saga", nargs="?", help="its name and id, such as fulfilment-o-1; none for all")
    @_LAB
    @line_magic
    def saga(self, line: str) -> SagaTimeline | SagasView:
        """Show what a saga did and undid; without a name, where each saga stands."""
        __tracebackhide__ = True
        said = _said(self.saga, line)
        lab = self._lab(said.lab)
        return lab.sagas if said.saga is None else lab.saga(said.saga)

    @magic_arguments("%fleet")
    @argument("saga", nargs="?", help="only sagas of this name")
    @_LAB
    @line_magic
    def fleet(self, line: str) -> FleetView:
        """Show very many sagas at once: where they failed, and how it ended."""
        __tracebackhide__ = True
        said = _said(self.fleet, line)
        return self._lab(said.lab).fleet(said.saga)

    @magic_arguments("%flow")
    @argument("saga", nargs="?", help="a saga that takes part, such as fulfilment-o-1")
    @argument("--correlation", metavar="ID", help="the correlation id of the conversation")
    @argument("--event", type=int, metavar="POSITION", help="one of its events")
    @argument("--tree", action="store_true", help="as a causation tree")
    @_LAB
    @line_magic
    def flow(self, line: str) -> MessageFlow:
        """Show who sent what to whom in a conversation, and which message caused which."""
        __tracebackhide__ = True
        said = _said(self.flow, line)
        return self._lab(said.lab).flow(
            correlation_id=said.correlation,
            event=said.event,
            saga=said.saga,
            form="tree" if said.tree else "sequence",
        )

    @magic_arguments("%lineage")
    @argument("position", type=int, help="of the event")
    @_LAB
    @line_magic
    def lineage(self, line: str) -> LineageView:
        """Show what led to an event, and what followed from it."""
        __tracebackhide__ = True
        said = _said(self.lineage, line)
        return self._lab(said.lab).lineage(said.position)

    @magic_arguments("%sql")
    @argument("--as", dest="name", metavar="NAME", help="keep the rows as a DataFrame of this name")
    @_LAB
    @argument("query", nargs="*", help="one SELECT; $name stands for the variable of that name")
    @no_var_expand
    @line_cell_magic
    def sql(self, line: str, cell: str | None = None) -> Result:
        """Run one SELECT on the log and the read models, read-only, and show its rows.

        Every event type is a table. ``$name`` is the value of the variable ``name``: a parameter
        of the query, never a part of its text.
        """
        __tracebackhide__ = True
        options, inline = _options(line, flags=("--as", "--lab"))
        said = _said(self.sql, options)
        query = "\n".join(filter(None, [inline.strip(), cell]))
        if said.name is not None and not said.name.isidentifier():
            raise UsageError(f"--as takes the name of a variable, not {said.name!r}")
        result = self._lab(said.lab).sql(query, self._parameters(query))
        if said.name is not None:
            self._names[said.name] = result.df()
        return result

    @magic_arguments("%%given")
    @argument("of", help="the aggregate, decider or projection whose rules these are")
    @argument("--id", default="1", help="its identity, where the rules look at it")
    @cell_magic
    def given(self, line: str, cell: str) -> Outcome | GivenRows:
        """Specify a rule: given these events, when this command comes, then this follows.

        One line each, in Python; ``when`` and ``then`` are lines of their own::

            %%given Order
            OrderPlaced(customer="Ann", amount=5)
            when
            PlaceOrder(order_id="1", customer="Ann", amount=5)
            then
            DomainError("placed already")

        Behind ``then`` are the events that are recorded, or an error (its class, or one whose text
        is found in the message), or nothing; and ``name = value`` for an attribute of the state.
        A projection has no ``when``, and its rows behind ``then``.

        Raises:
            AssertionError: something else follows; with a diff.
        """
        __tracebackhide__ = True
        said = _said(self.given, line)
        of = ast.parse(said.of, "<given>", "eval").body
        return specify(cell, of=self._value(of), id=said.id, evaluate=self._value)

    # What the notebook says.

    def _lab(self, name: str | None) -> Lab:
        """Return the lab that is meant."""
        labs = self._labs()
        if name is not None:
            if name not in labs:
                known = ", ".join(sorted(labs)) or "none"
                raise UsageError(f"no variable {name!r} holds a lab (these do: {known})")
            return labs[name]
        if "lab" in labs:
            return labs["lab"]
        if len({id(lab) for lab in labs.values()}) == 1:
            return next(iter(labs.values()))
        if not labs:
            raise UsageError("there is no lab yet: lab = eslab.Lab(seed=7)")
        raise UsageError(f"which lab: {', '.join(f'--lab {name}' for name in sorted(labs))}?")

    def _value(self, node: ast.expr) -> Any:
        code = compile(ast.Expression(node), "<given>", "eval")
        return eval(code, self._names)  # noqa: S307 - a person wrote it in a cell

    @property
    def _names(self) -> dict[str, Any]:
        assert self.shell is not None
        names: dict[str, Any] = self.shell.user_ns
        return names

    def _labs(self) -> dict[str, Lab]:
        # IPython keeps what cells returned in _, __ and _12.
        return {
            name: value
            for name, value in self._names.items()
            if isinstance(value, Lab) and not name.startswith("_")
        }

    def _parameters(self, query: str) -> dict[str, Any]:
        values = {}
        for name in _PARAMETER.findall(_without_texts(query)):
            if name not in self._names:
                raise UsageError(f"${name} stands for a variable, and there is no {name!r}")
            values[name] = self._names[name]
        return values

    # What Tab completes.

    def completers(self) -> dict[str, Callable[[Any, Any], list[str]]]:
        """Return for each magic what completes a word of its line."""
        return {
            "events": self._completer(self._streams),
            "replay": self._completer(self._streams),
            "saga": self._completer(self._sagas),
            "flow": self._completer(self._sagas),
            "lag": self._completer(lambda lab, _: list(lab.projections.df["projection"])),
        }

    def _completer(
        self, names: Callable[[Lab, str], Iterable[str]]
    ) -> Callable[[Any, Any], list[str]]:
        def complete(_shell: object, event: Any) -> list[str]:
            line, word = event.line, event.symbol
            before = line[: len(line) - len(word)].split()
            try:
                if before[-1] == "--lab":
                    return _beginning(word, self._labs())
                lab = self._lab(_value_of("--lab", before))
                match before[-1]:
                    case "--type":
                        return _beginning(word, _column(lab, "distinct type from event_log"))
                    case "--category":
                        return _beginning(word, _column(lab, "distinct category from streams"))
                return _beginning(word, names(lab, word))
            except (UsageError, InputError):
                return []

        return complete

    @staticmethod
    def _streams(lab: Lab, beginning: str) -> list[str]:
        query = "name from streams where starts_with(name, $beginning)"
        return _column(lab, query, beginning=beginning)

    @classmethod
    def _sagas(cls, lab: Lab, beginning: str) -> list[str]:
        return [name.removeprefix("saga-") for name in cls._streams(lab, f"saga-{beginning}")]


def _said(magic: Any, line: str) -> Any:
    """Return the arguments of a line; words in quotes are one."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{line}: {error}") from error
    return magic.parser.parse_args(words)


def _options(line: str, *, flags: Sequence[str]) -> tuple[str, str]:
    """Split a line into the options that it begins with and the query behind them."""
    options: list[str] = []
    rest = line.strip()
    while found := re.match(rf"({'|'.join(flags)})(?:\s+|=)(\S+)\s*", rest):
        options += [found[1], found[2]]
        rest = rest[found.end() :]
    return " ".join(options), rest


def _without_texts(query: str) -> str:
    """Return a query without its texts, names in quotes and comments: a ``$`` in these is none."""
    return re.sub(
        r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", " ", query, flags=re.DOTALL
    )


def _column(lab: Lab, query: str, **values: str) -> list[str]:
    found = lab.sql(f"select {query} order by all limit {COMPLETIONS}", values).fetchall()
    return [value for (value,) in found]


def _beginning(word: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(word)]


def _value_of(flag: str, words: Sequence[str]) -> str | None:
    return words[words.index(flag) + 1] if flag in words[:-1] else None
