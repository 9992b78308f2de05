"""A file of requests through real workers: bad lines, kills, and going on.

`BATCH_LINES=20000` makes the file as long as that, `BATCH_KILLS=50` kills as often; the figures are printed with `-s`.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.cli import started, warren
from tests.faults.stage import Stage
from worker.cli.batches.reading import LONGEST_LINE

LINES = int(os.environ.get("BATCH_LINES", "400"))
KILLS = int(os.environ.get("BATCH_KILLS", "2"))
# An upstream so slow that a batch of 600 lines is under way for longer than the broker's tools take to start.
_UNHURRIED = {"default": "fixed(0.3)"}
GOOD = {
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hello"}]},
}


def good(custom_id: str, **body: object) -> bytes:
    content = [{"role": "user", "content": f"answer {custom_id}"}]
    given = {"model": "gpt-5-mini", "messages": content, **body}
    return json.dumps(GOOD | {"custom_id": custom_id, "body": given}).encode()


# Each kind of flaw with its code; together with the repeats 37 lines.
FLAWS: tuple[tuple[bytes, str], ...] = (
    (b'{"custom_id": "torn", "method": "POST"', "invalid_json"),
    (b"hello", "invalid_json"),
    (b'["no", "object"]', "invalid_type"),
    (json.dumps(GOOD).encode(), "missing_custom_id"),
    (json.dumps(GOOD | {"custom_id": 17}).encode(), "invalid_type"),
    (good("line-1"), "duplicate_custom_id"),
    (json.dumps(GOOD | {"custom_id": "url", "url": "/v1/images"}).encode(), "unknown_url"),
    (json.dumps(GOOD | {"custom_id": "get", "method": "GET"}).encode(), "unknown_method"),
    (json.dumps(GOOD | {"custom_id": "list", "body": []}).encode(), "invalid_type"),
    (good("utf8").replace(b"answer", b"\xff\xfe"), "invalid_utf8"),
    (good("nan", temperature=float("nan")), "invalid_json"),
    (good("stream-#", stream=True), "invalid_request"),
)


def write_input(path: Path, lines: int, flaws: int) -> dict[int, str]:
    """Write so many lines, so many of them bad; gives the bad ones' codes by their numbers."""
    bad = {
        2 + n * (lines - 2) // flaws: FLAWS[n % len(FLAWS)]
        if n
        else (b"x" * LONGEST_LINE + b"x", "line_too_long")
        for n in range(flaws)
    }
    with path.open("wb") as file:
        for number in range(1, lines + 1):
            line = bad[number][0] if number in bad else good("line-#")
            file.write(line.replace(b"#", str(number).encode()) + b"\n")
    return {number: code for number, (_, code) in bad.items()}


def json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


async def until_results(path: Path, count: int) -> None:
    """Wait for so many whole lines in the output."""

    def written() -> int:
        return path.read_bytes().count(b"\n") if path.exists() else 0

    async with asyncio.timeout(600):
        while await asyncio.to_thread(written) < count:  # noqa: ASYNC110  # another process writes
            await asyncio.sleep(0.02)


