"""Real workers whose store goes away: at their start, midway, and where they are told to call all the same."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable

from producer_sdk import Reply
from tests.contract.world import Ear
from tests.faults import stores
from tests.faults.stage import Stage, WorkerProcess, chat
from worker.clock import SystemClock
from worker.store.embedded import EmbeddedStore
from worker.store.files import ledger_file

LATEST_S = 30


async def page(worker: WorkerProcess, path: str) -> tuple[int, str]:
    """Give status and text of one of the worker's own pages."""

    def get() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{worker.port}{path}", timeout=5) as it:
                return it.status, it.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    return await asyncio.to_thread(get)


async def until(
    worker: WorkerProcess, path: str, condition: Callable[[int, str], bool]
) -> tuple[int, str]:
    """Return a page of the worker as soon as it fulfils a condition."""
    async with asyncio.timeout(LATEST_S):
        while not condition(*(found := await page(worker, path))):
            assert worker.process.returncode is None, worker.log.read_text(encoding="utf-8")
            await asyncio.sleep(0.05)
        return found


async def logged(worker: WorkerProcess, event: str, times: int = 1) -> None:
    """Return when a line has been logged so often."""

    def count() -> int:
        lines = worker.log.read_text(encoding="utf-8").splitlines()
        return sum(line.startswith("{") and json.loads(line)["event"] == event for line in lines)

    async with asyncio.timeout(LATEST_S):
        while await asyncio.to_thread(count) < times:  # noqa: ASYNC110  # a file tells nobody
            await asyncio.sleep(0.05)


async def made(stage: Stage) -> None:
    """Make the store, as a worker did that ran before."""
    async with EmbeddedStore(ledger_file(stage.store), clock=SystemClock(), listener=Ear()):
        pass


async def test_a_worker_that_starts_without_its_store_is_alive_and_begins_when_it_is_back(
    stage: Stage,
) -> None:
    await made(stage)
    async with stage.client() as client:
        jobs = await stage.submit(client, [chat(f"early {n}") for n in range(4)])
        async with stores.locked(ledger_file(stage.store)):
            worker, other = await stage.start(), await stage.start()
            await asyncio.gather(logged(worker, "store_lost"), logged(other, "store_lost"))
            assert (await page(worker, "/livez"))[0] == 200
            status, text = await page(worker, "/readyz")
            assert (status, "store" in json.loads(text)["missing"]) == (503, True)
            assert "warren_store_up 0.0" in (await page(worker, "/metrics"))[1]
            other.process.terminate()  # a wait is no reason not to end
            assert await other.ended(within_s=20) == 0
            assert not stage.simulator.calls
        await worker.ready()
        replies = await stage.hear(jobs)
    assert all(isinstance(reply, Reply) for reply in replies)
    assert (await stage.settled()).clean


async def test_an_outage_pauses_the_consumers_and_costs_neither_a_job_nor_a_call(
    stage: Stage,
) -> None:
    stage.configure(concurrency=2)
    worker = await stage.started()
    async with stage.client() as client:
        inside = await stage.submit(client, [chat(f"in {n}", plan="slow(1)") for n in range(2)])
        await stage.simulator.wait_for(lambda calls: len(calls) == 2)
        async with stores.moved(ledger_file(stage.store)):
            outside = await stage.submit(client, [chat(f"out {n}") for n in range(10)])
            _, text = await until(worker, "/metrics", lambda _, it: "warren_store_up 0.0" in it)
            await stage.simulator.wait_for(lambda calls: all(call.over for call in calls))
            _, text = await page(worker, "/metrics")
            for lane in ("interactive", "bulk"):
                labels = f'{{cause="store",lane="{lane}",tier="standard"}}'
                assert f"warren_paused_for{labels} 1.0" in text
            _, text = await until(worker, "/readyz", lambda it, _: it == 503)
            assert json.loads(text)["missing"] == ["store"]
            # What was handed over before waits in the worker; all others wait in the broker, consumed by nobody.
            rows = await asyncio.to_thread(
                stage.vhost.broker.ctl,
                *("list_queues", "-p", stage.vhost.name, "name", "messages_ready", "consumers"),
                "--no-table-headers",
            )
            (row,) = (it.split() for it in rows.splitlines() if "jobs.standard.interactive" in it)
            assert int(row[1]) >= 8
            assert row[2] == "0"
            assert len(stage.simulator.calls) == 2
        replies = await stage.hear([*inside, *outside])
        await worker.ready()
    assert all(isinstance(reply, Reply) and reply.recorded for reply in replies)
    findings = await stage.settled()
    assert findings.clean
    assert findings.calls == 12


async def test_jobs_are_called_without_a_ledger_where_that_is_chosen_and_recorded_late(
    stage: Stage,
) -> None:
    stage.configure(concurrency=4)
    text = stage.config.read_text(encoding="utf-8")
    stage.config.write_text(
        text.replace("[store]\n", '[store]\non_outage = "call"\n'), encoding="utf-8"
    )
    worker = await stage.started()
    async with stage.client() as client:
        begun = await stage.submit(client, [chat("begun", plan="slow(1)")])
        await stage.simulator.wait_for(lambda calls: len(calls) == 1)
        async with stores.moved(ledger_file(stage.store)):
            jobs = await stage.submit(client, [chat(f"now {n}", plan="503,ok") for n in range(6)])
            replies = await stage.hear([*begun, *jobs])
            assert all(isinstance(reply, Reply) and not reply.recorded for reply in replies)
            assert len(stage.simulator.calls) == 13
        await logged(worker, "recorded_late", 7)
        await logged(worker, "called_unrecorded", 6)
        again = await client.result(jobs[0].id)
        assert again.recorded
    findings = await stage.settled()
    assert not findings.lost
    assert not findings.open_jobs
    assert not findings.differing
    assert not findings.late_calls
    worker.process.terminate()
    assert await worker.ended() == 0
