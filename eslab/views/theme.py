"""The colours, line styles and layout that all views share, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import plotly.graph_objects as go

__all__ = [
    "COMPENSATION",
    "DASHES",
    "DONE",
    "FAILED",
    "GRID",
    "HATCHES",
    "NEUTRAL",
    "OK",
    "PENDING",
    "RETRY",
    "SERIES",
    "SVG_DASHES",
    "SYMBOLS",
    "TEMPLATE",
    "series_style",
    "top_margin",
]

# The palette of Okabe and Ito, "Color Universal Design" (2008), and a grey between black and white.
OK: Final = "#0072B2"
PENDING: Final = "#56B4E9"
RETRY: Final = "#E69F00"
FAILED: Final = "#D55E00"
COMPENSATION: Final = "#CC79A7"
DONE: Final = "#009E73"
NEUTRAL: Final = "#7F7F7F"
GRID: Final = "rgba(127,127,127,0.25)"

# Only colours that stand out 3:1 from both white and JupyterLab's dark page may be thin lines.
SERIES: Final = (OK, FAILED, DONE, COMPENSATION)
DASHES: Final = ("solid", "dash", "dot", "dashdot", "longdash")
SVG_DASHES: Final = {
    "solid": "",
    "dash": "7 4",
    "dot": "2 3",
    "dashdot": "8 3 2 3",
    "longdash": "13 5",
}
SYMBOLS: Final = ("circle", "diamond", "square", "triangle-up", "cross")
HATCHES: Final = ("", "/", ".", "x", "-", "+", "|")

_AXIS: Final = {
    "gridcolor": GRID,
    "linecolor": GRID,
    "zerolinecolor": GRID,
    "automargin": True,
    "ticklabelstandoff": 4,
    "title": {"standoff": 8, "font": {"size": 12}},
}

TEMPLATE: Final = go.layout.Template(
    layout={
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": NEUTRAL, "family": "system-ui, sans-serif", "size": 12},
        "title": {
            "x": 0,
            "xref": "paper",
            "xanchor": "left",
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "pad": {"t": 14},
            "font": {"size": 15},
            "subtitle": {"font": {"color": NEUTRAL, "size": 12}},
        },
        "colorway": list(SERIES),
        "hoverlabel": {"align": "left", "bgcolor": "#FFFFFF", "font": {"color": "#333333"}},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": NEUTRAL, "activecolor": OK},
        "legend": {
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.02,
            "yanchor": "bottom",
        },
        "margin": {"l": 60, "r": 24, "t": 92, "b": 48},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
    }
)
"""The plotly template of every figure: transparent, with grey text and explicit grid colours."""


def top_margin(names: Iterable[str]) -> int:
    """Return the height in pixels of title, subtitle and a legend of these names.

    Example:
        >>> top_margin(["orders"]), top_margin(["a projection with a long name"] * 9)
        (92, 149)
    """
    # The legend grows upwards, into the title; on a narrow page a row of it has about 650 pixels.
    rows = -(-sum(50 + 7 * len(name) for name in names) // 650)
    return 92 + 19 * max(0, rows - 1)


def series_style(index: int) -> tuple[str, str]:
    """Return the colour and the line style of a series.

    The first twenty series differ in at least one of them, the first four in both.

    Example:
        >>> series_style(1)
        ('#D55E00', 'dash')
    """
    return SERIES[index % len(SERIES)], DASHES[index % len(DASHES)]
