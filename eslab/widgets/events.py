"""The stream browser as a widget: filters, a histogram to brush, and one page of rows at a time."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import traitlets

from eslab.errors import InputError, StoreError
from eslab.events import RecordedEvent
from eslab.schema import canonical_json
from eslab.views import EventPages, EventsFilter, EventsView, OpenedEvent
from eslab.views.events import events_digest
from eslab.views.events_filter import OPERATORS, moment_of, value_of
from eslab.views.events_pages import Landmark
from eslab.views.events_types import ranked_types, type_groups
from eslab.views.opened_event import EventPlace
from eslab.views.scales import moment_text, width_text
from eslab.widgets.base import LiveWidget, intent

__all__ = ["EventsWidget"]

PAGE: Final = 15
"""Rows that are shown at once; no others are sent."""
LETTERS: Final = 240
SHOWN_TYPES: Final = 100
REMEMBERED: Final = 32
HINT_SECONDS: Final = 0.25
DIGITS: Final = 19
"""Of a position or a version, at most."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_COLUMNS: Final = (
    f"position, occurred_at, type, stream_id, version, left(data::varchar, {LETTERS}) as data"
)

Field = Literal[
    "stream",
    "category",
    "types",
    "correlation_id",
    "tags",
    "occurred",
    "recorded",
    "versions",
    "positions",
    "payload",
]
"""What a browser can filter by; SQL is not among it."""


