"""What a worker tells about itself while it works."""

import asyncio
import json
import re
import urllib.request
from decimal import Decimal

import pytest

from producer_sdk import Reply
from tests.faults.stage import Stage, chat


def page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: bytes = answer.read()
    return text.decode()


async def test_metrics_and_the_log_tell_of_every_job(stage: Stage) -> None:
    worker = await stage.started()
    async with stage.client() as client:
        plans = [None, None, "503,503", "400!"]
        jobs = await stage.submit(client, [chat(f"{n}", plan=it) for n, it in enumerate(plans)])
        heard = await stage.hear(jobs)
    await stage.settled()
    metrics = await asyncio.to_thread(page, f"http://127.0.0.1:{worker.port}/metrics")
    lane = 'lane="interactive",'
    assert f'warren_jobs_total{{{lane}state="completed",tier="standard"}} 3.0' in metrics
    assert f'warren_jobs_total{{{lane}state="dead_lettered",tier="standard"}} 1.0' in metrics
    assert 'warren_calls_total{endpoint="main",kind="ok",tier="standard"} 3.0' in metrics
    assert 'warren_calls_total{endpoint="main",kind="overloaded",tier="standard"} 2.0' in metrics
    assert (
        'warren_unpriced_calls_total{endpoint="main",model="other",tier="standard"} 0.0' in metrics
    )
    worker.process.terminate()
    assert await worker.ended() == 0
    lines = [json.loads(line) for line in worker.log.read_text(encoding="utf-8").splitlines()]
    canonical = {line["job"]: line["state"] for line in lines if line["event"] == "job"}
    assert canonical.keys() == {job.id for job in jobs}
    costs = {line["job"]: line["cost"] for line in lines if line.get("state") == "completed"}
    assert costs == {it.job_id: f"{it.cost:f}" for it in heard if isinstance(it, Reply)}
    total = re.search(
        r'warren_cost_usd_total{endpoint="main",model="other",tier="standard"} (\S+)', metrics
    )
    assert total is not None
    assert float(total[1]) == pytest.approx(float(sum(map(Decimal, costs.values()))))
    assert sorted(canonical.values()) == ["completed", "completed", "completed", "dead_lettered"]
