import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NoReturn

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

from tests.contract.world import make_job
from tests.faults.vhost import ROOT
from worker.core.costs import Price
from worker.core.model import Usage
from worker.pricing import Prices

AT = datetime(2026, 11, 3, 12, tzinfo=UTC)
ENDPOINTS = {
    "openai": "https://api.openai.com/v1",
    "claude": "https://api.anthropic.com/v1",
    "azure": "https://ours.openai.azure.com/openai/v1",
    "gateway": "http://127.0.0.1:4000/v1",
}
USAGE = Usage(prompt_tokens=1000, completion_tokens=100, cached_tokens=200)
OWN = Price(input=Decimal(1), output=Decimal(1))
OWN_COST = Decimal("0.0011")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    tried: list[str] = []

    def refuse(*_: object, **__: object) -> NoReturn:
        tried.append("a socket")
        raise OSError("this test allows no network")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield tried
    assert not tried


# In a process of its own, so that the import counts too, and what it might start in another thread.
ALONE = """
import sys, threading
seen = []
sys.addaudithook(lambda event, _: event.startswith("socket.") and seen.append(event))
from datetime import UTC, datetime
from worker.core.model import Usage
from worker.pricing import Prices
prices = Prices({"openai": "https://api.openai.com/v1"}, {})
usage = Usage(prompt_tokens=10**6, completion_tokens=0)
for model in ("gpt-5-mini", "nobody-knows-this"):
    cost = prices(endpoint="openai", asked=model, answered=None, usage=usage, at=datetime.now(UTC))
    print(cost)
print(seen, threading.active_count())
"""


def test_neither_the_import_nor_a_price_opens_a_socket_or_starts_a_thread() -> None:
    command = [sys.executable, "-c", ALONE]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    assert done.stdout.split("\n") == ["0.25", "None", "[] 1", ""]


def price(
    asked: str,
    endpoint: str = "gateway",
    *,
    answered: str | None = None,
    usage: Usage | None = USAGE,
    at: datetime = AT,
    own: dict[str, Price] | None = None,
) -> Decimal | None:
    prices = Prices(ENDPOINTS, own or {})
    return prices(endpoint=endpoint, asked=asked, answered=answered, usage=usage, at=at)


@pytest.mark.parametrize("model", ["gpt-5", "gpt-5-mini", "gpt-5-nano", "gpt-5-mini-2025-08-07"])
@pytest.mark.parametrize("endpoint", ["openai", "azure", "gateway"])
@pytest.mark.usefixtures("no_network")
def test_the_models_of_the_examples_have_prices_without_any_network(
    model: str, endpoint: str
) -> None:
    found = price(model, endpoint)
    assert found is not None
    assert found > 0


def test_cached_tokens_are_cheaper_where_the_bundled_price_says_so() -> None:
    assert price("gpt-5-mini", "openai") == Decimal("0.000405")
    plain = Usage(prompt_tokens=1000, completion_tokens=100)
    assert price("gpt-5-mini", "openai", usage=plain) == Decimal("0.00045")


@pytest.mark.parametrize(
    ("asked", "endpoint"),
    [
        ("nobody-knows-this", "gateway"),
        ("nobody-knows-this", "openai"),
        ("claude-sonnet-4-5", "openai"),
        ("gpt-5-mini", "claude"),
        ("", "gateway"),
        ("sonar-deep-research", "gateway"),
        ("whisper-1", "openai"),
    ],
    ids=[
        *("an unknown model", "of a known provider", "not this provider's", "nor that one's"),
        *("no name", "priced by more than tokens", "priced by the hour"),
    ],
)
def test_an_unknown_price_is_none_and_not_zero(asked: str, endpoint: str) -> None:
    assert price(asked, endpoint) is None


def test_without_usage_the_cost_is_unknown_even_with_a_price_of_ones_own() -> None:
    assert price("gpt-5-mini", usage=None, own={"gpt-5-mini": OWN}) is None


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("gpt-5-mini", None),
        ("gpt-5-mini", "gpt-5-mini-2025-08-07"),
        ("gpt-5", "gpt-5-mini"),
        ("my-alias", "gpt-5-mini"),
    ],
)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_configured_price_of_either_name_goes_before_a_bundled_one(
    asked: str, answered: str | None, endpoint: str
) -> None:
    assert price(asked, endpoint, answered=answered, own={"gpt-5-mini": OWN}) == OWN_COST


