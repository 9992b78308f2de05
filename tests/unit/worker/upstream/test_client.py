import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

import httpx
import pytest

from tests.unit.worker.upstream.fakes import (
    START,
    HandClock,
    Memory,
    PlannedUpstream,
    always,
    chat,
    dice,
    job,
)
from worker.core.circuit import ALONE, AMONG_OTHERS, CircuitPolicy
from worker.core.costs import unpriced
from worker.core.events import CallEnded, EndpointHeld
from worker.core.kinds import Kind
from worker.core.model import Attempted, Completed, Failed, Usage, Work
from worker.core.quick import TryPolicy
from worker.core.retrybudget import BudgetPolicy
from worker.core.routing import Policy
from worker.core.seats import Unready
from worker.ports import OUT_OF_TIME, Limits, Pricing
from worker.upstream.client import UpstreamClient
from worker.upstream.endpoint import Endpoint
from worker.upstream.spec import EndpointSpec
from worker.upstream.tier import TierSpec

Answer = Callable[[httpx.Request], httpx.Response]


def good(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"choices": [{}]})


def answering(status: int, **headers: str) -> Answer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: httpx.Response(status, headers=names, json={})


def in_turn(*answers: Answer) -> Answer:
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        following = left.pop(0) if len(left) > 1 else left[0]
        return following(request)

    return answer


# Retries without end: what bounds them is tried apart.
PLENTY = BudgetPolicy(share=100, most=100)
PLAIN = TierSpec()


class Bench:
    """A client over endpoints that answer as told, with time by hand."""

    def __init__(
        self,
        *,
        tries: int = 3,
        key: Callable[[], str] | None = None,
        price: Pricing = unpriced,
        routing: Policy = Policy.LEAST_LOAD,  # idle ones take turns, so that a test can tell
        chance: Callable[[], float] = lambda: 0.5,
        circuit: CircuitPolicy = ALONE,
        budget: BudgetPolicy = PLENTY,
        spec: TierSpec = PLAIN,
        limits: Limits | None = None,
        **answers: Answer | httpx.AsyncBaseTransport,
    ) -> None:
        self.clock = HandClock()
        self.told = Memory()
        self.asked: list[str] = []
        self.circuit = circuit
        self.client = UpstreamClient(
            {"small": [self._endpoint(name, answer, key) for name, answer in answers.items()]},
            policy=TryPolicy(tries=tries, base_s=0.4, cap_s=2),
            clock=self.clock,
            chance=chance,
            listener=self.told,
            routing={"small": routing},
            specs={"small": spec},
            budget=budget,
            limits=limits,
            price=price,
            sleep=self.clock.sleep,
        )

    def _endpoint(
        self, name: str, answer: Answer | httpx.AsyncBaseTransport, key: Callable[[], str] | None
    ) -> Endpoint:
        def take(request: httpx.Request) -> httpx.Response:
            assert not isinstance(answer, httpx.AsyncBaseTransport)
            self.asked.append(name)
            self.clock.passed_s += 0.25
            return answer(request)

        through = (
            answer if isinstance(answer, httpx.AsyncBaseTransport) else httpx.MockTransport(take)
        )
        replaced = key.replaced if isinstance(key, Keys) else None
        spec = EndpointSpec(
            name=name, base_url="http://127.0.0.1:1/v1", key=key, key_replaced=replaced
        )
        return Endpoint(spec, clock=self.clock, circuit=self.circuit, transport=through)

    async def attempt(self, *, calls_left: int = 99) -> Attempted:
        return await self.client.attempt(job(), calls_left=calls_left, may_call=always)

    async def fail(self) -> Failed:
        outcome = (await self.attempt()).outcome
        assert isinstance(outcome, Failed)
        return outcome

    @property
    def holds(self) -> list[tuple[str, Kind, float]]:
        return [(held.endpoint, held.kind, held.seconds) for held in self.told.of(EndpointHeld)]


class Keys:
    """A key that is replaced, as often as there are others, whenever it is refused."""

    def __init__(self, *values: str) -> None:
        self.values = list(values)

    def __call__(self) -> str:
        return self.values[0]

    async def replaced(self, refused: str) -> bool:
        if self.values[0] == refused and len(self.values) > 1:
            del self.values[0]
        return self.values[0] != refused


def refusing(*refused: str) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        key = request.headers["authorization"].removeprefix("Bearer ")
        return answering(401)(request) if key in refused else good(request)

    return answer


