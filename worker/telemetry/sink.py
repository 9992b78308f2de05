"""Where log lines go: one write for each, as JSON for machines or coloured for people."""

import json
import logging
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, BinaryIO, Final, Literal, Protocol, TypeAlias

import structlog

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

    `auto` writes for people if the stream is a terminal. Each line is written and flushed at once, also
    from several threads. A reader that stops reading the stream stops the writer: give stdout to
    something that always reads.
    """
    stream = sys.stdout.buffer if stream is None else stream
    people = style == "console" or (style == "auto" and stream.isatty())
    bound: Sink = structlog.wrap_logger(
        structlog.BytesLogger(stream),
        processors=[_stamp(clock), _for_people(colors=stream.isatty()) if people else _as_json],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        cache_logger_on_first_use=True,
    ).bind()
    return bound


def _stamp(clock: Clock) -> Callable[[object, str, _Fields], _Fields]:
    def stamp(_: object, level: str, fields: _Fields) -> _Fields:
        at = clock.now().isoformat(timespec="milliseconds")
        return {"at": at, "level": level, **fields}

    return stamp


def _as_json(_: object, __: str, fields: Mapping[str, Any]) -> bytes:
    return _encode(fields).encode()


def _for_people(*, colors: bool) -> Callable[[object, str, _Fields], bytes]:
    render = structlog.dev.ConsoleRenderer(colors=colors, timestamp_key="at", sort_keys=False)

    def write(logger: object, name: str, fields: _Fields) -> bytes:
        # What a terminal would obey must not reach it: a name from outside may hold an escape sequence.
        shown = {key: _printable(value) for key, value in fields.items()}
        return render(logger, name, shown).encode(errors="replace")

    return write


def _printable(value: object) -> object:
    if isinstance(value, str) and not value.isprintable():
        return value.encode("unicode_escape").decode()
    return value
