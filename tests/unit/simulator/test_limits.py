"""Limits and storms as a client meets them, on a clock that the test moves."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from simulator import Limits, Simulator
from simulator.accounts import duration
from tests.unit.simulator.requests import CHAT, chat

SECOND_NS = 10**9


@dataclass(slots=True)
class Clock:
    ns: int = 0

    def __call__(self) -> int:
        return self.ns

    def forward(self, seconds: float) -> None:
        self.ns += round(seconds * SECOND_NS)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def sim(clock: Clock) -> AsyncIterator[Simulator]:
    async with Simulator(now_ns=clock) as simulator:
        yield simulator


def limits_told(response: httpx.Response) -> dict[str, str]:
    return {
        name.removeprefix("x-ratelimit-"): value
        for name, value in response.headers.items()
        if name.startswith("x-ratelimit-")
    }


async def test_every_accepted_answer_tells_what_is_left(
    sim: Simulator, http1: httpx.AsyncClient, clock: Clock
) -> None:
    sim.limit(requests=3, tokens=1000)
    first = await http1.post(CHAT, json=chat("a" * 400, max_tokens=50))
    clock.forward(1.5)
    failed = await http1.post(CHAT, json=chat("a" * 400, user="sim:503"))
    assert (first.status_code, failed.status_code) == (200, 503)
    assert limits_told(first) == {
        "limit-requests": "3",
        "remaining-requests": "2",
        "reset-requests": "1m0s",
        "limit-tokens": "1000",
        "remaining-tokens": str(1000 - 101),
        "reset-tokens": "1m0s",
    }
    used = first.json()["usage"]["total_tokens"]
    # The first one's usage counts by now, and the second as it came: 400 characters and the role.
    assert limits_told(failed)["remaining-requests"] == "1"
    assert limits_told(failed)["remaining-tokens"] == str(1000 - used - 101)


async def test_without_limits_no_header_tells_of_them(http1: httpx.AsyncClient) -> None:
    assert limits_told(await http1.post(CHAT, json=chat())) == {}


async def test_a_call_beyond_the_limit_gets_openais_429_and_is_let_in_when_it_says(
    sim: Simulator, http1: httpx.AsyncClient, clock: Clock
) -> None:
    sim.limit(requests=2)
    for _ in range(2):
        await http1.post(CHAT, json=chat())
        clock.forward(0.25)
    refused = await http1.post(CHAT, json=chat(user="sim:503"))
    assert refused.status_code == 429
    assert refused.json()["error"] == {
        "message": "Rate limit reached for gpt-small in organization org-simulated on requests per min (RPM): "
        "Limit 2, Used 2, Requested 1. Please try again in 59.5s.",
        "type": "requests",
        "param": None,
        "code": "rate_limit_exceeded",
    }
    assert refused.headers["retry-after"] == "60"
    assert refused.headers["retry-after-ms"] == "59500"
    assert limits_told(refused)["remaining-requests"] == "0"
    assert limits_told(refused)["reset-requests"] == "59.75s"
    clock.forward(59.499)
    assert (await http1.post(CHAT, json=chat())).status_code == 429
    clock.forward(0.001)
    # A refused call has consumed no plan either.
    assert (await http1.post(CHAT, json=chat(user="sim:503"))).status_code == 503
    assert [call.fault for call in sim.calls] == ["ok", "ok", *["limit(requests)"] * 2, "503"]


async def test_tokens_are_charged_by_what_is_asked_and_then_by_what_was_used(
    sim: Simulator, http1: httpx.AsyncClient
) -> None:
    sim.limit(tokens=1000)
    # Two choices of up to 450 tokens each are asked for, and far fewer are used.
    first = await http1.post(CHAT, json=chat(max_tokens=450, n=2))
    assert limits_told(first)["remaining-tokens"] == "100"
    used = first.json()["usage"]["total_tokens"]
    assert used < 100
    assert sim.calls[0].tokens == used
    refused = await http1.post(CHAT, json=chat(max_tokens=1000))
    assert refused.json()["error"]["type"] == "tokens"
    assert f"Limit 1000, Used {used}, Requested 1000" in refused.json()["error"]["message"]
    assert (await http1.post(CHAT, json=chat(max_tokens=1000 - used))).status_code == 200


async def test_a_call_larger_than_the_limit_is_told_no_time_to_come_again(
    sim: Simulator, http1: httpx.AsyncClient
) -> None:
    sim.limit(tokens=100)
    refused = await http1.post(CHAT, json=chat(max_completion_tokens=101))
    assert refused.status_code == 429
    assert "Request too large" in refused.json()["error"]["message"]
    assert "retry-after" not in refused.headers
    assert (await http1.post(CHAT, json=chat(max_completion_tokens=100))).status_code == 200


async def test_an_answer_that_was_spoilt_is_charged_as_the_model_used_it(
    sim: Simulator, http1: httpx.AsyncClient
) -> None:
    sim.limit(tokens=1000)
    await http1.post(CHAT, json=chat(user="sim:garbage", max_tokens=900))
    stats = (await http1.get("/_sim/stats")).json()
    (key,) = stats["keys"].values()
    assert key["limits"]["tokens"]["left"] == 1000 - (sim.calls[0].tokens or 0) > 900


async def test_each_key_has_limits_of_its_own_and_no_count_tells_a_key(
    sim: Simulator, http1: httpx.AsyncClient, clock: Clock
) -> None:
    sim.limit(requests=1)
    keys = [{"authorization": f"Bearer secret-{name}"} for name in "aab"]
    statuses = [(await http1.post(CHAT, json=chat(), headers=key)).status_code for key in keys]
    assert statuses == [200, 429, 200]
    clock.forward(60)
    assert (await http1.post(CHAT, json=chat(), headers=keys[0])).status_code == 200
    told = await http1.get("/_sim/stats")
    assert "secret" not in told.text
    counts = [
        (key["accepted"], key["refused"]["requests"], key["most_in_a_minute"]["requests"])
        for key in told.json()["keys"].values()
    ]
    assert sorted(counts) == [(1, 0, 1), (2, 1, 1)]


async def test_reset_lets_counts_begin_again_but_gives_no_minute_back(
    sim: Simulator, http1: httpx.AsyncClient
) -> None:
    sim.limit(requests=1)
    await http1.post(CHAT, json=chat())
    await http1.post("/_sim/reset")
    assert (await http1.post(CHAT, json=chat())).status_code == 429
    (key,) = (await http1.get("/_sim/stats")).json()["keys"].values()
    assert (key["accepted"], key["refused"]["requests"]) == (0, 1)


async def test_limits_are_put_in_force_and_taken_away_while_it_runs(
    http1: httpx.AsyncClient,
) -> None:
    told = await http1.put("/_sim/limits", json={"requests": 1})
    assert told.json() == {"limited": True}
    statuses = [(await http1.post(CHAT, json=chat())).status_code for _ in range(2)]
    told = await http1.put("/_sim/limits", json={})
    assert told.json() == {"limited": False}
    statuses.append((await http1.post(CHAT, json=chat())).status_code)
    assert statuses == [200, 429, 200]
    assert (await http1.get("/_sim/stats")).json()["keys"] == {}


async def test_the_constructor_limits_from_the_start(clock: Clock) -> None:
    async with (
        Simulator(limits=Limits(requests=1), now_ns=clock) as sim,
        httpx.AsyncClient(base_url=sim.url, trust_env=False) as client,
    ):
        statuses = [(await client.post(CHAT, json=chat())).status_code for _ in range(2)]
    assert statuses == [200, 429]


async def test_a_storm_comes_over_every_call_and_ends_by_itself(
    http1: httpx.AsyncClient, clock: Clock
) -> None:
    await http1.put("/_sim/limits", json={"requests": 2})
    told = await http1.put("/_sim/storm", json={"503": 1, "for_s": 60})
    assert told.json() == {"faults": 1}
    planned = chat(user="sim:400")
    statuses = [(await http1.post(CHAT, json=planned)).status_code for _ in range(5)]
    clock.forward(59.999)
    statuses.append((await http1.post(CHAT, json=planned)).status_code)
    assert statuses == [503] * 6
    clock.forward(0.001)
    # Neither the plan nor the limit was used up.
    statuses = [(await http1.post(CHAT, json=planned)).status_code for _ in range(3)]
    assert statuses == [400, 200, 429]


async def test_healing_ends_a_storm(sim: Simulator, http1: httpx.AsyncClient) -> None:
    sim.storm({"503": 1}, for_s=60)
    assert (await http1.post(CHAT, json=chat())).status_code == 503
    await http1.post("/_sim/heal")
    assert (await http1.post(CHAT, json=chat())).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/_sim/limits", "[]"),
        ("/_sim/limits", '{"requests": 0}'),
        ("/_sim/limits", '{"request": 1}'),
        ("/_sim/storm", "[]"),
        ("/_sim/storm", '{"503": 1}'),
        ("/_sim/storm", '{"503": 1, "for_s": -1}'),
        ("/_sim/storm", '{"503": 2, "for_s": 1}'),
    ],
)
async def test_wrong_limits_and_storms_are_refused_and_say_why(
    http1: httpx.AsyncClient, path: str, body: str
) -> None:
    response = await http1.put(path, content=body)
    assert response.status_code == 400
    assert response.json()["error"]


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"),
        (1, "1ms"),
        (17 * 10**6, "17ms"),
        (999_000_001, "1s"),
        (8_640 * 10**6, "8.64s"),
        (59_999 * 10**6, "59.999s"),
        (60 * SECOND_NS, "1m0s"),
        (60 * SECOND_NS + 1, "1m0.001s"),
        (360 * SECOND_NS, "6m0s"),
    ],
)
def test_durations_are_written_as_go_writes_them(ns: int, text: str) -> None:
    assert duration(ns) == text