async def test_a_key_that_was_replaced_costs_a_try_of_the_same_attempt_and_no_hold() -> None:
    bench = Bench(key=Keys("old", "new"), a=refusing("old"))
    attempted = await bench.attempt()
    assert isinstance(attempted.outcome, Completed)
    assert attempted.work.calls == 2
    assert bench.asked == ["a", "a"]
    assert bench.holds == []
    assert [ended.kind for ended in bench.told.of(CallEnded)] == [Kind.KEY_REPLACED, None]


async def test_a_key_that_was_replaced_costs_nothing_of_the_budget_for_further_tries() -> None:
    one = BudgetPolicy(share=0, reserve_per_s=0, most=1)
    bench = Bench(key=Keys("a", "b", "c"), budget=one, a=refusing("a", "b"))
    assert isinstance((await bench.attempt()).outcome, Completed)


async def test_a_key_that_is_refused_again_and_not_replaced_holds_the_endpoint() -> None:
    bench = Bench(key=Keys("old", "new"), a=refusing("old", "new"))
    assert (await bench.fail()).kind is Kind.UNAUTHORIZED
    assert bench.asked == ["a", "a"]
    assert bench.holds == [("a", Kind.UNAUTHORIZED, 15.0)]


async def test_keys_that_are_replaced_all_the_time_cost_no_more_than_an_attempts_tries() -> None:
    bench = Bench(tries=2, key=Keys(*"abcdef"), a=refusing(*"abcdef"))
    failed = await bench.fail()
    assert (failed.kind, failed.retry_after) == (Kind.KEY_REPLACED, timedelta())
    assert bench.asked == ["a", "a"]
    assert bench.holds == []


async def test_a_good_call_makes_no_pause() -> None:
    bench = Bench(a=good)
    attempted = await bench.attempt()
    assert attempted == Attempted(
        outcome=Completed(body=b'{"choices":[{}]}', endpoint="a"),
        work=Work(calls=1, upstream=timedelta(seconds=0.25)),
    )
    assert bench.clock.slept == []
    assert bench.told.events == [
        CallEnded(
            job_id=job().id,
            tier="small",
            endpoint="a",
            kind=None,
            seconds=0.25,
            model=job().model,
            first_byte_s=0.25,
        )
    ]


async def test_a_call_tells_whether_it_repeats_a_try_and_when_its_answer_began() -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("nobody listens", request=request)

    bench = Bench(a=in_turn(broken, good))
    await bench.attempt()
    assert [(call.retry, call.first_byte_s) for call in bench.told.of(CallEnded)] == [
        (False, None),
        (True, 0.25),
    ]


async def test_an_answer_is_priced_once_by_its_endpoint_models_usage_and_the_time_it_was_asked_for() -> (
    None
):
    asked_for: list[tuple[object, ...]] = []

    def price(
        *, endpoint: str, asked: str, answered: str | None, usage: Usage | None, at: datetime
    ) -> Decimal:
        asked_for.append((endpoint, asked, answered, usage, at))
        return Decimal("0.25")

    def answer(_: httpx.Request) -> httpx.Response:
        usage = {"prompt_tokens": 3, "completion_tokens": 4}
        return httpx.Response(200, json={"choices": [{}], "model": "m-1", "usage": usage})

    bench = Bench(a=in_turn(answering(500), answer), price=price)
    outcome = (await bench.attempt()).outcome
    assert isinstance(outcome, Completed)
    assert outcome.cost == Decimal("0.25")
    usage = Usage(prompt_tokens=3, completion_tokens=4)
    at = START + timedelta(seconds=0.25 + sum(bench.clock.slept))
    assert asked_for == [("a", job().model, "m-1", usage, at)]


async def test_an_answer_without_a_known_price_has_no_cost() -> None:
    outcome = (await Bench(a=good).attempt()).outcome
    assert isinstance(outcome, Completed)
    assert outcome.cost is None


NO_CHOICES = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}


async def test_what_all_calls_of_an_attempt_cost_adds_up_with_a_failure_that_told_its_usage() -> (
    None
):
    costs = iter([Decimal("0.25"), Decimal("0.000000000000000001")])

    def price(**_: object) -> Decimal:
        return next(costs)

    def empty(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=NO_CHOICES)

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={**NO_CHOICES, "choices": [{}]})

    bench = Bench(a=in_turn(empty, answering(500), answer), price=price)
    work = (await bench.attempt()).work
    assert (work.spent, work.unpriced) == (Decimal("0.250000000000000001"), 0)
    told = [event.cost for event in bench.told.of(CallEnded)]
    assert told == [Decimal("0.25"), 0, Decimal("0.000000000000000001")]


