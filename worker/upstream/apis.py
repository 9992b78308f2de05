"""The APIs that are known: where each has what OpenAI's API has, and how it wants its key.

Each row tells where that is documented. No row was tried on the provider's own server; what is documented and what
follows from it stands in `docs/endpoints.md`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from producer_sdk.wire import PATHS

KeyHeader: TypeAlias = Literal["bearer", "api-key", "x-api-key"]

_CHAT: Final = "/v1/chat/completions"
_TEXT: Final = "/v1/completions"
_EMBEDDINGS: Final = "/v1/embeddings"


class Api(StrEnum):
    """What an endpoint speaks. `GENERIC` is OpenAI's API anywhere: a gateway, a server of one's own."""

    OPENAI = "openai"
    AZURE = "azure"
    GEMINI = "gemini"
    ANTHROPIC = "anthropic"
    DEEPSEEK = "deepseek"
    MISTRAL = "mistral"
    GROQ = "groq"
    OPENROUTER = "openrouter"
    TOGETHER = "together"
    VLLM = "vllm"
    GENERIC = "generic"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRules:
    """One API's row.

    `hosts` are its own, by name or, with a leading dot, by what their names end with. `roots` are the paths that
    a base URL at such a host can have. `paths` are those of the wire's that it has. `look_key` and `look_headers`
    are what asking for its list of models takes, where that differs from a call.
    """

    source: str
    hosts: tuple[str, ...] = ()
    roots: tuple[str, ...] = ("/v1",)
    paths: tuple[str, ...] = PATHS
    key_header: KeyHeader = "bearer"
    look_key: KeyHeader | None = None
    look_headers: Mapping[str, str] | None = None


APIS: Final[Mapping[Api, ApiRules]] = {
    # Regional hosts are for projects whose data stay in a region.
    Api.OPENAI: ApiRules(
        source="https://platform.openai.com/docs/api-reference",
        hosts=("api.openai.com", ".api.openai.com"),
    ),
    # `/openai/v1` is the v1 API, which needs no version; the older form has the deployment in its path instead.
    Api.AZURE: ApiRules(
        source="https://learn.microsoft.com/azure/foundry/openai/api-version-lifecycle",
        hosts=(
            ".openai.azure.com",
            ".openai.azure.us",
            ".cognitiveservices.azure.com",
            ".services.ai.azure.com",
        ),
        roots=("/openai/v1", "/openai", ""),
        key_header="api-key",
    ),
    Api.GEMINI: ApiRules(
        source="https://ai.google.dev/gemini-api/docs/openai",
        hosts=("generativelanguage.googleapis.com",),
        roots=("/v1beta/openai",),
        paths=(_CHAT, _EMBEDDINGS),
    ),
    # The layer has chat completions alone. The list of models is of the provider's own API, with its own headers.
    Api.ANTHROPIC: ApiRules(
        source="https://platform.claude.com/docs/en/cli-sdks-libraries/libraries/openai-sdk",
        hosts=("api.anthropic.com",),
        paths=(_CHAT,),
        look_key="x-api-key",
        look_headers={"anthropic-version": "2023-06-01"},
    ),
    # Text completions are its "FIM" beta, below `/beta` alone: see `Site`.
    Api.DEEPSEEK: ApiRules(
        source="https://api-docs.deepseek.com/",
        hosts=("api.deepseek.com",),
        roots=("", "/v1", "/beta"),
        paths=(_CHAT,),
    ),
    Api.MISTRAL: ApiRules(
        source="https://docs.mistral.ai/api/",
        hosts=("api.mistral.ai",),
        paths=(_CHAT, _EMBEDDINGS),
    ),
    Api.GROQ: ApiRules(
        source="https://console.groq.com/docs/openai",
        hosts=("api.groq.com",),
        roots=("/openai/v1",),
        paths=(_CHAT,),
    ),
    Api.OPENROUTER: ApiRules(
        source="https://openrouter.ai/docs/api-reference/overview",
        hosts=("openrouter.ai",),
        roots=("/api/v1",),
    ),
    Api.TOGETHER: ApiRules(
        source="https://docs.together.ai/docs/inference/openai-compatibility",
        hosts=("api.together.ai", "api.together.xyz"),
    ),
    # Wherever it runs. Which of the paths a server has depends on its model.
    Api.VLLM: ApiRules(source="https://docs.vllm.ai/en/latest/serving/openai_compatible_server/"),
    Api.GENERIC: ApiRules(source="https://platform.openai.com/docs/api-reference"),
}


def api_at(base_url: str) -> Api:
    """Give the API whose own host a base URL names, else `GENERIC`."""
    host = (urlsplit(base_url).hostname or "").rstrip(".")
    for api, rules in APIS.items():
        if any(host.endswith(own) if own.startswith(".") else host == own for own in rules.hosts):
            return api
    return Api.GENERIC


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
        if self.spoken is Api.DEEPSEEK and self._root == "/beta":
            return (_CHAT, _TEXT)
        return APIS[self.spoken].paths

    @property
    def _query(self) -> str:
        return "" if self.api_version is None else f"?api-version={self.api_version}"


def key_header(header: KeyHeader, key: str) -> tuple[str, str]:
    """Give the name and value of the header that carries a key."""
    return ("authorization", f"Bearer {key}") if header == "bearer" else (header, key)
