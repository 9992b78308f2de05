"""Lanes with real processes: bulk beside interactive, rationed, paused, and closed by the clock."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import aio_pika
import pytest

from producer_sdk import DeadlineExceeded, Reply
from stack.auditor import most_in_a_minute
from tests.acceptance.cli import warren
from tests.faults.stage import Stage, chat
from worker.broker import names
from worker.core.parking import LEVELS
from worker.core.windows import Window

PER_MINUTE = 20
BERLIN = ZoneInfo("Europe/Berlin")


async def test_interactive_jobs_do_not_wait_behind_bulk_ones(stage: Stage) -> None:
    stage.configure(each="bulk_concurrency = 2\n")
    await stage.started()
    async with stage.client() as client:
        bulk = [chat(f"bulk {n}", plan="slow(20)", lane="bulk") for n in range(20)]
        await stage.submit(client, bulk)
        await stage.simulator.wait_for(lambda calls: len(calls) == 2)
        (heard,) = await stage.hear(await stage.submit(client, [chat("now")]), within_s=10)
    assert isinstance(heard, Reply)
    assert len(stage.simulator.calls) == 3


async def test_no_minute_has_more_calls_than_rationed_over_two_workers_and_a_restart(
    stage: Stage,
) -> None:
    stage.configure(each=f"bulk_requests_per_minute = {PER_MINUTE}\n")
    first = await stage.started()
    await stage.started()
    async with stage.client() as client:
        jobs = await stage.submit(client, [chat(f"bulk {n}", lane="bulk") for n in range(26)])
        await stage.simulator.wait_for(lambda calls: len(calls) >= 8, timeout_s=60)
        await first.kill()
        await stage.started()
        await stage.hear(jobs, within_s=110)
    assert most_in_a_minute(call.at for call in stage.simulator.calls) == PER_MINUTE
    findings = await stage.settled()
    assert findings.lost == findings.open_jobs == findings.late_calls == ()
    assert len(findings.unrecorded_calls) <= 1  # the one that the killed worker was making


async def test_a_cached_answer_is_served_while_the_ration_is_spent(stage: Stage) -> None:
    stage.configure(each="bulk_requests_per_minute = 1\n")
    await stage.started()
    async with stage.client() as client:
        one = [chat("known", lane="bulk", dedupe="cache")]
        await stage.hear(await stage.submit(client, one))
        waiting = await stage.submit(client, [chat(f"new {n}", lane="bulk") for n in range(3)])
        (heard,) = await stage.hear(await stage.submit(client, one), within_s=40)
    assert isinstance(heard, Reply)
    assert heard.cached
    assert len(stage.simulator.calls) == 1
    assert not any(job.done for job in waiting)


async def test_a_paused_lane_starts_no_call_on_any_worker_until_it_is_resumed(stage: Stage) -> None:
    await stage.started()
    await stage.started()
    said = await warren(stage, "lane", "pause", "interactive", "--reason", "until noon")
    assert "paused" in said
    await asyncio.sleep(2)
    async with stage.client() as client:
        jobs = await stage.submit(client, [chat(f"waits {n}") for n in range(10)])
        (bulk,) = await stage.hear(await stage.submit(client, [chat("other lane", lane="bulk")]))
        assert isinstance(bulk, Reply)
        # A worker that starts later finds it paused too.
        late = await stage.started()
        await asyncio.sleep(1)
        assert len(stage.simulator.calls) == 1
        shown = json.loads(await warren(stage, "lane", "status", "--json"))
        (row,) = (row for row in shown if row["lane"] == "interactive")
        assert (row["state"], row["reason"]) == ("paused", "until noon")
        await warren(stage, "lane", "resume", "interactive")
        assert all(isinstance(heard, Reply) for heard in await stage.hear(jobs, within_s=20))
    assert late.process.returncode is None
    assert (await stage.settled()).clean


async def test_an_operator_sets_a_lanes_measure_while_it_runs(stage: Stage) -> None:
    stage.configure(each="bulk_concurrency = 1\n")
    await stage.started()
    async with stage.client() as client:
        await stage.submit(
            client, [chat(f"bulk {n}", plan="slow(30)", lane="bulk") for n in range(9)]
        )
        await stage.simulator.wait_for(lambda calls: len(calls) == 1)
        await warren(stage, "lane", "set", "bulk", "--concurrency", "5")
        await stage.simulator.wait_for(lambda calls: len(calls) == 5)
        await asyncio.sleep(0.5)
        assert len(stage.simulator.calls) == 5
    await warren(stage, "lane", "set", "bulk", "--concurrency", "many", status=2)
    await warren(stage, "lane", "set", "bulk", "--tier", "none", "--concurrency", "5", status=2)
    said = await warren(stage, "lane", "set", "bulk", "--concurrency", "default")
    assert "5" not in said.splitlines()[1]


async def test_a_deadline_that_passes_in_a_closed_lane_is_told_in_time(stage: Stage) -> None:
    await stage.started()
    await warren(stage, "lane", "pause", "bulk")
    await asyncio.sleep(1)
    async with stage.client() as client, asyncio.timeout(10):
        with pytest.raises(DeadlineExceeded):
            await client.complete(
                tier="standard",
                lane="bulk",
                deadline=timedelta(seconds=2),
                model="gpt-5-mini",
                messages=[],
            )
    assert stage.simulator.calls == []


class Clock:
    """The workers' wall clock, and what it showed when."""

    def __init__(self, file: Path, instant: datetime) -> None:
        self.file = file
        self.shown: list[tuple[float, datetime]] = []
        self.set(instant)

    def set(self, instant: datetime) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text(instant.isoformat(), encoding="ascii")
        fresh.replace(self.file)
        self.instant = instant
        self.shown.append((time.monotonic(), instant))

    def at(self, mono: float) -> datetime:
        """Tell what it showed at a moment of the test's own time."""
        return [instant for since, instant in self.shown if since <= mono][-1]