@pytest.mark.parametrize(
    ("first", "unpriced"),
    [
        (answering(500), 0),
        (answering(503), 0),
        (answering(504), 1),
        (answering(408), 1),
        (lambda _: httpx.Response(200, content=b"{"), 1),
        (lambda _: httpx.Response(200, json=NO_CHOICES), 1),
        (lambda _: httpx.Response(200, json={"choices": [{}]}), 1),
    ],
    ids=["500", "503", "504", "408", "garbled", "no price", "no usage"],
)
async def test_a_call_that_may_have_been_charged_has_no_known_cost(
    first: Answer, unpriced: int
) -> None:
    work = (await Bench(tries=1, a=first).attempt()).work
    assert (work.spent, work.unpriced) == (Decimal(0), unpriced)


async def test_a_failure_tells_its_cost_and_forgets_its_usage() -> None:
    bench = Bench(
        tries=1, a=lambda _: httpx.Response(200, json=NO_CHOICES), price=lambda **_: Decimal(2)
    )
    failed = await bench.fail()
    assert (failed.cost, failed.usage) == (Decimal(2), None)


async def test_transient_failures_are_tried_again_with_growing_pauses() -> None:
    bench = Bench(a=in_turn(answering(500), answering(503), good))
    attempted = await bench.attempt()
    assert isinstance(attempted.outcome, Completed)
    assert attempted.work == Work(calls=3, upstream=timedelta(seconds=0.75))
    assert bench.clock.slept == pytest.approx([0.2, 0.4])


async def test_the_last_failure_is_the_attempts_outcome() -> None:
    bench = Bench(a=in_turn(answering(500), answering(503), answering(502)))
    assert (await bench.fail()).status == 502
    assert len(bench.asked) == 3


async def test_a_refusal_does_not_take_back_what_a_transient_failure_counted() -> None:
    bench = Bench(a=in_turn(answering(503), answering(429, retry_after="60")))
    attempted = await bench.attempt()
    assert isinstance(attempted.outcome, Failed)
    assert attempted.outcome.kind is Kind.OVERLOADED
    assert attempted.outcome.retry_after == timedelta(seconds=60)
    assert (attempted.work.calls, attempted.work.refusals) == (1, 1)
    assert bench.client.unready(job()) is not None


@pytest.mark.parametrize("status", [400, 404, 301, 422])
async def test_a_permanent_failure_is_never_tried_again(status: int) -> None:
    bench = Bench(a=answering(status), b=good)
    await bench.fail()
    assert len(bench.asked) == 1


async def test_calls_left_bounds_the_tries_of_every_kind() -> None:
    bench = Bench(tries=9, a=answering(500))
    assert (await bench.attempt(calls_left=2)).work.calls == 2
    with pytest.raises(ValueError, match="at least one"):
        await bench.attempt(calls_left=0)


async def test_a_failing_endpoint_is_followed_by_another() -> None:
    bench = Bench(a=answering(500), b=good)
    attempted = await bench.attempt()
    assert isinstance(attempted.outcome, Completed)
    assert bench.asked == ["a", "b"]


async def test_a_refusal_moves_on_at_once_where_another_endpoint_is_free() -> None:
    bench = Bench(a=answering(429, retry_after="60"), b=good)
    attempted = await bench.attempt()
    assert isinstance(attempted.outcome, Completed)
    assert attempted.work == Work(calls=1, refusals=1, upstream=timedelta(seconds=0.5))
    assert bench.clock.slept == [0]
    assert bench.client.unready(job()) is None


async def test_a_job_waits_for_the_endpoint_that_refused_it_only_until_another_takes_calls() -> (
    None
):
    bench = Bench(a=answering(429, retry_after="60"), b=answering(429, retry_after="3600"))
    failed = await bench.fail()
    assert bench.asked == ["a", "b"]
    assert failed.retry_after == timedelta(seconds=60 - 0.25)  # b's own call took that


async def test_a_job_does_not_wait_for_the_endpoint_that_refused_it_where_another_is_free() -> None:
    refusing = answering(429, retry_after="3600")
    bench = Bench(tries=1, a=refusing, b=good)
    assert (await bench.fail()).retry_after is None
    assert isinstance((await bench.attempt()).outcome, Completed)


