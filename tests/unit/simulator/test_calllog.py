import asyncio
import json
from pathlib import Path

import httpx
import pytest

from simulator import Call, How, Simulator
from simulator.calllog import CallLog
from tests.unit.simulator.requests import CHAT, chat


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def start(log: CallLog, n: int) -> Call:
    return log.start(
        n, client_id=None, sha256="0" * 64, path=CHAT, model=None, fault="ok", http="2"
    )


async def test_every_start_has_one_end_also_after_a_shutdown(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    async with (
        Simulator(log=file) as sim,
        httpx.AsyncClient(base_url=sim.url, trust_env=False) as client,
    ):
        await client.post(CHAT, json=chat())
        await client.post(CHAT, json=chat(user="sim:503"))
        gone = asyncio.create_task(client.post(CHAT, json=chat(user="sim:hang")))
        await sim.wait_for(lambda calls: len(calls) == 3)
        gone.cancel()
        await sim.wait_for(lambda calls: calls[2].over)
        held = asyncio.create_task(client.post(CHAT, json=chat(user="sim:slow(60)")))
        await sim.wait_for(lambda calls: len(calls) == 4)
        await sim.stop()
        with pytest.raises(httpx.TransportError):
            await held
    events = lines(file)
    starts = [event["call"] for event in events if event["event"] == "start"]
    ends = {event["call"]: event["how"] for event in events if event["event"] == "end"}
    assert starts == [1, 2, 3, 4]
    assert ends == {1: "done", 2: "done", 3: "client_closed", 4: "shutdown"}
    assert len(events) == 8


async def test_neither_prompt_nor_key_is_written(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    async with (
        Simulator(log=file, require_key="KEYCANARY") as sim,
        httpx.AsyncClient(base_url=sim.url, trust_env=False) as client,
    ):
        for key in ("KEYCANARY", "OTHERCANARY"):
            headers = {"authorization": f"Bearer {key}", "x-client-request-id": "id-1"}
            await client.post(CHAT, json=chat("PROMPTCANARY"), headers=headers)
    assert "CANARY" not in file.read_text()
    assert [event["status"] for event in lines(file) if event["event"] == "end"] == [200, 401]


def test_events_have_the_agreed_fields(tmp_path: Path) -> None:
    log = CallLog(file=tmp_path / "log")
    log.end(start(log, 1), How.DONE, 200)
    log.close()
    first, last = lines(tmp_path / "log")
    assert list(first) == [
        *("event", "at", "mono", "call", "id", "client"),
        *("sha256", "path", "model", "fault", "http"),
    ]
    assert list(last) == ["event", "call", "at", "mono", "status", "how", "tokens"]


def test_two_logs_append_to_one_file(tmp_path: Path) -> None:
    logs = [CallLog(file=tmp_path / "log") for _ in range(2)]
    for n in range(1, 4):
        for log in logs:
            start(log, n)
    for log in logs:
        log.close()
    assert [event["call"] for event in lines(tmp_path / "log")] == [1, 1, 2, 2, 3, 3]


def test_a_second_end_of_a_call_is_a_bug() -> None:
    log = CallLog()
    call = start(log, 1)
    log.end(call, How.DONE, 200)
    with pytest.raises(AssertionError, match="ended twice"):
        log.end(call, How.CLIENT_CLOSED, None)


def test_records_are_forgotten_if_not_kept() -> None:
    log = CallLog(keep=False)
    log.end(start(log, 1), How.DONE, 200)
    assert log.calls == []


async def test_waiting_ends_with_the_event_that_makes_the_condition_true() -> None:
    log = CallLog()
    waiting = asyncio.create_task(log.wait_for(lambda calls: len(calls) == 2, 10))
    await asyncio.sleep(0)
    start(log, 1)
    await asyncio.sleep(0)
    assert not waiting.done()
    start(log, 2)
    await waiting


async def test_a_condition_that_never_holds_times_out_and_tells_what_was_there() -> None:
    log = CallLog()
    start(log, 1)
    with pytest.raises(TimeoutError, match=r"\(1, 'ok', None\)"):
        await log.wait_for(lambda calls: len(calls) == 9, 0.01)
    assert log._waiting == []


async def test_a_condition_that_raises_fails_its_own_waiter_only() -> None:
    log = CallLog()
    broken = asyncio.create_task(log.wait_for(lambda calls: bool(calls and calls[5]), 10))
    sound = asyncio.create_task(log.wait_for(lambda calls: len(calls) == 1, 10))
    await asyncio.sleep(0)
    start(log, 1)
    await sound
    with pytest.raises(IndexError):
        await broken
