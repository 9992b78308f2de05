"""What an endpoint and its tier may be set to, and what each wrong setting is told."""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.unit.worker.settings_samples import MINIMAL, Folder, having
from worker.cli.doctor.reach import most_calls
from worker.parts import endpoint_spec, tier_spec
from worker.settings import describe
from worker.upstream.apis import Api

AZURE = MINIMAL.replace("https://api.example/v1", "https://mine.openai.azure.com")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def azure(*lines: str) -> str:
    return AZURE + "".join(f"{line}\n" for line in lines)


def spare(*lines: str) -> str:
    """Give a second endpoint of the tier."""
    both = MINIMAL.replace('["main"]', '["main", "spare"]')
    return both + "".join(
        f"{line}\n" for line in ("[endpoints.spare]", 'base_url = "https://b.example/v1"', *lines)
    )


TABLE: list[tuple[str, str]] = [
    (
        having("endpoints.main", 'api_version = "2024-10-21"'),
        (
            "endpoints.main.api_version = 2024-10-21: only azure has versions, and this is generic;"
            ' take it away, or set endpoints.main.api = "azure"'
        ),
    ),
    (
        azure('models = ["mine"]'),
        "endpoints.main.api_version is missing: endpoints.main.base_url does not end with /v1",
    ),
    (azure('api_version = "2024-10-21"'), "endpoints.main.models is missing: endpoints.main"),
    (
        azure('api_version = "2024-10-21"', 'models = {"a" = "../b"}'),
        'endpoints.main.models: "../b" is no name of a deployment',
    ),
    (
        having("endpoints.main", 'api = "azure"', 'models = ["a"]').replace("/v1", "/openai"),
        "endpoints.main.api_version is missing",
    ),
    (
        MINIMAL.replace("api.example/v1", "api.openai.com"),
        (
            "endpoints.main.base_url = https://api.openai.com: the path of openai is /v1; if it is"
            ' right as it is, set endpoints.main.api = "generic"'
        ),
    ),
    (
        MINIMAL.replace("api.example/v1", "api.deepseek.com/v2"),
        "the path of deepseek is / or /v1 or /beta",
    ),
    (
        having("endpoints.main", "concurrency = 4", "max_concurrency = 8"),
        (
            "endpoints.main.max_concurrency = 8 is for an endpoint whose concurrency is not known, and"
            " endpoints.main.concurrency = 4: keep one"
        ),
    ),
    (
        spare('account = "main"', "requests_per_minute = 600"),
        (
            "endpoints.spare.requests_per_minute = 600 must be endpoints.main.requests_per_minute = 0:"
            ' both are of the account "main"'
        ),
    ),
    (
        having("endpoints.main", 'models = ["a"]').replace(
            '["main"]', '["main"]\nfallback_models = ["a", "b"]'
        ),
        'tiers.premium.fallback_models: no endpoint of the tier serves "b": add it to the models of one',
    ),
    (
        having("tiers.premium", 'fallback_models = ["a", "a"]'),
        'tiers.premium.fallback_models: "a" stands there twice',
    ),
    (
        having("tiers.premium", 'hedge_after = "2m"'),
        "tiers.premium.hedge_after = 2m must be shorter than its attempt_timeout = 2m",
    ),
    (
        having("tiers.premium", "hedge_share = 0.1"),
        "tiers.premium.hedge_share (PLACE) is a share of nothing: set tiers.premium.hedge_after",
    ),
]


@pytest.mark.parametrize(("text", "part"), TABLE, ids=[part[:60] for _, part in TABLE])
def test_a_rule_between_an_endpoints_settings_that_does_not_hold_is_told(
    folder: Folder, text: str, part: str
) -> None:
    problems = folder.problems(text)
    assert len(problems) == 1, problems
    assert part.replace("PLACE", str(folder.config)) in problems[0]


