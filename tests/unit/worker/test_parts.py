from tests.unit.worker.upstream.fakes import HandClock, Memory
from worker.core.routing import DEFAULT, Policy
from worker.parts import upstream
from worker.settings import load

ENVIRONMENT = {
    "WARREN_BROKER__URL": "amqps://worker@rabbit.example/",
    "WARREN_TIERS__PREMIUM__ENDPOINTS": "main",
    "WARREN_TIERS__PREMIUM__ROUTING": "blend",
    "WARREN_TIERS__BUDGET__ENDPOINTS": "main",
    "WARREN_ENDPOINTS__MAIN__BASE_URL": "https://api.example/v1/",
}


async def test_every_tier_is_routed_as_it_is_configured() -> None:
    client = upstream(load(None, ENVIRONMENT), HandClock(), Memory())
    assert client._routing == {"premium": Policy.BLEND, "budget": DEFAULT}
    await client.aclose()