def test_a_configured_price_of_the_answers_name_goes_first() -> None:
    free = Price(input=Decimal(0), output=Decimal(0))
    own = {"asked": OWN, "answered": free}
    assert price("asked", answered="answered", own=own) == 0


@pytest.mark.parametrize("priced", ["alias", "deployment-7", "answered"])
def test_a_configured_price_may_be_by_any_name_that_a_model_has(priced: str) -> None:
    prices = Prices(ENDPOINTS, {priced: OWN}, {"azure": {"alias": "deployment-7"}})
    asked = prices(endpoint="azure", asked="alias", answered="answered", usage=USAGE, at=AT)
    assert asked == OWN_COST
    elsewhere = prices(endpoint="openai", asked="alias", answered=None, usage=USAGE, at=AT)
    assert elsewhere == (OWN_COST if priced == "alias" else None)


def test_the_model_that_answered_is_priced_and_not_the_one_that_was_asked() -> None:
    assert price("gpt-5", "openai", answered="gpt-5-nano") == price("gpt-5-nano", "openai")
    assert price("gpt-5", "openai", answered="deployment-7") == price("gpt-5", "openai")


def test_a_price_that_changed_is_the_one_of_the_calls_time() -> None:
    (provider, model, change), *_ = changes()
    prices = Prices({}, {})
    prices._at["here"] = provider
    told = [
        prices(endpoint="here", asked=model.id, answered=None, usage=USAGE, at=change + span)
        for span in (timedelta(days=-1), timedelta(days=1))
    ]
    assert None not in told
    assert told[0] != told[1]


def test_a_price_by_the_time_of_day_is_the_one_of_the_calls_hour() -> None:
    hours = [AT.replace(hour=hour) for hour in range(24)]
    found = {price("deepseek-chat", at=at - timedelta(days=480)) for at in hours}
    assert len(found) == 2


def models() -> Iterator[tuple[Provider, ModelInfo]]:
    for provider in get_snapshot().providers:
        for model in provider.models:
            yield provider, model


def changes() -> Iterator[tuple[Provider, ModelInfo, datetime]]:
    """Give the dates on which a bundled price changed so that the call would cost another sum."""
    for provider, model in models():
        for start in starts(model):
            around = [start + timedelta(days=days) for days in (-1, 1)]
            simple = all(by_tokens_alone(model.get_prices(at)) for at in around)
            if simple and len({bundled(provider, model, at=at) for at in around}) == len(around):
                yield provider, model, start


def starts(model: ModelInfo) -> list[datetime]:
    if isinstance(model.prices, ModelPrice):
        return []
    dates = [getattr(each.constraint, "start_date", None) for each in model.prices]
    return [datetime(date.year, date.month, date.day, 12, tzinfo=UTC) for date in dates if date]


def bundled(provider: Provider, model: ModelInfo, *, at: datetime, usage: Usage = USAGE) -> Decimal:
    given = genai_prices.Usage(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cache_read_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
    )
    return model.calc_price(given, provider, genai_request_timestamp=at).total_price


def by_tokens_alone(price: ModelPrice) -> bool:
    both = price.input_mtok is not None and price.output_mtok is not None
    return both and price.requests_kcount is None and price.output_reasoning_mtok is None


@pytest.mark.usefixtures("no_network")
def test_every_bundled_price_by_tokens_gives_what_the_library_calculates() -> None:
    compared = 0
    for provider, model in models():
        # By the model's id, at an endpoint of its provider alone: the name may be another model's as well.
        found = next((each for each in provider.models if each.is_match(model.id)), None)
        if found is not model:
            continue
        prices = Prices({}, {})
        prices._at["here"] = provider
        for at in (
            AT,
            *(start + timedelta(days=days) for start in starts(model) for days in (-1, 1)),
        ):
            price = model.get_prices(at)
            if not by_tokens_alone(price):
                continue
            for usage in usages(price):
                expected = bundled(provider, model, at=at, usage=usage)
                told = prices(endpoint="here", asked=model.id, answered=None, usage=usage, at=at)
                assert told == expected, (provider.id, model.id, at, usage)
                compared += 1
    assert compared > 2000


