"""AMQP 0-9-1 by hand: a client that no library keeps from sending what it likes.

It encodes what it is given and looks at no value; of what comes back it reads no more than it must.
"""

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Self
from urllib.parse import unquote, urlsplit

WAIT_S: Final = 20.0
# Of basic's properties: the bit that says that one is there, and in falling order of bits their order.
BITS: Final = MappingProxyType(
    {
        "content_type": 15,
        "content_encoding": 14,
        "headers": 13,
        "delivery_mode": 12,
        "priority": 11,
        "correlation_id": 10,
        "reply_to": 9,
        "expiration": 8,
        "message_id": 7,
        "timestamp": 6,
        "type": 5,
        "user_id": 4,
        "app_id": 3,
        "cluster_id": 2,
    }
)
_METHOD, _HEADER, _BODY, _END = 1, 2, 3, b"\xce"
_HEAD: Final = struct.Struct(">BHI")
_FRAME_MAX: Final = 131_072
_CLASS_BASIC: Final = 60
_ACK, _NACK = (60, 80), (60, 120)
_GET_OK, _GET_EMPTY = (60, 71), (60, 72)


def short(raw: bytes) -> bytes:
    """Encode a short string."""
    return bytes([len(raw)]) + raw


def long(raw: bytes) -> bytes:
    """Encode a long string, or anything else that stands behind its length."""
    return struct.pack(">I", len(raw)) + raw


def table(fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Encode a table of names and values, whose first byte is their type."""
    return long(b"".join(short(name) + value for name, value in fields))


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One message, in bytes: properties are encoded values, headers names with typed values.

    `raw` stands in for all of flags and properties.
    """

    exchange: bytes = b"warren.requests"
    routing_key: bytes
    properties: dict[str, bytes]
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    raw: bytes | None = field(default=None, repr=False)

    def having(self, **properties: bytes) -> Self:
        """Give it with these properties."""
        return replace(self, properties=self.properties | properties)

    def lacking(self, *names: str) -> Self:
        """Give it without these properties."""
        kept = {name: value for name, value in self.properties.items() if name not in names}
        return replace(self, properties=kept)

    def header(self, name: bytes, value: bytes | None) -> Self:
        """Give it with this header in place of any of its name; None: without one."""
        kept = tuple(each for each in self.headers if each[0] != name)
        return replace(self, headers=kept if value is None else (*kept, (name, value)))

    def payload(self) -> bytes:
        """Give the payload of its content header's frame."""
        head = struct.pack(">HHQ", _CLASS_BASIC, 0, len(self.body))
        if self.raw is not None:
            return head + self.raw
        properties = dict(self.properties)
        if self.headers:
            properties.setdefault("headers", table(self.headers))
        flags = sum(1 << BITS[name] for name in properties)
        return (
            head
            + struct.pack(">H", flags)
            + b"".join(properties[name] for name in BITS if name in properties)
        )


class RawClient:
    """A connection as a URL's user, made again whenever the broker has ended it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._where = (parts.hostname or "", parts.port or 5672)
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._vhost = unquote(parts.path[1:])
        self._socket: socket.socket | None = None
        self._read = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._drop()

    def publish(self, draft: Draft) -> str | None:
        """Publish; give None if the broker has taken the message, or else what it said."""
        if self._socket is None:
            self._open()
        method = struct.pack(">HHH", 60, 40, 0) + short(draft.exchange) + short(draft.routing_key)
        frames = [self._frame(_METHOD, method + b"\x00"), self._frame(_HEADER, draft.payload())]
        step = _FRAME_MAX - _HEAD.size - len(_END)
        frames += [
            self._frame(_BODY, draft.body[at : at + step]) for at in range(0, len(draft.body), step)
        ]
        try:
            self._send(b"".join(frames))
            said, rest = self._method()
        except OSError as error:
            self._drop()
            return f"it hung up: {type(error).__name__}"
        if said == _ACK:
            return None
        self._drop()
        if said == _NACK:
            return "nack"
        code = struct.unpack_from(">H", rest)[0]
        return f"{code} {rest[3 : 3 + rest[2]].decode(errors='replace')}"

    def fetch(self, queue: str, *, keep: bool = False) -> tuple[bytes, bytes] | None:
        """Take a message off a queue: the payload of its content header, and its body.

        `keep`: it is not acknowledged, and goes back when the connection ends.
        """
        if self._socket is None:
            self._open()
        get = struct.pack(">HHH", 60, 70, 0) + short(queue.encode()) + bytes([not keep])
        self._send(self._frame(_METHOD, get))
        said, _ = self._method()
        if said == _GET_EMPTY:
            return None
        assert said == _GET_OK, said
        payload, body = self._payload(_HEADER), b""
        (size,) = struct.unpack_from(">Q", payload, 4)
        while len(body) < size:
            body += self._payload(_BODY)
        return payload, body

    def _open(self) -> None:
        self._socket = socket.create_connection(self._where, timeout=WAIT_S)
        self._read = b""
        self._send(b"AMQP\x00\x00\x09\x01")
        self._await((10, 10))
        login = f"\0{self._user}\0{self._password}".encode()
        start = struct.pack(">HH", 10, 11) + table(()) + short(b"PLAIN") + long(login)
        self._send(self._frame(_METHOD, start + short(b"en_US"), channel=0))
        self._await((10, 30))
        tune = struct.pack(">HHHIH", 10, 31, 1, _FRAME_MAX, 0)
        self._send(self._frame(_METHOD, tune, channel=0))
        opened = struct.pack(">HH", 10, 40) + short(self._vhost.encode()) + b"\x00\x00"
        self._send(self._frame(_METHOD, opened, channel=0))
        self._await((10, 41))
        self._send(self._frame(_METHOD, struct.pack(">HH", 20, 10) + b"\x00"))
        self._await((20, 11))
        self._send(self._frame(_METHOD, struct.pack(">HHB", 85, 10, 0)))
        self._await((85, 11))

    def _await(self, method: tuple[int, int]) -> None:
        said, rest = self._method()
        assert said == method, (said, rest)

    def _method(self) -> tuple[tuple[int, int], bytes]:
        """Read up to the next method: which it is, and its arguments."""
        payload = self._payload(_METHOD)
        return struct.unpack_from(">HH", payload), payload[4:]

    def _payload(self, wanted: int) -> bytes:
        while True:
            kind, _, length = _HEAD.unpack(self._exactly(_HEAD.size))
            payload = self._exactly(length + 1)[:-1]
            if kind == wanted:
                return payload

    def _exactly(self, size: int) -> bytes:
        assert self._socket is not None
        while len(self._read) < size:
            more = self._socket.recv(65_536)
            if not more:
                raise ConnectionResetError
            self._read += more
        taken, self._read = self._read[:size], self._read[size:]
        return taken

    def _frame(self, kind: int, payload: bytes, *, channel: int = 1) -> bytes:
        return _HEAD.pack(kind, channel, len(payload)) + payload + _END

    def _send(self, raw: bytes) -> None:
        assert self._socket is not None
        self._socket.sendall(raw)

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
