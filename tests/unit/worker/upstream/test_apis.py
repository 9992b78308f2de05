import pytest

from producer_sdk.wire import PATHS
from worker.upstream.apis import APIS, Api, KeyHeader, api_at
from worker.upstream.site import Site, key_header

CHAT, TEXT, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"


@pytest.mark.parametrize(
    ("base_url", "api", "chat", "others"),
    [
        (
            "https://api.openai.com/v1",
            Api.OPENAI,
            "https://api.openai.com/v1/chat/completions",
            (TEXT, EMBEDDINGS),
        ),
        (
            "https://eu.api.openai.com/v1/",
            Api.OPENAI,
            "https://eu.api.openai.com/v1/chat/completions",
            (TEXT, EMBEDDINGS),
        ),
        (
            "https://ours.openai.azure.com/openai/v1",
            Api.AZURE,
            "https://ours.openai.azure.com/openai/v1/chat/completions",
            (TEXT, EMBEDDINGS),
        ),
        (
            "https://ours.services.ai.azure.com/openai/v1/",
            Api.AZURE,
            "https://ours.services.ai.azure.com/openai/v1/chat/completions",
            (TEXT, EMBEDDINGS),
        ),
        (
            "https://ours.openai.azure.com",
            Api.AZURE,
            "https://ours.openai.azure.com/openai/deployments/m/chat/completions",
            (TEXT, EMBEDDINGS),
        ),
        (
            "https://ours.openai.azure.com/openai",
            Api.AZURE,
            "https://ours.openai.azure.com/openai/deployments/m/chat/completions",
            (TEXT, EMBEDDINGS),
        ),
        (
            "https://generativelanguage.googleapis.com/v1beta/openai",
            Api.GEMINI,
            "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions",
            (EMBEDDINGS,),
        ),
        (
            "https://api.anthropic.com/v1/",
            Api.ANTHROPIC,
            "https://api.anthropic.com/v1/chat/completions",
            (),
        ),
        (
            "https://api.deepseek.com",
            Api.DEEPSEEK,
            "https://api.deepseek.com/chat/completions",
            (),
        ),
        (
            "https://api.deepseek.com/v1",
            Api.DEEPSEEK,
            "https://api.deepseek.com/v1/chat/completions",
            (),
        ),
        (
            "https://api.deepseek.com/beta",
            Api.DEEPSEEK,
            "https://api.deepseek.com/beta/chat/completions",
            (TEXT,),
        ),
        (
            "https://api.mistral.ai/v1",
            Api.MISTRAL,
            "https://api.mistral.ai/v1/chat/completions",
            (EMBEDDINGS,),
        ),
        (
            "https://api.groq.com/openai/v1",
            Api.GROQ,
            "https://api.groq.com/openai/v1/chat/completions",
            (),
        ),
        (
            "https://openrouter.ai/api/v1",
            Api.OPENROUTER,
            "https://openrouter.ai/api/v1/chat/completions",
            (TEXT, EMBEDDINGS),
        ),
        (
            "https://api.together.xyz/v1",
            Api.TOGETHER,
            "https://api.together.xyz/v1/chat/completions",
            (TEXT, EMBEDDINGS),
        ),
        (
            "https://gateway.example/llm",
            Api.GENERIC,
            "https://gateway.example/llm/chat/completions",
            (TEXT, EMBEDDINGS),
        ),
    ],
)
def test_an_api_is_known_by_its_host_and_has_its_own_paths(
    base_url: str, api: Api, chat: str, others: tuple[str, ...]
) -> None:
    site = Site(base_url=base_url)
    assert site.spoken is api
    assert site.is_rooted
    assert site.url(CHAT, "m") == chat
    assert {path for path in PATHS if site.has(path)} == {CHAT, *others}
    for path in others:
        assert site.url(path, "m") == chat.replace("/chat/completions", path.removeprefix("/v1"))


@pytest.mark.parametrize(
    "base_url",
    [
        "https://api.openai.com.evil.test/v1",
        "https://evil-api.openai.com/v1",
        "https://openai.azure.com/openai/v1",
        "https://notapi.deepseek.com",
        "http://127.0.0.1:8000/v1",
    ],
)
def test_a_host_that_only_looks_like_an_apis_is_none_of_its(base_url: str) -> None:
    assert api_at(base_url) is Api.GENERIC


def test_every_api_has_a_row_with_its_source() -> None:
    assert set(APIS) == set(Api)
    assert all(rules.source.startswith("https://") for rules in APIS.values())
    hosts = [host for rules in APIS.values() for host in rules.hosts]
    assert len(set(hosts)) == len(hosts)


def test_a_path_that_an_api_does_not_have_has_no_address() -> None:
    with pytest.raises(LookupError):
        Site(base_url="https://api.anthropic.com/v1").url(EMBEDDINGS, "m")


def test_configured_paths_go_before_the_apis_own() -> None:
    site = Site(
        base_url="https://api.anthropic.com/v1",
        paths={EMBEDDINGS: "/embed", CHAT: ""},
    )
    assert site.url(EMBEDDINGS, "m") == "https://api.anthropic.com/v1/embed"
    assert not site.has(CHAT)


def test_a_gateway_can_speak_azures_older_form_below_a_path_of_its_own() -> None:
    site = Site(base_url="https://gw.example/a/openai", api=Api.AZURE, api_version="2024-10-21")
    assert site.url(CHAT, "m") == (
        "https://gw.example/a/openai/deployments/m/chat/completions?api-version=2024-10-21"
    )


def test_a_version_goes_along_with_azures_newer_form_too() -> None:
    site = Site(base_url="https://o.openai.azure.com/openai/v1", api_version="preview")
    assert site.url(CHAT, "m") == (
        "https://o.openai.azure.com/openai/v1/chat/completions?api-version=preview"
    )


@pytest.mark.parametrize(
    ("base_url", "given", "header"),
    [
        ("https://api.openai.com/v1", None, ("authorization", "Bearer k")),
        ("https://o.openai.azure.com/openai/v1", None, ("api-key", "k")),
        ("https://o.openai.azure.com/openai/v1", "bearer", ("authorization", "Bearer k")),
        ("https://api.anthropic.com/v1", None, ("authorization", "Bearer k")),
        ("https://gateway.example/v1", "x-api-key", ("x-api-key", "k")),
    ],
)
def test_the_key_goes_where_its_api_wants_it(
    base_url: str, given: KeyHeader | None, header: tuple[str, str]
) -> None:
    site = Site(base_url=base_url, key_header=given)
    assert key_header(site.sends_key_in, "k") == header


@pytest.mark.parametrize(
    ("base_url", "version", "url", "header"),
    [
        ("https://api.openai.com/v1", None, "https://api.openai.com/v1/models", "bearer"),
        ("https://api.deepseek.com", None, "https://api.deepseek.com/models", "bearer"),
        (
            "https://o.openai.azure.com",
            "2024-10-21",
            "https://o.openai.azure.com/openai/models?api-version=2024-10-21",
            "api-key",
        ),
        (
            "https://api.anthropic.com/v1",
            None,
            "https://api.anthropic.com/v1/models",
            "x-api-key",
        ),
    ],
)
def test_the_list_of_models_is_asked_for_where_the_api_has_it(
    base_url: str, version: str | None, url: str, header: str
) -> None:
    assert Site(base_url=base_url, api_version=version).look()[:2] == (url, header)
