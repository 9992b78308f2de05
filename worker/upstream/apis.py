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
    # Text completions are its "FIM" beta, below `/beta` alone: see `site`.
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
