"""What if: the lag that a projection would have, were it fed or built in another way."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import plotly.graph_objects as go

from eslab.clock import VIRTUAL_START
from eslab.projections import AnyProjection, Cost, ProjectionLag
from eslab.simulation.queueing import Outage, QueueRun, run_queue
from eslab.simulation.workload import Arrival, arrivals
from eslab.views.base import PictureView, plain
from eslab.views.lag import lag_figure
from eslab.views.lag_picture import lag_picture
from eslab.views.scales import duration_text
from eslab.words import counted

__all__ = ["WhatIfView"]

EVENTS: Final = 10_000
TIMES: Final = "virtual time"


class WhatIfView(PictureView):
    """The lag of a projection that never ran, over time: a queue builds up and drains.

    The frame has the columns of a history of lag (see `eslab.projections.lag_history`); there is
    no query for it, because nothing of it was recorded.

    Args:
        projection: whose cost and batch are the defaults; nothing of it is run.
        rate: events appended a second, in the mean.
        events: how many are appended.
        batch: events in a batch, at most.
        cost: of its work on the virtual clock.
        outage: a time in which it is paused.
        arrival: ``"poisson"``, ``"constant"``, ``"bursts"`` or `Bursts`; see
            `eslab.simulation.workload.arrivals`.
        seed: of the arrivals.
        start: the beginning of the run.

    Attributes:
        run: what became of the events, with its numbers; an
            `eslab.simulation.queueing.QueueRun`.

    Example:
        >>> import eslab
        >>> from eslab.interop.flights import DelayByAirportHour
        >>> view = WhatIfView(DelayByAirportHour(), rate=500, batch=1, arrival="constant")
        >>> view.run.load, view.run.stable, view.run.max_queue
        (0.505, True, 1)
    """

    def __init__(
        self,
        projection: AnyProjection,
        *,
        rate: float,
        events: int = EVENTS,
        batch: int | None = None,
        cost: Cost | None = None,
        outage: Outage | None = None,
        arrival: Arrival = "poisson",
        seed: int = 0,
        start: datetime = VIRTUAL_START,
    ) -> None:
        batch = projection.batch if batch is None else batch
        cost = projection.cost if cost is None else cost
        self.run: QueueRun = run_queue(
            arrivals(events, rate=rate, arrival=arrival, seed=seed),
            cost=cost,
            batch=batch,
            outage=outage,
        )
        self.projection = projection.name
        self._memoryless = arrival == "poisson" and outage is None
        self._said = [
            f"{rate:g} events a second ({arrival})",
            f"batches of up to {batch:,}",
            *([f"an outage of {_seconds(outage)}"] if outage is not None else []),
        ]
        super().__init__(self.run.history(projection.name, start=start), sql="")

    @property
    def digest(self) -> str:
        """What was assumed, and what came of it."""
        return f"WhatIf({self.projection}: {', '.join(self._said)}: {self._found})"

    @property
    def outcome(self) -> str:
        """What comes of it, in sentences."""
        run = self.run
        if not run.stable:
            return (
                f"Unstable: {run.rate:,.4g} events a second are appended and {run.capacity:,.4g} "
                f"can be applied, so it falls behind by {run.rate - run.capacity:,.3g} events a "
                f"second for as long as that goes on. {self._queue}"
            )
        waits = duration_text(run.mean_wait_seconds)
        formula = ""
        if run.batch == 1 and self._memoryless:
            expected = duration_text(run.md1_wait_seconds)
            formula = f" ({expected} by the formula of Pollaczek and Khinchine)"
        return (
            f"Stable: full batches take {run.load:.0%} of the time. An event waits {waits} in the "
            f"mean until its batch begins{formula}. {self._queue}"
        )

    @property
    def _queue(self) -> str:
        return (
            f"At most {counted(self.run.max_queue, 'event')} waited, and "
            f"{duration_text(self.run.drain_seconds)} later none did."
        )

    @property
    def _title(self) -> str:
        return f"What if: {self.projection}, {', '.join(self._said)}"

    @property
    def _found(self) -> str:
        run = self.run
        return (
            f"{'stable' if run.stable else 'UNSTABLE'}, load {run.load:.0%}, "
            f"utilisation {run.utilisation:.0%}, queue {run.mean_queue:,.1f} in the mean and "
            f"{counted(run.max_queue, 'event')} at most, drained in "
            f"{duration_text(run.drain_seconds)}"
        )

    def figure(self) -> go.Figure:
        """Return head and checkpoint over time, or the gap, and below the lag in seconds."""
        figure = lag_figure(self.df)
        figure.update_layout(
            title={
                "text": plain(self._title),
                "subtitle": {"text": plain(self._found)},
            }
        )
        figure.update_xaxes(title={"text": f"{TIMES} (UTC)"}, row=2)
        return figure

    def svg(self) -> str:
        """Return the same two panels as SVG."""
        last = self.df.iloc[-1]
        end = ProjectionLag(
            self.projection,
            last["time"].to_pydatetime(),
            int(last["checkpoint"]),
            int(last["head"]),
            int(last["lag_events"]),
            float(last["lag_seconds"]),
        )
        return lag_picture(
            self.df, [end], words=[self._found], desc=self.digest, title=self._title, times=TIMES
        )


def _seconds(outage: Outage) -> str:
    return duration_text(outage.duration.total_seconds())
