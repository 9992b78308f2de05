"""The figures of `routing.py` as a picture: a row for each scenario, a dot for each policy. Plain SVG, no library."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from benchmarks.routing_figures import Figures

# Colours that stay apart for the colour-blind (Okabe and Ito, 2008), in the order of `POLICIES`.
_COLOURS: Final = ("#999999", "#000000", "#0072b2", "#56b4e9", "#e69f00", "#d55e00")
_LEFT, _TOP, _WIDTH, _GAP, _ROW, _STEP = 80, 70, 230, 30, 46, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    title: str
    of: Callable[[Figures], float]
    ticks: Sequence[float]
    log: bool = False

    def x(self, value: float) -> float:
        """Give where a value lies, from 0 to 1; what is beyond the last tick lies on it."""
        first, last = self.ticks[0], self.ticks[-1]
        value = min(max(value, first), last)
        if self.log:
            return math.log(value / first) / math.log(last / first)
        return (value - first) / (last - first)


_PANELS: Final = (
    _Panel(
        title="p99 of job time, s", of=lambda f: f.p99_s, ticks=(3, 5, 10, 20, 50, 100), log=True
    ),
    _Panel(
        title="calls to the odd endpoint, %",
        of=lambda f: 100 * f.odd_share,
        ticks=(0, 10, 20, 30, 40, 50),
    ),
    _Panel(title="wasted calls for each job", of=lambda f: f.wasted, ticks=(0, 0.25, 0.5, 0.75, 1)),
)


def picture(figures: Sequence[Figures], *, says: str) -> str:
    """Give an SVG of figures that were all taken with as many workers."""
    scenarios = list(dict.fromkeys(each.scenario for each in figures))
    policies = list(dict.fromkeys(each.policy for each in figures))
    height = _TOP + _ROW * len(scenarios) + 30
    width = _LEFT + len(_PANELS) * (_WIDTH + _GAP)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(10, 16, says, size=12),
    ]
    for number, policy in enumerate(policies):
        at = 14 + number * 110
        lines += [_dot(at, 34, _COLOURS[number]), _text(at + 8, 38, policy)]
    for row, name in enumerate(scenarios):
        top = _TOP + _ROW * row
        lines += [
            f'<line x1="10" y1="{top}" x2="{width - _GAP}" y2="{top}" stroke="#bbbbbb"/>',
            _text(10, top + _ROW / 2 + 4, name),
        ]
    for column, panel in enumerate(_PANELS):
        lines += _axis(panel, _LEFT + column * (_WIDTH + _GAP), _ROW * len(scenarios))
    for each in figures:
        step = policies.index(each.policy)
        y = _TOP + _ROW * scenarios.index(each.scenario) + 8 + _STEP * step
        for column, panel in enumerate(_PANELS):
            x = _LEFT + column * (_WIDTH + _GAP) + panel.x(panel.of(each)) * _WIDTH
            lines.append(_dot(x, y, _COLOURS[step]))
    return "\n".join([*lines, "</svg>", ""])


def _axis(panel: _Panel, left: float, height: float) -> list[str]:
    lines = [_text(left, _TOP - 8, panel.title)]
    for tick in panel.ticks:
        x = left + panel.x(tick) * _WIDTH
        lines += [
            f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{_TOP + height}" stroke="#dddddd"/>',
            _text(x - 6, _TOP + height + 16, f"{tick:g}"),
        ]
    return lines


def _dot(x: float, y: float, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{colour}"/>'


def _text(x: float, y: float, text: str, *, size: int = 11) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}">{escape(text)}</text>'
