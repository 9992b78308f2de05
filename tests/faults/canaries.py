"""Canaries: secrets, prompts and completions that were planted, looked for wherever none of them may be.

Those places are workers' logs, their pages of metrics, the headers of dead letters and of what is in quarantine,
and what error replies say. The body of a dead letter is the request, on purpose: it is not looked at.
"""

import asyncio
import re
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import quote

from tests.faults.rawamqp import RawClient
from tests.faults.vhost import Vhost

KEY: Final = "canary-key-3141"
PROMPT: Final = "canary-prompt-2718"

# What is planted, by what it is: "upstream key", "prompt", ...
Planted: TypeAlias = Mapping[str, str]

_WIRE: Final = re.compile(rb"x-warren-wireS....([A-Za-z0-9+/=]*)", re.DOTALL)
_OVERLAP: Final = 4096
_CHUNK: Final = 1024 * 1024
# Of each queue so many letters are looked at; all have the same makers.
_LETTERS: Final = 1000


def planted(vhost: Vhost, **more: str) -> Planted:
    """Give the secrets that every stage has: the upstream key, the prompt, the users' passwords."""
    passwords = {f"password of {user}": word for user, word in vhost.passwords.items()}
    return {"upstream key": KEY, "prompt": PROMPT, **passwords, **more}


async def hits(
    vhost: Vhost,
    secrets: Planted,
    *,
    logs: Sequence[Path] = (),
    ports: Sequence[int] = (),
    texts: Iterable[str] = (),
) -> list[str]:
    """Give each place in which a secret stands, and which: never the secret itself.

    `ports` are those of workers' pages of metrics; one that has ended has none. Letters are put back.
    """
    return await asyncio.to_thread(_hits, vhost, secrets, logs, ports, texts)


def _hits(
    vhost: Vhost,
    secrets: Planted,
    logs: Sequence[Path],
    ports: Sequence[int],
    texts: Iterable[str],
) -> list[str]:
    needles = {name: _forms(secret) for name, secret in secrets.items()}
    found = dict.fromkeys(
        f"{name} in {where}"
        for where, text in _places(vhost, logs, ports, texts)
        for name, forms in needles.items()
        if any(form in text for form in forms)
    )
    return list(found)


def _places(
    vhost: Vhost, logs: Sequence[Path], ports: Sequence[int], texts: Iterable[str]
) -> Iterator[tuple[str, bytes]]:
    for log in logs:
        yield from ((log.name, part) for part in _parts(log))
    for port in ports:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:  # fmt: skip
            yield "a page of metrics", page.read()
    for text in texts:
        yield "an error reply", text.encode()
    for queue in _queues(vhost):
        for headers in _headers(vhost, queue):
            yield f"the headers in {queue}", headers


def _parts(log: Path) -> Iterator[bytes]:
    """Give a log piece by piece, each with the end of the one before it."""
    kept = b""
    with log.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield kept + chunk
            kept = chunk[-_OVERLAP:]


def _queues(vhost: Vhost) -> list[str]:
    names = vhost.broker.ctl("list_queues", "-p", vhost.name, "name", "--no-table-headers").split()
    return [name for name in names if name.startswith(("warren.dead.", "warren.quarantine"))]


def _headers(vhost: Vhost, queue: str) -> Iterator[bytes]:
    """Give the properties of letters, and what a quarantined one had, and put all back."""
    with RawClient(vhost.url("admin")) as admin:
        for _ in range(_LETTERS):
            message = admin.fetch(queue, keep=True)
            if message is None:
                return
            headers = message[0]
            yield headers
            if wire := _WIRE.search(headers):
                yield b64decode(wire[1] + b"==")


def _forms(secret: str) -> tuple[bytes, ...]:
    """Give a secret as it is, as a URL and as a basic authorization would have it."""
    return (
        secret.encode(),
        quote(secret, safe="").encode(),
        b64encode(secret.encode()).rstrip(b"=")[:-1],
    )