async def bring_back_parked(stage: Stage) -> None:
    """Do what the parking queues do when their time, the broker's own, has passed."""
    connection = await aio_pika.connect(stage.vhost.url("admin"))
    async with connection:
        channel = await connection.channel()
        back = await channel.get_exchange(names.RETURN_EXCHANGE, ensure=False)
        for level in LEVELS:
            queue = await channel.get_queue(names.parking_queue(level.name), ensure=False)
            while (message := await queue.get(fail=False)) is not None:
                copy = aio_pika.Message(
                    message.body,
                    headers=message.headers,
                    correlation_id=message.correlation_id,
                    reply_to=message.reply_to,
                    priority=message.priority,
                )
                await back.publish(copy, message.routing_key or "")
                await message.ack()


# A call is on its way for a moment: it may arrive a little after the clock has closed its lane.
ON_ITS_WAY_S = 1.0


@pytest.mark.parametrize(
    "evening",
    [
        datetime(2026, 11, 3, 21, tzinfo=BERLIN),
        datetime(2026, 10, 24, 21, tzinfo=BERLIN),
        datetime(2027, 3, 27, 21, tzinfo=BERLIN),
    ],
    ids=["any-night", "clocks-go-back", "clocks-go-forward"],
)
async def test_no_call_starts_outside_a_window_and_none_is_lost_over_midnight_and_clock_changes(
    stage: Stage, evening: datetime
) -> None:
    window = Window.parse("23:30-02:30 Europe/Berlin")
    stage.configure(each='bulk_windows = "23:30-02:30 Europe/Berlin"\nbulk_concurrency = 2\n')
    clock = Clock(stage.folder / "clock", evening.astimezone(UTC))
    for _ in range(2):
        await (await stage.start_module("tests.acceptance.clocked_worker", str(clock.file))).ready()
    async with stage.client() as client:
        jobs = await stage.submit(
            client,
            [
                chat(f"night {n}", plan="slow(0.5)", lane="bulk", deadline=timedelta(days=900))
                for n in range(40)
            ],
        )
        for _ in range(10 * 4):  # until seven in the morning, in steps of a quarter
            clock.set(clock.instant + timedelta(minutes=15))
            await asyncio.sleep(0.3)
        made = len(stage.simulator.calls)
        assert made > 0
        # The next night has what this one left, also what was parked until then by the workers' clock.
        clock.set(clock.instant.astimezone(BERLIN).replace(hour=23, minute=45).astimezone(UTC))
        await bring_back_parked(stage)
        await stage.hear(jobs, within_s=60)
    outside = [
        call
        for call in stage.simulator.calls
        if not window.is_open(clock.at(call.mono))
        and not window.is_open(clock.at(call.mono - ON_ITS_WAY_S))
    ]
    assert outside == []
    assert len(stage.simulator.calls) == len(jobs)
    assert (await stage.settled()).lost == ()
