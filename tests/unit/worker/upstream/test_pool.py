"""A client over several endpoints: who can answer, whose limits have room, and what a call's end changes."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import httpx
import pytest

from tests.unit.worker.upstream.fakes import HandClock, Memory, always, job
from worker.core.costs import unpriced
from worker.core.events import CallEnded, CircuitChanged, LimitSeen, RetryDenied, SeatRefused
from worker.core.kinds import Kind
from worker.core.limits import Charge, Full, Taken
from worker.core.model import Attempted, Completed, Failed, Job, Usage
from worker.core.quick import TryPolicy
from worker.core.retrybudget import BudgetPolicy
from worker.core.routing import Policy
from worker.core.seats import NoSeat, Obstacle, Seat, Unready
from worker.errors import StoreUnavailable
from worker.ownlimits import OwnLimits
from worker.ports import OUT_OF_TIME, Limits, Pricing
from worker.upstream.client import UpstreamClient
from worker.upstream.endpoint import Endpoint
from worker.upstream.spec import EndpointSpec
from worker.upstream.tier import TierSpec

USAGE = {"prompt_tokens": 60, "completion_tokens": 40, "total_tokens": 100}
JOB = job()


class Upstream(httpx.AsyncBaseTransport):
    """An endpoint that answers with `status`; closed, it lets calls wait at its gate."""

    def __init__(self, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.headers = status, dict(headers or {})
        self.bodies: list[dict[str, object]] = []
        self.gate, self.arrived = asyncio.Event(), asyncio.Event()
        self.gate.set()
        self.left = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(json.loads(request.content))
        self.arrived.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.left += 1
            raise
        answer = {"choices": [{}], "usage": USAGE} if self.status == httpx.codes.OK else {}
        return httpx.Response(self.status, headers=self.headers, json=answer)


class Bench:
    """A client over endpoints a, b, …, with time by hand."""

    def __init__(
        self,
        *upstreams: Upstream,
        specs: Sequence[Mapping[str, object]] = (),
        spec: TierSpec | None = None,
        tries: int = 2,
        budget: BudgetPolicy | None = None,
        limits: Limits | None = None,
        routing: Policy = Policy.LEAST_LOAD,
        price: Pricing = unpriced,
        clock: HandClock | None = None,
    ) -> None:
        self.clock, self.told = clock or HandClock(), Memory()
        self.limits = limits or OwnLimits(self.clock)
        given = [*specs, *[{}] * (len(upstreams) - len(specs))]
        endpoints = [
            Endpoint(
                EndpointSpec(name=name, base_url="http://127.0.0.1:1/v1", **each),  # type: ignore[arg-type]  # of a table
                clock=self.clock,
                transport=upstream,
            )
            for name, each, upstream in zip("abcdef", given, upstreams, strict=False)
        ]
        self.client = UpstreamClient(
            {"small": endpoints},
            policy=TryPolicy(tries=tries, base_s=0, cap_s=0),
            clock=self.clock,
            chance=lambda: 0.5,
            listener=self.told,
            routing={"small": routing},
            price=price,
            specs={} if spec is None else {"small": spec},
            budget=budget,
            limits=self.limits,
            sleep=self.clock.sleep,
        )

    async def attempt(self, may_call: Callable[[], object] = always) -> Attempted:
        return await self.client.attempt(JOB, calls_left=99, may_call=may_call)  # type: ignore[arg-type]

    async def sits(self) -> Seat | NoSeat:
        """Take a seat, make its call, and leave it."""
        async with self.seat(JOB) as seat:
            if isinstance(seat, Seat):
                await self.client.attempt(JOB, calls_left=1, may_call=always, seat=seat)
            return seat

    @asynccontextmanager
    async def seat(self, job: Job) -> AsyncIterator[Seat | NoSeat]:
        """Take a seat for as long as the block lasts."""
        seat = await self._take(job)
        try:
            yield seat
        finally:
            if isinstance(seat, Seat):
                self.client.leave(seat)

    async def _take(self, job: Job) -> Seat | NoSeat:
        """Take a seat as the line does: what is due for it is counted when its job begins."""
        while True:
            seat = self.client.propose(job) or await self.client.seat(job)
            if isinstance(seat, NoSeat) or not seat.due:
                return seat
            try:
                taken = await self.limits.take(seat.due)
            except StoreUnavailable:
                self.client.leave(seat)
                raise
            if isinstance(taken, Taken):
                seat.taken = taken
                return seat
            self.client.refused(seat, taken)

    async def sits_or_waits(self) -> timedelta:
        """Take a seat, make its call, and leave it; give how long to wait before the next."""
        seat = await self.sits()
        return seat.wait if isinstance(seat, NoSeat) else timedelta()


def no_seat(seat: Seat | NoSeat) -> NoSeat:
    assert isinstance(seat, NoSeat)
    return seat


# Who can answer.


async def test_a_job_goes_only_to_endpoints_that_serve_its_model_by_their_name_for_it() -> None:
    a, b = Upstream(), Upstream()
    bench = Bench(a, b, specs=[{"models": {"other": "other"}}, {"models": {"gpt-small": "mine"}}])
    for _ in range(4):
        assert isinstance((await bench.attempt()).outcome, Completed)
    assert a.bodies == []
    assert {body["model"] for body in b.bodies} == {"mine"}


async def test_a_model_that_no_endpoint_serves_is_told_before_any_seat() -> None:
    bench = Bench(Upstream(), specs=[{"models": {"other": "other"}}])
    flaw = bench.client.flaw(JOB)
    assert flaw is not None
    assert flaw.kind is Kind.MODEL_NOT_FOUND
    assert Bench(Upstream()).client.flaw(JOB) is None


async def test_a_held_endpoint_of_one_model_does_not_pause_the_tier_for_another() -> None:
    a, b = Upstream(429, {"retry-after": "60"}), Upstream()
    bench = Bench(a, b, specs=[{"models": {"gpt-small": "x"}}, {"models": {"other": "y"}}])
    await bench.attempt()
    unready = bench.client.unready(JOB)
    assert unready == Unready(until=bench.clock.now() + timedelta(seconds=60), shared=False)
    assert not no_seat(await bench.sits()).shared
    assert bench.client.unready(replace(JOB, model="other")) is None


async def test_a_tier_is_not_paused_for_longer_than_until_one_of_its_models_is_back() -> None:
    a, b = Upstream(429, {"retry-after": "60"}), Upstream(429, {"retry-after": "5"})
    bench = Bench(a, b, specs=[{"models": {"gpt-small": "x"}}, {"models": {"other": "y"}}])
    other = replace(JOB, model="other")
    for each in (JOB, other):
        await bench.client.attempt(each, calls_left=1, may_call=always)
    unready = [bench.client.unready(each) for each in (JOB, other)]
    seconds = [(each.until - bench.clock.now()).total_seconds() for each in unready if each]
    assert seconds == [60, 5]
    assert [each.shared for each in unready if each] == [False, True]
    assert not no_seat(await bench.sits()).shared


async def test_another_model_answers_while_the_asked_one_has_no_endpoint_for_long() -> None:
    a, b = Upstream(429, {"retry-after": "60"}), Upstream()
    bench = Bench(
        a,
        b,
        specs=[{"models": {"gpt-small": "x"}}, {"models": {"big": "y"}}],
        spec=TierSpec(fallback_models=("big",)),
    )
    outcome = (await bench.attempt()).outcome
    assert isinstance(outcome, Completed)
    assert (outcome.endpoint, outcome.fallback) == ("b", True)
    assert b.bodies[0]["model"] == "y"
    bench.clock.passed_s += 60
    a.status = 200
    again = (await bench.attempt()).outcome
    assert isinstance(again, Completed)
    assert (again.endpoint, again.fallback) == ("a", False)


async def test_no_other_model_answers_while_the_asked_one_is_held_for_a_moment() -> None:
    a, b = Upstream(429, {"retry-after": "1"}), Upstream()
    bench = Bench(
        a,
        b,
        specs=[{"models": {"gpt-small": "x"}}, {"models": {"big": "y"}}],
        spec=TierSpec(fallback_models=("big",)),
        tries=1,
    )
    await bench.attempt()
    assert no_seat(await bench.sits()).wait == timedelta(seconds=1)
    assert b.bodies == []


async def test_another_model_answers_while_the_probe_of_the_asked_ones_endpoint_hangs() -> None:
    a, b = Upstream(401), Upstream()
    bench = Bench(
        a,
        b,
        specs=[{"models": {"gpt-small": "x"}}, {"models": {"big": "y"}}],
        spec=TierSpec(fallback_models=("big",)),
        tries=1,
    )
    await bench.attempt()
    bench.clock.passed_s += 15
    a.gate.clear()
    a.arrived.clear()
    probe = asyncio.create_task(bench.attempt())
    await a.arrived.wait()
    assert no_seat(await bench.sits()).wait <= timedelta(seconds=2)  # it may tell in a moment
    assert b.bodies == []
    bench.clock.passed_s += 2
    assert bench.client.unready(JOB) is None
    seat = await bench.sits()
    assert isinstance(seat, Seat)
    assert (seat.endpoint, seat.fallback) == ("b", True)
    probe.cancel()
    await asyncio.wait({probe})


async def test_a_refusal_is_not_repeated_at_once_because_another_model_could_answer() -> None:
    a, b = Upstream(429), Upstream()
    bench = Bench(
        a,
        b,
        specs=[{"models": {"gpt-small": "x"}}, {"models": {"big": "y"}}],
        spec=TierSpec(fallback_models=("big",)),
    )
    attempted = await bench.attempt()
    assert (attempted.work.refusals, len(a.bodies)) == (1, 1)


async def test_no_try_is_spent_on_a_hedge_that_has_no_other_endpoint_with_the_model() -> None:
    a, b = Upstream(503), Upstream()
    a.gate.clear()
    bench = Bench(
        a,
        b,
        specs=[{"models": {"gpt-small": "x"}}, {"models": {"big": "y"}}],
        spec=TierSpec(fallback_models=("big",), hedge_after_s=0.01, hedge_share=1),
        tries=2,
    )
    running = asyncio.create_task(bench.attempt())
    await asyncio.sleep(0.05)
    a.gate.set()
    assert (await running).work.calls == 2


async def test_another_model_answers_within_the_attempt_that_has_found_the_asked_one_failing() -> (
    None
):
    a, b = Upstream(503), Upstream()
    bench = Bench(
        a,
        b,
        specs=[{"models": {"gpt-small": "x"}}, {"models": {"big": "y"}}],
        spec=TierSpec(fallback_models=("big",)),
    )
    attempted = await bench.attempt()
    assert isinstance(attempted.outcome, Completed)
    assert (attempted.outcome.endpoint, attempted.outcome.fallback) == ("b", True)
    assert (len(a.bodies), attempted.work.calls) == (1, 2)
    for _ in range(20):
        await bench.attempt()
    assert len(a.bodies) < 10  # it fails too often to be asked first each time


async def test_an_endpoint_that_fails_is_tried_again_where_no_other_model_is_to_be_had() -> None:
    a, b = Upstream(503), Upstream(429, {"retry-after": "60"})
    bench = Bench(
        a,
        b,
        specs=[{"models": {"gpt-small": "x"}}, {"models": {"big": "y", "gpt-other": "z"}}],
        spec=TierSpec(fallback_models=("big",)),
    )
    other = replace(JOB, model="gpt-other")
    await bench.client.attempt(other, calls_left=1, may_call=always)
    attempted = await bench.attempt()
    assert isinstance(attempted.outcome, Failed)
    assert len(a.bodies) == 2


async def test_a_hedge_asks_no_other_model() -> None:
    a, b = Upstream(), Upstream()
    a.gate.clear()
    bench = Bench(
        a,
        b,
        specs=[{"models": {"gpt-small": "x"}}, {"models": {"big": "y"}}],
        spec=replace(HEDGED, fallback_models=("big",)),
    )
    running = asyncio.create_task(bench.attempt())
    await asyncio.sleep(0.03)
    a.gate.set()
    assert isinstance((await running).outcome, Completed)
    assert b.bodies == []


# Limits.


async def test_a_used_limit_gives_no_seat_and_says_when_and_why() -> None:
    bench = Bench(Upstream(), specs=[{"requests_per_minute": 3}])
    seats = [await bench.sits() for _ in range(6)]
    given = [seat for seat in seats if isinstance(seat, Seat)]
    refused = [seat for seat in seats if isinstance(seat, NoSeat)]
    assert given
    assert all(seat.counted for seat in given)
    assert {seat.obstacle for seat in refused} == {Obstacle.REQUESTS}
    assert {seat.kind for seat in refused} == {Kind.RATE_LIMITED}
    unready = bench.client.unready(JOB)
    assert unready is not None
    assert unready.until == bench.clock.now() + refused[-1].wait
    assert bench.told.of(SeatRefused)[0].reason is Obstacle.REQUESTS


async def test_what_the_limits_allow_is_used_and_not_more() -> None:
    a = Upstream()
    bench = Bench(a, specs=[{"requests_per_minute": 60}])
    starts: list[float] = []
    while bench.clock.passed_s < 600:
        seat = await bench.sits()
        if isinstance(seat, NoSeat):
            bench.clock.passed_s += seat.wait.total_seconds()
        else:
            starts.append(bench.clock.passed_s)
    most = max(sum(start <= each < start + 60 for each in starts) for start in starts)
    assert most <= 60
    assert len(starts) > 600 * 0.95


async def test_a_seat_that_is_left_unused_gives_its_permits_back() -> None:
    bench = Bench(Upstream(), specs=[{"requests_per_minute": 600, "tokens_per_minute": 4000}])
    for _ in range(50):
        async with bench.seat(JOB) as seat:
            assert isinstance(seat, Seat)
        await asyncio.sleep(0)
        bench.clock.passed_s += 0.01


async def test_what_is_due_is_counted_by_whoever_begins_the_job_and_given_back_with_its_seat() -> (
    None
):
    bench = Bench(Upstream(), specs=[{"requests_per_minute": 60, "tokens_per_minute": 6000}])
    for _ in range(200):
        seat = bench.client.propose(JOB)
        assert isinstance(seat, Seat)
        assert [each.amount for each in seat.due][:1] == [1]
        assert not seat.counted
        bench.client.leave(seat)  # nothing was counted
    seat = bench.client.propose(JOB)
    assert isinstance(seat, Seat)
    taken = await bench.limits.take([replace(each, amount=60) for each in seat.due[:1]])
    assert isinstance(taken, Taken)
    seat.taken = taken
    assert seat.counted
    bench.clock.passed_s += 2
    assert isinstance(await bench.limits.take(seat.due), Full)
    bench.client.leave(seat)
    await asyncio.sleep(0)
    assert isinstance(await bench.limits.take(seat.due), Taken)


async def test_an_endpoint_without_limits_leaves_nothing_due() -> None:
    bench = Bench(Upstream())
    seat = bench.client.propose(JOB)
    assert isinstance(seat, Seat)
    assert (seat.due, seat.counted) == ((), False)


async def test_where_what_is_due_has_no_room_another_endpoint_is_proposed_and_then_asked_for() -> (
    None
):
    limited: dict[str, object] = {"requests_per_minute": 60, "concurrency": 1}
    bench = Bench(Upstream(), Upstream(), specs=[limited, limited])
    full = Full(wait=timedelta(seconds=1), meter="endpoint:a:requests")
    first = bench.client.propose(JOB)
    assert isinstance(first, Seat)
    bench.client.refused(first, full)
    bench.client.leave(first)  # which is given up already
    assert [event for event in bench.told.events if isinstance(event, SeatRefused)] == [
        SeatRefused(tier="small", endpoint=first.endpoint, reason=Obstacle.REQUESTS, seconds=1)
    ]
    second = bench.client.propose(JOB)
    assert isinstance(second, Seat)
    assert second.endpoint != first.endpoint
    none = bench.client.propose(JOB)
    assert isinstance(none, NoSeat)
    assert timedelta() < none.wait <= timedelta(seconds=1)
    bench.clock.passed_s += 1
    assert bench.client.propose(JOB) is None  # scarce: they are asked for one after the other
    async with bench.seat(JOB) as seat:
        assert isinstance(seat, Seat)
        assert (seat.endpoint, seat.counted) == (first.endpoint, True)
        assert isinstance(bench.client.propose(JOB), NoSeat)  # one call at a time
    bench.clock.passed_s += 3
    assert isinstance(bench.client.propose(JOB), Seat)


async def test_tokens_are_settled_by_what_the_answer_says() -> None:
    taken: list[tuple[int, ...]] = []
    settled: list[tuple[int, ...]] = []

    class Spy(OwnLimits):
        async def take(self, charges: Sequence[Charge]) -> Taken | Full:
            taken.append(tuple(each.amount for each in charges))
            return await super().take(charges)

        async def settle(self, taken: Taken, amounts: Sequence[int]) -> None:
            settled.append(tuple(amounts))
            await super().settle(taken, amounts)

    a = Upstream()
    bench = Bench(a, specs=[{"tokens_per_minute": 100_000}], limits=Spy(HandClock()))
    await bench.attempt()
    await asyncio.sleep(0)
    assert settled == [(100,)]
    a.status = 400
    await bench.attempt()
    await asyncio.sleep(0)
    assert settled[1:] == [(0,)]
    assert taken[0] > taken[1] > (0,)  # learned from the first answer


class Shared(OwnLimits):
    """Limits that a store counts, for all of its workers."""

    def __init__(self) -> None:
        super().__init__(HandClock())
        self.settled: list[tuple[int, ...]] = []

    async def take(self, charges: Sequence[Charge]) -> Taken | Full:
        told = await super().take(charges)
        return replace(told, own=False) if isinstance(told, Taken) else told

    async def settle(self, taken: Taken, amounts: Sequence[int]) -> None:
        self.settled.append(tuple(amounts))
        await super().settle(taken, amounts)


async def test_what_a_completed_call_used_of_shared_limits_is_left_to_its_record() -> None:
    limits, a = Shared(), Upstream()
    bench = Bench(a, specs=[{"tokens_per_minute": 100_000}], limits=limits)
    attempted = await bench.attempt()
    await asyncio.sleep(0)
    assert [used.amounts for used in attempted.used] == [[100]]
    assert limits.settled == []


async def test_what_a_failed_call_used_is_settled_at_once_since_further_tries_may_follow() -> None:
    limits, a = Shared(), Upstream()
    bench = Bench(a, specs=[{"tokens_per_minute": 100_000}], limits=limits)
    a.status = 400
    attempted = await bench.attempt()
    await asyncio.sleep(0)
    assert attempted.used == ()
    assert limits.settled == [(0,)]


class Slow(OwnLimits):
    """Limits in a store that takes its time; it counts what it is asked."""

    def __init__(self, clock: HandClock, *, takes_s: float = 0) -> None:
        super().__init__(clock)
        self.asked, self.away = 0, False
        self._clock_by_hand, self._takes_s = clock, takes_s

    async def take(self, charges: Sequence[Charge]) -> Taken | Full:
        self.asked += 1
        if self.away:
            await asyncio.sleep(0)  # the others come meanwhile
            self._clock_by_hand.passed_s += 5
            raise StoreUnavailable("silent")
        told = await super().take(charges)
        await self._clock_by_hand.sleep(self._takes_s)
        return told


async def test_of_many_that_wait_for_one_permit_only_those_who_may_get_it_ask_the_store() -> None:
    limits = Slow(clock := HandClock())
    bench = Bench(Upstream(), specs=[{"requests_per_minute": 60}], limits=limits, clock=clock)
    while not isinstance(refused := await bench.sits(), NoSeat):
        pass
    for _ in range(3):
        clock.passed_s += refused.wait.total_seconds()
        limits.asked = 0
        seats = await asyncio.gather(*(bench.sits() for _ in range(20)))
        refused = no_seat(seats[-1])
        assert sum(isinstance(seat, Seat) for seat in seats) == 1
        assert limits.asked == 2


async def test_those_who_wait_behind_a_question_that_the_store_fails_do_not_repeat_it() -> None:
    limits = Slow(clock := HandClock())
    bench = Bench(Upstream(), specs=[{"requests_per_minute": 60}], limits=limits, clock=clock)
    while not isinstance(refused := await bench.sits(), NoSeat):
        pass
    clock.passed_s += refused.wait.total_seconds()
    limits.asked, limits.away = 0, True
    failed = await asyncio.gather(*(bench.sits() for _ in range(20)), return_exceptions=True)
    assert {type(each) for each in failed} == {StoreUnavailable}
    assert limits.asked == 1
    limits.away = False
    assert isinstance(await bench.sits(), Seat)


async def test_a_store_that_is_slow_is_not_asked_again_before_the_wait_that_it_told() -> None:
    limits = Slow(clock := HandClock(), takes_s=1.5)
    bench = Bench(Upstream(), specs=[{"requests_per_minute": 30}], limits=limits, clock=clock)
    seats = []
    for _ in range(10):
        limits.asked = 0
        seats.append(await bench.sits())
        assert limits.asked <= 1
    assert any(isinstance(seat, NoSeat) for seat in seats)


async def test_what_was_never_sent_uses_nothing_of_the_limits() -> None:
    class Refusing(Upstream):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if self.status != httpx.codes.OK:
                raise httpx.ConnectError("Connection refused", request=request)
            return await super().handle_async_request(request)

    a = Refusing(0)
    bench = Bench(a, specs=[{"tokens_per_minute": 1_500}], tries=1)
    for _ in range(3):
        await bench.sits()
        await asyncio.sleep(0)
    a.status = 200
    assert isinstance(await bench.sits(), Seat)


async def test_a_try_for_which_no_endpoint_takes_calls_asks_for_no_permit_of_the_lane() -> None:
    asked: list[bool] = []

    async def may() -> bool:
        asked.append(True)
        return True

    a = Upstream(503)
    bench = Bench(a, specs=[{"requests_per_minute": 30}], tries=3)
    while not isinstance(await bench.sits(), NoSeat):
        pass
    a.bodies.clear()
    bench.clock.passed_s += 1
    attempted = await bench.attempt(may)
    assert len(asked) == len(a.bodies) - 1
    assert attempted.work.calls == len(a.bodies)


async def test_endpoints_of_one_account_share_its_limits() -> None:
    account = {"account": "ours", "requests_per_minute": 3}
    bench = Bench(Upstream(), Upstream(), specs=[account, account])
    alone = Bench(Upstream(), specs=[account])
    together, single = [
        sum([isinstance(await each.sits(), Seat) for _ in range(9)]) for each in (bench, alone)
    ]
    assert together == single


@pytest.mark.parametrize(("account", "called"), [("one", 0), ("another", 1)])
async def test_an_account_that_one_endpoint_refused_is_not_tried_at_its_other_one(
    account: str, called: int
) -> None:
    a, b = Upstream(429, {"retry-after": "60"}), Upstream(429, {"retry-after": "60"})
    bench = Bench(a, b, specs=[{"account": "one"}, {"account": account}])
    attempted = await bench.attempt()
    assert (len(a.bodies), len(b.bodies)) == (1, called)
    assert isinstance(attempted.outcome, Failed)
    assert attempted.outcome.retry_after == timedelta(seconds=60)
    bench.clock.passed_s += 60
    assert bench.client.unready(JOB) is None


async def test_a_limit_that_is_told_is_kept_where_none_is_configured() -> None:
    headers = {
        "x-ratelimit-limit-requests": "3",
        "x-ratelimit-remaining-requests": "2",
        "x-ratelimit-reset-requests": "20s",
    }
    bench = Bench(Upstream(200, headers))
    assert not getattr(await bench.sits(), "counted", True)
    seats = [await bench.sits() for _ in range(8)]
    assert any(isinstance(seat, NoSeat) and seat.obstacle is Obstacle.REQUESTS for seat in seats)
    seen = bench.told.of(LimitSeen)[0]
    assert (seen.endpoint, seen.what, seen.limit, seen.left) == ("a", "requests", 3, 2)


async def test_a_model_with_a_lower_limit_of_its_own_does_not_slow_the_others() -> None:
    a = Upstream(200)
    bench = Bench(a)
    slow = replace(JOB, model="slow", body=b'{"model": "slow"}')

    async def calls(asked: Job, limit: int) -> None:
        a.headers = {"x-ratelimit-limit-requests": str(limit)}
        async with bench.seat(asked) as seat:
            assert isinstance(seat, Seat)
            await bench.client.attempt(asked, calls_left=1, may_call=always, seat=seat)

    def told() -> int | None:
        return bench.told.of(LimitSeen)[-1].limit

    for _ in range(8):
        await calls(JOB, 6000)
        await calls(slow, 60)
        assert told() == 6000
    bench.clock.passed_s += 62
    await calls(slow, 60)
    assert told() == 60


async def test_an_answer_that_says_nothing_is_left_keeps_the_next_call_away() -> None:
    headers = {
        "x-ratelimit-limit-tokens": "600",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "60s",
    }
    bench = Bench(Upstream(200, headers))
    await bench.sits()
    refused = no_seat(await bench.sits())
    assert (refused.obstacle, refused.wait) == (Obstacle.TOKENS, timedelta(seconds=0.1))


async def test_nothing_left_keeps_calls_away_for_five_minutes_at_most() -> None:
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "24h"}
    bench = Bench(Upstream(200, headers))
    await bench.sits()
    assert no_seat(await bench.sits()).wait == timedelta(minutes=5)


async def test_a_store_that_is_away_ends_an_attempt_with_what_is_known_and_counts_its_call() -> (
    None
):
    class Failing(OwnLimits):
        def __init__(self) -> None:
            super().__init__(HandClock())
            self.left = 1

        async def take(self, charges: Sequence[Charge]) -> Taken | Full:
            if not self.left:
                raise StoreUnavailable("away")
            self.left -= 1
            return await super().take(charges)

    bench = Bench(Upstream(503), specs=[{"requests_per_minute": 60}], limits=Failing())
    attempted = await bench.attempt()
    assert isinstance(attempted.outcome, Failed)
    assert (attempted.outcome.kind, attempted.work.calls) == (Kind.OVERLOADED, 1)
    with pytest.raises(StoreUnavailable):
        await bench.sits()


# How many at once.


async def test_no_more_calls_are_in_flight_than_are_configured() -> None:
    bench = Bench(Upstream(), specs=[{"concurrency": 1}])
    async with bench.seat(JOB) as first:
        assert isinstance(first, Seat)
        refused = no_seat(await bench.sits())
        assert (refused.obstacle, refused.kind) == (Obstacle.CONCURRENCY, Kind.UNAVAILABLE)
        assert refused.wait <= timedelta(seconds=2)
    assert isinstance(await bench.sits(), Seat)


async def test_what_was_too_much_at_once_is_found_out() -> None:
    a = Upstream(429)
    a.gate.clear()
    bench = Bench(a, tries=1)
    tries = [asyncio.create_task(bench.attempt()) for _ in range(10)]
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(a.bodies) == 10
    bench.clock.passed_s += 1
    a.gate.set()
    await asyncio.gather(*tries)
    a.gate.clear()
    more = [asyncio.create_task(bench.attempt()) for _ in range(10)]
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(a.bodies) == 10 + 7
    a.gate.set()
    await asyncio.gather(*more)


async def test_probes_that_fail_one_by_one_say_nothing_of_how_many_calls_are_borne() -> None:
    a = Upstream(503)
    bench = Bench(a, tries=1, specs=[{"max_concurrency": 20}])
    while bench.clock.passed_s < 120:
        bench.clock.passed_s += max((await bench.sits_or_waits()).total_seconds(), 0.1)
    a.status = 200
    while isinstance(await bench.sits(), NoSeat):
        bench.clock.passed_s += 1
    async with AsyncExitStack() as seats:
        taken = [await seats.enter_async_context(bench.seat(JOB)) for _ in range(20)]
    assert all(isinstance(seat, Seat) for seat in taken)


async def test_a_rate_that_was_exceeded_says_nothing_of_how_many_calls_are_borne() -> None:
    a = Upstream(429, {"retry-after": "1", "x-ratelimit-limit-requests": "60000"})
    bench = Bench(a, tries=1, specs=[{"max_concurrency": 20}])
    a.gate.clear()
    tasks = [asyncio.create_task(bench.sits()) for _ in range(2)]
    await a.arrived.wait()
    a.gate.set()
    await asyncio.gather(*tasks)
    a.status = 200
    bench.clock.passed_s += 1.1
    await bench.sits()
    async with AsyncExitStack() as seats:
        taken = [await seats.enter_async_context(bench.seat(JOB)) for _ in range(20)]
    assert all(isinstance(seat, Seat) for seat in taken)


async def test_a_call_that_is_cancelled_gives_its_place_up() -> None:
    a = Upstream()
    a.gate.clear()
    bench = Bench(a, specs=[{"concurrency": 1}])
    running = asyncio.create_task(bench.attempt())
    await a.arrived.wait()
    running.cancel()
    await asyncio.wait({running})
    a.gate.set()
    assert isinstance(await bench.sits(), Seat)


# Failures.


async def test_a_circuit_that_opens_and_closes_is_told() -> None:
    a = Upstream(503)
    bench = Bench(a, tries=1)
    while bench.client.unready(JOB) is None:
        await bench.attempt()
    assert no_seat(await bench.sits()).obstacle is Obstacle.CIRCUIT
    unready = bench.client.unready(JOB)
    assert unready is not None
    bench.clock.passed_s += (unready.until - bench.clock.now()).total_seconds()
    a.status = 200
    await bench.sits()
    assert [event.state for event in bench.told.of(CircuitChanged)] == [
        "open",
        "half_open",
        "closed",
    ]


@pytest.mark.parametrize(
    ("status", "kind", "calls", "refusals"),
    [
        (503, Kind.UNAVAILABLE, 0, 1),
        (500, Kind.UPSTREAM_ERROR, 1, 0),  # it may have been worked on
    ],
)
async def test_a_probe_that_fails_as_others_jobs_did_is_a_refusal_where_nobody_has_worked_on_it(
    status: int, kind: Kind, calls: int, refusals: int
) -> None:
    bench = Bench(Upstream(status), tries=1)
    number = 0
    while (unready := bench.client.unready(JOB)) is None:
        number += 1
        other = replace(JOB, id=f"{number:032x}")
        await bench.client.attempt(other, calls_left=1, may_call=always)
    bench.clock.passed_s += (unready.until - bench.clock.now()).total_seconds()
    probed = await bench.attempt()
    assert isinstance(probed.outcome, Failed)
    assert probed.outcome.kind is kind
    assert (probed.work.calls, probed.work.refusals) == (calls, refusals)
    assert probed.outcome.retry_after is not None or kind is Kind.UPSTREAM_ERROR


async def test_an_unused_seat_lets_another_job_probe() -> None:
    a = Upstream(401)
    bench = Bench(a)
    await bench.attempt()
    bench.clock.passed_s += 15
    a.status = 200
    async with bench.seat(JOB) as probe:
        assert isinstance(probe, Seat)
        assert isinstance(await bench.sits(), NoSeat)
    assert isinstance(await bench.sits(), Seat)


async def test_an_endpoint_that_fails_again_and_again_is_called_only_where_no_other_takes_calls() -> (
    None
):
    a, b = Upstream(503), Upstream()
    bench = Bench(a, b, tries=1)
    for _ in range(40):
        await bench.attempt()
    failed = len(a.bodies)
    assert failed < 10
    b.status, b.headers = 429, {"retry-after": "60"}
    await bench.attempt()
    await bench.attempt()
    assert len(a.bodies) > failed


async def test_further_tries_are_denied_when_the_tiers_budget_is_used() -> None:
    bench = Bench(Upstream(503), tries=5, budget=BudgetPolicy(share=0.2, reserve_per_s=0, most=1))
    calls = [(await bench.attempt()).work.calls for _ in range(2)]
    assert calls == [2, 1]
    assert [denied.tier for denied in bench.told.of(RetryDenied)] == ["small", "small"]


# Hedges.


HEDGED = TierSpec(hedge_after_s=0.01, hedge_share=1)


async def test_a_second_endpoint_is_asked_when_the_first_keeps_silent_and_the_first_answer_counts() -> (
    None
):
    a, b = Upstream(), Upstream()
    a.gate.clear()
    bench = Bench(a, b, spec=HEDGED)
    attempted = await bench.attempt()
    assert isinstance(attempted.outcome, Completed)
    assert attempted.outcome.endpoint == "b"
    assert (attempted.work.calls, a.left) == (2, 1)
    ended = {call.endpoint: (call.kind, call.hedge) for call in bench.told.of(CallEnded)}
    assert ended == {"a": (Kind.CANCELLED, False), "b": (None, True)}


async def test_a_hedge_that_fails_leaves_the_first_call_its_time() -> None:
    a, b = Upstream(), Upstream(503)
    a.gate.clear()
    bench = Bench(a, b, spec=HEDGED)
    running = asyncio.create_task(bench.attempt())
    await b.arrived.wait()
    await asyncio.sleep(0.02)
    a.gate.set()
    attempted = await running
    assert isinstance(attempted.outcome, Completed)
    assert attempted.outcome.endpoint == "a"


async def test_hedges_count_as_tries() -> None:
    a, b = Upstream(503), Upstream(503)
    a.gate.clear()
    bench = Bench(a, b, spec=HEDGED, tries=2)
    running = asyncio.create_task(bench.attempt())
    await b.arrived.wait()
    a.gate.set()
    attempted = await running
    assert isinstance(attempted.outcome, Failed)
    assert attempted.work.calls == 2


@pytest.mark.parametrize(("status", "kind"), [(500, "upstream_error"), (400, "invalid_request")])
async def test_a_refusal_does_not_take_back_what_a_hedges_failure_counted(
    status: int, kind: str
) -> None:
    a, b = Upstream(429), Upstream(status)
    a.gate.clear()
    bench = Bench(a, b, spec=HEDGED, tries=2)
    running = asyncio.create_task(bench.attempt())
    await b.arrived.wait()
    a.gate.set()
    attempted = await running
    assert isinstance(attempted.outcome, Failed)
    assert attempted.outcome.kind == kind
    assert (attempted.work.calls, attempted.work.refusals) == (1, 1)


async def test_an_endpoint_that_hangs_is_found_out_also_where_its_calls_are_hedged() -> None:
    a, b = Upstream(), Upstream()
    a.gate.clear()
    b.gate.clear()
    bench = Bench(a, b, spec=HEDGED)
    running = asyncio.create_task(bench.attempt())
    await b.arrived.wait()
    running.cancel(OUT_OF_TIME)
    await asyncio.wait({running})
    ended = {call.endpoint: call.kind for call in bench.told.of(CallEnded)}
    assert ended == {"a": Kind.TIMEOUT, "b": Kind.CANCELLED}


async def test_hedges_are_only_a_share_of_the_calls() -> None:
    a, b = Upstream(), Upstream()
    a.gate.clear()
    b.gate.clear()
    bench = Bench(a, b, spec=TierSpec(hedge_after_s=0.01, hedge_share=0.001))
    tries = [asyncio.create_task(bench.attempt()) for _ in range(4)]
    await asyncio.sleep(0.05)
    assert len(a.bodies) + len(b.bodies) == 4 + 1
    a.gate.set()
    b.gate.set()
    await asyncio.gather(*tries)


async def test_a_job_that_is_not_ours_any_more_is_not_hedged() -> None:
    async def never() -> bool:
        return False

    a, b = Upstream(), Upstream()
    a.gate.clear()
    bench = Bench(a, b, spec=HEDGED)
    running = asyncio.create_task(bench.attempt(never))
    await asyncio.sleep(0.03)
    a.gate.set()
    assert isinstance((await running).outcome, Completed)
    assert b.bodies == []


async def test_closing_an_attempt_closes_its_hedge_too() -> None:
    a, b = Upstream(), Upstream()
    a.gate.clear()
    b.gate.clear()
    bench = Bench(a, b, spec=HEDGED)
    running = asyncio.create_task(bench.attempt())
    await b.arrived.wait()
    running.cancel()
    await asyncio.wait({running})
    assert (a.left, b.left) == (1, 1)


# Prices.


async def test_by_price_the_cheapest_is_called_and_what_that_saves_is_told() -> None:
    def price(
        *, endpoint: str, asked: str, answered: str | None, usage: Usage | None, at: datetime
    ) -> Decimal | None:
        del asked, answered, at
        each = {"a": Decimal("0.002"), "b": Decimal("0.001"), "c": None}[endpoint]
        return None if each is None or usage is None else each * usage.total_tokens

    a, b, c = Upstream(), Upstream(), Upstream()
    bench = Bench(a, b, c, routing=Policy.CHEAPEST, price=price)
    for _ in range(5):
        await bench.attempt()
    assert [len(each.bodies) for each in (a, b, c)] == [0, 5, 0]
    assert {call.saved for call in bench.told.of(CallEnded)} == {Decimal("0.100")}
    b.status = 503
    answer = (await bench.attempt()).outcome
    assert isinstance(answer, Completed)
    assert answer.endpoint == "a"
    assert [call.saved for call in bench.told.of(CallEnded)][-2:] == [None, None]


async def test_a_tier_that_does_not_choose_by_price_tells_of_no_saving() -> None:
    bench = Bench(Upstream(), Upstream(), price=lambda **_: Decimal(1))
    await bench.attempt()
    assert [call.saved for call in bench.told.of(CallEnded)] == [None]
