from pathlib import Path

from tests.unit.worker.settings_samples import Folder, having
from tests.unit.worker.upstream.fakes import HandClock, Memory
from worker import parts
from worker.core.events import Counted, LimitSeen
from worker.core.routing import DEFAULT, Policy
from worker.ownlimits import OwnLimits
from worker.settings import load

ENVIRONMENT = {
    "WARREN_BROKER__URL": "amqps://worker@rabbit.example/",
    "WARREN_TIERS__PREMIUM__ENDPOINTS": "main",
    "WARREN_TIERS__PREMIUM__ROUTING": "blend",
    "WARREN_TIERS__BUDGET__ENDPOINTS": "main",
    "WARREN_ENDPOINTS__MAIN__BASE_URL": "https://api.example/v1/",
}


def test_metrics_know_the_models_that_the_configuration_names(tmp_path: Path) -> None:
    settings = Folder(tmp_path).load(having('prices."gpt-x/1"', "input = 1", "output = 2"))
    assert parts.models_named(settings) == {"main": ("gpt-x/1",)}


def test_a_configuration_that_names_no_model_has_none(tmp_path: Path) -> None:
    assert parts.models_named(Folder(tmp_path).load()) == {"main": ()}


async def test_every_tier_is_routed_as_it_is_configured() -> None:
    clock = HandClock()
    settings = load(None, ENVIRONMENT)
    client = parts.upstream(settings, clock, Memory(), limits=OwnLimits(clock))
    routing = {name: pool.routing for name, pool in client.pools.items()}
    assert routing == {"premium": Policy.BLEND, "budget": DEFAULT}
    await client.aclose()


def test_an_endpoint_that_lists_its_models_has_these_alone(tmp_path: Path) -> None:
    text = having("endpoints.main", 'models = { small = "small-2026", large = "large" }')
    price = '\n[prices."gpt-x/1"]\ninput = 1\noutput = 2\n'
    assert parts.models_named(Folder(tmp_path).load(text + price)) == {"main": ("small", "large")}


def test_a_configured_limit_is_told_and_no_other(tmp_path: Path) -> None:
    settings = Folder(tmp_path).load(having("endpoints.main", "tokens_per_minute = 9000"))
    told = Memory()
    parts.tell_limits(settings, told)
    assert told.events == [LimitSeen(endpoint="main", what=Counted.TOKENS, limit=9000, left=None)]