async def test_a_short_retry_after_is_waited_out_in_place() -> None:
    bench = Bench(a=in_turn(answering(429, retry_after_ms="1500"), good))
    attempted = await bench.attempt()
    assert isinstance(attempted.outcome, Completed)
    assert bench.clock.slept == pytest.approx([1.7])
    assert bench.holds == [("a", Kind.RATE_LIMITED, 1.5)]


async def test_a_long_retry_after_holds_the_endpoint_and_goes_to_the_caller() -> None:
    bench = Bench(a=answering(429, retry_after="60"))
    failed = await bench.fail()
    assert failed.retry_after == timedelta(seconds=60)
    assert bench.clock.slept == []
    assert bench.client.unready(job()) == Unready(until=bench.clock.now() + timedelta(seconds=60))
    bench.clock.passed_s += 20
    again = await bench.attempt()
    assert isinstance(again.outcome, Failed)
    assert (again.outcome.kind, again.outcome.retry_after) == (
        Kind.RATE_LIMITED,
        timedelta(seconds=40),
    )
    assert again.work == Work()
    assert len(bench.asked) == 1
    bench.clock.passed_s += 40
    assert bench.client.unready(job()) is None


async def test_a_rate_limit_holds_for_five_minutes_at_most() -> None:
    bench = Bench(a=answering(429, retry_after="1000000000"))
    await bench.fail()
    assert bench.holds == [("a", Kind.RATE_LIMITED, 300)]


async def test_a_refusal_without_a_hint_holds_nothing_and_ends_the_attempt() -> None:
    bench = Bench(a=answering(429))
    attempted = await bench.attempt()
    assert attempted.work == Work(refusals=1, upstream=timedelta(seconds=0.25))
    assert bench.client.unready(job()) is None
    assert bench.holds == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, Kind.UNAUTHORIZED), (403, Kind.UNAUTHORIZED), (402, Kind.QUOTA_EXHAUSTED)],
)
async def test_a_refused_key_holds_the_endpoint_for_longer_each_time_and_heals(
    status: int, kind: Kind
) -> None:
    bench = Bench(a=in_turn(*[answering(status)] * 3, good, answering(status)))
    for seconds in (15, 30, 60):
        failed = await bench.fail()
        assert (failed.kind, failed.retry_after) == (kind, timedelta(seconds=seconds))
        bench.clock.passed_s += seconds
    assert isinstance((await bench.attempt()).outcome, Completed)
    assert (await bench.fail()).retry_after == timedelta(seconds=15)
    assert [seconds for _, _, seconds in bench.holds] == [15, 30, 60, 15]


class Gate(httpx.AsyncBaseTransport):
    """An upstream that answers when it is told to, or never."""

    def __init__(self, first: int) -> None:
        self.status = first
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        del request
        self.asked += 1
        status = self.status
        await self.open.wait()
        return httpx.Response(status, json={"choices": [{}]})


async def together(bench: Bench, jobs: int) -> list["asyncio.Task[Attempted]"]:
    """Let so many jobs try at once, and return when all that can have gone on their way."""
    tries = [
        asyncio.create_task(
            bench.client.attempt(job(job_id=str(number)), calls_left=9, may_call=always)
        )
        for number in range(jobs)
    ]
    for _ in range(20):
        await asyncio.sleep(0)
    return tries


async def test_after_a_refused_key_one_of_many_jobs_goes_first_and_the_others_follow_it() -> None:
    gate = Gate(401)
    bench = Bench(a=gate)
    await bench.fail()
    bench.clock.passed_s += 15
    gate.status = 200
    gate.open.clear()
    tries = await together(bench, 8)
    assert gate.asked == 2
    waiting = [each.result() for each in tries if each.done()]
    assert [each.work for each in waiting] == [Work()] * 7
    outcomes = [each.outcome for each in waiting if isinstance(each.outcome, Failed)]
    assert {(each.kind, each.retry_after) for each in outcomes} == {
        (Kind.UNAUTHORIZED, timedelta(seconds=1))
    }
    assert bench.client.unready(job()) == Unready(until=bench.clock.now() + timedelta(seconds=1))
    gate.open.set()
    await asyncio.gather(*tries)
    assert bench.client.unready(job()) is None
    followers = await together(bench, 8)
    assert gate.asked == 10
    assert all(isinstance(each.result().outcome, Completed) for each in followers)