class EventsWidget(LiveWidget):
    """Browses the events of a view; what is appended meanwhile is only counted, until `refresh`.

    Args:
        view: what it begins with.

    Attributes:
        shown: the conditions, the newest page and, once it was counted, what there is in all.
        newer: how many events were appended behind the last one that is looked at.

    Example:
        >>> import eslab
        >>> class OrderPlaced(eslab.Event):
        ...     amount: int
        >>> with eslab.Lab(seed=7) as lab:
        ...     for number in range(3):
        ...         _ = lab.append(f"order-{number}", [OrderPlaced(amount=30)])
        ...     widget = EventsWidget(lab.events())
        ...     widget.filter("stream", ["order-1"])
        ...     widget.view.df["position"].tolist()
        [2]
    """

    module = "events"

    shown = traitlets.Dict().tag(sync=True)
    newer = traitlets.Int().tag(sync=True)

    def __init__(self, view: EventsView) -> None:
        super().__init__()
        self._store = view.pages.store
        self._limit = view.limit
        self._known: dict[object, tuple[EventPages, list[dict[str, Any]]]] = {}
        self._types: list[str] = []
        self._revision = 0
        self._watching: Callable[[], None] | None = None
        self._watchers = 0
        self._hint: threading.Timer | None = None
        self._show(view.pages)

    @property
    def view(self) -> EventsView:
        """The events that are browsed now, as a view of their own: its frame, its SQL, ..."""
        pages = self._pages
        return EventsView(self._store, pages.wanted, head=pages.head, limit=self._limit)

    def close(self) -> None:
        """Close the widget, and let go of the store."""
        self._stop_watching()
        super().close()

    # What the browser may ask for.

    @intent
    def filter(self, field: Field, values: list[str]) -> None:
        """Let only events pass for which this holds too; a browser has nothing but text.

        Args:
            field: an attribute of `EventsFilter`.
            values: of types, all that may pass; of a time, a version or a position the two ends,
                of which one may be empty; of the payload path, operator and value; else one text.
        """
        wanted = self._pages.wanted
        match field, values:
            case "types", _:
                wanted = wanted.having(types=values or None)
            case "payload", [path, operator, text]:
                added = (path.strip(), operator, value_of(text, operator))
                wanted = wanted.having(payload=[*wanted.payload, added])
            case "tags", [tag]:
                wanted = wanted.having(tags=[*wanted.tags, tag.strip()])
            case "occurred" | "recorded", [first, last]:
                wanted = wanted.having(**{field: (first.strip() or None, last.strip() or None)})
            case "versions" | "positions", [first, last]:
                wanted = wanted.having(**{field: (_number(field, first), _number(field, last))})
            case "stream" | "category" | "correlation_id", [text]:
                wanted = wanted.having(**{field: text.strip()})
            case _:
                raise InputError(f"{field}: {len(values)} values are too few or too many")
        self._browse(wanted)

    @intent
    def drop(self, place: int) -> None:
        """Take a condition off.

        Args:
            place: which one, counted from 0 as they are shown.
        """
        wanted = self._pages.wanted
        conditions = list(wanted)
        if not 0 <= place < len(conditions):
            raise InputError(f"there is no condition {place}: there are {len(conditions)}")
        field = conditions[place].field
        held = getattr(wanted, field)
        rest = None
        if field in ("tags", "payload"):
            own = place - [condition.field for condition in conditions].index(field)
            rest = [*held[:own], *held[own + 1 :]]
        self._browse(wanted.having(**{field: rest}))

    @intent
    def clear(self) -> None:
        """Take all conditions off."""
        self._browse(EventsFilter())

    @intent
    def page(self, before: int | None = None, after: int | None = None) -> dict[str, Any]:
        """Return a page, the newest event first.

        Args:
            before: the newest events below this position; by default the newest of all.
            after: instead of that, the oldest events above this position.
        """
        return self._page(self._pages, before=before, after=after)

    @intent
    def jump(self, to: Landmark, value: str, newest_first: bool) -> dict[str, Any]:
        """Return the page that begins with the first event from something on.

        Args:
            to: a position, a version or a time.
            value: which.
            newest_first: whether older events follow on the page, or newer ones.
        """
        pages = self._pages
        wanted = moment_of(to, value) if to in ("occurred", "recorded") else _number(to, value)
        if wanted is None:
            raise InputError(f"{to}: say which")
        position = pages.find(to, wanted)
        if position is None:
            above = "or later" if to in ("occurred", "recorded") else "or above"
            raise InputError(f"no event that matches: {to} {value.strip()} {above}")
        sides = {"before": position + 1} if newest_first else {"after": position - 1}
        page = self._page(pages, **sides)
        if len(page["rows"]) < PAGE:
            page = self._page(pages, **({"after": 0} if newest_first else {}))
        newest = page["rows"][0]["position"]
        return {**page, "position": position, "rank": pages.rank(newest)}

    @intent
    def summary(self) -> dict[str, Any]:
        """Return how many events match, of which types, and when they occurred."""
        pages = self._pages
        found = self._summary(pages)
        self.said = events_digest(pages.summary, limit=self._limit)
        return {"revision": self._revision, **found}

    @intent
    def inspect(self, position: int) -> dict[str, Any]:
        """Return an event with all that is known about it, its cause and its effects."""
        return _opened(OpenedEvent.at(self._store, position, head=self._pages.head))

    @intent
    def refresh(self) -> None:
        """Look at what was appended since, too."""
        self._known.clear()
        self._show(EventPages(self._store, self._pages.wanted))

    @intent
    def watch(self, on: bool) -> None:
        """Count what is appended, while anybody looks at the widget."""
        self._watchers = max(0, self._watchers + (1 if on else -1))
        if not self._watchers:
            self._stop_watching()
        elif self._watching is None:
            self._watching = self._store.listen(self._appended)
            self._tell()

    # What it does about it.

    def _browse(self, wanted: EventsFilter) -> None:
        pages, _ = self._known.get(_key(wanted), (None, None))
        self._show(pages or EventPages(self._store, wanted, head=self._pages.head))

    def _show(self, pages: EventPages) -> None:
        """Show the newest page; what is not counted yet, the browser asks for."""
        key = _key(pages.wanted)
        if key not in self._known:
            page = self._page(pages)["rows"]
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[key] = pages, page
        _, page = self._known[key]
        self._pages = pages
        self._revision += 1
        counted = pages.is_counted
        if counted:
            self.said = events_digest(pages.summary, limit=self._limit)
        self.shown = {
            "revision": self._revision,
            "size": PAGE,
            "operators": OPERATORS,
            "conditions": [[condition.field, condition.words] for condition in pages.wanted],
            "types": pages.wanted.types,
            "page": page,
            "summary": self._summary(pages) if counted else None,
        }
        self._tell()

    def _page(
        self, pages: EventPages, *, before: int | None = None, after: int | None = None
    ) -> dict[str, Any]:
        rows = pages.page(_COLUMNS, before=before, after=after, limit=PAGE).fetchall()
        if after and len(rows) < PAGE:
            rows = pages.page(_COLUMNS, limit=PAGE).fetchall()
        return {"revision": self._revision, "rows": [_row(row) for row in reversed(rows)]}

    def _summary(self, pages: EventPages) -> dict[str, Any]:
        """Return what was counted: types, how they are drawn, and bars of start, group, count."""
        found = pages.summary
        # A type is drawn as it was before, whatever the filter leaves of it.
        counts = dict.fromkeys(pages.wanted.types or (), 0) | found.counts
        ranked = ranked_types(counts)
        self._types += [name for name in ranked if name not in self._types]
        groups = type_groups(counts, self._types)
        group_of = {name: place for place, group in enumerate(groups) for name in group.types}
        bars: Counter[tuple[int, int]] = Counter()
        for start, name, count in found.histogram.itertuples(index=False):
            bars[_microseconds(start.to_pydatetime()), group_of[name]] += int(count)
        return {
            "count": found.count,
            "types": [[name, counts[name], group_of[name]] for name in ranked[:SHOWN_TYPES]],
            "unlisted": max(0, len(ranked) - SHOWN_TYPES),
            "groups": [
                [group.types[0] if len(group.types) == 1 else "others", group.colour, group.hatch]
                for group in groups
            ],
            "width": found.width // timedelta(microseconds=1),
            "per": width_text(found.width),
            "bars": [[start, place, count] for (start, place), count in sorted(bars.items())],
        }

    def _appended(self) -> None:
        # On the thread that appends, which may do so ten thousand times a second.
        if self._hint is None:
            self._hint = threading.Timer(HINT_SECONDS, self._tell)
            self._hint.daemon = True
            self._hint.start()

    def _tell(self) -> None:
        self._hint = None
        with self._lock, suppress(StoreError):
            self.newer = max(0, self._store.head() - self._pages.head)

    def _stop_watching(self) -> None:
        stop, self._watching = self._watching, None
        if stop is not None:
            stop()


