"""What every adapter behind the port `Upstream` has to do, over sockets and without."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from simulator import How, Simulator
from tests.unit.worker.upstream.fakes import KEY, PROMPT, Memory, PlannedUpstream, always, chat, job
from worker.clock import SystemClock
from worker.core.classify import Shape
from worker.core.events import CallEnded, EndpointHeld
from worker.core.kinds import Kind
from worker.core.model import Completed, Failed, Usage, Work
from worker.core.quick import TryPolicy
from worker.core.retrybudget import BudgetPolicy
from worker.upstream.client import UpstreamClient
from worker.upstream.endpoint import Endpoint
from worker.upstream.spec import EndpointSpec, Http
from worker.upstream.transport import PyqwestTransport

ONCE = TryPolicy(tries=1)
QUICK = TryPolicy(tries=3, base_s=0, cap_s=0)
CAP = 100_000


@dataclass(kw_only=True)
class World:
    """One kind of upstream, and a client for it."""

    url: str
    http: Http = "1.1"
    sim: Simulator | None = None
    memory: PlannedUpstream | None = None
    through_httpx: bool = False
    told: Memory = field(default_factory=Memory)
    made: list[UpstreamClient] = field(default_factory=list)

    def client(self, policy: TryPolicy = ONCE, *, read_timeout_s: float = 30) -> UpstreamClient:
        spec = EndpointSpec(
            name="one",
            base_url=f"{self.url}/v1",
            key=lambda: KEY,
            http=self.http,
            read_timeout_s=read_timeout_s,
            max_response_bytes=CAP,
        )
        through = (
            PyqwestTransport(http=self.http, read_timeout_s=read_timeout_s)
            if self.through_httpx
            else self.memory
        )
        endpoint = Endpoint(spec, clock=SystemClock(), transport=through)
        made = UpstreamClient(
            {"small": [endpoint]},
            policy=policy,
            clock=SystemClock(),
            chance=lambda: 0.5,
            listener=self.told,
            budget=BudgetPolicy(share=100, most=100),
        )
        self.made.append(made)
        return made

    @property
    def count(self) -> int:
        """How many calls reached the upstream."""
        if self.memory is not None:
            return len(self.memory.requests)
        assert self.sim is not None
        return len(self.sim.calls)

    @property
    def paths(self) -> list[str]:
        if self.memory is not None:
            return [request.url.path for request in self.memory.requests]
        assert self.sim is not None
        return [call.path for call in self.sim.calls]

    @property
    def ids(self) -> list[str | None]:
        if self.memory is not None:
            return [request.headers["x-client-request-id"] for request in self.memory.requests]
        assert self.sim is not None
        return [call.id for call in self.sim.calls]

    async def arrived(self) -> None:
        if self.memory is not None:
            await self.memory.arrived.wait()
        if self.sim is not None:
            await self.sim.wait_for(lambda calls: len(calls) > 0)

    async def left_early(self) -> None:
        """Return when the upstream has seen its caller go before the answer was complete."""
        if self.memory is not None:
            await asyncio.wait_for(self.memory.left_early.wait(), 5)
        if self.sim is not None:
            await self.sim.wait_for(lambda calls: calls[-1].how is How.CLIENT_CLOSED, timeout_s=5)


@pytest.fixture(params=["memory", "1.1", "2", "1.1 through httpx", "2 through httpx"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "memory":
        made = World(url="http://127.0.0.1:9", memory=PlannedUpstream())
        yield made
    else:
        async with Simulator() as sim:
            http, _, through = request.param.partition(" ")
            made = World(url=sim.url, http=http, sim=sim, through_httpx=bool(through))
            yield made
            for client in made.made:
                await client.aclose()


async def outcome_of(world: World, plan: str, policy: TryPolicy = ONCE) -> Failed:
    attempted = await world.client(policy).attempt(job(chat(plan)), calls_left=9, may_call=always)
    assert isinstance(attempted.outcome, Failed)
    return attempted.outcome


async def test_a_completion_comes_back_byte_for_byte_with_model_and_usage(world: World) -> None:
    attempted = await world.client().attempt(job(), calls_left=9, may_call=always)
    completed = attempted.outcome
    assert isinstance(completed, Completed)
    assert completed.body.startswith(b'{"id": "chatcmpl-')
    assert completed.endpoint == "one"
    assert completed.model == "gpt-small"
    assert isinstance(completed.usage, Usage)
    assert completed.usage.prompt_tokens > 0
    assert attempted.work.calls == 1
    assert attempted.work.refusals == 0
    assert attempted.work.upstream > timedelta()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", b'{"model": "gpt-small", "prompt": "hi"}'),
        ("/v1/embeddings", b'{"model": "embedding-small", "input": ["a", "b"]}'),
    ],
)
async def test_every_path_is_joined_to_the_base_url_once(
    world: World, path: str, body: bytes
) -> None:
    attempted = await world.client().attempt(job(body, path=path), calls_left=9, may_call=always)
    assert isinstance(attempted.outcome, Completed)
    assert world.paths == [path]


async def test_the_upstream_can_join_its_log_to_the_job(world: World) -> None:
    client = world.client()
    for _ in range(2):
        await client.attempt(job(job_id="a" * 32), calls_left=9, may_call=always)
    assert world.ids == ["a" * 32 + ".1.0.1", "a" * 32 + ".1.0.2"]


@pytest.mark.parametrize(
    ("plan", "kind", "status", "code", "detail"),
    [
        ("400", Kind.INVALID_REQUEST, 400, "invalid_request_error", None),
        ("context_length", Kind.CONTEXT_TOO_LONG, 400, "context_length_exceeded", None),
        ("401", Kind.UNAUTHORIZED, 401, "invalid_api_key", None),
        ("403", Kind.UNAUTHORIZED, 403, "unsupported_country", None),
        ("404", Kind.MODEL_NOT_FOUND, 404, "model_not_found", None),
        ("408", Kind.TIMEOUT, 408, "timeout_error", None),
        ("409", Kind.UPSTREAM_ERROR, 409, "conflict_error", None),
        ("429", Kind.RATE_LIMITED, 429, "rate_limit_exceeded", None),
        ("429(insufficient_quota)", Kind.QUOTA_EXHAUSTED, 429, "insufficient_quota", None),
        ("500", Kind.UPSTREAM_ERROR, 500, "server_error", None),
        ("502", Kind.UPSTREAM_ERROR, 502, "server_error", None),
        ("503", Kind.OVERLOADED, 503, "service_unavailable", None),
        ("529", Kind.OVERLOADED, 529, "overloaded", None),
        ("reset_body", Kind.CONNECTION, None, None, None),
        ("reset", Kind.CONNECTION, None, None, None),
        ("garbage", Kind.BAD_RESPONSE, 200, None, Shape.NOT_JSON),
        ("html", Kind.BAD_RESPONSE, 200, None, Shape.PAGE),
        ("truncated", Kind.BAD_RESPONSE, 200, None, Shape.NOT_JSON),
        ("empty", Kind.BAD_RESPONSE, 200, None, Shape.NOTHING),
        ("204", Kind.BAD_RESPONSE, 204, None, Shape.NOTHING),
        ("no_choices", Kind.BAD_RESPONSE, 200, None, Shape.INCOMPLETE),
        ("redirect", Kind.REDIRECTED, 302, None, None),
        ("big(200000)", Kind.RESPONSE_TOO_LARGE, 200, None, Shape.TOO_LARGE),
        ("gzip_bomb(50000000)", Kind.RESPONSE_TOO_LARGE, 200, None, Shape.TOO_LARGE),
        ("gzip_bomb(1000)", Kind.BAD_RESPONSE, 200, None, Shape.NOT_JSON),
    ],
)
async def test_every_fault_has_its_kind_and_costs_one_call(
    *,
    world: World,
    plan: str,
    kind: Kind,
    status: int | None,
    code: str | None,
    detail: Shape | None,
) -> None:
    attempted = await world.client().attempt(job(chat(f"{plan}!")), calls_left=9, may_call=always)
    failed = attempted.outcome
    assert isinstance(failed, Failed)
    assert (failed.kind, failed.status, failed.code, failed.endpoint) == (kind, status, code, "one")
    if detail is not None:
        assert failed.detail == detail.value
    assert world.count == 1
    assert attempted.work.calls + attempted.work.refusals == 1
    assert attempted.work.refusals == (1 if status == 429 else 0)
    assert [ended.kind for ended in world.told.of(CallEnded)] == [kind]


@pytest.mark.parametrize(
    ("hint", "low_s", "high_s"),
    [
        ("retry-after=7", 7, 7),
        ("retry-after=2.5", 2.5, 2.5),
        ("retry-after-ms=2500", 2.5, 2.5),
        ("retry-after-ms=2500;retry-after=9", 2.5, 2.5),
        ("retry-date=30", 25, 31),
        ("retry-date=-30", 0, 0),
        ("retry-after=-5", 0, 0),
        ("retry-after=1000000000", 3600, 3600),
        ("retry-after=soon", None, None),
    ],
)
async def test_every_form_of_retry_after_is_handed_on(
    world: World, hint: str, low_s: float | None, high_s: float | None
) -> None:
    failed = await outcome_of(world, f"429({hint})!")
    assert failed.kind is Kind.RATE_LIMITED
    if low_s is None or high_s is None:
        assert failed.retry_after is None
    else:
        assert failed.retry_after is not None
        assert low_s <= failed.retry_after.total_seconds() <= high_s


async def test_a_redirect_is_never_followed(world: World) -> None:
    failed = await outcome_of(world, "redirect!", QUICK)
    assert failed.kind is Kind.REDIRECTED
    assert world.paths == ["/v1/chat/completions"]


async def test_transient_failures_are_tried_again_within_the_attempt(world: World) -> None:
    attempted = await world.client(QUICK).attempt(
        job(chat("503,reset,ok")), calls_left=9, may_call=always
    )
    assert isinstance(attempted.outcome, Completed)
    assert attempted.work.calls == world.count == 3


async def test_no_attempt_makes_more_calls_than_are_left(world: World) -> None:
    attempted = await world.client(QUICK).attempt(job(chat("503!")), calls_left=2, may_call=always)
    assert isinstance(attempted.outcome, Failed)
    assert attempted.work.calls == world.count == 2


async def test_a_short_retry_after_is_waited_out_and_counted_as_a_refusal(world: World) -> None:
    attempted = await world.client(QUICK).attempt(
        job(chat("429(retry-after-ms=50),ok")), calls_left=9, may_call=always
    )
    assert isinstance(attempted.outcome, Completed)
    assert (attempted.work.calls, attempted.work.refusals) == (1, 1)


async def test_a_held_endpoint_gets_no_call_and_says_when(world: World) -> None:
    client = world.client()
    await client.attempt(job(chat("429(retry-after=60)!")), calls_left=9, may_call=always)
    ready = client.unready(job())
    assert ready is not None
    assert timedelta(seconds=50) < ready.until - SystemClock().now() <= timedelta(seconds=60)
    attempted = await client.attempt(job(), calls_left=9, may_call=always)
    assert isinstance(attempted.outcome, Failed)
    assert attempted.outcome.kind is Kind.RATE_LIMITED
    assert attempted.work == Work()
    assert world.count == 1
    assert [held.seconds for held in world.told.of(EndpointHeld)] == [60]


@pytest.mark.parametrize("plan", ["hang", "hang_body", "drip(0.01)"])
async def test_a_cancelled_call_is_closed_at_once(world: World, plan: str) -> None:
    attempt = asyncio.create_task(
        world.client().attempt(job(chat(plan)), calls_left=9, may_call=always)
    )
    await world.arrived()
    await asyncio.sleep(0.05)  # into the body
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    await world.left_early()
    assert world.count == 1
    assert [ended.kind for ended in world.told.of(CallEnded)] == [Kind.CANCELLED]


async def test_an_answer_that_comes_byte_by_byte_is_put_together(world: World) -> None:
    attempted = await world.client().attempt(job(chat("drip(0)")), calls_left=9, may_call=always)
    assert isinstance(attempted.outcome, Completed)
    assert attempted.outcome.body.endswith(b"}")


@pytest.mark.parametrize(
    "plan", ["401!", "400!", "503!", "reset!", "garbage!", "redirect!", "big(200000)!", "404!"]
)
async def test_no_failure_or_event_shows_key_or_prompt(world: World, plan: str) -> None:
    client = world.client(QUICK)
    attempted = await client.attempt(job(chat(plan)), calls_left=9, may_call=always)
    shown = repr([attempted, world.told.events, client.__dict__])
    assert KEY not in shown
    assert PROMPT not in shown