async def test_after_a_refused_key_the_others_wait_on_when_the_first_is_refused_again() -> None:
    gate = Gate(401)
    bench = Bench(a=gate)
    await bench.fail()
    bench.clock.passed_s += 15
    await asyncio.gather(*await together(bench, 8))
    assert gate.asked == 2
    assert bench.client.unready(job()) == Unready(until=bench.clock.now() + timedelta(seconds=30))


async def test_a_first_job_that_is_cancelled_lets_another_go_first() -> None:
    gate = Gate(401)
    bench = Bench(a=gate)
    await bench.fail()
    bench.clock.passed_s += 15
    gate.open.clear()
    (first,) = await together(bench, 1)
    first.cancel()
    await asyncio.wait([first])
    tries = await together(bench, 8)
    assert gate.asked == 3
    gate.open.set()
    await asyncio.gather(*tries)


async def cancelled(bench: Bench, times: int, *message: str) -> None:
    """Let so many attempts be closed, each with this message."""
    for _ in range(times):
        (attempt,) = await together(bench, 1)
        attempt.cancel(*message)
        await asyncio.wait([attempt])


async def test_a_failing_endpoint_gets_calls_only_where_no_other_takes_them() -> None:
    bench = Bench(a=answering(503), b=in_turn(*[good] * 30, answering(429, retry_after="60")))
    for _ in range(30):
        await bench.attempt()
    probes = bench.asked.count("a") - AMONG_OTHERS.in_a_row
    assert 0 <= probes <= 5
    bench.asked.clear()
    for _ in range(3):
        await bench.attempt()
    assert bench.asked.count("b") == 1
    assert bench.asked.count("a") >= 2


async def test_an_endpoint_that_hangs_until_attempts_are_out_of_time_is_left_alone() -> None:
    gate = Gate(200)
    gate.open.clear()
    bench = Bench(a=gate)
    await cancelled(bench, 2 * ALONE.in_a_row, OUT_OF_TIME)
    assert gate.asked == ALONE.in_a_row
    assert {ended.kind for ended in bench.told.of(CallEnded)} == {Kind.TIMEOUT}
    assert bench.client.unready(job()) is not None


async def test_calls_that_nobody_wants_any_more_say_nothing_of_their_endpoint() -> None:
    gate = Gate(200)
    gate.open.clear()
    bench = Bench(a=gate)
    await cancelled(bench, 2 * ALONE.in_a_row)
    assert gate.asked == 2 * ALONE.in_a_row
    assert bench.client.unready(job()) is None


async def test_a_try_that_had_only_the_rest_of_the_time_says_nothing_of_its_endpoint() -> None:
    gate = Gate(503)
    bench = Bench(a=gate, circuit=CircuitPolicy(in_a_row=2))
    original, closing = bench.clock.sleep, asyncio.Event()

    async def close_behind(seconds: float) -> None:
        gate.open.clear()
        closing.set()
        await original(seconds)

    bench.client._sleep = close_behind  # between two tries of one attempt
    attempt = asyncio.create_task(bench.attempt())
    await closing.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    assert gate.asked == 2
    attempt.cancel(OUT_OF_TIME)
    await asyncio.wait([attempt])
    assert bench.client.unready(job()) is None


async def test_an_endpoint_that_only_fails_is_left_alone_and_no_attempt_is_spent_on_it() -> None:
    bench = Bench(a=answering(503), tries=1)
    failures = [await bench.fail() for _ in range(ALONE.in_a_row)]
    assert len(bench.asked) == ALONE.in_a_row
    assert {failed.kind for failed in failures} == {Kind.OVERLOADED}
    last = await bench.attempt()
    assert isinstance(last.outcome, Failed)
    assert (last.outcome.kind, last.work) == (Kind.UNAVAILABLE, Work())
    ready = bench.client.unready(job())
    assert ready is not None
    bench.clock.passed_s += (ready.until - bench.clock.now()).total_seconds()
    await bench.fail()
    assert len(bench.asked) == ALONE.in_a_row + 1


async def test_a_tier_is_ready_when_the_first_of_its_endpoints_is() -> None:
    bench = Bench(a=answering(401), b=answering(429, retry_after="5"))
    failed = await bench.fail()
    ready = bench.client.unready(job())
    assert sorted(bench.asked) == ["a", "b"]
    assert ready is not None
    assert ready.until - START < timedelta(seconds=6)
    assert failed.retry_after is not None
    assert (await bench.fail()).kind is Kind.RATE_LIMITED


