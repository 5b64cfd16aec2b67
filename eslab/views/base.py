"""What all views have in common: data, a figure, and a display that does not need a kernel."""

from __future__ import annotations

import html
import os
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from eslab.errors import InputError, MissingDependencyError, StoreClosedError
from eslab.views.svg import image

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

__all__ = ["PictureView", "View", "html_table", "plain", "records", "render_mode", "with_values"]

RenderMode = Literal["widget", "static"]

WIDGET_VIEW: Final = "application/vnd.jupyter.widget-view+json"
STATIC: Final = "eslab-static"
"""The class of a static display that a live widget hides: see ``widgets/static/common.js``."""

# What JupyterLab says in place of a widget that it knows no more has no element in it.
_NO_ERROR: Final = (
    f"<style>.jp-OutputArea-child:has(.{STATIC}) + .jp-OutputArea-child "
    ".jupyter-widgets:not(:has(*)) { display: none; }</style>"
)


def render_mode() -> RenderMode:
    """Return how views show themselves: as ``"widget"``, or ``"static"``.

    The environment variable ``ESLAB_RENDER`` says so; without it they are widgets in an IPython
    kernel, and static elsewhere.

    Raises:
        InputError: ``ESLAB_RENDER`` is neither of the two.
    """
    match os.environ.get("ESLAB_RENDER", ""):
        case "widget":
            return "widget"
        case "static":
            return "static"
        case "":
            return "widget" if _in_kernel() else "static"
        case other:
            raise InputError(f"ESLAB_RENDER is 'widget' or 'static', not {other!r}")


def _in_kernel() -> bool:
    # IPython is not imported for this: in a kernel it is there already.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class View(ABC):
    """Something to look at: its data, a figure of them, and a static display.

    A view shows the moment at which it was made; make it again to see what has changed since.

    Attributes:
        df: the data, as a pandas DataFrame.
        sql: a query that gives these data.
    """

    def __init__(
        self,
        df: pd.DataFrame,
        *,
        sql: str,
        widget: Callable[[Any], Any] | None = None,
    ) -> None:
        self.df = df
        self.sql = sql
        self._make_widget = widget
        self._widget: Any = None

    @property
    @abstractmethod
    def digest(self) -> str:
        """One line that says what there is to see."""

    @abstractmethod
    def figure(self) -> go.Figure:
        """Return a plotly figure of the data."""

    @abstractmethod
    def html(self) -> str:
        """Return the static display, as HTML without styles or scripts."""

    @property
    def widget(self) -> Any:
        """The live widget, made at its first use; None if this view has none."""
        if self._widget is None and self._make_widget is not None:
            self._widget = self._make_widget(self)
        return self._widget

    def __repr__(self) -> str:
        return self.digest

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, Any]:
        bundle = {**self._static(), **self._live()}
        return {
            kind: data
            for kind, data in bundle.items()
            if (not include or kind in include) and not (exclude and kind in exclude)
        }

    def _ipython_display_(self) -> None:
        """Show the static display, and the live widget, which hides it, as a second output.

        In one they would not do: when a notebook is opened again, JupyterLab shows an error in
        place of a widget that it knows no more, whatever else there is in that output.
        """
        live = self._live()
        if not live:
            raise NotImplementedError  # IPython takes the bundle then
        import IPython.display

        show: Any = IPython.display.display  # it has no types
        static = self._static()
        static["text/html"] = f'<div class="{STATIC}">{_NO_ERROR}{static["text/html"]}</div>'
        show(static, raw=True)
        show({**live, "text/html": "", "text/plain": ""}, raw=True)

    def _static(self) -> dict[str, Any]:
        return {"text/plain": self.digest, "text/html": self.html()}

    def _live(self) -> dict[str, Any]:
        """Return what shows the widget; nothing, where none is to be shown or can be made."""
        if self._make_widget is None or render_mode() != "widget":
            return {}
        try:
            model_id = self.widget.model_id
        except (MissingDependencyError, StoreClosedError):
            # The widget libraries are an extra, and what a widget would ask for is gone with a
            # branch, for instance; the static display is there without them.
            return {}
        return {WIDGET_VIEW: {"version_major": 2, "version_minor": 0, "model_id": model_id}}


class PictureView(View):
    """A view whose static display is a picture."""

    @abstractmethod
    def svg(self) -> str:
        """Return the static picture, as SVG; the same data give the same bytes."""

    def html(self) -> str:
        """Return the picture as an image, with the digest in words."""
        return image(self.svg(), alt=self.digest)


def html_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    caption: str = "",
    numbers: Collection[str] = (),
) -> str:
    """Return a table; every text in it is escaped.

    Args:
        columns: what stands at its head.
        rows: the texts of the cells; a line break in one stays a line break.
        caption: a paragraph above it.
        numbers: the columns that are aligned at the right.

    Example:
        >>> print(html_table(["type"], [["<b>"]]))  # doctest: +NORMALIZE_WHITESPACE
        <table><thead><tr><th style="text-align:left">type</th></tr></thead>
        <tbody><tr><td style="text-align:left">&lt;b&gt;</td></tr></tbody></table>
    """
    styles = [
        f' style="text-align:{"right" if column in numbers else "left"}'
        # Only the last column may be long.
        f'{";white-space:nowrap" if column != columns[-1] else ""}"'
        for column in columns
    ]

    def row(tag: str, cells: Sequence[str]) -> str:
        inner = "".join(
            f"<{tag}{style}>{html.escape(cell).replace(chr(10), '<br>')}</{tag}>"
            for cell, style in zip(cells, styles, strict=True)
        )
        return f"<tr>{inner}</tr>"

    above = f"<p>{html.escape(caption)}</p>\n" if caption else ""
    body = "\n".join(row("td", cells) for cells in rows)
    return f"{above}<table><thead>{row('th', columns)}</thead>\n<tbody>{body}</tbody></table>"


def records(df: pd.DataFrame) -> list[Any]:
    """Return the rows of a frame as named tuples."""
    return list(df.itertuples())


def plain(value: object) -> str:
    """Return a text that plotly shows as it is, instead of reading tags in it."""
    return html.escape(str(value), quote=False)


_PARAMETER: Final = re.compile(r"\$([a-z_][a-z_0-9]*)")


def with_values(sql: str, values: Mapping[str, Any]) -> str:
    """Return a query with its parameters written out, so that it can be read and run.

    Example:
        >>> with_values("from events where type in $types", {"types": ["It's"]})
        "from events where type in ['It''s']"
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        return _literal(values[name]) if name in values else match.group(0)

    return _PARAMETER.sub(value, sql).strip()


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, datetime):
        return f"timestamptz '{value.isoformat()}'"
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    return str(value)
