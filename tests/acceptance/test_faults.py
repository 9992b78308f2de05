"""Processes killed, connections cut: what it may cost, and that nothing is lost."""

import asyncio

import aio_pika
import pytest

from producer_sdk import JobFailed, Reply
from tests.acceptance.cli import warren
from tests.faults.stage import Stage, chat

# The step, the copy that it concerns, what the simulator does, and how many calls more than without the
# crash are allowed. Until a call began, and once its outcome is recorded, a crash costs no call.
CRASHES = [
    pytest.param("taken", "-", "ok", 0, id="1-after-delivery"),
    pytest.param("begun", "-", "ok", 0, id="2-after-begin"),
    pytest.param("calling", "-", "ok", 0, id="3-before-the-first-byte"),
    pytest.param("answered", "-", "ok", 1, id="7-answered-not-recorded"),
    pytest.param("recorded", "-", "ok", 0, id="8-recorded-not-published"),
    pytest.param("published", "reply", "ok", 0, id="9-published-not-confirmed"),
    pytest.param("confirmed", "reply", "ok", 0, id="10-confirmed-not-marked"),
    pytest.param("carried", "-", "ok", 0, id="11-marked-not-acked"),
    pytest.param("acked", "-", "ok", 0, id="after-the-ack"),
    pytest.param("recorded", "-", "503,503", 0, id="8-for-a-parked-copy"),
    pytest.param("published", "parked", "503,503", 0, id="9-for-a-parked-copy"),
    pytest.param("confirmed", "parked", "503,503", 0, id="12-as-10-for-a-parked-copy"),
    pytest.param("recorded", "-", "400!", 0, id="8-for-a-dead-letter"),
    pytest.param("published", "dead", "400!", 0, id="9-for-a-dead-letter"),
    pytest.param("confirmed", "dead", "400!", 0, id="13-as-10-for-a-dead-letter"),
]
CALLS = {"ok": 1, "503,503": 3, "400!": 1}


@pytest.mark.parametrize(("step", "copy", "plan", "extra"), CRASHES)
async def test_a_crash_at_a_named_point_loses_nothing_and_costs_what_is_allowed(
    stage: Stage, step: str, copy: str, plan: str, extra: int
) -> None:
    async with stage.client() as client:
        jobs = await stage.submit(client, [chat(f"crash at {step}", plan=plan)])
        crashing = await stage.start(step, copy, "1")
        assert await crashing.ended() == -9
        await stage.started()
        (heard,) = await stage.hear(jobs)
    assert isinstance(heard, JobFailed if plan == "400!" else Reply)
    findings = await stage.settled()
    assert not findings.lost
    assert not findings.open_jobs
    assert not findings.unheard
    assert not findings.strays
    assert not findings.differing
    assert not findings.late_calls
    assert findings.calls <= CALLS[plan] + extra


@pytest.mark.parametrize("plan", ["hang,ok", "hang_body,ok"], ids=["4-5-sent", "6-mid-body"])
async def test_a_worker_killed_with_a_call_in_flight_costs_that_call_alone(
    stage: Stage, plan: str
) -> None:
    async with stage.client() as client:
        jobs = await stage.submit(client, [chat(f"killed {n}", plan=plan) for n in range(4)])
        worker = await stage.started()
        await stage.simulator.wait_for(lambda calls: len(calls) == 4)
        await worker.kill()
        await stage.started()
        replies = await stage.hear(jobs)
    assert all(isinstance(reply, Reply) for reply in replies)
    findings = await stage.settled()
    assert not findings.lost
    assert not findings.late_calls
    assert findings.calls == 8


@pytest.mark.parametrize("workers", [1, 2])
async def test_connections_cut_with_a_hundred_calls_in_flight_cost_no_call(
    stage: Stage, workers: int
) -> None:
    stage.configure(concurrency=100)
    stage.simulator.latency({"default": "fixed(4)"})
    await stage.started()
    async with stage.client() as client:
        jobs = await stage.submit(client, (chat(f"cut {n}") for n in range(100)))
        await stage.simulator.wait_for(lambda calls: len(calls) == 100)
        for _ in range(workers - 1):
            await stage.started()
        cut = await asyncio.to_thread(stage.vhost.close_connections, "worker")
        assert cut == 3 * workers
        replies = await stage.hear(jobs)
    assert all(isinstance(reply, Reply) for reply in replies)
    findings = await stage.settled()
    assert findings.clean, findings
    assert findings.calls == 100


async def test_a_crash_during_the_drain_loses_nothing(stage: Stage) -> None:
    stage.simulator.latency({"default": "fixed(1)"})
    async with stage.client() as client:
        jobs = await stage.submit(client, [chat(f"drain {n}") for n in range(8)])
        crashing = await stage.start("recorded", "-", "2")
        await stage.simulator.wait_for(lambda calls: len(calls) == 4)
        crashing.process.terminate()
        assert await crashing.ended() == -9
        await stage.started()
        await stage.hear(jobs)
    findings = await stage.settled()
    assert not findings.lost
    assert not findings.late_calls
    # Three of the four calls in flight may have been cut off by the crash of the second one's record.
    assert findings.calls <= 8 + 3


async def test_a_crash_at_the_renewal_of_the_lease_costs_the_calls_in_flight_at_most(
    stage: Stage,
) -> None:
    stage.simulator.latency({"default": "fixed(7)"})
    async with stage.client() as client:
        jobs = await stage.submit(client, [chat(f"renewal {n}") for n in range(4)])
        crashing = await stage.start("renewed", "-", "1")
        await stage.simulator.wait_for(lambda calls: len(calls) == 4)
        assert await crashing.ended() == -9
        await stage.started()
        await stage.hear(jobs)
    findings = await stage.settled()
    assert not findings.lost
    assert findings.calls <= 8


async def test_a_letter_that_a_killed_replay_left_behind_is_taken_away_by_the_next_one(
    stage: Stage,
) -> None:
    stage.configure(tiers=("standard", "budget"))
    await stage.started()
    dead_queue = "warren.dead.standard"
    async with stage.client() as client:
        jobs = await stage.submit(client, [chat("left behind", plan="400!,ok")])
        # The ledger goes on listing this one, of another tier.
        listed = await stage.submit(client, [chat("listed", tier="budget", plan="400!,ok")])
        await stage.hear([*jobs, *listed])
        await stage.settled()
        async with await aio_pika.connect(stage.vhost.url("operator")) as operator:
            channel = await operator.channel()
            queue = await channel.get_queue(dead_queue, ensure=False)
            letter = await queue.get()
        stage.simulator.heal()
        await warren(stage, "dead", "replay", jobs[0].id)
        (healed,) = await stage.hear(jobs)
        # As after a kill between the copy's confirm and the letter's ack.
        async with await aio_pika.connect(stage.vhost.url("worker")) as worker:
            channel = await worker.channel()
            exchange = await channel.get_exchange("warren.dead", ensure=False)
            left = aio_pika.Message(
                letter.body,
                headers=letter.headers,
                correlation_id=letter.correlation_id,
                reply_to=letter.reply_to,
                priority=letter.priority,
                type=letter.type,
                content_type=letter.content_type,
            )
            await exchange.publish(left, "standard")
        assert "replayed 2 of 2" in await warren(stage, "dead", "replay", "--all", "--yes")
        await stage.hear(listed)
        findings = await stage.settled()
        assert "no dead letter" in await warren(
            stage, "dead", "replay", "--all", "--yes", status=1, errors=True
        )
    assert isinstance(healed, Reply)
    assert stage.vhost.depths()[dead_queue] == 0
    assert findings.clean, findings
    assert findings.calls == 4
