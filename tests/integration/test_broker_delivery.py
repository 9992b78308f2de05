import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from producer_sdk.wire import CompletionReply, Source, Status
from tests.faults.vhost import Vhost
from tests.integration.house import (
    BODY,
    QUEUE,
    REPLIES,
    ROUTE,
    TIERS,
    House,
    open_house,
    open_worker,
    until,
)
from worker.broker.publisher import UNROUTABLE
from worker.broker.topology import topology
from worker.core.events import Step, StepReached, Trouble
from worker.core.kinds import Kind
from worker.core.model import Failed, HistoryEntry, Job, Record, State, Tally, next_generation

pytestmark = pytest.mark.broker


@pytest_asyncio.fixture
async def house(vhost: Vhost) -> AsyncIterator[House]:
    async with open_house(vhost) as opened:
        yield opened


def record(job: Job) -> Record:
    return Record(
        job_id=job.id,
        run=job.run,
        state=State.DEAD_LETTERED,
        outcome=Failed(kind=Kind.INVALID_REQUEST, status=400, code="bad"),
        tally=Tally(attempts=2),
        waited=timedelta(),
        upstream=timedelta(),
        total=timedelta(),
    )


def reply(job: Job) -> CompletionReply:
    return CompletionReply(
        submission_id=job.submission.id,
        job_id=job.id,
        status=Status.COMPLETED,
        body=b'{"ok":true}',
        source=Source.UPSTREAM,
    )


async def test_a_submission_comes_as_a_job_and_its_reply_and_ack_go_through(house: House) -> None:
    await house.reply_queue()
    async with open_worker(house) as worker:
        await house.submit("s1")
        (delivery,) = await worker.desk.wait_for(1)
        job = delivery.job
        assert (job.tenant, job.tier, job.key, job.body, job.first) == (
            "producer", "standard", "s1", BODY, True,
        )  # fmt: skip
        await delivery.publish_reply(reply(job), ROUTE)
        await delivery.ack()
        message = await house.get(REPLIES)
        assert (message.body, message.header.properties.correlation_id) == (b'{"ok":true}', "s1")
        assert message.header.properties.user_id is None
        steps = [(event.step, event.copy) for event in worker.ears.of(StepReached)]
        assert steps == [(Step.PUBLISHED, "reply"), (Step.CONFIRMED, "reply")]
    assert await house.count(QUEUE) == 0


async def test_a_delivery_that_is_not_acknowledged_comes_again(house: House) -> None:
    async with open_worker(house) as worker:
        await house.submit("s1")
        await worker.desk.wait_for(1)
    assert await house.count(QUEUE) == 1


async def test_a_reply_to_a_queue_that_is_gone_is_done(house: House) -> None:
    async with open_worker(house) as worker:
        await house.submit("s1")
        (delivery,) = await worker.desk.wait_for(1)
        await delivery.publish_reply(reply(delivery.job), "producer.nobody")
        await delivery.ack()


async def test_an_ack_on_a_lost_channel_does_nothing_and_the_message_comes_again(
    house: House,
) -> None:
    async with open_worker(house) as worker:
        await house.submit("s1")
        (stale,) = await worker.desk.wait_for(1)
        await stale.seat.channel.close()
        await asyncio.wait_for(stale.gone(), 10)
        _, fresh = await worker.desk.wait_for(2)
        # Were it sent on the new channel, its tag would settle the new delivery.
        assert (stale.tag, fresh.tag) == (1, 1)
        await stale.ack()
    assert await house.count(QUEUE) == 1


async def test_a_parked_copy_comes_back_as_the_next_generation_of_the_same_job(
    house: House,
) -> None:
    async with open_worker(house) as worker:
        await house.submit("s1", headers={"x-warren-key": "k"})
        (delivery,) = await worker.desk.wait_for(1)
        due = datetime.now(UTC).replace(microsecond=0) + timedelta(milliseconds=300)
        parked = next_generation(delivery.job, not_before=due)
        await delivery.publish_parked(parked, timedelta(milliseconds=300))
        await delivery.ack()
        _, back = await worker.desk.wait_for(2)
        assert back.job == parked
        assert (back.job.tenant, back.job.generation, back.job.first) == ("producer", 1, False)
        await back.ack()


async def test_what_a_producer_claims_in_warrens_own_headers_is_not_believed(house: House) -> None:
    forged = {
        "x-warren-tenant": "victim",
        "x-warren-run": 7,
        "x-warren-generation": 9,
        "x-warren-not-before": 253_000_000_000_000,
        "x-warren-job": "0" * 32,
        "x-warren-tier": "premium",
        "x-death": [{"exchange": "warren.return"}],
    }
    async with open_worker(house) as worker:
        await house.submit("s1", headers=forged)
        (delivery,) = await worker.desk.wait_for(1)
        job = delivery.job
        assert (job.tenant, job.run, job.generation, job.not_before, job.tier, job.first) == (
            "producer", 1, 0, None, "standard", True,
        )  # fmt: skip


