"""Asks a Redis on this machine a question, in its own protocol: enough for the stack, which has no client library."""

import socket
from typing import BinaryIO, TypeAlias

from stack.errors import RedisFailed

Answer: TypeAlias = "str | int | list[Answer] | None"


def ask(
    port: int, password: str, *words: str, user: str = "default", timeout_s: float = 5
) -> Answer:
    """Give the answer to one command.

    Raises:
        OSError: nothing serves there, or it did not answer in time.
        RedisFailed: it refused the command, or what answers is no Redis.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        connection.sendall(_command("AUTH", user, password) + _command(*words))
        with connection.makefile("rb") as answers:
            _read(answers)
            return _read(answers)


def _command(*words: str) -> bytes:
    parts = [word.encode() for word in words]
    lines = [b"*%d" % len(parts)]
    for part in parts:
        lines += [b"$%d" % len(part), part]
    return b"\r\n".join(lines) + b"\r\n"


def _read(answers: BinaryIO) -> Answer:
    line = answers.readline()
    kind, text = line[:1], line[1:].strip().decode(errors="replace")
    match kind:
        case b"+":
            return text
        case b"-":
            raise RedisFailed(f"Redis said: {text}")
        case b":":
            return int(text)
        case b"$":
            return None if text == "-1" else answers.read(int(text) + 2)[:-2].decode("utf-8")
        case b"*":
            return None if text == "-1" else [_read(answers) for _ in range(int(text))]
        case _:
            raise RedisFailed("what answers there is no Redis")