@pytest.mark.timeout(120 + LINES // 20 + 10 * KILLS)
async def test_a_batch_killed_in_the_middle_has_each_result_once_and_every_bad_line_told(
    stage: Stage,
) -> None:
    source, output = stage.folder / "in.jsonl", stage.folder / "out.jsonl"
    errors = stage.folder / "out.errors.jsonl"
    bad = write_input(source, LINES, flaws=37)
    wanted = {f"line-{n}" for n in range(1, LINES + 1) if n not in bad}
    stage.configure(more="bulk_concurrency = 64\n")
    stage.simulator.latency({"default": "fixed(0.05)"})
    await stage.started()
    command = ("batch", "run", str(source), "-o", str(output))
    began = time.monotonic()
    for kill in range(1, KILLS + 1):
        process = await started(stage, *command)
        await until_results(output, kill * len(wanted) // (KILLS + 1))
        process.send_signal(signal.SIGKILL)
        await process.wait()
    summary = json.loads(await warren(stage, *command, "--json", status=1))
    took = time.monotonic() - began

    results = json_lines(output)
    assert Counter(each["custom_id"] for each in results) == Counter(wanted)
    assert all(each["error"] is None for each in results)
    assert all(each["response"]["status_code"] == 200 for each in results)
    told = [(each["line"], each["error"]["code"]) for each in json_lines(errors)]
    assert dict(told) == bad
    assert len(told) == len(bad)
    assert len(stage.simulator.calls) == len(wanted)
    assert summary["complete"]
    assert summary["answered"] + summary["answered_before"] == len(wanted)
    sys.stdout.write(
        f"\n{LINES:,} lines, killed {KILLS} times: {len(results):,} results each once, {len(told)} errors, "
        f"{len(stage.simulator.calls):,} calls, {took:.1f} s; the last run: {summary}\n"
    )


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_a_signal_stops_a_batch_in_order_and_the_next_run_hears_what_it_left(
    stage: Stage, number: signal.Signals, status: int
) -> None:
    source, output = stage.folder / "in.jsonl", stage.folder / "out.jsonl"
    write_input(source, 60, flaws=2)
    stage.configure(more="bulk_concurrency = 4\n")
    stage.simulator.latency({"default": "fixed(0.3)"})
    await stage.started()
    command = ("batch", "run", str(source), "-o", str(output))
    process = await started(stage, *command)
    await until_results(output, 1)
    process.send_signal(number)
    _, told = await process.communicate()
    assert process.returncode == status
    assert b"the same command goes on from here" in told
    assert len(json_lines(output)) < 58
    await warren(stage, *command, status=1)
    assert len({each["custom_id"] for each in json_lines(output)}) == len(json_lines(output)) == 58
    assert len(stage.simulator.calls) == 58


async def test_a_failed_line_is_replayed_and_its_answer_is_written_by_the_next_run(
    stage: Stage,
) -> None:
    source, output = stage.folder / "in.jsonl", stage.folder / "out.jsonl"
    source.write_bytes(good("fine") + b"\n" + good("fails", user="sim:400!") + b"\n")
    await stage.started()
    command = ("batch", "run", str(source), "-o", str(output))
    await warren(stage, *command, status=1)
    by_id = {each["custom_id"]: each for each in json_lines(output)}
    assert by_id["fails"]["response"]["status_code"] == 400
    assert by_id["fails"]["response"]["request_id"] in await warren(stage, "dead", "list", "--json")

    # As the page on batches says: take the failed ones out, replay, run again.
    kept = [line for line in output.read_bytes().splitlines(keepends=True) if b'"fine"' in line]
    output.write_bytes(b"".join(kept))
    stage.simulator.heal()
    await warren(stage, "dead", "replay", "--all", "--yes")
    await stage.settled()
    await warren(stage, *command)
    by_id = {each["custom_id"]: each for each in json_lines(output)}
    assert by_id["fails"]["response"]["status_code"] == 200
    assert len(stage.simulator.calls) == 3


async def test_a_pipe_in_and_a_pipe_out_need_no_file(stage: Stage) -> None:
    await stage.started()
    process = await started(
        stage,
        "batch",
        "run",
        "-",
        "-o",
        "-",
        "--name",
        "piped",
        piped=True,
    )
    written, told = await process.communicate(good("one") + b"\n" + b"broken\n" + good("two"))
    assert process.returncode == 1, told
    results = [json.loads(line) for line in written.splitlines()]
    assert {each["custom_id"] for each in results} == {"one", "two"}
    assert b'{"line": 2, "custom_id": null, "error": {"code": "invalid_json"' in told


async def test_an_edited_file_under_one_name_is_refused_line_by_line_and_not_answered_wrongly(
    stage: Stage,
) -> None:
    source = stage.folder / "in.jsonl"
    await stage.started()
    command = ("batch", "run", str(source), "--name", "mine", "-o")
    source.write_bytes(good("a") + b"\n")
    await warren(stage, *command, str(stage.folder / "one.jsonl"))
    source.write_bytes(good("a", seed=1) + b"\n")
    await warren(stage, *command, str(stage.folder / "two.jsonl"), status=1)
    (told,) = json_lines(stage.folder / "two.errors.jsonl")
    assert (told["custom_id"], told["error"]["code"]) == ("a", "idempotency_conflict")
    assert len(stage.simulator.calls) == 1


async def test_connections_that_are_cut_cost_a_batch_no_line_and_no_call(stage: Stage) -> None:
    source, output = stage.folder / "in.jsonl", stage.folder / "out.jsonl"
    source.write_bytes(b"".join(good(f"line-{n}") + b"\n" for n in range(600)))
    stage.configure(more="bulk_concurrency = 16\n")
    stage.simulator.latency(_UNHURRIED)
    await stage.started()
    process = await started(stage, "batch", "run", str(source), "-o", str(output))
    for count in (50, 300):
        await until_results(output, count)
        assert await asyncio.to_thread(stage.vhost.close_connections, "producer")
    _, told = await process.communicate()
    assert process.returncode == 0, told
    assert len({each["custom_id"] for each in json_lines(output)}) == len(json_lines(output)) == 600
    assert len(stage.simulator.calls) == 600


async def test_a_broker_that_is_killed_twice_costs_a_batch_no_line_and_no_call(
    stage: Stage, restart_broker: Callable[[], object]
) -> None:
    source, output = stage.folder / "in.jsonl", stage.folder / "out.jsonl"
    source.write_bytes(b"".join(good(f"line-{n}") + b"\n" for n in range(600)))
    stage.configure(more="bulk_concurrency = 16\n")
    stage.simulator.latency(_UNHURRIED)
    await stage.started()
    process = await started(stage, "batch", "run", str(source), "-o", str(output))
    for count in (100, 350):
        await until_results(output, count)
        await asyncio.to_thread(restart_broker)
    _, told = await process.communicate()
    assert process.returncode == 0, told
    assert len({each["custom_id"] for each in json_lines(output)}) == len(json_lines(output)) == 600
    assert len(stage.simulator.calls) == 600
