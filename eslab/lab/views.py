"""What a lab shows: each view of the log, of projections and of sagas, with its widget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from eslab.aggregates import Aggregate, Decider, Repository
from eslab.clock import Clock, as_duration, as_utc
from eslab.errors import InputError, StreamNotFoundError
from eslab.events import Event, category_of, type_name
from eslab.projections import AnyProjection, Cost, projection_status
from eslab.projections.status import standing
from eslab.replay import replay, replay_events
from eslab.replay.query import LIMIT, EventQuery
from eslab.replay.sagas import SagaStreams
from eslab.sagas import Orchestrator, Saga
from eslab.schema import EventRegistry

if TYPE_CHECKING:
    from eslab.lab.lab import Lab
    from eslab.messaging import CommandBus
    from eslab.projections import ProjectionRunner
    from eslab.projections.runner import Observer
    from eslab.replay.lineage import EventReference
    from eslab.simulation.workload import Arrival
    from eslab.store.duckdb import DuckDBStore
    from eslab.views import (
        EventsView,
        ExplorationView,
        FleetView,
        LagView,
        LatencyView,
        LineageView,
        MessageFlow,
        ProjectionsView,
        SagaComparison,
        SagasView,
        SagaTimeline,
        StreamPlayer,
        TimersView,
        VisibilityView,
        WhatIfView,
    )
    from eslab.views.flow import Form
    from eslab.views.lag_source import LagSource, Listener

__all__ = ["LabViews"]


class LabViews:
    """The part of a lab that shows what there is; it changes nothing."""

    clock: Clock
    store: DuckDBStore
    registry: EventRegistry
    repository: Repository
    seed: int | None
    _commands: CommandBus
    _orchestrator: Orchestrator
    _projections: dict[str, ProjectionRunner]
    _observers: list[Observer]
    superseded: bool

    def events(
        self,
        *,
        stream: str | None = None,
        category: str | None = None,
        types: Iterable[str | type[Event]] | None = None,
        correlation_id: str | UUID | None = None,
        tags: Iterable[str] | None = None,
        occurred: tuple[datetime | str | None, datetime | str | None] | None = None,
        recorded: tuple[datetime | str | None, datetime | str | None] | None = None,
        versions: tuple[int | None, int | None] | None = None,
        positions: tuple[int | None, int | None] | None = None,
        payload: Sequence[tuple[str, str, Any]] | None = None,
        where: str | None = None,
        limit: int = 1_000,
    ) -> EventsView:
        """Show recorded events: all of them, or those for which all that is given holds.

        Args:
            stream: the id of a stream, in which each ``*`` stands for any text: ``"order-*"``.
            category: the category of the stream.
            types: the names of types, or their classes; the event has one of them.
            correlation_id: of the conversation that the event belongs to.
            tags: all of which the event has.
            occurred: when it happened, ``(from, before)``: from the first moment on and before
                the second; either may be None. A moment is an aware datetime, or text such as
                ``"2013-01-01 05:00"``, in UTC if it does not say its zone.
            recorded: when it was recorded, in the same way.
            versions: the first and the last version; either may be None.
            positions: the first and the last position; either may be None.
            payload: comparisons of values in its data, each a path, an operator (``=``, ``!=``,
                ``<``, ``<=``, ``>``, ``>=`` or ``contains``) and a value:
                ``[("amount", ">", 30), ("lines[0].article", "=", "tea")]``; a key that holds a dot
                or the like is written ``'prices["a.b"]'``. Where there is no value, only
                ``= None`` holds.
            where: a boolean expression in SQL over the columns of ``events``, such as
                ``"len(tags) > 1"``.
            limit: how many are in the frame at most, the newest ones.

        Raises:
            InputError: one of them cannot be; the message says which, and why.
        """
        from eslab.views import EventsView
        from eslab.views.events_filter import EventsFilter

        wanted = EventsFilter().having(
            stream=stream,
            category=category,
            types=types,
            correlation_id=correlation_id,
            tags=tags,
            occurred=occurred,
            recorded=recorded,
            versions=versions,
            positions=positions,
            payload=payload,
            where=where,
        )
        return EventsView(self.store, wanted, limit=limit, widget=_events_widget)

    def replay(
        self,
        stream_id: str | None = None,
        *,
        aggregate: type[Aggregate] | Decider[Any] | None = None,
        streams: Iterable[str] | None = None,
        category: str | None = None,
        types: Iterable[str | type[Event]] | None = None,
        after: int = 0,
        until: int | None = None,
        correlation_id: str | None = None,
        limit: int = LIMIT,
        progress: bool = True,
    ) -> StreamPlayer:
        """Replay a stream, or what a query gives, step by step, with the state after each event.

        Of several streams the steps are in the order of position, and each shows the state of its
        own stream. Events that are left out are folded all the same.

        Args:
            stream_id: the stream; without one, what the others ask for.
            aggregate: the class, or the decider, that gives the state; by default the one that is
                registered for the stream's category.
            streams: only events of these streams.
            category: only events of streams of this category.
            types: only events of these types.
            after: only positions above this one.
            until: only positions up to this one.
            correlation_id: only events of this conversation.
            limit: how many events a replay may have.
            progress: draw a progress bar on stderr, if that is a terminal or a notebook.

        Raises:
            StreamNotFoundError: there is no such stream.
            InputError: there are more events than the limit, or both a stream and a query are
                given.

        Example:
            >>> from eslab import Lab
            >>> class Opened(Event):
            ...     owner: str
            >>> with Lab(seed=7) as lab:
            ...     _ = lab.append("account-1", [Opened(owner="Ann")])
            ...     _ = lab.append("account-2", [Opened(owner="Bob")])
            ...     lab.replay(category="account")
            StreamPlayer(category account 1/2 account-1 v1 Opened no state)
        """
        from eslab.lab.trying import choices, trying
        from eslab.views import StreamPlayer
        from eslab.views.base import with_values

        lab = cast("Lab", self)
        if aggregate is not None:
            self.repository.register(aggregate)
        names = None if types is None else sorted(map(type_name, types))
        query = EventQuery(
            streams=None if streams is None else _texts(streams),
            category=category,
            types=names,
            after=after,
            until=until,
            correlation_id=correlation_id,
        )
        sagas: Any = SagaStreams(self._orchestrator)
        definitions = {sagas.category: sagas, **self.repository.definitions}
        if stream_id is None:
            shown, named = query.positions(self.store, limit=limit)
            steps = replay_events(
                self.store.read_all(streams=named, until=shown[-1]) if shown else (),
                shown=shown,
                title=query.title,
                definitions=definitions,
                registry=self.registry,
                progress=progress,
            )
            sql = with_values(*query.sql())
        else:
            if query != EventQuery():
                raise InputError(
                    f"replay() takes a stream, or a query (streams=, category=, types=, after=, "
                    f"until=, correlation_id=), and not both: {stream_id!r:.200}, {query.title}"
                )
            version = self.store.stream_version(stream_id)
            if version == 0:
                raise StreamNotFoundError(stream_id)
            if version > limit:
                raise InputError(
                    f"{stream_id!r} has {version:,} events, and a replay keeps a frame of each, at "
                    f"most {limit:,}: ask for a part with streams=[{stream_id!r}], after= and "
                    f"until=, or for more with limit="
                )
            steps = replay(
                self.store,
                stream_id,
                definition=aggregate or definitions.get(category_of(stream_id)),
                registry=self.registry,
                progress=progress,
            )
            sql = None
        return StreamPlayer(
            steps, sql=sql, widget=_player_widget, what_if=trying(lab), choices=choices(lab)
        )

    @property
    def projections(self) -> ProjectionsView:
        """How each projection of this lab is, now: status, checkpoint, lag, rate, last error."""
        from eslab.views import ProjectionsView

        runners = list(self._projections.values())
        return ProjectionsView(projection_status(self.store, runners, at=self.clock.now()))

    def lag(
        self,
        *projections: str,
        since: datetime | None = None,
        until: datetime | None = None,
        window: timedelta | str = timedelta(seconds=60),
    ) -> LagView:
        """Show how far projections are behind, now and over time, and what that amounts to.

        Args:
            projections: their names; by default all of this lab.
            since: where the history begins; by default where the log does.
            until: where the history ends; by default now.
            window: how far back from now the rates and the verdicts look: a duration, or text
                such as ``"5 min"``. See `eslab.projections.judge` for the rules.
        """
        from eslab.views import LagView

        span = as_duration(window)
        chosen = projections or tuple(self._projections)
        runners = [self._projection(name) for name in chosen]
        source = self._lag_source(chosen, span)
        return LagView(
            self.store,
            [runner.projection for runner in runners],
            at=self.clock.now(),
            since=None if since is None else as_utc(since, what="since"),
            until=None if until is None else as_utc(until, what="until"),
            window=span,
            standing={runner.name: standing(runner) for runner in runners},
            pauses={runner.name: runner.pauses for runner in runners},
            widget=lambda view: _lag_widget(view, source),
        )

    def _lag_source(self, names: Sequence[str], window: timedelta) -> LagSource:
        from eslab.views.lag_source import LagSource

        def listen(tell: Listener) -> Callable[[], None]:
            stop = self.store.listen(tell)
            self._observers.append(tell)

            def end() -> None:
                stop()
                self._observers.remove(tell)

            return end

        return LagSource(
            store=self.store,
            runners=lambda: [self._projections[name] for name in names],
            now=self.clock.now,
            window=window,
            listen=listen,
            gone=lambda: self.superseded or self.store.closed,
            find=self.store.find,
            what_if=self.what_if,
        )

    def visibility(self, projection: str) -> VisibilityView:
        """Show when each event became visible in a projection; ``.of(...)`` says it of one.

        Args:
            projection: its name.
        """
        from eslab.views import VisibilityView

        (chosen,) = self._chosen([projection])
        return VisibilityView(self.store, chosen, find=self.store.find)

    def latency(self, *projections: str) -> LatencyView:
        """Show how long events took from being recorded to being processed.

        Args:
            projections: their names; by default all of this lab.
        """
        from eslab.views import LatencyView

        return LatencyView(self.store, self._chosen(projections))

    def what_if(
        self,
        projection: str,
        *,
        rate: float | None = None,
        events: int = 10_000,
        batch: int | None = None,
        cost: Cost | None = None,
        outage: tuple[timedelta | str, timedelta | str] | None = None,
        arrival: Arrival = "poisson",
        seed: int | None = None,
    ) -> WhatIfView:
        """Show the lag that a projection would have on the virtual clock; nothing is recorded.

        Args:
            projection: its name.
            rate: events appended a second, in the mean; by default that of the log.
            events: how many are appended.
            batch: events in a batch, at most; by default the projection's.
            cost: of its work; by default the projection's.
            outage: when it is paused, from the beginning, and for how long, such as
                ``("10 s", "5 s")``.
            arrival: ``"poisson"``; ``"constant"``, one event so long after the other; ``"bursts"``
                or `Bursts`; see `eslab.simulation.workload.arrivals`.
            seed: of the arrivals; by default the lab's.

        Raises:
            InputError: the log has no rate, or one of the others cannot be.
        """
        from eslab.projections.measures import append_rate
        from eslab.simulation.queueing import Outage
        from eslab.views import WhatIfView

        (chosen,) = self._chosen([projection])
        return WhatIfView(
            chosen,
            rate=append_rate(self.store, chosen) if rate is None else rate,
            events=events,
            batch=batch,
            cost=cost,
            outage=None if outage is None else Outage(*map(as_duration, outage)),
            arrival=arrival,
            seed=(self.seed or 0) if seed is None else seed,
        )

    def _projection(self, name: str) -> ProjectionRunner:
        try:
            return self._projections[name]
        except (KeyError, TypeError):  # such as a list of names
            known = ", ".join(self._projections) or "none"
            raise InputError(f"there is no projection {name!r} here (there are: {known})") from None

    def _chosen(self, projections: Iterable[str]) -> list[AnyProjection]:
        """Return the projections of these names; of no name, all of them."""
        names = list(projections) or list(self._projections)
        return [self._projection(name).projection for name in names]

    def lineage(self, event: EventReference) -> LineageView:
        """Show what led to an event, and what followed from it, over all streams.

        Args:
            event: the event, its id, or its position.

        Raises:
            EventNotFoundError: there is no such event.
        """
        from eslab.views import LineageView

        return LineageView(self.store, event, target=self._commands.stream)

    def flow(
        self,
        *,
        correlation_id: str | None = None,
        event: EventReference | None = None,
        saga: str | None = None,
        form: Form = "sequence",
    ) -> MessageFlow:
        """Show who sent what to whom in a conversation, and which message caused which.

        Exactly one of the first three says which conversation.

        Args:
            correlation_id: its correlation id.
            event: one of its events, by itself, its id, or its position.
            saga: a saga that takes part in it: its name and id, ``"<name>-<id>"``.
            form: as what it is drawn first: a ``"sequence"`` diagram, or the causation ``"tree"``.

        Raises:
            InputError: not exactly one of them is given, or no event has that correlation id.
            EventNotFoundError: there is no such event.
            StreamNotFoundError: there is no such saga.
        """
        from eslab.views import MessageFlow

        given = [one for one in (correlation_id, event, saga) if one is not None]
        if len(given) != 1:
            raise InputError(
                f"lab.flow() takes one of correlation_id=, event= and saga=; {len(given)} are given"
            )
        if saga is not None:
            event = next(self.store.read(f"saga-{saga}", limit=1), None)
            if event is None:
                raise StreamNotFoundError(f"saga-{saga}")
        return MessageFlow(
            self.store,
            correlation_id=correlation_id,
            event=event,
            form=form,
            target=self._commands.stream,
            widget=_flow_widget,
        )

    @property
    def sagas(self) -> SagasView:
        """Where each saga stands, now: status, steps, what failed, the next timer."""
        from eslab.views import SagasView

        return SagasView(self.store)

    @property
    def timers(self) -> TimersView:
        """The timers that sagas wait for, now; the next one first."""
        from eslab.views import TimersView

        return TimersView(self.store, at=self.clock.now())

    def saga(self, saga_id: str) -> SagaTimeline:
        """Show what a saga did, and what it undid; ``.fail(step)`` lets it fail there instead.

        Args:
            saga_id: its name and id, ``"<name>-<id>"``: its stream without ``saga-``.

        Raises:
            StreamNotFoundError: there is no such saga.
        """
        from eslab.lab.rerun import rerun_saga
        from eslab.views import SagaTimeline

        if not isinstance(saga_id, str):
            raise InputError(f"a saga is found by a text such as 'trip-1', not {saga_id!r:.200}")
        stream_id = f"saga-{saga_id}"
        if self.store.stream_version(stream_id) == 0:
            raise StreamNotFoundError(stream_id)
        saga = self._orchestrator.saga(saga_id.partition("-")[0])
        undoable = None if saga is None else [step.name for step in saga if step.compensate]
        return SagaTimeline(
            self.store,
            stream_id,
            undoable=undoable,
            rerun=partial(rerun_saga, cast("Lab", self)),
            widget=_saga_widget,
        )

    def fleet(
        self,
        saga: str | None = None,
        *,
        status: str | None = None,
        failed_step: str | None = None,
    ) -> FleetView:
        """Show very many sagas at once: what became of each step of each, and where they failed.

        Args:
            saga: only sagas of this name.
            status: only those that stand there, such as ``"STUCK"``.
            failed_step: only those of which this step failed; ``""``: only those of which none did.

        Raises:
            InputError: there is no such status.
        """
        from eslab.views import FleetView

        return FleetView(
            self.store,
            saga=saga,
            status=status,
            failed_step=failed_step,
            timeline=self.saga,
            widget=_fleet_widget,
        )

    def explore(self, saga: Saga, make_lab: Callable[..., Lab], **options: Any) -> ExplorationView:
        """Try every combination of step and fault, and show where each leads.

        Each is tried in a laboratory of its own: this lab is left alone; its seed is the one that
        is tried, unless `seeds` are given. See `eslab.simulation.explore.explore` for the options.
        """
        from eslab.simulation.explore import explore
        from eslab.views import ExplorationView

        options.setdefault("seeds", (self.seed or 0,))
        return ExplorationView(explore(saga, make_lab, **options))


def _lag_widget(view: LagView, source: LagSource) -> Any:
    from eslab.widgets.lag import LagWidget

    return LagWidget(view, source)


def _fleet_widget(fleet: FleetView) -> Any:
    from eslab.widgets.fleet import FleetWidget

    return FleetWidget(fleet)


def _saga_widget(view: SagaTimeline | SagaComparison) -> Any:
    from eslab.widgets.saga import saga_widget

    return saga_widget(view)


def _events_widget(view: EventsView) -> Any:
    from eslab.widgets.events import EventsWidget

    return EventsWidget(view)


def _texts(streams: Iterable[str]) -> list[str]:
    if isinstance(streams, str):
        raise InputError(f"streams= takes a list of stream ids: [{streams!r:.200}]")
    return list(streams)


def _player_widget(player: StreamPlayer) -> Any:
    from eslab.widgets.player import player_widget

    return player_widget(player)


def _flow_widget(flow: MessageFlow) -> Any:
    from eslab.widgets.flow import FlowWidget

    return FlowWidget(flow)
