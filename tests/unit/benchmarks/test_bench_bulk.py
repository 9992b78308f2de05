import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from pamqp import commands, frame, header
from pamqp.exceptions import UnmarshalingException

from benchmarks import letters
from benchmarks.bulk import Confirms, fill, filled
from benchmarks.postoffice import Route
from stack.errors import StackError

_MANY = 3000


class _Broker:
    """Speaks as much AMQP as filling a queue takes, and confirms every hundredth message with those before it."""

    def __init__(self, *, refuses: bool) -> None:
        self.bodies: list[bytes] = []
        self.numbers: list[str | None] = []
        self.said: list[object] = []
        self._refuses = refuses
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]

    def close(self) -> None:
        self._listening.close()

    def serve(self) -> None:
        line, _ = self._listening.accept()
        with line, suppress(ConnectionError):  # who is refused hangs up with answers unread
            line.recv(8)
            self._send(line, 0, commands.Connection.Start(server_properties={}))
            data = b""
            while more := line.recv(65536):
                data += more
                while True:
                    try:
                        taken, _, found = frame.unmarshal(data)
                    except UnmarshalingException:
                        break
                    data = data[taken:]
                    self._answer(line, found)

    def _answer(self, line: socket.socket, found: Any) -> None:  # noqa: ANN401  # any method
        answers = {
            commands.Connection.StartOk: (0, commands.Connection.Tune(10, 131072, 60)),
            commands.Connection.Open: (0, commands.Connection.OpenOk()),
            commands.Channel.Open: (1, commands.Channel.OpenOk()),
            commands.Confirm.Select: (1, commands.Confirm.SelectOk()),
        }
        if isinstance(found, header.ContentHeader):
            self.numbers.append(found.properties.correlation_id)
        elif hasattr(found, "value"):
            self.bodies.append(found.value)
            self._confirm(line)
        elif type(found) in answers:
            self.said.append(found)
            self._send(line, *answers[type(found)])

    def _confirm(self, line: socket.socket) -> None:
        count = len(self.bodies)
        if self._refuses:
            close = commands.Channel.Close(403, "may not write", 60, 40)
            self._send(line, 1, close)
        elif count % 100 == 0:
            self._send(line, 1, commands.Basic.Ack(count, multiple=True))

    @staticmethod
    def _send(line: socket.socket, channel: int, told: Any) -> None:  # noqa: ANN401  # as above
        line.sendall(frame.marshal(told, channel))


@contextmanager
def _broker(*, refuses: bool = False) -> Iterator[tuple[_Broker, Route]]:
    broker = _Broker(refuses=refuses)
    thread = threading.Thread(target=broker.serve, daemon=True)
    thread.start()
    url = f"amqp://us%2Fer:pass%40word@127.0.0.1:{broker.port}/a%2Fhost"
    yield broker, Route(url=url, user="us/er", exchange="", key="jobs", replies="replies")
    thread.join(10)
    broker.close()


def _letters(count: int) -> Iterator[letters.Letter]:
    return (letters.plain(f"x-{number}") for number in range(count))


async def test_every_letter_is_published_and_waited_for() -> None:
    with _broker() as (broker, route):
        await filled(route, _letters(_MANY))

    assert broker.numbers == [f"x-{number}" for number in range(_MANY)]
    assert broker.bodies[7] == letters.plain("x-7").body
    started, opened = broker.said[:2]
    assert isinstance(started, commands.Connection.StartOk)
    assert started.response == "\0us/er\0pass@word"
    assert isinstance(opened, commands.Connection.Open)
    assert opened.virtual_host == "a/host"


def test_a_refusal_is_told_with_its_reason() -> None:
    with (
        _broker(refuses=True) as (_, route),
        pytest.raises(StackError, match="may not write"),
    ):
        fill(route, _letters(5), threading.Event())


def test_filling_ends_when_it_is_given_up() -> None:
    given_up = threading.Event()
    given_up.set()
    with _broker() as (broker, route):
        fill(route, _letters(_MANY), given_up)

    assert not broker.bodies


def test_a_broker_that_is_not_there_is_told() -> None:
    with _broker() as (_, route):
        fill(route, [], threading.Event())
    with pytest.raises(StackError, match="filling the queue"):
        fill(route, [], threading.Event())


def test_confirms_come_one_by_one_out_of_order_or_many_at_once() -> None:
    confirms = Confirms()
    for _ in range(6):
        confirms.sent()
    confirms.confirmed(4, multiple=False)
    assert len(confirms) == 5
    confirms.confirmed(3, multiple=True)
    assert len(confirms) == 2
    confirms.confirmed(4, multiple=False)
    confirms.confirmed(0, multiple=True)
    assert not confirms
