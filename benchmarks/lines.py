"""Lines over a scale of powers of ten, or over steps that are named, as an SVG of plain text."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

_PLOT, _HIGH = 580, 420
_LEFT, _TOP, _BOTTOM = 70, 44, 50
_END: Final = _LEFT + _PLOT
# A letter of the labels is about so wide, at 12 pixels, and one of the title at 14.
_LETTER: Final = 6.6
_TITLE_LETTER: Final = 7.5
_COLOURS: Final = (
    *("#1f6feb", "#8c959f", "#bf8700", "#8250df", "#1a7f37"),
    *("#cf222e", "#0a3069", "#bf3989", "#1b7c83", "#6e4b00"),
)
# Whole, broken, dotted, and so on.
_DASHES: Final = ("none", "8 4", "2 4", "12 4 2 4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of points (x, y) and its name; lines of one `kin` have one colour, those of one `dash` are broken alike."""

    label: str
    points: Sequence[tuple[float, float]]
    kin: str = ""
    dash: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """What the picture says: its title, that of the x axis, where x is named, and whether y goes by powers of ten."""

    title: str
    below: str
    ticks: Sequence[tuple[float, str]]
    log_x: bool = True
    log_y: bool = False


def svg(lines: Sequence[Line], axes: Axes) -> str:
    """Draw the lines; y begins at nought, or at the power of ten below the least."""
    x = _scale([at for at, _ in axes.ticks], axes.log_x, _LEFT, _END)
    values = [value for line in lines for _, value in line.points] or [1.0]
    low, most = _bounds(values, log=axes.log_y)
    y = _scale([low, most], axes.log_y, _HIGH - _BOTTOM, _TOP)
    letters = max((len(line.label) for line in lines), default=0)
    wide = round(max(_END + 24 + _LETTER * letters, 24 + _TITLE_LETTER * len(axes.title)))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {_HIGH}" font-family="sans-serif" font-size="12">',
        f'<rect width="{wide}" height="{_HIGH}" fill="white"/>',
        f'<text x="12" y="24" font-size="14">{escape(axes.title)}</text>',
        f'<text x="{(_LEFT + _END) / 2}" y="{_HIGH - 10}" text-anchor="middle">{escape(axes.below)}</text>',
    ]
    for value in _marks(low, most, log=axes.log_y):
        parts += [
            f'<path d="M{_LEFT},{y(value):.1f} H{_END}" stroke="#d0d7de"/>',
            f'<text x="{_LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{_said(value)}</text>',
        ]
    for at, said in axes.ticks:
        parts += [
            f'<path d="M{x(at):.1f},{_HIGH - _BOTTOM} v5" stroke="#57606a"/>',
            f'<text x="{x(at):.1f}" y="{_HIGH - _BOTTOM + 20}" text-anchor="middle">{escape(said)}</text>',
        ]
    kin = list(dict.fromkeys(line.kin or line.label for line in lines))
    dashes = list(dict.fromkeys(line.dash for line in lines))
    for number, line in enumerate(lines):
        colour = _COLOURS[kin.index(line.kin or line.label) % len(_COLOURS)]
        dash = _DASHES[dashes.index(line.dash) % len(_DASHES)]
        points = [(x(at), y(max(value, low))) for at, value in line.points]
        parts += [
            f'<polyline points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>',
            *(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in points),
            f'<text x="{_END + 16}" y="{_TOP + 18 * number + 10}" fill="{colour}">{escape(line.label)}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


class _scale:  # noqa: N801  # used as the function that it is
    """Where a value lies between two places of the picture."""

    def __init__(self, values: Sequence[float], log: bool, begin: float, end: float) -> None:  # noqa: FBT001
        self._of = math.log10 if log else float
        self._low, self._most = self._of(min(values)), self._of(max(values))
        self._begin, self._end = begin, end

    def __call__(self, value: float) -> float:
        wide = (self._most - self._low) or 1
        return self._begin + (self._of(value) - self._low) / wide * (self._end - self._begin)


def _bounds(values: Sequence[float], *, log: bool) -> tuple[float, float]:
    if not log:
        return 0.0, max(values) * 1.05 or 1.0
    low = 10.0 ** math.floor(math.log10(max(min(values), 0.01)))
    return low, 10.0 ** math.ceil(math.log10(max(*values, 10 * low)))


def _marks(low: float, most: float, *, log: bool) -> list[float]:
    """Give where the y axis is named: each power of ten, or four to eight round numbers."""
    if log:
        return [10.0**power for power in range(round(math.log10(low)), round(math.log10(most)) + 1)]
    step = 10.0 ** math.floor(math.log10(most))
    while most / step < 4:  # noqa: PLR2004  # fewer tell little
        step /= 2
    return [step * number for number in range(int(most / step) + 1)]


def _said(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 or value == 0 else f"{value:g}"
