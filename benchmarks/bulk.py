"""Fills a queue with a million messages in minutes: AMQP over a plain socket, some thousand unconfirmed at a time.

A library that waits for each confirm takes half a millisecond of CPU for a message, so a backlog would take longer to
make than to measure. The messages are the same.
"""

import asyncio
import socket
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit

from pamqp import body, commands, frame, header
from pamqp.exceptions import UnmarshalingException

from benchmarks.letters import Letter
from benchmarks.postoffice import Route, properties
from stack.errors import StackError

_UNCONFIRMED: Final = 2_000
# So many bytes are handed to the kernel at once.
_CHUNK: Final = 128 * 1024
_PIECE: Final = 16 * 1024
_WAIT_S: Final = 60
_PORT: Final = 5672
_GREETING: Final = b"AMQP\x00\x00\x09\x01"
_CHANNEL: Final = 1


async def filled(route: Route, letters: Iterable[Letter]) -> None:
    """Publish letters in a thread until all are confirmed, or this is cancelled; raises as `fill` does."""
    given_up = threading.Event()
    try:
        await asyncio.to_thread(fill, route, letters, given_up)
    finally:
        given_up.set()  # else a Ctrl-C would wait for the thread


def fill(route: Route, letters: Iterable[Letter], given_up: threading.Event) -> None:
    """Publish letters until all are confirmed, or it is given up.

    Raises:
        StackError: the broker refused one, or closed the connection; the text has its reason.
    """
    try:
        with Line(route.url) as line:
            for letter in letters:
                if given_up.is_set():
                    return
                line.publish(route, letter)
            line.settle(0)
    except OSError as error:
        raise StackError(f"filling the queue: {error}") from None


class Confirms:
    """The numbers of the messages that are not confirmed yet."""

    def __init__(self) -> None:
        self._waiting: dict[int, None] = {}  # in the order of their numbers
        self._last = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def sent(self) -> None:
        """Count a message."""
        self._last += 1
        self._waiting[self._last] = None

    def confirmed(self, number: int, *, multiple: bool) -> None:
        """Take one out, or with `multiple` all up to it; 0: all."""
        if not multiple:
            self._waiting.pop(number, None)
            return
        while self._waiting and (not number or next(iter(self._waiting)) <= number):
            del self._waiting[next(iter(self._waiting))]


class Line:
    """A connection with one channel that confirms."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._confirms = Confirms()
        self._out = bytearray()
        self._in = b""
        self._socket: socket.socket

    def __enter__(self) -> Self:
        address = self._url.hostname or "localhost", self._url.port or _PORT
        self._socket = socket.create_connection(address, _WAIT_S)
        self._socket.sendall(_GREETING)
        self._wait_for(commands.Connection.Start)
        user, password = unquote(self._url.username or ""), unquote(self._url.password or "")
        self._send(
            0,
            commands.Connection.StartOk(
                client_properties={}, mechanism="PLAIN", response=f"\0{user}\0{password}"
            ),
        )
        tune = self._wait_for(commands.Connection.Tune)
        self._send(
            0, commands.Connection.TuneOk(tune.channel_max, tune.frame_max, 0)
        )  # no heartbeats
        self._send(0, commands.Connection.Open(unquote(self._url.path[1:])))
        self._wait_for(commands.Connection.OpenOk)
        self._send(_CHANNEL, commands.Channel.Open())
        self._wait_for(commands.Channel.OpenOk)
        self._send(_CHANNEL, commands.Confirm.Select())
        self._wait_for(commands.Confirm.SelectOk)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def publish(self, route: Route, letter: Letter) -> None:
        """Publish a letter; wait only where too many are unconfirmed."""
        told = commands.Basic.Publish(exchange=route.exchange, routing_key=letter.key or route.key)
        head = header.ContentHeader(0, len(letter.body), properties(route, letter))
        for part in (told, head, body.ContentBody(letter.body)):
            self._out += frame.marshal(part, _CHANNEL)
        self._confirms.sent()
        if len(self._out) >= _CHUNK:
            self.settle(_UNCONFIRMED)

    def settle(self, most: int) -> None:
        """Send what there is to send, and wait until no more than so many are unconfirmed."""
        self._socket.sendall(self._out)
        self._out.clear()
        while len(self._confirms) > most:
            self._next()

    def _send(self, channel: int, told: Any) -> None:  # noqa: ANN401  # pamqp has no type for a method
        self._socket.sendall(frame.marshal(told, channel))

    def _wait_for(self, wanted: type[Any]) -> Any:  # noqa: ANN401  # as above
        while not isinstance(found := self._next(), wanted):
            pass
        return found

    def _next(self) -> object:
        """Give the next frame; a confirm is counted.

        Raises:
            StackError: it says that something was refused.
            OSError: the connection is gone, or nothing comes.
        """
        while True:
            try:
                taken, _, found = frame.unmarshal(self._in)
            except UnmarshalingException:  # it is not whole
                more = self._socket.recv(_PIECE)
                if not more:
                    raise ConnectionError("the broker closed the connection") from None
                self._in += more
                continue
            self._in = self._in[taken:]
            break
        if isinstance(found, commands.Basic.Ack):
            self._confirms.confirmed(found.delivery_tag, multiple=found.multiple)
        elif isinstance(found, commands.Basic.Nack):
            raise StackError("filling the queue: the broker refused a message")
        elif isinstance(found, commands.Channel.Close | commands.Connection.Close):
            raise StackError(f"filling the queue: {found.reply_text}")
        return found
