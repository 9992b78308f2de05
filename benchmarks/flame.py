"""A flame graph of folded stacks as an SVG without a script: wide is what took long, and a pointer on it tells its name."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from xml.sax.saxutils import escape

from benchmarks.layers import Stack

_WIDE: Final = 1400
_ROW: Final = 17
_TOP: Final = 40
# Narrower than so many pixels nothing can be seen, and a letter takes about so many.
_LEAST: Final = 0.5
_LETTER: Final = 6.2
_COLOURS: Final = ("#ffb77c", "#ffa28b", "#f2cc60", "#ffc680", "#fac898")


@dataclass(slots=True)
class _Node:
    count: int = 0
    inner: dict[str, "_Node"] = field(default_factory=dict)


def svg(stacks: Iterable[Stack], title: str) -> str:
    """Draw it, the outermost frames on top."""
    root = _Node()
    for frames, count in stacks:
        node = root
        node.count += count
        for frame in frames:
            node = node.inner.setdefault(frame, _Node())
            node.count += count
    drawing = _Drawing(_WIDE / (root.count or 1))
    deepest = drawing.draw(root, 0, 0.0)
    high = _TOP + _ROW * (deepest + 1)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {high}" font-family="monospace" font-size="10">',
            f'<rect width="{_WIDE}" height="{high}" fill="white"/>',
            f'<text x="12" y="24" font-size="14">{escape(title)}</text>',
            *drawing.boxes,
            "</svg>\n",
        ]
    )


class _Drawing:
    """The boxes of all frames, a sample being so wide."""

    def __init__(self, scale: float) -> None:
        self.boxes: list[str] = []
        self._scale = scale

    def draw(self, node: _Node, depth: int, left: float) -> int:
        """Draw what is inside a frame; give the deepest row."""
        deepest = depth
        for number, (name, inner) in enumerate(node.inner.items()):
            wide = inner.count * self._scale
            if wide >= _LEAST:
                self._box(
                    f"{name}: {inner.count} samples", _short(name), (depth, number), (left, wide)
                )
                deepest = max(deepest, self.draw(inner, depth + 1, left))
            left += wide
        return deepest

    def _box(
        self, told: str, short: str, place: tuple[int, int], across: tuple[float, float]
    ) -> None:
        left, wide = across
        room = int(wide / _LETTER)
        text = short if len(short) <= room else short[: max(room - 1, 0)]
        top, colour = _TOP + _ROW * place[0], _COLOURS[sum(place) % len(_COLOURS)]
        self.boxes.append(
            f"<g><title>{escape(told)}</title>"
            f'<rect x="{left:.1f}" y="{top}" width="{wide:.1f}" height="{_ROW - 1}" fill="{colour}"/>'
            f'<text x="{left + 2:.1f}" y="{top + 12}">{escape(text)}</text></g>'
        )


def _short(frame: str) -> str:
    """Give "name (file.py:12)" for "name (/a/long/way/file.py:12)"."""
    name, _, place = frame.partition(" (")
    return f"{name} ({place.rpartition('/')[2]}" if place else name