def usages(price: ModelPrice) -> Iterator[Usage]:
    rates = (price.input_mtok, price.output_mtok, price.cache_read_mtok, price.cache_write_mtok)
    edges = {tier.start for rate in rates if isinstance(rate, TieredPrices) for tier in rate.tiers}
    for prompt in (1000, *edges, *(edge + 1 for edge in edges)):
        yield Usage(prompt_tokens=prompt, completion_tokens=0)
        yield Usage(
            prompt_tokens=prompt, completion_tokens=77, cached_tokens=12, cache_write_tokens=5
        )


def test_made_up_model_names_take_no_room() -> None:
    prices = Prices(ENDPOINTS, {})
    for number in range(2000):
        prices(endpoint="openai", asked=f"model {number}", answered=None, usage=USAGE, at=AT)
    assert prices._find.cache_info().currsize <= 1024
    snapshot = get_snapshot()
    assert not any("model 1" in str(key) for key in snapshot._lookup_cache)
    assert not any("model 1" in str(key) for key in snapshot._provider_misses)


def test_the_library_is_asked_once_for_each_endpoint_and_model() -> None:
    prices = Prices(ENDPOINTS, {})
    for _ in range(100):
        prices(endpoint="openai", asked="gpt-5-mini", answered=None, usage=USAGE, at=AT)
    kept = prices._find.cache_info()
    assert (kept.misses, kept.hits) == (1, 99)


def served(tier: str | None, prices: Prices | None = None) -> Decimal | None:
    """Give the cost of the same call as one service tier charges it."""
    usage = replace(USAGE, service_tier=tier)
    found = Prices(ENDPOINTS, {}) if prices is None else prices
    return found(endpoint="openai", asked="gpt-5-mini", answered=None, usage=usage, at=AT)


def test_a_service_tier_has_its_own_price() -> None:
    standard, flex, priority = served(None), served("flex"), served("priority")
    assert standard is not None
    assert flex is not None
    assert priority is not None
    assert flex < standard < priority
    assert {served("default"), served("standard")} == {standard}


def test_a_service_tier_that_nobody_knows_the_price_of_has_an_unknown_cost() -> None:
    assert served("scale") is None
    assert served("flex", Prices(ENDPOINTS, {"gpt-5-mini": OWN})) is None
    assert served("default", Prices(ENDPOINTS, {"gpt-5-mini": OWN})) == OWN_COST


def test_a_price_of_a_service_tier_that_is_not_in_force_yet_is_not_used() -> None:
    usage = replace(USAGE, service_tier="flex")
    found = Prices(ENDPOINTS, {})(
        endpoint="openai",
        asked="gpt-5-mini",
        answered=None,
        usage=usage,
        at=datetime(2025, 9, 1, tzinfo=UTC),
    )
    assert found is None


def test_every_bundled_price_of_a_service_tier_gives_what_the_library_calculates() -> None:
    compared = 0
    provider = next(each for each in get_snapshot().providers if each.id == "openai")
    for model in provider.models:
        for variant in model.price_variants or ():
            tier = variant.when.get("service_tier")
            if tier in {None, "default"}:
                continue
            usage = replace(USAGE, service_tier=tier)
            found = Prices(ENDPOINTS, {})(
                endpoint="openai", asked=model.id, answered=None, usage=usage, at=AT
            )
            if found is None:
                continue
            theirs = model.calc_price(
                genai_prices.Usage(input_tokens=1000, output_tokens=100, cache_read_tokens=200),
                provider,
                genai_request_timestamp=AT,
                price_context={"service_tier": str(tier)},
            )
            assert found == theirs.total_price, (model.id, tier)
            compared += 1
    assert compared > 50


def test_the_highest_cost_of_a_job_is_that_of_the_dearest_place() -> None:
    own = {"m": Price(input=Decimal(1), output=Decimal(10)), "n": OWN}
    job = replace(make_job(), model="gpt-5-mini", body=b'{"max_tokens": 1000000}')
    prices = Prices(ENDPOINTS, own)

    def highest(*places: tuple[str, str]) -> Decimal | None:
        return prices.highest(job, places, at=AT)

    bundled = highest(("openai", "gpt-5-mini"), ("gateway", "gpt-5-mini"))
    assert bundled is not None
    assert bundled > 2
    assert highest(("openai", "m"), ("openai", "n")) == 10 + Decimal("0.000023")
    assert highest(("openai", "m"), ("openai", "x")) is None
    assert highest(("openai", "gpt-5-mini"), ("claude", "gpt-5-mini")) is None
    assert highest() is None
