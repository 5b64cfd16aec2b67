"""What a lab exports: events as a test, as JSON, as CloudEvents."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self, get_args

from eslab.aggregates import Repository
from eslab.errors import InputError
from eslab.events import AsOf, Event, RecordedEvent, category_of
from eslab.schema import EventRegistry
from eslab.words import counted

if TYPE_CHECKING:
    from eslab.replay import Asked
    from eslab.store.duckdb import DuckDBStore

__all__ = ["Export", "ExportFormat", "LabExport"]

ExportFormat = Literal["test", "json", "cloudevents"]

SHOWN: Final = 20_000
"""Characters that a notebook shows of an export."""


class Export(str):
    """Text that was exported. It says what it is; ``print`` it, or save it.

    Args:
        text: what was exported.
        kind: what it is.
        told: of how much.
    """

    __slots__ = ("kind", "told")

    kind: ExportFormat
    told: str

    def __new__(cls, text: str, *, kind: ExportFormat, told: str) -> Self:
        """Return a text that knows what it is."""
        self = super().__new__(cls, text)
        self.kind, self.told = kind, told
        return self

    def save(self, path: str | Path) -> Path:
        """Write it to a file, in UTF-8, and return where that is; a file there is replaced."""
        place = Path(path)
        place.write_text(self, encoding="utf-8", newline="")
        return place

    def __repr__(self) -> str:
        size = counted(len(self), "character")
        return f"<Export of {self.told} as {self.kind}, {size}: print() or .save(path)>"

    def _repr_html_(self) -> str:
        left = len(self) - SHOWN
        more = f"\n… and {counted(left, 'character')} more" if left > 0 else ""
        return f"<pre>{html.escape(self[:SHOWN] + more)}</pre>"


class LabExport:
    """The part of a lab that exports events."""

    store: DuckDBStore
    registry: EventRegistry
    repository: Repository

    def export(
        self,
        format: ExportFormat,
        *,
        streams: str | Iterable[str] | None = None,
        category: str | None = None,
        types: Iterable[str | type[Event]] | None = None,
        after: int | None = None,
        until: int | None = None,
        module: str | None = None,
        source: str | None = None,
    ) -> Export:
        """Export events: to look at elsewhere, to import again, to keep as a test.

        ``"json"`` is an array of all that is recorded of each event, and ``"cloudevents"`` a batch
        of CloudEvents 1.0. Both are imported again by
        ``lab.store.import_events(events_from_json(text))``, with the same ids: see
        `eslab.interop.plain_json` and `eslab.interop.cloudevents`.

        ``"test"`` is the source of tests that run under pytest, one or more for each stream of an
        aggregate that has such events: given all that happened in it, then this is its state; on a
        branch also given, when and then of each command that was sent there to it. Classes are
        imported from their modules. A class of a notebook has none: name the module to which you
        move it, or fill it in where the text says so.

        Args:
            format: ``"test"``, ``"json"`` or ``"cloudevents"``.
            streams: only the events of this stream, or of these.
            category: only those of streams of this category.
            types: only those of these types.
            after: only those behind this position.
            until: only those up to this position.
            module: of a test, where the classes are that are defined in the notebook.
            source: of CloudEvents, in which context they happened, as a URI; by default the store.

        Returns:
            The text, with ``.save(path)``.

        Raises:
            InputError: there is no such format, or stream; what happened cannot be told as a test;
                no module has such a name, or no URI is such a source.
            MissingDependencyError: CloudEvents need the package ``cloudevents``.

        Example:
            >>> from eslab import Lab
            >>> from eslab.simulation.scenarios.accounts import *
            >>> with Lab(seed=7) as lab:
            ...     lab.register(account)
            ...     _ = lab.execute(OpenAccount(account_id="a-1", owner="Ann"))
            ...     lab.export("json")
            ...     print(lab.export("test").partition("def test")[2].rstrip())
            <Export of 1 event as json, ... characters: print() or .save(path)>
            _account_a_1() -> None:
                before = given(AccountOpened(owner="Ann", limit=0), of=account, id="a-1")
                outcome = before.when(nothing)
                outcome.then()
                outcome.then_state(AccountState(status="open", owner="Ann", balance=0, limit=0))
        """
        names = self._streams(streams)
        events = self.store.read_all(
            after=self._first(format) if after is None else after,
            until=until,
            types=types,
            category=category,
            streams=names,
        )
        match format:
            case "test":
                asked = [
                    one.stream_id
                    for one in self._asked()
                    if names is None and category in (None, category_of(one.stream_id))
                ]
                found = [*(event.stream_id for event in events), *asked]
                return self._as_test(list(dict.fromkeys(found)), names, until, module)
            case "json":
                from eslab.interop.plain_json import events_to_json

                listed = list(events)
                return _export(listed, events_to_json(listed), format)
            case "cloudevents":
                from eslab.interop.cloudevents import events_to_cloudevents

                listed = list(events)
                place = f"urn:uuid:{self.store.store_id}" if source is None else source
                return _export(listed, events_to_cloudevents(listed, source=place), format)
        known = ", ".join(map(repr, get_args(ExportFormat)))
        raise InputError(f"there is no format {format!r:.200} to export to: there are {known}")

    def _first(self, format: ExportFormat) -> int:  # noqa: ARG002 - a branch asks
        """Return behind which position events are exported by default."""
        return 0

    def _asked(self) -> Sequence[Asked]:
        """Return the commands that are known, with what came of them."""
        return ()

    def _streams(self, streams: str | Iterable[str] | None) -> list[str] | None:
        if streams is None:
            return None
        if not isinstance(streams, Iterable):
            raise InputError(f"streams is the name of one, or several, not {streams!r:.200}")
        names = [streams] if isinstance(streams, str) else list(streams)
        for name in names:
            if self.store.stream_version(name) == 0:
                raise InputError(f"there is no stream {name!r} to export")
        return names

    def _as_test(
        self,
        streams: Sequence[str],
        named: Sequence[str] | None,
        until: int | None,
        module: str | None,
    ) -> Export:
        from eslab.replay import examples, source_of_tests

        definitions = self.repository.definitions
        known = [name for name in streams if category_of(name) in definitions]
        unknown = [name for name in streams if name not in known]
        if not streams:
            raise InputError("there is nothing here that a test could tell of")
        if (named is not None and unknown) or not known:
            raise InputError(
                f"a test tells of the streams of aggregates, and no aggregate is registered for "
                f"{unknown[0]!r}: lab.register(...) it first"
            )
        told: list[Any] = []
        as_of = None if until is None else AsOf(position=until)
        for name in known:
            told += examples(
                name,
                list(self.store.read(name, as_of=as_of)),
                definition=definitions[category_of(name)],
                registry=self.registry,
                asked=self._asked(),
            )
        text = source_of_tests(told, module=module)
        return Export(text, kind="test", told=counted(len(known), "stream"))


def _export(events: Sequence[RecordedEvent], text: str, format: ExportFormat) -> Export:
    return Export(text, kind=format, told=counted(len(events), "event"))
