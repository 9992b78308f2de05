"""Horizontal bars with a whisker from the least to the most, as an SVG of plain text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

_WIDE: Final = 900
_RIGHT, _TOP, _BOTTOM = 110, 44, 12
# A letter of the labels is about so wide, at 12 pixels.
_LETTER: Final = 6.6
_ROW: Final = 26
_OURS, _OTHERS, _FLOOR = "#1f6feb", "#8c959f", "#d0d7de"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One row: its label, its value, the least and the most of several rounds, whether it stands out, or is no rival but a bound."""

    label: str
    value: float
    least: float
    most: float
    ours: bool = False
    floor: bool = False


def svg(bars: Sequence[Bar], title: str) -> str:
    """Draw the bars, the first at the top, on a scale from nought."""
    most = max((bar.most for bar in bars), default=0) or 1
    left = round(24 + _LETTER * max((len(bar.label) for bar in bars), default=0))
    high = _TOP + _ROW * len(bars) + _BOTTOM

    def x(value: float) -> float:
        return left + value / most * (_WIDE - left - _RIGHT)

    rows: list[str] = []
    for number, bar in enumerate(bars):
        top = _TOP + _ROW * number
        middle = top + _ROW / 2
        colour = _OURS if bar.ours else _FLOOR if bar.floor else _OTHERS
        rows += [
            f'<text x="{left - 8}" y="{middle + 4:.1f}" text-anchor="end">{escape(bar.label)}</text>',
            f'<rect x="{left}" y="{top + 4}" width="{x(bar.value) - left:.1f}" height="{_ROW - 8}" fill="{colour}"/>',
            f'<path d="M{x(bar.least):.1f},{middle} H{x(bar.most):.1f}" stroke="#24292f" stroke-width="1.5"/>',
            f'<text x="{x(bar.most) + 8:.1f}" y="{middle + 4:.1f}">{_said(bar.value)}</text>',
        ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {high}"'
    parts = [
        f'{head} font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDE}" height="{high}" fill="white"/>',
        f'<text x="12" y="24" font-size="14">{escape(title)}</text>',
        *rows,
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _said(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"  # noqa: PLR2004  # two digits are enough
