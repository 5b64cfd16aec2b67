"""A small SVG writer: the same marks give the same bytes, on every run and machine."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable
from typing import Final

from eslab.views.theme import NEUTRAL
from eslab.words import one_line

__all__ = ["Svg", "fitted", "image", "text_width"]

FONT: Final = "system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"

# Attributes are written in this order, whatever the order of the arguments was.
_ORDER: Final = (
    "id",
    "class",
    "x",
    "y",
    "x1",
    "y1",
    "x2",
    "y2",
    "cx",
    "cy",
    "r",
    "rx",
    "width",
    "height",
    "d",
    "font-size",
    "font-weight",
    "text-anchor",
    "fill",
    "fill-opacity",
    "stroke",
    "stroke-width",
    "stroke-dasharray",
    "stroke-linejoin",
)


class Svg:
    """A picture that grows mark by mark.

    Every number has two decimals, and ids come from a counter. Text is escaped.

    Args:
        width: in pixels.
        height: in pixels.
        title: what a screen reader calls the picture.
        desc: what it says about it.

    Example:
        >>> picture = Svg(100, 20, title="A line", desc="It goes from left to right.")
        >>> picture.line(0, 10, 100, 10, stroke="#000000")
        >>> "<line" in str(picture)
        True
    """

    def __init__(self, width: float, height: float, *, title: str, desc: str) -> None:
        self.width = width
        self.height = height
        self._title = title
        self._desc = desc
        self._parts: list[str] = []
        self._patterns: dict[tuple[str, str], str] = {}

    def line(
        self,
        x1: float,
        y1: float,
        x2: float,
        y2: float,
        *,
        stroke: str = NEUTRAL,
        width: float = 1.0,
        dash: str = "",
    ) -> None:
        """Draw a straight line."""
        self._add(
            "line",
            {
                "x1": x1,
                "y1": y1,
                "x2": x2,
                "y2": y2,
                "stroke": stroke,
                "stroke-width": width,
                "stroke-dasharray": dash,
            },
        )

    def rect(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: str = "none",
        opacity: float | None = None,
        stroke: str = "",
        dash: str = "",
        line_width: float = 1.5,
    ) -> None:
        """Draw a rectangle; `fill` is a colour or what `hatch` returned."""
        self._add(
            "rect",
            {
                "x": x,
                "y": y,
                "rx": 2.0,
                "width": width,
                "height": height,
                "fill": fill,
                "fill-opacity": opacity,
                "stroke": stroke,
                "stroke-width": line_width if stroke else None,
                "stroke-dasharray": dash,
            },
        )

    def circle(self, x: float, y: float, r: float, *, fill: str, stroke: str = "") -> None:
        """Draw a circle."""
        self._add("circle", {"cx": x, "cy": y, "r": r, "fill": fill, "stroke": stroke})

    def path(
        self,
        d: str,
        *,
        stroke: str = "",
        fill: str = "none",
        width: float = 1.5,
        dash: str = "",
    ) -> None:
        """Draw a path; write its numbers with `number`."""
        self._add(
            "path",
            {
                "d": d,
                "fill": fill,
                "stroke": stroke,
                "stroke-width": width if stroke else None,
                "stroke-dasharray": dash,
                "stroke-linejoin": "round" if stroke else "",
            },
        )

    def polyline(
        self, points: Iterable[tuple[float, float]], *, stroke: str, width: float = 2.0, dash: str
    ) -> None:
        """Draw a line through points; points that fall on the one before are left out."""
        drawn: list[str] = []
        for x, y in points:
            point = f"{self.number(x)},{self.number(y)}"
            if not drawn or drawn[-1] != point:
                drawn.append(point)
        if drawn:
            self.path(f"M{'L'.join(drawn)}", stroke=stroke, width=width, dash=dash)

    def cross(self, x: float, y: float, r: float, *, stroke: str) -> None:
        """Draw a cross: something failed."""
        left, right, top, bottom = map(self.number, (x - r, x + r, y - r, y + r))
        self.path(
            f"M{left},{top}L{right},{bottom}M{left},{bottom}L{right},{top}",
            stroke=stroke,
            width=3.0,
        )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 12,
        anchor: str = "start",
        fill: str = NEUTRAL,
        bold: bool = False,
    ) -> None:
        """Write one line; `anchor` is start, middle or end."""
        self._add(
            "text",
            {
                "x": x,
                "y": y,
                "font-size": size,
                "font-weight": "bold" if bold else "",
                "text-anchor": "" if anchor == "start" else anchor,
                "fill": fill,
            },
            inner=_escaped(text),
        )

    def hatch(self, colour: str, texture: str = "") -> str:
        """Return a fill of slanted lines, or of a texture in white on the colour.

        Args:
            colour: of the lines, or below the texture.
            texture: one of `eslab.views.theme.HATCHES`.
        """
        pattern = colour, texture
        if pattern not in self._patterns:
            self._patterns[pattern] = f"hatch-{len(self._patterns) + 1}"
        return f"url(#{self._patterns[pattern]})"

    @staticmethod
    def number(value: float) -> str:
        """Return a number as it stands in the picture.

        Example:
            >>> Svg.number(2), Svg.number(-0.001)
            ('2.00', '0.00')
        """
        return f"{round(value, 2) + 0.0:.2f}"

    def _add(self, tag: str, attributes: dict[str, float | str | None], inner: str = "") -> None:
        written = "".join(
            f' {name}="{self._value(attributes[name])}"'
            for name in _ORDER
            if attributes.get(name) not in (None, "")
        )
        self._parts.append(f"<{tag}{written}>{inner}</{tag}>" if inner else f"<{tag}{written}/>")

    def _value(self, value: float | str | None) -> str:
        return _escaped(value) if isinstance(value, str) else self.number(value or 0.0)

    def __str__(self) -> str:
        width, height = self.number(self.width), self.number(self.height)
        hatches = "".join(
            _pattern(name, colour, texture) for (colour, texture), name in self._patterns.items()
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="img" font-family="{_escaped(FONT)}">'
            f"<title>{_escaped(self._title)}</title><desc>{_escaped(self._desc)}</desc>"
            + (f"<defs>{hatches}</defs>" if hatches else "")
            + "".join(self._parts)
            + "</svg>"
        )


def _pattern(name: str, colour: str, texture: str) -> str:
    tile = f'<pattern id="{name}" width="6.00" height="6.00" patternUnits="userSpaceOnUse"'
    ground = f'<rect width="6.00" height="6.00" fill="{colour}"'
    if texture:
        return (
            f'{tile}>{ground}/><path d="{_TEXTURES[texture]}" fill="none" stroke="#FFFFFF" '
            f'stroke-opacity="0.75" stroke-width="{2 if texture == "." else 1}.00"/></pattern>'
        )
    return (
        f'{tile} patternTransform="rotate(45)">{ground} fill-opacity="0.25"/><line x1="1.50" '
        f'y1="0.00" x2="1.50" y2="6.00" stroke="{colour}" stroke-width="2.50"/></pattern>'
    )


_TEXTURES: Final = {
    "/": "M0,6L6,0",
    ".": "M2,3L4,3",
    "x": "M0,6L6,0M0,0L6,6",
    "-": "M0,3L6,3",
    "+": "M0,3L6,3M3,0L3,6",
    "|": "M3,0L3,6",
}


def image(svg: str, *, alt: str) -> str:
    """Return HTML that shows a picture.

    An ``<img>``, because JupyterLab takes inline SVG out of notebooks that it does not trust.
    """
    data = base64.b64encode(svg.encode()).decode()
    return f'<img alt="{html.escape(alt)}" src="data:image/svg+xml;base64,{data}">'


def text_width(text: str, size: float = 12) -> float:
    """Return about how wide a text is, in pixels; a little more than most fonts need."""
    return 0.58 * size * len(text)


def fitted(text: str, width: float, size: float = 12) -> str:
    """Shorten a text to about this width.

    Example:
        >>> fitted("no courier delivers to Atlantis", 100)
        'no courier de…'
    """
    longest = max(1, int(width / (0.58 * size)))
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _escaped(text: str) -> str:
    # XML has no way to write the other control characters, not even escaped.
    return html.escape(one_line(text))
