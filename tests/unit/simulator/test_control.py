import asyncio

import httpx
import pytest

from simulator import Simulator
from tests.unit.simulator.requests import CHAT, chat


async def test_a_script_is_put_in_force_and_healed(http1: httpx.AsyncClient) -> None:
    script = [{"match": {"contains": "poison"}, "plan": "400!"}]
    assert (await http1.put("/_sim/script", json=script)).json() == {"rules": 1}
    assert (await http1.post(CHAT, json=chat("poison"))).status_code == 400
    assert (await http1.post(CHAT, json=chat("bread"))).status_code == 200
    await http1.post("/_sim/heal")
    assert (await http1.post(CHAT, json=chat("poison"))).status_code == 200


async def test_reset_starts_plans_and_counts_again(http1: httpx.AsyncClient) -> None:
    asked = chat(user="sim:503")
    statuses = [(await http1.post(CHAT, json=asked)).status_code for _ in range(2)]
    await http1.post("/_sim/reset")
    assert (await http1.get("/_sim/stats")).json()["started"] == 0
    statuses.append((await http1.post(CHAT, json=asked)).status_code)
    assert statuses == [503, 200, 503]


async def test_chaos_and_latency_are_put_in_force(http1: httpx.AsyncClient) -> None:
    await http1.put("/_sim/chaos", json={"503": 1, "seed": 7})
    assert (await http1.post(CHAT, json=chat())).status_code == 503
    await http1.put("/_sim/chaos", json={})
    answer = await http1.put("/_sim/latency", json={"default": "fixed(0.01)", "gpt": "fixed(0)"})
    assert answer.json() == {"models": 1}
    assert (await http1.post(CHAT, json=chat())).status_code == 200


async def test_stats_count_calls_but_not_control_requests(
    sim: Simulator, http1: httpx.AsyncClient
) -> None:
    await http1.post(CHAT, json=chat())
    await http1.post(CHAT, json=chat(user="sim:503"))
    waiting = asyncio.create_task(http1.post(CHAT, json=chat(user="sim:hang")))
    await sim.wait_for(lambda calls: len(calls) == 3)
    stats = (await http1.get("/_sim/stats")).json()
    assert (stats["started"], stats["ended"], stats["in_flight"]) == (3, 2, 1)
    assert stats["max_in_flight"] == 1
    assert stats["by_status"] == {"200": 1, "503": 1}
    assert stats["by_model"] == {"gpt-small": 3}
    assert stats["connections"] == {"open": {"1.1": 2}, "total": {"1.1": 2}}
    waiting.cancel()
    await sim.wait_for(lambda calls: calls[2].over)
    assert (await http1.get("/_sim/stats")).json()["closed_by_client"] == 1
    assert len(sim.calls) == 3


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/_sim/script", "{}"),
        ("/_sim/script", "not json"),
        ("/_sim/script", '[{"plan": "nope"}]'),
        ("/_sim/chaos", '{"503": 2}'),
        ("/_sim/latency", "[]"),
        ("/_sim/latency", '{"default": "soon"}'),
    ],
)
async def test_a_wrong_setting_is_refused_and_says_why(
    http1: httpx.AsyncClient, path: str, body: str
) -> None:
    response = await http1.put(path, content=body)
    assert response.status_code == 400
    assert response.json()["error"]


async def test_an_unknown_control_path_names_the_known_ones(http1: httpx.AsyncClient) -> None:
    response = await http1.get("/_sim/heal")
    assert response.status_code == 404
    assert "POST /_sim/heal" in response.json()["error"]
