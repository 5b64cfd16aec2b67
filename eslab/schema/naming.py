"""How a class is called in stream ids and in SQL."""

from __future__ import annotations

import re

__all__ = ["snake_case"]


def snake_case(name: str) -> str:
    """Return the name of a class as it stands in stream ids and tables.

    Example:
        >>> snake_case("DelayByAirportHour")
        'delay_by_airport_hour'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