def _key(wanted: EventsFilter) -> object:
    # To Python 1 and True are equal; in words they are not.
    return wanted, tuple(condition.words for condition in wanted)


def _number(field: str, text: str) -> int | None:
    digits = text.strip().replace(",", "")
    if not digits:
        return None
    if not (digits.isascii() and digits.isdigit() and len(digits) <= DIGITS):
        raise InputError(f"{field}: a whole number is expected, not {text.strip()!r:.100}")
    return int(digits)


def _row(row: tuple[Any, ...]) -> dict[str, Any]:
    position, occurred_at, type_, stream_id, version, data = row
    return {
        "position": position,
        "occurred": moment_text(occurred_at),
        "at": _microseconds(occurred_at),
        "type": type_,
        "stream": stream_id,
        "version": version,
        "data": data if len(data) < LETTERS else f"{data}…",
    }


def _opened(opened: OpenedEvent) -> dict[str, Any]:
    event = opened.event
    return {
        "position": event.position,
        "type": event.type,
        "stream": event.stream_id,
        "version": event.version,
        "facts": _facts(event),
        "data": _tree(dict(event.data)),
        "metadata": _tree(event.metadata.to_dict()),
        "correlation": event.metadata.correlation_id,
        "cause": None if opened.cause is None else _place(opened.cause),
        "command": opened.command_id,
        "siblings": [_place(one) for one in opened.siblings],
        "effects": [_place(one) for one in opened.effects],
        "more": opened.more,
        "replay": f"lab.replay({event.stream_id!r})",
    }


def _facts(event: RecordedEvent) -> list[tuple[str, str]]:
    return [
        ("occurred", f"{moment_text(event.occurred_at)} UTC"),
        ("recorded", f"{moment_text(event.recorded_at)} UTC"),
        ("event id", str(event.event_id)),
        ("schema version", str(event.schema_version)),
        *([("tags", ", ".join(event.tags))] if event.tags else []),
    ]


def _place(place: EventPlace) -> dict[str, Any]:
    return {
        "position": place.position,
        "text": f"{place.type} · {place.stream_id} · v{place.version:,}",
    }


def _tree(value: Any) -> Any:
    """Return a JSON value whose leaves are texts: a browser would round large numbers."""
    if isinstance(value, dict):
        return {"keys": [[key, _tree(inner)] for key, inner in value.items()]}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return {"items": [_tree(inner) for inner in value]}
    return canonical_json(value)


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
