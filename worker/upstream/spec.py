"""What is configured of an endpoint."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol, TypeAlias
from urllib.parse import urlsplit

from worker.errors import SettingsError

Http: TypeAlias = Literal["auto", "1.1", "2"]
KeyHeader: TypeAlias = Literal["bearer", "api-key", "x-api-key"]

# Plain characters only: the libraries that read a URL differ in what they make of the others.
_BASE_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?",
    re.ASCII,
)
_HEADER_NAME: Final = re.compile(r"[a-z0-9-]+", re.ASCII)
_OWN_HEADERS: Final = frozenset(
    {
        *("accept", "accept-encoding", "api-key", "authorization", "connection", "content-length"),
        *("content-type", "cookie", "expect", "host", "te", "transfer-encoding", "upgrade"),
        *("x-api-key", "x-client-request-id"),
    }
)


class KeyProvider(Protocol):
    """Gives an endpoint's key; asked for every call, so that a rotated secret is used at once."""

    def __call__(self) -> str:
        """Give the key. Quick and without blocking; it keeps what it has read.

        Raises:
            OSError: the secret cannot be read now.
            LookupError: there is no such secret.
        """
        ...


class KeyReplaced(Protocol):
    """Tells whether a key that was refused has been replaced."""

    async def __call__(self, refused: str) -> bool:
        """Read the key anew, but not more often than every few seconds, and compare. Raises nothing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSpec:
    """One configured endpoint. Its `repr` shows neither key nor extra headers.

    `base_url` is what an OpenAI client would be given, such as `https://api.openai.com/v1`; the job's path
    follows without its own `/v1`. `key` None: no key is sent; `key_replaced` None: it never changes at once. `http` "auto" is HTTP/2 where a TLS server
    offers it and HTTP/1.1 else. `read_timeout_s` bounds the silence before an answer and between its
    parts; the whole call is bounded by the caller. `ca_file` (PEM) replaces the system's authorities.
    `max_response_bytes` counts unpacked bytes.

    Raises:
        SettingsError: a value cannot be used.
    """

    name: str
    base_url: str
    key: KeyProvider | None = field(default=None, repr=False)
    key_replaced: KeyReplaced | None = field(default=None, repr=False)
    key_header: KeyHeader = "bearer"
    http: Http = "auto"
    weight: float = 1.0
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 300.0
    ca_file: Path | None = None
    extra_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    max_response_bytes: int = 15 * 1024 * 1024
    allow_plaintext: bool = False

    def __post_init__(self) -> None:
        problems = (*self._url_problems(), *self._header_problems(), *self._number_problems())
        if problems:
            raise SettingsError(tuple(f"endpoint {self.name}: {problem}" for problem in problems))

    def url(self, path: str) -> str:
        """Give the address of an API path such as `/v1/chat/completions`."""
        return self.base_url.rstrip("/") + path.removeprefix("/v1")

    def _url_problems(self) -> list[str]:
        if _BASE_URL.fullmatch(self.base_url) is None:
            # The value is not shown: what is wrong with it may be a password inside.
            return [
                "base_url: expected http(s)://host[:port]/path, without user, query and fragment"
            ]
        if self.base_url.startswith("https:") or self.allow_plaintext or self._is_loopback():
            return []
        return [
            "base_url: plaintext http would show key and prompts to the network: use https, or allow_plaintext"
        ]

    def _is_loopback(self) -> bool:
        host = urlsplit(self.base_url).hostname or ""
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    def _header_problems(self) -> list[str]:
        problems: list[str] = []
        for name, value in self.extra_headers.items():
            if _HEADER_NAME.fullmatch(name) is None:
                problems.append(f"extra_headers: {name!r} is not a lower-case header name")
            elif name in _OWN_HEADERS:
                problems.append(f"extra_headers: {name} is set by Warren itself")
            elif not is_header_value(value):
                problems.append(f"extra_headers: the value of {name} is not printable ASCII")
        return problems

    def _number_problems(self) -> list[str]:
        numbers = ("weight", "connect_timeout_s", "read_timeout_s", "max_response_bytes")
        return [f"{name}: expected more than 0" for name in numbers if not getattr(self, name) > 0]


def is_header_value(text: str) -> bool:
    """Tell whether a text can stand in a header as it is: not empty, printable ASCII, no outer blanks."""
    return bool(text) and text.isascii() and text.isprintable() and text == text.strip()
