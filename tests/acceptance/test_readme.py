"""What the README tells a newcomer to type works as it stands there."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path

from tests.acceptance.cli import warren
from tests.faults.stage import Stage, chat
from tests.faults.vhost import ROOT


async def test_the_ten_line_producer_prints_a_reply(stage: Stage, tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    producer = tmp_path / "hello.py"
    producer.write_text(re.findall(r"```python\n(.*?)```", readme, re.DOTALL)[0], encoding="utf-8")
    await stage.started()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(producer),
        env={**os.environ, "PYTHONPATH": str(ROOT), "WARREN_URL": stage.vhost.url("producer")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert errors == b""
    assert b"prompt_tokens" in output


async def test_submit_prints_an_answer_and_tells_on_stderr_where_it_came_from(stage: Stage) -> None:
    await stage.started()
    answer = await warren(stage, "submit", "Say hello", "--tier", "standard", "--dedupe", "cache")
    assert answer.strip()
    assert "job" not in answer


async def test_status_shows_the_queues_and_their_consumers(stage: Stage) -> None:
    await stage.started()
    text = await warren(stage, "status")
    assert "warren.jobs.standard.interactive" in text
    assert "warren.dead.standard" in text


async def test_status_tells_how_old_the_oldest_waiting_job_is(stage: Stage) -> None:
    stage.configure()
    async with stage.client() as client:
        await stage.submit(client, [chat("nobody works")])

    async def oldest() -> float | None:
        shown = json.loads(await warren(stage, "status", "--json"))["queues"]
        (queue,) = (row for row in shown if row["name"] == "warren.jobs.standard.interactive")
        age: float | None = queue["oldest"]
        return age

    async with asyncio.timeout(60):
        while (age := await oldest()) is None:  # noqa: ASYNC110  # the broker samples every few seconds
            await asyncio.sleep(0.5)
    assert 0 <= age < 120


async def test_explain_of_an_unknown_job_fails_and_says_why(stage: Stage) -> None:
    await stage.started()
    await warren(stage, "explain", "0123456789", status=1)


async def test_a_broker_that_is_not_there_is_exit_status_three(stage: Stage) -> None:
    stage.configure()
    await warren(stage, "submit", "x", "--url", "amqp://producer:x@127.0.0.1:1/warren", status=3)