@pytest.mark.parametrize(
    ("section", "line", "expectation"),
    [
        ("retry", "budget_share = 1.5", "must be between 0 and 1"),
        ("retry", "budget_share = nan", "must be between 0 and 1"),
        ("tiers.premium", "fallback_models = [5]", "must be a valid string"),
        ("tiers.premium", 'fallback_models = [""]', "at least 1 character"),
        ("tiers.premium", 'hedge_after = "1ms"', "must be between 10ms and 1d"),
        ("tiers.premium", "hedge_share = 0", "must be between 0.001 and 1"),
        ("endpoints.main", 'api = "bedrock"', "must be one of openai, azure, gemini"),
        ("endpoints.main", 'api_version = "1&x=y"', "match pattern"),
        ("endpoints.main", 'key_header = "cookie"', "must be 'bearer', 'api-key' or 'x-api-key'"),
        ("endpoints.main", "models = 5", "must be a list of models, or a table"),
        ("endpoints.main", "models = [1]", "must be a list of strings"),
        ("endpoints.main", 'models = ["a", "a"]', "must name each model once"),
        ("endpoints.main", 'models = ["a\\n"]', "names of models"),
        ("endpoints.main", 'models = {a = ""}', "names of models"),
        ("endpoints.main", "models = {a = 1}", "must be a valid string"),
        ("endpoints.main", 'paths = {"/v2/chat" = "/chat"}', "must have no paths but /v1/chat"),
        ("endpoints.main", 'paths = {"/v1/embeddings" = "embed"}', "must lead to paths such as"),
        ("endpoints.main", 'paths = {"/v1/embeddings" = "/e?x"}', "must lead to paths such as"),
        ("endpoints.main", 'account = "A B"', "match pattern"),
        ("endpoints.main", "requests_per_minute = -1", "must be between 0 and"),
        ("endpoints.main", "requests_per_minute = 0.5", "must be a valid integer"),
        ("endpoints.main", "tokens_per_minute = -1", "must be between 0 and"),
        ("endpoints.main", "concurrency = -1", "must be between 0 and 20000"),
        ("endpoints.main", "max_concurrency = 0", "must be between 1 and 20000"),
    ],
)
def test_a_value_outside_its_rule_is_told_with_the_rule(
    folder: Folder, section: str, line: str, expectation: str
) -> None:
    (problem,) = folder.problems(having(section, line))
    assert problem.startswith(f"{section}.{line.partition(' =')[0]} = ")
    assert expectation in problem


def test_every_problem_of_every_endpoint_and_tier_is_told_at_once(folder: Folder) -> None:
    problems = folder.problems(
        MINIMAL.replace('["main"]', '["main", "old"]\nfallback_models = ["b"]')
        + 'models = ["a"]\napi_version = "2024-10-21"\nrequests_per_minute = -1\n'
        + '[endpoints.old]\nbase_url = "https://mine.openai.azure.com/openai"\n'
    )
    told = sorted(problem.partition(" ")[0].rstrip(":") for problem in problems)
    assert told == [
        "endpoints.main.api_version",
        "endpoints.main.requests_per_minute",
        "endpoints.old.api_version",
        "endpoints.old.models",
    ]  # `old` has no models yet, so nobody can say that it does not serve "b"


@pytest.mark.parametrize(
    "text",
    [
        MINIMAL.replace("api.example/v1", "api.openai.com/v1"),
        MINIMAL.replace("api.example/v1", "api.deepseek.com"),
        MINIMAL.replace("api.example/v1", "mine.openai.azure.com/openai/v1"),
        MINIMAL.replace("api.example/v1", "mine.openai.azure.com/openai/v1")
        + 'api_version = "preview"\n',
        azure('api_version = "2024-10-21"', 'models = ["mine"]'),
        MINIMAL.replace("api.example/v1", "api.openai.com/v9") + 'api = "generic"\n',
        having("endpoints.main", 'api = "openai"').replace("/v1", "/proxy"),
        # Two endpoints that serve no model in common: each model has its own.
        spare('models = ["b"]').replace("[endpoints.spare]", 'models = ["a"]\n[endpoints.spare]'),
        spare('models = ["b"]').replace('"spare"]', '"spare"]\nfallback_models = ["b"]'),
        having("tiers.premium", 'fallback_models = ["anything"]'),
        having("tiers.premium", 'hedge_after = "1s"', "hedge_share = 0.1"),
    ],
)
def test_what_keeps_the_rules_loads(folder: Folder, text: str) -> None:
    assert folder.problems(text) == ()


