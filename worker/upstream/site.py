"""Where the calls to an endpoint go: its API at its base URL."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from worker.upstream.apis import APIS, Api, KeyHeader, api_at

# DeepSeek has text completions as a beta, below this path alone.
_BETA: Final = "/beta"
_BETA_PATHS: Final = ("/v1/chat/completions", "/v1/completions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One endpoint's API at its base URL: where a call goes.

    `api` None: found from the host. `paths` replace where its API has them; "" takes one away.
    `by_deployment`: Azure's older form, in which the path names the model's deployment, and the query the version.
    """

    base_url: str
    api: Api | None = None
    api_version: str | None = None
    paths: Mapping[str, str] | None = None
    key_header: KeyHeader | None = None

    @property
    def spoken(self) -> Api:
        """What the endpoint speaks."""
        return api_at(self.base_url) if self.api is None else self.api

    @property
    def by_deployment(self) -> bool:
        """Whether the path of a call names the model's deployment."""
        return self.spoken is Api.AZURE and not self._root.endswith("/v1")

    @property
    def is_rooted(self) -> bool:
        """Whether the base URL's path can be one of its API's, which is known at the API's own hosts alone."""
        known = api_at(self.base_url) is self.spoken is not Api.GENERIC
        return not known or self._root in APIS[self.spoken].roots

    def has(self, path: str) -> bool:
        """Tell whether the endpoint has one of the wire's paths."""
        given = (self.paths or {}).get(path)
        return path in self._own_paths if given is None else bool(given)

    def url(self, path: str, name: str) -> str:
        """Give the address of a call. `name` is the model's there.

        Raises:
            LookupError: the endpoint has no such path.
        """
        if not self.has(path):
            raise LookupError(path)
        below = (self.paths or {}).get(path) or path.removeprefix("/v1")
        deployment = f"/deployments/{name}" if self.by_deployment else ""
        return f"{self._top}{deployment}{below}{self._query}"

    def look(self) -> tuple[str, KeyHeader, Mapping[str, str]]:
        """Give where the list of models is, in which header that wants the key, and what other headers."""
        rules = APIS[self.spoken]
        header = self.key_header or rules.look_key or rules.key_header
        return f"{self._top}/models{self._query}", header, rules.look_headers or {}

    @property
    def sends_key_in(self) -> KeyHeader:
        """In which header the key of a call goes."""
        return self.key_header or APIS[self.spoken].key_header

    @property
    def _root(self) -> str:
        return urlsplit(self.base_url).path.rstrip("/")

    @property
    def _top(self) -> str:
        """What all paths of calls are below: Azure's older form may be given without its `/openai`."""
        base = self.base_url.rstrip("/")
        return f"{base}/openai" if self.by_deployment and not self._root else base

    @property
    def _own_paths(self) -> tuple[str, ...]:
        if self.spoken is Api.DEEPSEEK and self._root == _BETA:
            return _BETA_PATHS
        return APIS[self.spoken].paths

    @property
    def _query(self) -> str:
        return "" if self.api_version is None else f"?api-version={self.api_version}"


def key_header(header: KeyHeader, key: str) -> tuple[str, str]:
    """Give the name and value of the header that carries a key."""
    return ("authorization", f"Bearer {key}") if header == "bearer" else (header, key)
