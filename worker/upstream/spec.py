"""What is configured of an endpoint."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, Protocol, TypeAlias
from urllib.parse import urlsplit

from producer_sdk.wire import PATHS
from worker.core.serving import Serving
from worker.errors import SettingsError
from worker.upstream.apis import Api, KeyHeader
from worker.upstream.site import Site

Http: TypeAlias = Literal["auto", "1.1", "2"]

# Plain characters only: the libraries that read a URL differ in what they make of the others.
_BASE_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?",
    re.ASCII,
)
# A deployment's name stands in a path; Azure lets it have these alone.
_DEPLOYMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# RFC 9110, section 5.1: a field name is a token; lower case, since case does not matter.
_HEADER_NAME: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
KEY_HEADERS: Final = frozenset({"api-key", "authorization", "x-api-key"})
OWN_HEADERS: Final = KEY_HEADERS | {
    *("accept", "accept-encoding", "connection", "content-encoding", "content-length"),
    *("content-type", "cookie", "expect", "host", "te", "transfer-encoding", "upgrade"),
    "x-client-request-id",
}


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

    `base_url` is what an OpenAI client would be given, such as `https://api.openai.com/v1`; where a call's path is
    below it is told by `api`, or where that is None by the host (`apis`). `models` are their names there by the
    names asked for; none: it serves every model as it is asked for. `key` None: no key is sent; `key_replaced` None: it
    never changes at once; `key_header` None: where its API wants it.

    `requests_per_minute` and `tokens_per_minute` are those of the `account`, which several endpoints may have
    together; "": the endpoint's own name. `concurrency` bounds this worker's calls; where it is 0, as many are made
    as the endpoint is found to bear, and never more than `max_concurrency`. Limits of 0 are not known. `http` "auto" is HTTP/2 where a TLS server
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
    key_header: KeyHeader | None = None
    api: Api | None = None
    api_version: str | None = None
    paths: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    models: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    account: str = ""
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    concurrency: int = 0
    max_concurrency: int = 20_000
    http: Http = "auto"
    weight: float = 1.0
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 300.0
    ca_file: Path | None = None
    extra_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    max_response_bytes: int = 15 * 1024 * 1024
    allow_plaintext: bool = False

    def __post_init__(self) -> None:
        problems = (
            *self._url_problems(),
            *self._deployment_problems(),
            *self._header_problems(),
            *self._number_problems(),
        )
        if problems:
            raise SettingsError(tuple(f"endpoint {self.name}: {problem}" for problem in problems))
        if not self.account:
            object.__setattr__(self, "account", self.name)

    @property
    def site(self) -> Site:
        """Where calls go."""
        return Site(
            base_url=self.base_url,
            api=self.api,
            api_version=self.api_version,
            paths=self.paths,
            key_header=self.key_header,
        )

    def serves(self, model: str) -> str | None:
        """Give the name that a model has there; None: the endpoint does not serve it."""
        return self.models.get(model) if self.models else model

    @property
    def serving(self) -> Serving:
        """What the endpoint serves."""
        return Serving(
            paths=frozenset(path for path in PATHS if self.site.has(path)), models=self.models
        )

    def url(self, path: str, name: str) -> str:
        """Give the address of an API path such as `/v1/chat/completions`, for a model with this name there.

        Raises:
            LookupError: the endpoint has no such path.
        """
        return self.site.url(path, name)

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

    def _deployment_problems(self) -> list[str]:
        if not self.site.by_deployment:
            return []
        # Else a message could say where its call goes.
        problems = [] if self.models else ["models: expected, since calls go to their deployments"]
        if self.api_version is None:
            problems.append("api_version: expected, since base_url does not end with /v1")
        if not all(map(is_deployment, self.models.values())):
            problems.append("models: expected deployments' names, 1 to 64 out of A-Z a-z 0-9 . _ -")
        return problems

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
            elif name in OWN_HEADERS:
                problems.append(f"extra_headers: {name} is set by Warren itself")
            elif not is_header_value(value):
                problems.append(f"extra_headers: the value of {name} is not printable ASCII")
        return problems

    def _number_problems(self) -> list[str]:
        above = (
            *("weight", "connect_timeout_s", "read_timeout_s", "max_response_bytes"),
            "max_concurrency",
        )
        least = ("requests_per_minute", "tokens_per_minute", "concurrency")
        return [
            *(f"{name}: expected more than 0" for name in above if not getattr(self, name) > 0),
            *(f"{name}: expected 0 or more" for name in least if not getattr(self, name) >= 0),
        ]


def is_deployment(name: str) -> bool:
    """Tell whether a name can be a deployment's, which stands in the path of its calls."""
    return _DEPLOYMENT.fullmatch(name) is not None


def is_header_value(text: str) -> bool:
    """Tell whether a text can stand in a header as it is: not empty, printable ASCII, no outer blanks."""
    return bool(text) and text.isascii() and text.isprintable() and text == text.strip()
