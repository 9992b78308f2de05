"""One message as it came, before anything in it is believed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from aiormq.abc import DeliveredMessage

from worker.errors import Unreadable

_MAX_NUMBER: Final = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A message's parts; `exchange` is the broker's word, everything else its sender's.

    The broker has checked `user_id` against the sender's connection. Header values have any type that AMQP
    knows.
    """

    exchange: str | None
    body: bytes = field(repr=False)
    headers: Mapping[str, object]
    user_id: object = None
    correlation_id: object = None
    reply_to: object = None
    priority: object = None

    @classmethod
    def of(cls, message: DeliveredMessage) -> Self:
        """Take the AMQP library's message apart."""
        properties = message.header.properties
        return cls(
            exchange=message.exchange,
            body=message.body,
            headers=properties.headers or {},
            user_id=properties.user_id,
            correlation_id=properties.correlation_id,
            reply_to=properties.reply_to,
            priority=properties.priority,
        )

    def text(self, name: str) -> str | None:
        """Give a header that must be text, if it is there.

        Raises:
            Unreadable: it is something else.
        """
        return text(name, self.headers.get(name))

    def number(self, name: str) -> int | None:
        """Give a header that must be an integer, if it is there.

        Raises:
            Unreadable: it is something else.
        """
        return number(name, self.headers.get(name))

    def count(self, name: str, *, least: int) -> int:
        """Give a header that must be there, and be an integer of ordinary size.

        Raises:
            Unreadable: it is missing, something else, or out of range.
        """
        value = self.number(name)
        if value is None or not least <= value <= _MAX_NUMBER:
            raise Unreadable(f"{name}: must be an integer of at least {least}")
        return value


def text(name: str, value: object) -> str | None:
    """Give a property or header that must be text, or None.

    Raises:
        Unreadable: it is something else.
    """
    try:
        if isinstance(value, str):
            value.encode()
            return value
        if isinstance(value, bytes | bytearray):
            return value.decode()
    except UnicodeError:
        raise Unreadable(f"{name}: must be UTF-8 text") from None
    if value is None:
        return None
    raise Unreadable(f"{name}: must be text")


def number(name: str, value: object) -> int | None:
    """Give a property or header that must be an integer, or None.

    Raises:
        Unreadable: it is something else.
    """
    if value is None or type(value) is int:
        return value
    raise Unreadable(f"{name}: must be an integer")
