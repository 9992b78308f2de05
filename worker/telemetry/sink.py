"""Where log lines go: as JSON for machines, or coloured for people."""

import asyncio
import json
import logging
import sys
import threading
from collections.abc import Callable, MutableMapping
from typing import Any, BinaryIO, Final, Literal, Protocol, TypeAlias

from pydantic_core import to_json

from worker.ports import Clock

Format: TypeAlias = Literal["json", "console", "auto"]
Level: TypeAlias = Literal["debug", "info", "warning", "error"]
_Fields: TypeAlias = MutableMapping[str, Any]

# ASCII alone: a lone surrogate cannot break the write, nor a line separator the line.
_encode: Final = json.JSONEncoder(separators=(",", ":"), default=repr).encode


class Sink(Protocol):
    """Takes lines. `event` names what a line is about; the other fields are numbers, names and ids."""

    def debug(self, event: str, **fields: object) -> object:
        """Write what only a search for a fault needs."""
        ...

    def info(self, event: str, **fields: object) -> object:
        """Write what happened in the normal course of things."""
        ...

    def warning(self, event: str, **fields: object) -> object:
        """Write what an operator should know."""
        ...

    def error(self, event: str, **fields: object) -> object:
        """Write what an operator must look at."""
        ...


def open_sink(
    clock: Clock, *, level: Level = "info", style: Format = "json", stream: BinaryIO | None = None
) -> Sink:
    """Give a sink that writes to `stream`, or else to stdout.

    `auto` writes for people if the stream is a terminal. Lines may come from several threads. A reader that stops
    reading the stream stops the writer: give stdout to something that always reads.
    """
    stream = sys.stdout.buffer if stream is None else stream
    least = logging.getLevelNamesMapping()[level.upper()]
    if style == "json" or (style == "auto" and not stream.isatty()):
        return _JsonLines(stream, clock, least)
    return _people(stream, clock, least)


def _people(stream: BinaryIO, clock: Clock, least: int) -> Sink:
    import structlog  # noqa: PLC0415  # with what colours need it takes longer than all of JSON's, and few workers have people

    bound: Sink = structlog.wrap_logger(
        structlog.BytesLogger(stream),
        processors=[
            _stamp(clock),
            _for_people(
                structlog.dev.ConsoleRenderer(
                    colors=stream.isatty(), timestamp_key="at", sort_keys=False
                )
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        cache_logger_on_first_use=True,
    ).bind()
    return bound


class _JsonLines:
    """A line of JSON for each event.

    Warnings and errors are written at once. What else the event loop writes in one of its turns goes out together at
    the end of that turn: that is before any reply is confirmed, of which a line tells, so a process that is killed
    leaves no job without its line that is not delivered again. Other threads, and code without a loop, write at once.
    """

    def __init__(self, stream: BinaryIO, clock: Clock, least: int) -> None:
        self._stream = stream
        self._clock = clock
        self._least = least
        # The same thread may come in again: a write may let cyclic garbage be collected, of which the libraries may tell.
        self._lock = threading.RLock()
        self._waiting: list[bytes] = []
        self._failed: Exception | None = None

    def debug(self, event: str, **fields: object) -> None:
        """Write what only a search for a fault needs."""
        if self._least <= logging.DEBUG:
            self._soon("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Write what happened in the normal course of things."""
        if self._least <= logging.INFO:
            self._soon("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Write what an operator should know."""
        if self._least <= logging.WARNING:
            self._at_once("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Write what an operator must look at."""
        self._at_once("error", event, fields)

    def _soon(self, level: str, event: str, fields: dict[str, object]) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._at_once(level, event, fields)
            return
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed
        line = self._line(level, event, fields)
        with self._lock:
            self._waiting.append(line)
            first = len(self._waiting) == 1
        if first:
            loop.call_soon(self._end_turn)

    def _at_once(self, level: str, event: str, fields: dict[str, object]) -> None:
        line = self._line(level, event, fields)
        with self._lock:
            self._waiting.append(line)
            self._write()

    def _end_turn(self) -> None:
        try:
            with self._lock:
                self._write()
        except (OSError, ValueError) as error:  # whoever writes the next line hears of it, once
            self._failed = error

    def _write(self) -> None:
        lines = b"".join(self._waiting)
        self._waiting.clear()
        self._stream.write(lines)
        self._stream.flush()

    def _line(self, level: str, event: str, fields: dict[str, object]) -> bytes:
        at = _stamped(self._clock)
        return _encoded({"at": at, "level": level, **fields, "event": event}) + b"\n"


def _encoded(line: dict[str, object]) -> bytes:
    """Give the line in ASCII. The quick encoder does not escape what is beyond that, which few lines hold."""
    try:
        encoded = to_json(line, inf_nan_mode="constants", fallback=repr)
    except ValueError:  # a lone surrogate
        return _encode(line).encode()
    return encoded if encoded.isascii() else _encode(line).encode()


def _stamped(clock: Clock) -> str:
    return clock.now().isoformat(timespec="milliseconds")


def _stamp(clock: Clock) -> Callable[[object, str, _Fields], _Fields]:
    def stamp(_: object, level: str, fields: _Fields) -> _Fields:
        return {"at": _stamped(clock), "level": level, **fields}

    return stamp


def _for_people(
    render: Callable[[object, str, _Fields], str],
) -> Callable[[object, str, _Fields], bytes]:
    def write(logger: object, name: str, fields: _Fields) -> bytes:
        # What a terminal would obey must not reach it: a name from outside may hold an escape sequence.
        shown = {key: _printable(value) for key, value in fields.items()}
        return render(logger, name, shown).encode(errors="replace")

    return write


def _printable(value: object) -> object:
    if isinstance(value, str) and not value.isprintable():
        return value.encode("unicode_escape").decode()
    return value
