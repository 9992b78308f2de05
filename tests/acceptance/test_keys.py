"""A key that is rotated while jobs run, with real processes: it costs no job, and none waits for it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from producer_sdk import Reply
from tests.contract.secret_stands import Stand, VaultStand, open_stand
from tests.faults import canaries
from tests.faults.canaries import KEY
from tests.faults.stage import Stage, WorkerProcess, chat, open_stage
from tests.faults.vhost import Vhost

pytestmark = pytest.mark.processes

# As many calls as may be on their way with the old key when it is refused.
CONCURRENCY = 8


@pytest.fixture
async def stage(vhost: Vhost, tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage whose endpoint asks for the key of the file `asked`, and whose workers send that of the file `sent`."""
    _write(tmp_path, "asked", "sent", key=f"{KEY}-1")
    async with open_stage(vhost, tmp_path, require_key=tmp_path / "asked") as made:
        made.simulator.latency({"default": "fixed(0.02)"})
        made.configure(concurrency=CONCURRENCY)
        text = made.config.read_text(encoding="utf-8")
        text = text.replace(f'key = "{KEY}"', f'key_file = "{tmp_path / "sent"}"')
        made.config.write_text(text, encoding="utf-8")
        yield made


def _write(folder: Path, *names: str, key: str) -> None:
    for name in names:
        new = folder / f"{name}.new"
        new.write_text(f"{key}\n", encoding="utf-8")
        new.chmod(0o600)
        new.replace(folder / name)  # at once: nobody reads half a key


async def _called(stage: Stage, count: int) -> None:
    await stage.simulator.wait_for(lambda calls: len(calls) >= count, timeout_s=60)


def _lines(worker: WorkerProcess, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in worker.log.read_text().splitlines() if line[:1] == "{"]
    return [line for line in lines if line.get("event") == event]


async def test_a_key_that_is_rotated_twice_under_load_costs_no_job_no_attempt_and_no_wait(
    stage: Stage, tmp_path: Path
) -> None:
    worker = await stage.started()
    async with stage.client() as client:
        requests = [chat(f"load {number}") for number in range(300)]
        jobs = await stage.submit(client, requests)
        hearing = asyncio.ensure_future(stage.hear(jobs))
        for number, after in ((2, 80), (3, 180)):
            await _called(stage, after)
            _write(tmp_path, "sent", "asked", key=f"{KEY}-{number}")
        replies = await hearing
    assert all(isinstance(reply, Reply) for reply in replies)
    # Each was answered in its first attempt: nothing was parked, and no hold was begun.
    assert {reply.attempts for reply in replies if isinstance(reply, Reply)} == {1}
    assert _lines(worker, "held") == _lines(worker, "parked") == []
    assert len(_lines(worker, "job")) == len(jobs)  # so lines are read at all
    refused = [call for call in stage.simulator.calls if call.status == 401]
    assert 2 <= len(refused) <= 2 * CONCURRENCY
    findings = await stage.settled()
    assert findings.clean


async def test_a_key_that_is_refused_before_there_is_another_costs_no_job(
    stage: Stage, tmp_path: Path
) -> None:
    worker = await stage.started()
    async with stage.client() as client:
        requests = [chat(f"load {number}") for number in range(60)]
        jobs = await stage.submit(client, requests)
        hearing = asyncio.ensure_future(stage.hear(jobs))
        await _called(stage, 20)
        _write(tmp_path, "asked", key=f"{KEY}-2")
        await stage.simulator.wait_for(
            lambda calls: any(call.status == 401 for call in calls), timeout_s=60
        )
        _write(tmp_path, "sent", key=f"{KEY}-2")
        replies = await hearing
    assert all(isinstance(reply, Reply) for reply in replies)
    held = _lines(worker, "held")
    assert {line["kind"] for line in held} <= {"unauthorized"}
    assert len(held) <= 1
    assert (await stage.settled()).clean


async def test_a_key_of_vault_that_is_rotated_under_load_costs_no_job_and_shows_nowhere(
    stage: Stage, tmp_path: Path
) -> None:
    token, path = f"{KEY}-token", "secret/data/openai"
    vault = VaultStand(secrets={path: {"key": f"{KEY}-1"}}, tokens={token})
    text = stage.config.read_text(encoding="utf-8")
    text = text.replace(f'key_file = "{tmp_path / "sent"}"', f'key_from = "vault:{path}#key"')
    with open_stand(Stand(answer=vault.answer)) as stand:
        text += f'[secrets]\nvault_url = "{stand.url}"\nvault_token = "{token}"\n'
        stage.config.write_text(text + '[worker]\nlog_level = "debug"\n', encoding="utf-8")
        worker = await stage.started()
        async with stage.client() as client:
            jobs = await stage.submit(client, [chat(f"load {number}") for number in range(100)])
            hearing = asyncio.ensure_future(stage.hear(jobs))
            await _called(stage, 40)
            vault.secrets[path] = {"key": f"{KEY}-2"}
            _write(tmp_path, "asked", key=f"{KEY}-2")
            replies = await hearing
        assert all(isinstance(reply, Reply) for reply in replies)
        assert {reply.attempts for reply in replies if isinstance(reply, Reply)} == {1}
        assert _lines(worker, "held") == []
        # Once at start, once for the refused key, however many calls it was refused for.
        assert len(stand.asked) == 2
        assert (
            await canaries.hits(
                stage.vhost, {"key or token": KEY}, logs=[worker.log], ports=[worker.port]
            )
            == []
        )
        assert (await stage.settled()).clean


async def test_a_worker_whose_manager_is_down_does_not_start_and_names_every_secret(
    stage: Stage, tmp_path: Path
) -> None:
    text = stage.config.read_text(encoding="utf-8")
    place = "vault:secret/data/openai#key"
    text = text.replace(f'key_file = "{tmp_path / "sent"}"', f'key_from = "{place}"')
    text += f'[secrets]\nvault_url = "http://127.0.0.1:1"\nvault_token = "{KEY}"\n'
    text += f'[endpoints.spare]\nbase_url = "http://127.0.0.1:1/v1"\nkey_from = "{place}"\n'
    stage.config.write_text(text, encoding="utf-8")
    worker = await stage.start()
    assert await worker.ended() == 1
    said = worker.log.read_text()
    for name in ("main", "spare"):
        assert f"endpoints.{name}.key_from: the secret {place} cannot be read: " in said
    assert KEY not in said
    assert "Traceback" not in said
