"""Calls a second over time: as a line of blocks for a terminal, and as an SVG."""

from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

from benchmarks.stormy import Second

_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_WIDE, _HIGH = 900, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 20, 40, 40
_TICKS: Final = 6


def sparkline(values: Sequence[float], width: int = 72) -> str:
    """Give a line of blocks: each the mean of as many values as make the line no wider than `width`."""
    every = -(-len(values) // width) or 1
    means = [
        sum(part) / len(part)
        for part in (values[at : at + every] for at in range(0, len(values), every))
    ]
    most = max(means, default=0) or 1
    return "".join(_BLOCKS[round(mean / most * (len(_BLOCKS) - 1))] for mean in means)


def svg(seconds: Sequence[Second], storm: tuple[float, float], title: str) -> str:
    """Draw calls and failed calls a second; `storm` is when it began and ended, in seconds of the drawing."""
    most = max((each.calls for each in seconds), default=0) or 1
    last = max(len(seconds) - 1, 1)

    def x(at: float) -> float:
        return _LEFT + at / last * (_WIDE - _LEFT - _RIGHT)

    def y(count: float) -> float:
        return _HIGH - _BOTTOM - count / most * (_HIGH - _TOP - _BOTTOM)

    def line(counts: Sequence[int], colour: str) -> str:
        points = " ".join(f"{x(at):.1f},{y(count):.1f}" for at, count in enumerate(counts))
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'

    begin, end = (x(min(max(at, 0), last)) for at in storm)
    shade = f'<rect x="{begin:.1f}" y="{_TOP}" width="{end - begin:.1f}" height="{_HIGH - _TOP - _BOTTOM}" fill="#eee"/>'
    ticks = [
        f'<text x="{x(at):.1f}" y="{_HIGH - _BOTTOM + 16}" text-anchor="middle">{at:.0f} s</text>'
        for at in (last * number / _TICKS for number in range(_TICKS + 1))
    ]
    scale = [
        f'<text x="{_LEFT - 6}" y="{y(count) + 4:.1f}" text-anchor="end">{count:.0f}</text>'
        for count in (0, most / 2, most)
    ]
    axes = f'<path d="M{_LEFT},{_TOP} V{_HIGH - _BOTTOM} H{_WIDE - _RIGHT}" fill="none" stroke="#333"/>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {_HIGH}"'
    # One text for each colour: not every viewer can anchor a text of several.
    key = [
        f'<text x="{_WIDE - _RIGHT - left}" y="20" text-anchor="end" fill="{colour}">{word}</text>'
        for left, colour, word in (
            (200, "#1f6feb", "calls a second"),
            (120, "#d1242f", "failed"),
            (0, "#333", "grey: the storm"),
        )
    ]
    parts = [
        f'{head} font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDE}" height="{_HIGH}" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="14">{escape(title)}</text>',
        shade,
        axes,
        *ticks,
        *scale,
        line([each.calls for each in seconds], "#1f6feb"),
        line([each.failed for each in seconds], "#d1242f"),
        *key,
        "</svg>",
    ]
    return "\n".join(parts) + "\n"
