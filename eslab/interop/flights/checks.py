"""What must be true of every flight before one of them is imported, and how a fault is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eslab.errors import InputError

if TYPE_CHECKING:
    import duckdb

__all__ = ["TIME_RULES", "Rule", "check", "check_flights", "check_times", "flight_rules"]


_LONG: Final = 40


@dataclass(frozen=True, slots=True)
class Rule:
    """What must hold in every row.

    Attributes:
        column: the column that is blamed.
        expected: what should have been there, in words.
        holds: the condition, in SQL; unknown (null) does not hold.
        beside: other columns that the message shows, for rules on several.
    """

    column: str
    expected: str
    holds: str
    beside: tuple[str, ...] = ()


def check(
    connection: duckdb.DuckDBPyConnection, table: str, rules: Sequence[Rule], *, file: Path
) -> None:
    """Raise an error for the first row of `table` that breaks a rule; it names the row.

    Args:
        connection: where the table is.
        table: has the columns of the flights, and `row`, counted from 1.
        rules: what to check; of several that the row breaks the first is told.
        file: where the rows are from, for the error.

    Raises:
        InputError: a rule does not hold.
    """
    faults = ", ".join(
        f"min(row) filter (where ({rule.holds}) is not true), "
        f"count(*) filter (where ({rule.holds}) is not true)"
        for rule in rules
    )
    found = connection.execute(f"select {faults} from {table}").fetchall()[0]
    broken = [
        (row, index, count)
        for index, (row, count) in enumerate(zip(found[::2], found[1::2], strict=True))
        if row is not None
    ]
    if not broken:
        return
    row, index, count = min(broken)
    rule = rules[index]
    names = ("year", "month", "day", "carrier", "flight", "origin", rule.column, *rule.beside)
    values = connection.execute(
        f"select {', '.join(f'{name}::varchar' for name in names)} from {table} where row = $1",
        [row],
    ).fetchall()[0]
    year, month, day, carrier, flight, origin = map(_shown, values[:6])
    blamed, *others = map(_shown, values[6:])
    context = ", ".join(f"{n} {v}" for n, v in zip(rule.beside, others, strict=True))
    raise InputError(
        f"{file}, row {row:,} (flight {carrier} {flight} from {origin} on {year}-{month}-{day}): "
        f"{rule.column} is {blamed}"
        + (f", with {context}" if context else "")
        + f"; expected {rule.expected}"
        + (f" ({count - 1:,} more rows break this rule)" if count > 1 else "")
    )


def _shown(value: str | None) -> str:
    if value is None:
        return "NA"
    if len(value) > _LONG:
        return f"{value[:_LONG]!r}..."
    return (value if value.isprintable() else repr(value)) or "empty"


def flight_rules(first: date, last: date) -> list[Rule]:
    """Return what must hold of the values of one flight, with days from `first` to `last`."""
    dated = "try(make_date(year, month, day))"
    return [
        Rule("month", "1 to 12", "month between 1 and 12"),
        Rule("day", "a day of that month", f"{dated} is not null", ("year", "month")),
        Rule(
            "day",
            f"a day from {first} to {last}",
            f"{dated} between date '{first}' and date '{last}'",
            ("year", "month"),
        ),
        Rule("carrier", "two letters or digits", "regexp_full_match(carrier, '[A-Z0-9]{2}')"),
        Rule("flight", "a number from 1 to 9999", "flight between 1 and 9999"),
        Rule(
            "tailnum",
            "1 to 8 capital letters and digits, or NA",
            "tailnum is null or regexp_full_match(tailnum, '[A-Z0-9]{1,8}')",
        ),
        Rule("origin", "EWR, JFK or LGA", "origin in ('EWR', 'JFK', 'LGA')"),
        Rule(
            "dest",
            "an airport with one time zone in the table of airports, or one whose zone eslab knows",
            "dest in (select faa from zones)",
        ),
        Rule("distance", "a number of miles above 0", "distance > 0"),
        _clock_rule("sched_dep_time"),
        _clock_rule("sched_arr_time"),
        _clock_rule("dep_time", optional=True),
        _clock_rule("arr_time", optional=True),
        *_CONSISTENCY,
    ]


def check_flights(
    connection: duckdb.DuckDBPyConnection, *, first: date, last: date, file: Path
) -> None:
    """Check the values of the table `flights`, and that no flight is there twice.

    Args:
        connection: has the tables `flights` and `zones` (faa, tzone).
        first: the first day that a flight may have.
        last: the last day that a flight may have.
        file: where the flights are from, for the error.

    Raises:
        InputError: a value cannot be, or contradicts another one.
    """
    check(connection, "flights", flight_rules(first, last), file=file)
    twice = connection.execute(
        "select min(row), max(row) from flights "
        "group by year, month, day, carrier, flight, origin having count(*) > 1 "
        "order by max(row) limit 1"
    ).fetchall()
    if twice:
        rule = Rule(
            "flight",
            f"a flight that is there once, but day, carrier, number and origin are those of "
            f"row {twice[0][0]:,}",
            f"row <> {twice[0][1]}",
        )
        check(connection, "flights", [rule], file=file)


def check_times(connection: duckdb.DuckDBPyConnection, *, file: Path) -> None:
    """Check that the times in UTC, which the table `timed` holds, agree with what is reported.

    Args:
        connection: has the table `timed`.
        file: where the flights are from, for the error.

    Raises:
        InputError: a time cannot be, or contradicts another one.
    """
    check(connection, "timed", TIME_RULES, file=file)


def _clock_rule(name: str, *, optional: bool = False) -> Rule:
    return Rule(
        name,
        "a clock time hhmm from 0 to 2359 with minutes below 60, or 2400"
        + (", or NA" if optional else ""),
        f"{name} = 2400 or ({name} between 0 and 2359 and {name} % 100 < 60)"
        + (f" or {name} is null" if optional else ""),
    )


_CONSISTENCY: Final = (
    Rule(
        "dep_delay",
        "NA where dep_time is NA, and only there",
        "(dep_delay is null) = (dep_time is null)",
        ("dep_time",),
    ),
    Rule(
        "dep_delay",
        "more than -1440 and less than 2880 minutes",
        "dep_delay is null or dep_delay > -1440 and dep_delay < 2880",
    ),
    Rule(
        "dep_time",
        "sched_dep_time + dep_delay minutes",
        "dep_time is null or "
        "(minute_of_day(sched_dep_time) + dep_delay - minute_of_day(dep_time)) % 1440 = 0",
        ("sched_dep_time", "dep_delay"),
    ),
    Rule(
        "arr_time",
        "NA for a flight that did not depart",
        "arr_time is null or dep_time is not null",
        ("dep_time",),
    ),
    Rule(
        "arr_delay",
        "NA for a flight that did not arrive",
        "arr_delay is null or arr_time is not null",
        ("arr_time",),
    ),
    Rule(
        "arr_time",
        "sched_arr_time + arr_delay minutes",
        "arr_delay is null or "
        "(minute_of_day(sched_arr_time) + arr_delay - minute_of_day(arr_time)) % 1440 = 0",
        ("sched_arr_time", "arr_delay"),
    ),
    Rule(
        "air_time",
        "NA where arr_delay is NA, and only there",
        "(air_time is null) = (arr_delay is null)",
        ("arr_delay",),
    ),
    Rule("air_time", "1 to 1439 minutes", "air_time is null or air_time between 1 and 1439"),
    Rule("hour", "the hour of sched_dep_time", "hour = sched_dep_time // 100", ("sched_dep_time",)),
    Rule(
        "minute",
        "the minute of sched_dep_time",
        "minute = sched_dep_time % 100",
        ("sched_dep_time",),
    ),
)

TIME_RULES: Final = (
    Rule(
        "time_hour",
        "the hour, in UTC, of the scheduled departure",
        "time_hour = date_trunc('hour', scheduled_departure)",
        ("sched_dep_time",),
    ),
    Rule(
        "dep_delay",
        "a departure no earlier than the flight's day",
        "departed is null or departed >= day_start",
        ("sched_dep_time",),
    ),
    Rule(
        "dep_time",
        "what the clocks of New York show dep_delay minutes after the scheduled departure",
        "departed is null or minute_of_day(dep_time) % 1440 = "
        "clock_minutes(timezone('America/New_York', departed))",
        ("sched_dep_time", "dep_delay"),
    ),
    Rule(
        "arr_time",
        "a time that leaves air_time minutes after the departure, and is within 24 hours of it",
        "arr_time is null or arrived < departed + interval 24 hours",
        ("dep_time", "air_time"),
    ),
    Rule(
        "arr_delay",
        "the minutes from the scheduled arrival to the arrival",
        "arr_delay is null or arrived = scheduled_arrival + to_minutes(arr_delay)",
        ("sched_arr_time", "arr_time"),
    ),
)
