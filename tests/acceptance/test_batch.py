"""A file of requests through real workers: bad lines, kills, and going on.

`BATCH_LINES=20000` makes the file as long as that; the figures are printed with `-s`.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.cli import started, warren
from tests.acceptance.stage import Stage
from worker.cli.batches.reading import LONGEST_LINE

LINES = int(os.environ.get("BATCH_LINES", "400"))
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


@pytest.mark.timeout(120 + LINES // 20)
async def test_a_batch_killed_twice_has_each_result_once_and_every_bad_line_told(
    stage: Stage,
) -> None:
    source, output = stage.folder / "in.jsonl", stage.folder / "out.jsonl"
    errors = stage.folder / "out.errors.jsonl"
    bad = write_input(source, LINES, flaws=37)
    wanted = {f"line-{n}" for n in range(1, LINES + 1) if n not in bad}
    stage.configure(concurrency=64)
    stage.simulator.latency({"default": "fixed(0.05)"})
    await stage.started()
    command = ("batch", "run", str(source), "-o", str(output), "--lane", "interactive")
    began = time.monotonic()
    for share in (1 / 3, 2 / 3):
        process = await started(stage, *command)
        await until_results(output, round(share * len(wanted)))
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
        f"\n{LINES:,} lines, killed twice: {len(results):,} results each once, {len(told)} errors, "
        f"{len(stage.simulator.calls):,} calls, {took:.1f} s; the last run: {summary}\n"
    )
