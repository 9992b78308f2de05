"""Lines of other libraries, through stdlib's logging, into the same stream: cleaned, throttled."""

import logging
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final

from worker.ports import Clock
from worker.telemetry.sink import Sink
from worker.telemetry.throttle import Throttle

_LONGEST: Final = 300
_MOST_FRAMES: Final = 12
_USERINFO: Final = re.compile(r"//[^/\s]*@")


@contextmanager
def library_lines(sink: Sink, clock: Clock, *, level: int = logging.WARNING) -> Iterator[None]:
    """Route what libraries log at `level` and above into the sink, until the context ends."""
    root, handler = logging.getLogger(), _Lines(sink, clock, level)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


class _Lines(logging.Handler):
    """Writes records as lines that cannot hold a message's content.

    A library formats what it likes into its text: whole messages, exceptions that quote their input. So
    only the text's first line is kept, its arguments shown only if they are numbers or short texts, and of
    an exception its type and the places it passed. `logging` lets one thread at a time in here.
    """

    def __init__(self, sink: Sink, clock: Clock, level: int) -> None:
        super().__init__(level)
        self._sink = sink
        self._throttle = Throttle(clock)

    def emit(self, record: logging.LogRecord) -> None:
        template = record.msg if isinstance(record.msg, str) else _named(record.msg)
        left_out = self._throttle.take("library", record.name, template)
        if left_out is None:
            return
        line: dict[str, Any] = {"logger": record.name, "text": _text(template, record.args)}
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            line["trace"] = _places(record.exc_info[2])
        if left_out:
            line["left_out"] = left_out
        write = self._sink.error if record.levelno >= logging.ERROR else self._sink.warning
        write("library", **line)


class _Shown:
    """Stands in for an argument that must not be shown: formats as the name of its type."""

    def __init__(self, value: object) -> None:
        self._text = _named(value)

    def __repr__(self) -> str:
        return self._text


def _named(value: object) -> str:
    return f"<{type(value).__name__}>"


def _shown(value: object) -> object:
    return value if isinstance(value, int | float | str) else _Shown(value)


def _text(template: str, args: object) -> str:
    shown: object = ()
    if isinstance(args, dict):
        shown = {key: _shown(value) for key, value in args.items()}
    elif isinstance(args, tuple):
        shown = tuple(_shown(value) for value in args)
    try:
        text = template % shown if args else template
    except (TypeError, ValueError, KeyError):
        text = template
    first = text.split("\n", 1)[0][:_LONGEST]
    return _USERINFO.sub("//***@", first)


def _places(trace: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(trace)[-_MOST_FRAMES:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