async def test_a_missing_key_holds_the_endpoint_and_counts_no_call() -> None:
    def missing() -> str:
        raise FileNotFoundError

    bench = Bench(key=missing, a=good)
    attempted = await bench.attempt()
    assert isinstance(attempted.outcome, Failed)
    assert attempted.outcome.kind is Kind.UNAUTHORIZED
    assert attempted.work == Work()
    assert bench.asked == []
    assert bench.holds == [("a", Kind.UNAUTHORIZED, 15)]
    assert bench.told.of(CallEnded) == []


async def test_idle_endpoints_take_turns() -> None:
    bench = Bench(a=good, b=good)
    for _ in range(4):
        await bench.attempt()
    assert bench.asked == ["a", "b", "a", "b"]


async def test_an_endpoint_that_fails_at_once_is_left_to_the_others() -> None:
    bench = Bench(routing=Policy.PEAK_EWMA, chance=dice(7), a=good, b=answering(500))
    for _ in range(40):
        await bench.attempt()
    assert bench.asked.count("b") < 8


async def test_an_attempt_tries_every_endpoint_before_it_comes_back_to_one() -> None:
    bench = Bench(
        routing=Policy.PEAK_EWMA,
        chance=dice(7),
        a=answering(500),
        b=answering(503),
        c=answering(500),
    )
    await bench.fail()
    assert sorted(bench.asked) == ["a", "b", "c"]


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_a_request_that_nobody_would_take_is_not_held_against_the_endpoint(
    status: int,
) -> None:
    bench = Bench(routing=Policy.PEAK_EWMA, chance=dice(7), a=answering(status), b=good)
    for _ in range(40):
        await bench.attempt()
    assert bench.asked.count("a") > 8


@pytest.mark.parametrize("plan", ["hang", "503,hang"])
async def test_a_cancelled_attempt_passes_the_cancellation_on_and_tries_no_more(plan: str) -> None:
    upstream = PlannedUpstream()
    bench = Bench(a=upstream)
    attempt = asyncio.create_task(
        bench.client.attempt(job(chat(plan)), calls_left=9, may_call=always)
    )
    expected = plan.count(",") + 1
    await upstream.reached(expected)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert upstream.left_early.is_set()
    assert len(upstream.requests) == expected
    assert bench.told.of(CallEnded)[-1].kind is Kind.CANCELLED


async def test_an_attempt_cancelled_in_its_pause_makes_no_further_call() -> None:
    bench = Bench(a=answering(503))
    paused = asyncio.Event()

    async def sleep(_: float) -> None:
        paused.set()
        await asyncio.Event().wait()

    bench.client._sleep = sleep
    attempt = asyncio.create_task(bench.attempt())
    await paused.wait()
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert bench.asked == ["a"]


async def test_jobs_that_fail_together_keep_their_own_tries() -> None:
    upstream = PlannedUpstream()
    bench = Bench(a=upstream, circuit=CircuitPolicy(in_a_row=1000, least_calls=1000))
    attempts = await asyncio.gather(
        *(
            bench.client.attempt(job(chat("503,503,ok", seed=seed)), calls_left=9, may_call=always)
            for seed in range(50)
        )
    )
    assert all(isinstance(attempted.outcome, Completed) for attempted in attempts)
    assert all(attempted.work.calls == 3 for attempted in attempts)


async def test_a_bug_in_the_transport_is_not_mistaken_for_an_upstreams_failure() -> None:
    def bug(_: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError

    bench = Bench(a=bug)
    with pytest.raises(ZeroDivisionError):
        await bench.attempt()
    assert bench.asked == ["a"]


async def test_no_further_try_is_made_for_a_job_that_is_not_ours_any_more() -> None:
    bench = Bench(a=in_turn(answering(503), good))
    asked: list[bool] = []

    async def lost() -> bool:
        asked.append(True)
        return False

    attempted = await bench.client.attempt(job(), calls_left=9, may_call=lost)
    assert isinstance(attempted.outcome, Failed)
    assert (attempted.outcome.kind, attempted.work.calls) == (Kind.OVERLOADED, 1)
    assert (len(bench.asked), len(asked)) == (1, 1)


async def test_the_first_try_asks_nobody() -> None:
    async def never() -> bool:
        raise AssertionError("the hot path asks the ledger once, in begin")

    attempted = await Bench(a=good).client.attempt(job(), calls_left=9, may_call=never)
    assert isinstance(attempted.outcome, Completed)
