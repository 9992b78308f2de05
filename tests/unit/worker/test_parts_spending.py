"""What holds jobs to the configured budgets, made from the settings."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.contract.world import BEGAN, EmbeddedFleet, make_job
from tests.unit.worker.settings_samples import Folder
from tests.unit.worker.test_spending import reserve
from worker import parts
from worker.core.budgets import Refuse, Wait
from worker.core.model import Work
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
    purse = await reserve(spending, job)
    assert isinstance(purse, Purse)
    assert purse.estimate == Decimal(estimate)
    too_much = await reserve(spending, replace(job, body=b'{"max_tokens": 1000000}'))
    assert isinstance(too_much, Refuse)
    await fleet.close()


UNPRICED_TOO = CONFIG.replace(
    'fallback_models = ["dear"]', 'fallback_models = ["dear", "own"]'
).replace('models = ["dear"]', 'models = ["dear", "own"]')


@pytest.mark.parametrize(
    ("config", "body", "unknown"),
    [
        (UNPRICED_TOO, b'{"max_tokens": 100000}', "0"),
        (CONFIG, b'{"max_tokens": 100000, "service_tier": "made-up"}', "0.3"),
    ],
    ids=["a model to fall back to", "a service tier"],
)
async def test_what_has_no_price_lets_nobody_past_a_budget_that_the_rest_uses_up(
    tmp_path: Path, config: str, body: bytes, unknown: str
) -> None:
    fleet = EmbeddedFleet(tmp_path)
    spend = (await fleet.join()).spend
    job = replace(make_job(deadline=BEGAN + timedelta(days=1)), body=body)
    spending = parts.spending(Folder(tmp_path).load(config), spend=spend, clock=fleet.clock)
    purse = await reserve(spending, job)
    assert isinstance(purse, Purse)
    assert purse.reckoned == Decimal("0.3")
    assert isinstance(await reserve(spending, job), Wait)
    spending.settle(purse.spent(Work(calls=1, unpriced=1)))
    await spending.aclose()
    assert [each.spent for each in fleet.spend_book().standing()] == [Decimal(unknown)]
    strict = Folder(tmp_path).load(f'{config}unpriced = "refuse"')
    spending = parts.spending(strict, spend=spend, clock=fleet.clock)
    assert isinstance(await reserve(spending, job), Refuse)
    await fleet.close()


async def test_a_job_of_which_no_price_is_known_at_all_reserves_nothing(tmp_path: Path) -> None:
    config = CONFIG.replace("[prices.m]", "[prices.x]").replace("[prices.dear]", "[prices.y]")
    fleet = EmbeddedFleet(tmp_path)
    settings = Folder(tmp_path).load(config)
    spending = parts.spending(settings, spend=(await fleet.join()).spend, clock=fleet.clock)
    purse = await reserve(spending, make_job(deadline=BEGAN + timedelta(days=1)))
    assert isinstance(purse, Purse)
    assert (purse.estimate, purse.reckoned) == (None, Decimal(0))
    await fleet.close()
