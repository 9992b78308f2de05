"""The main job with real processes: through the queue and back, shared, postponed, dead, replayed."""

import json
import signal
from decimal import Decimal

from producer_sdk import JobFailed, Reply
from tests.acceptance.cli import warren
from tests.faults.stage import Stage, chat


async def test_a_request_goes_through_the_queue_and_its_answer_comes_back(stage: Stage) -> None:
    await stage.started()
    async with stage.client() as client:
        jobs = await stage.submit(client, [chat("hello")])
        (reply,) = await stage.hear(jobs)
    assert isinstance(reply, Reply)
    assert reply.text
    assert reply.endpoint == "main"
    assert (reply.attempts, reply.tries, reply.cached) == (1, 1, False)
    assert (await stage.settled()).clean


async def test_the_same_key_twice_is_one_call_and_both_hear_the_same(stage: Stage) -> None:
    await stage.started()
    async with stage.client() as client:
        first = await stage.submit(client, [chat("pay once", idempotency_key="k")])
        (one,) = await stage.hear(first)
        again = await stage.submit(client, [chat("pay once", idempotency_key="k")])
        (two,) = await stage.hear(again)
    assert isinstance(one, Reply)
    assert isinstance(two, Reply)
    assert one.body == two.body
    assert len(stage.simulator.calls) == 1
    assert (await stage.settled()).clean


async def test_a_job_is_told_what_its_own_call_cost_and_one_from_the_cache_that_it_cost_nothing(
    stage: Stage,
) -> None:
    await stage.started()
    async with stage.client() as client:
        (paid,) = await stage.hear(await stage.submit(client, [chat("dear", dedupe="cache")]))
        (free,) = await stage.hear(await stage.submit(client, [chat("dear", dedupe="cache")]))
    assert isinstance(paid, Reply)
    assert isinstance(free, Reply)
    assert paid.usage is not None
    # gpt-5-mini: 0.25 and 2 dollars per million tokens of prompt and completion.
    tokens = paid.usage.prompt_tokens * Decimal("0.25") + paid.usage.completion_tokens * 2
    assert paid.cost == tokens / 10**6 > 0
    assert free.cached
    assert free.cost == 0
    assert f"cost ${paid.cost:f}" in await warren(stage, "explain", paid.job_id)
    assert "cost $0\n" in await warren(stage, "explain", free.job_id)
    submitted = json.loads(await warren(stage, "submit", "--json", "--dedupe", "off", "again"))
    assert Decimal(submitted["cost"]) > 0


async def test_the_same_key_with_another_request_refuses_that_submission_alone(
    stage: Stage,
) -> None:
    await stage.started()
    async with stage.client() as client:
        (good,) = await stage.hear(await stage.submit(client, [chat("a", idempotency_key="k")]))
        (bad,) = await stage.hear(await stage.submit(client, [chat("b", idempotency_key="k")]))
    assert isinstance(good, Reply)
    assert not isinstance(bad, Reply)
    assert bad.kind == "idempotency_conflict"
    assert len(stage.simulator.calls) == 1


async def test_a_passing_failure_is_retried_from_the_parking_queue(stage: Stage) -> None:
    await stage.started()
    async with stage.client() as client:
        jobs = await stage.submit(client, [chat("patience", plan="503,503")])
        (reply,) = await stage.hear(jobs)
    assert isinstance(reply, Reply)
    assert (reply.attempts, reply.tries) == (2, 3)
    assert (await stage.settled()).clean


async def test_a_thousand_identical_requests_over_two_workers_are_one_call(stage: Stage) -> None:
    stage.configure(concurrency=16)
    await stage.started()
    await stage.started()
    async with stage.client() as client:
        same = [chat("the same", plan="slow(1)", dedupe="cache") for _ in range(1000)]
        replies = await stage.hear(await stage.submit(client, same), within_s=90)
    assert len(stage.simulator.calls) == 1
    assert len(replies) == 1000
    assert len({reply.body for reply in replies if isinstance(reply, Reply)}) == 1
    assert all(isinstance(reply, Reply) for reply in replies)
    assert (await stage.settled()).clean


