"""What a lab shows: each view of the log, of projections and of sagas, with its widget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from eslab.aggregates import Aggregate, Decider, Repository
from eslab.clock import Clock, as_duration, as_utc
from eslab.errors import InputError, StreamNotFoundError
from eslab.events import Event, category_of, type_name
from eslab.projections import AnyProjection, Cost, projection_status
from eslab.projections.status import standing
from eslab.replay import replay
from eslab.sagas import Orchestrator, Saga
from eslab.schema import EventRegistry

if TYPE_CHECKING:
    from eslab.lab.lab import Lab
    from eslab.projections import ProjectionRunner
    from eslab.projections.runner import Observer
    from eslab.simulation.workload import Arrival
    from eslab.store.duckdb import DuckDBStore
    from eslab.subscriptions import BatchReport
    from eslab.views import (
        EventsView,
        ExplorationView,
        LagView,
        LatencyView,
        ProjectionsView,
        SagasView,
        SagaTimeline,
        StreamPlayer,
        TimersView,
        VisibilityView,
        WhatIfView,
    )
    from eslab.views.lag_source import LagSource

__all__ = ["LabViews"]


class LabViews:
    """The part of a lab that shows what there is; it changes nothing."""

    clock: Clock
    store: DuckDBStore
    registry: EventRegistry
    repository: Repository
    seed: int | None
    _orchestrator: Orchestrator
    _projections: dict[str, ProjectionRunner]
    _observers: list[Observer]
    superseded: bool

    def events(
        self,
        *,
        stream_id: str | None = None,
        category: str | None = None,
        types: Iterable[str | type[Event]] | None = None,
        limit: int = 1_000,
    ) -> EventsView:
        """Show recorded events: all of them, or those of a stream, a category, some types.

        Args:
            stream_id: only events of this stream.
            category: only events of streams of this category.
            types: only events of these types.
            limit: how many at most, the newest ones.
        """
        from eslab.views import EventsView

        names = None if types is None else sorted(map(type_name, types))
        return EventsView(
            self.store, stream_id=stream_id, category=category, types=names, limit=limit
        )

    def replay(
        self, stream_id: str, *, aggregate: type[Aggregate] | Decider[Any] | None = None
    ) -> StreamPlayer:
        """Replay a stream, step by step, with the state after each event.

        Args:
            stream_id: the stream.
            aggregate: the class, or the decider, that gives the state; by default the one that is
                registered for the stream's category.

        Raises:
            StreamNotFoundError: there is no such stream.
        """
        from eslab.views import StreamPlayer

        if self.store.stream_version(stream_id) == 0:
            raise StreamNotFoundError(stream_id)
        if aggregate is not None:
            self.repository.register(aggregate)
        definition = aggregate or self.repository.definitions.get(category_of(stream_id))
        steps = replay(self.store, stream_id, definition=definition, registry=self.registry)
        return StreamPlayer(steps, widget=_player_widget)

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

        def listen(tell: Callable[[], None]) -> Callable[[], None]:
            def observe(_report: BatchReport) -> None:
                tell()

            stop = self.store.listen(tell)
            self._observers.append(observe)

            def end() -> None:
                stop()
                self._observers.remove(observe)

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
        """Show what a saga did, and what it undid.

        Args:
            saga_id: its name and id, ``"<name>-<id>"``: its stream without ``saga-``.

        Raises:
            StreamNotFoundError: there is no such saga.
        """
        from eslab.views import SagaTimeline

        stream_id = f"saga-{saga_id}"
        if self.store.stream_version(stream_id) == 0:
            raise StreamNotFoundError(stream_id)
        saga = self._orchestrator.saga(saga_id.partition("-")[0])
        undoable = None if saga is None else [step.name for step in saga if step.compensate]
        return SagaTimeline(self.store, stream_id, undoable=undoable)

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


def _player_widget(player: StreamPlayer) -> Any:
    from eslab.widgets.player import player_widget

    return player_widget(player)