def test_values_come_to_the_endpoint_and_the_tier_as_they_were_set(folder: Folder) -> None:
    settings = folder.load(
        having(
            "tiers.premium",
            'fallback_models = ["small"]',
            'hedge_after = "1500ms"',
            "hedge_share = 0.1",
        )
        + 'models = { "large" = "its-large", "small" = "small" }\n'
        + 'paths = { "/v1/embeddings" = "/embed", "/v1/completions" = "" }\n'
        + 'api = "vllm"\nkey_header = "x-api-key"\naccount = "shared"\nrequests_per_minute = 600\n'
        + 'tokens_per_minute = 90000\nmax_concurrency = 12\nheaders = { "X-Team" = "blue" }\n'
    )
    spec = endpoint_spec(settings.endpoints["main"])
    assert (spec.api, spec.key_header, spec.account) == (Api.VLLM, "x-api-key", "shared")
    assert (spec.requests_per_minute, spec.tokens_per_minute) == (600, 90_000)
    assert (spec.concurrency, spec.max_concurrency) == (0, 12)
    assert (spec.serves("large"), spec.serves("small"), spec.serves("other")) == (
        "its-large",
        "small",
        None,
    )
    assert spec.url("/v1/embeddings", "small") == "https://api.example/v1/embed"
    assert not spec.site.has("/v1/completions")
    assert spec.extra_headers == {"x-team": "blue"}
    tier = tier_spec(settings.tiers["premium"])
    assert (tier.fallback_models, tier.hedge_after_s, tier.hedge_share) == (("small",), 1.5, 0.1)


def test_every_header_that_the_settings_allow_can_be_sent(folder: Folder) -> None:
    """Whatever the settings let through must not stop the worker later."""
    names = ("X-Team", "x_team", "OpenAI-Organization", "anthropic-version", "X.Y~Z")
    table = ", ".join(f'"{name}" = "x"' for name in names)
    settings = folder.load(having("endpoints.main", f"headers = {{ {table} }}"))
    spec = endpoint_spec(settings.endpoints["main"])
    assert set(spec.extra_headers) == {name.lower() for name in names}


def test_an_endpoint_has_an_account_of_its_own_and_serves_every_model_by_default(
    folder: Folder,
) -> None:
    spec = endpoint_spec(folder.load().endpoints["main"])
    assert spec.account == "main"
    assert spec.serves("anything") == "anything"


@pytest.mark.parametrize(
    ("variable", "models"),
    [
        ("a, b", {"a": "a", "b": "b"}),
        ('["a"]', {"a": "a"}),
        ('{ "a" = "its-a" }', {"a": "its-a"}),
    ],
)
def test_models_can_stand_in_a_variable(
    folder: Folder, variable: str, models: dict[str, str]
) -> None:
    settings = folder.load(environ={"WARREN_ENDPOINTS__MAIN__MODELS": variable})
    assert settings.endpoints["main"].models == models


def test_models_and_paths_are_shown_and_headers_are_not(folder: Folder) -> None:
    settings = folder.load(
        having(
            "endpoints.main", 'models = {a = "its-a", b = "b"}', 'headers = {"X-Team" = "sesame"}'
        )
    )
    shown = {row.path: row.value for row in describe(settings)}
    assert shown["endpoints.main.models"] == "a: its-a, b"
    assert "sesame" not in shown["endpoints.main.headers"]


def test_a_limit_that_nothing_can_reach_is_a_warning(folder: Folder) -> None:
    settings = folder.load(having("endpoints.main", "concurrency = 21"))
    assert settings.warnings == (
        "endpoints.main.concurrency = 21 is never reached: its tiers have at most 20 jobs at once",
    )
    assert folder.load(having("endpoints.main", "concurrency = 20")).warnings == ()


@pytest.mark.parametrize(
    ("line", "most"), [("", 20), ("concurrency = 5", 5), ("max_concurrency = 7", 7)]
)
def test_the_doctor_looks_for_as_many_calls_as_there_can_be(
    folder: Folder, line: str, most: int
) -> None:
    settings = folder.load(having("endpoints.main", line))
    assert most_calls(settings, settings.endpoints["main"]) == most


def test_an_api_that_is_not_its_hosts_own_is_a_warning(folder: Folder) -> None:
    settings = folder.load(
        having("endpoints.main", 'api = "vllm"').replace("api.example", "api.openai.com")
    )
    assert settings.warnings == ('endpoints.main.api = vllm, and its host speaks "openai"',)


def test_a_hedge_starts_when_it_is_told(folder: Folder) -> None:
    assert folder.load().tiers["premium"].hedge_after is None
    loaded = folder.load(having("tiers.premium", 'hedge_after = "250ms"'))
    assert loaded.tiers["premium"].hedge_after == timedelta(milliseconds=250)