async def test_a_final_failure_is_told_listed_and_replayed_to_the_same_callback_queue(
    stage: Stage,
) -> None:
    await stage.started()
    async with stage.client() as client:
        jobs = await stage.submit(client, [chat("for good", plan="400!"), chat("fine")])
        failed, fine = await stage.hear(jobs)
        assert isinstance(failed, JobFailed)
        assert isinstance(fine, Reply)
        assert (failed.kind, failed.status, failed.attempts) == ("invalid_request", 400, 1)

        listed = json.loads(await warren(stage, "dead", "list", "--json"))
        assert [row["job_id"] for row in listed] == [jobs[0].id]
        shown = json.loads(await warren(stage, "dead", "show", jobs[0].id[:8], "--json"))[0]
        assert shown["kind"] == "invalid_request"
        assert json.loads(shown["request"])["messages"][0]["content"] == "for good"
        assert [entry["kind"] for entry in shown["history"]] == ["invalid_request"]
        dry = json.loads(await warren(stage, "dead", "replay", "--all", "--dry-run", "--json"))
        assert [row["job_id"] for row in dry] == [jobs[0].id]

        stage.simulator.heal()
        await warren(stage, "dead", "replay", jobs[0].id[:8])
        (healed,) = await stage.hear(jobs[:1])
    assert isinstance(healed, Reply)
    assert healed.run == 2
    findings = await stage.settled()
    assert findings.clean, findings
    assert json.loads(await warren(stage, "dead", "list", "--json")) == []
    assert "replayed" in await warren(stage, "explain", jobs[0].id)


async def test_a_high_priority_request_overtakes_five_thousand_low_ones(stage: Stage) -> None:
    stage.configure(concurrency=4)
    stage.simulator.latency({"default": "fixed(0.1)"})
    async with stage.client() as client:
        await stage.submit(client, (chat(f"low {n}", priority="low") for n in range(5000)))
        await stage.started()
        await stage.simulator.wait_for(lambda calls: len(calls) >= 8)
        (high,) = await stage.submit(client, [chat("high", priority="high")])
        before = len(stage.simulator.calls)
        await stage.hear([high])
    ids = [str(call.id).split(".")[0] for call in stage.simulator.calls]
    # What was handed out before it came, four, may go first; and as many in the time its message travelled.
    assert ids.index(high.id) - before <= 8


async def test_a_high_priority_request_is_not_stuck_behind_followers_of_one_fingerprint(
    stage: Stage,
) -> None:
    stage.configure(concurrency=4)
    async with stage.client() as client:
        same = (chat("one", plan="slow(8)", priority="low", dedupe="cache") for _ in range(5000))
        await stage.submit(client, same)
        await stage.started()
        await stage.simulator.wait_for(lambda calls: len(calls) == 1)
        (high,) = await stage.submit(client, [chat("high", priority="high")])
        await stage.hear([high])
    leader = stage.simulator.calls[0]
    assert leader.ended_at is None, "it was answered only after the leader's call"


async def test_sigterm_with_a_hundred_calls_in_flight_wastes_none(stage: Stage) -> None:
    stage.configure(concurrency=100)
    stage.simulator.latency({"default": "fixed(3)"})
    worker = await stage.started()
    async with stage.client() as client:
        jobs = await stage.submit(client, (chat(f"call {n}") for n in range(150)))
        await stage.simulator.wait_for(lambda calls: len(calls) == 100)
        worker.process.send_signal(signal.SIGTERM)
        assert await worker.ended() == 0
        assert len(stage.simulator.calls) == 100
        assert all(call.how == "done" for call in stage.simulator.calls)
        await stage.started()
        await stage.hear(jobs)
    findings = await stage.settled()
    assert findings.clean, findings
    assert findings.calls == 150
