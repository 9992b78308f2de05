"""What holds jobs to the configured budgets, made from the settings."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.contract.world import BEGAN, EmbeddedFleet, make_job
from tests.unit.worker.settings_samples import Folder
from worker import parts
from worker.core.budgets import Refuse
from worker.spending import Purse

CONFIG = """
[broker]
url = "amqp://worker@127.0.0.1/"
[tiers.small]
endpoints = ["main", "other"]
fallback_models = ["dear"]
[endpoints.main]
base_url = "https://api.example/v1"
models = ["m"]
[endpoints.other]
base_url = "https://other.example/v1"
models = ["dear"]
[prices.m]
input = 0
output = 1
[prices.dear]
input = 0
output = 3
[budgets.each]
tenant = "*"
per = "day"
usd = "0.50"
"""


@pytest.mark.parametrize(("tokens", "estimate"), [(1000, "0.003"), (100_000, "0.3")])
async def test_a_job_reserves_what_the_dearest_model_costs_that_may_answer(
    tmp_path: Path, tokens: int, estimate: str
) -> None:
    settings = Folder(tmp_path).load(CONFIG)
    fleet = EmbeddedFleet(tmp_path)
    spending = parts.spending(settings, spend=(await fleet.join()).spend, clock=fleet.clock)
    job = replace(make_job(deadline=BEGAN + timedelta(days=1)), body=b'{"max_tokens": %d}' % tokens)
    purse = await spending.reserve(job)
    assert isinstance(purse, Purse)
    assert purse.estimate == Decimal(estimate)
    too_much = await spending.reserve(replace(job, body=b'{"max_tokens": 1000000}'))
    assert isinstance(too_much, Refuse)
    await fleet.close()