async def test_a_dead_letter_lies_in_its_tiers_queue_with_all_that_is_known(house: House) -> None:
    async with open_worker(house) as worker:
        await house.submit("s1")
        (delivery,) = await worker.desk.wait_for(1)
        entry = HistoryEntry(
            at=datetime.now(UTC), run=1, generation=0, attempt=1, what="attempt", kind="timeout"
        )
        await delivery.publish_dead(delivery.job, record(delivery.job), [entry])
        await delivery.ack()
    letter = await house.get("warren.dead.standard")
    headers = letter.header.properties.headers or {}
    assert letter.body == BODY
    assert headers["x-warren-kind"] == "invalid_request"
    assert headers["x-warren-job"] == delivery.job.id
    assert headers["x-warren-attempts"] == 2


async def test_a_parked_copy_that_no_queue_takes_is_told_and_published_once_there_is_one(
    house: House,
) -> None:
    async with open_worker(house) as worker:
        await house.submit("s1")
        (delivery,) = await worker.desk.wait_for(1)
        await house.api("DELETE", "queues/{v}/warren.park.2s")
        parked = next_generation(delivery.job, not_before=datetime.now(UTC))
        publishing = asyncio.create_task(delivery.publish_parked(parked, timedelta(seconds=1)))
        await worker.ears.until(
            lambda: any("no queue takes" in str(event) for event in worker.ears.heard)
        )
        assert not publishing.done()
        await asyncio.to_thread(house.admin.apply, topology(TIERS))
        await asyncio.wait_for(publishing, 20)
        await worker.desk.wait_for(2)


async def test_a_refused_publish_is_repeated_until_there_is_room(house: House) -> None:
    await house.reply_queue(**{"x-max-length": 1, "x-overflow": "reject-publish"})
    async with open_worker(house) as worker:
        await house.submit("s1")
        (delivery,) = await worker.desk.wait_for(1)
        await delivery.publish_reply(reply(delivery.job), ROUTE)
        second = asyncio.create_task(delivery.publish_reply(reply(delivery.job), ROUTE))
        await worker.ears.until(lambda: any("full" in str(event) for event in worker.ears.heard))
        assert not second.done()
        await house.get(REPLIES)
        await asyncio.wait_for(second, 20)


async def test_a_missing_exchange_holds_up_only_what_goes_there(house: House) -> None:
    async with open_worker(house) as worker:
        await house.submit("s1")
        (delivery,) = await worker.desk.wait_for(1)
        await house.api("DELETE", "exchanges/{v}/warren.dead")
        job = delivery.job
        dying = asyncio.create_task(delivery.publish_dead(job, record(job), []))
        await worker.ears.until(
            lambda: any("warren topology check" in str(event) for event in worker.ears.heard)
        )
        for _ in range(20):
            await delivery.publish_reply(reply(job), "producer.nobody")
        assert not dying.done()
        await asyncio.to_thread(house.admin.apply, topology(TIERS))
        await asyncio.wait_for(dying, 20)


async def test_no_confirmed_publish_is_lost_when_connections_are_cut(house: House) -> None:
    await house.reply_queue()
    async with open_worker(house) as worker:
        await house.submit("s1")
        (delivery,) = await worker.desk.wait_for(1)
        answer, confirmed, going_on = reply(delivery.job), 0, True

        async def publish() -> None:
            nonlocal confirmed
            while going_on:
                await delivery.publish_reply(answer, ROUTE)
                confirmed += 1

        async with asyncio.TaskGroup() as publishers:
            for _ in range(50):
                publishers.create_task(publish())
            for _ in range(3):
                target = confirmed + 100
                await until(lambda: confirmed >= target)  # noqa: B023  # awaited in this turn
                assert await asyncio.to_thread(house.admin.close_connections, "worker")
            going_on = False
    assert any("publish" in event.what for event in worker.ears.of(Trouble))
    assert await house.count(REPLIES) >= confirmed


async def test_a_publish_that_is_cancelled_ends_at_once_and_harms_no_other(house: House) -> None:
    async with open_worker(house) as worker:
        await house.submit("s1")
        (delivery,) = await worker.desk.wait_for(1)
        answer = reply(delivery.job)
        publishing = [
            asyncio.create_task(delivery.publish_reply(answer, "producer.nobody"))
            for _ in range(100)
        ]
        await asyncio.sleep(0)
        for task in publishing[::2]:
            task.cancel()
        ended = await asyncio.gather(*publishing, return_exceptions=True)
        assert ended[1::2] == [UNROUTABLE] * 50
        assert all(isinstance(end, asyncio.CancelledError) for end in ended[::2])
