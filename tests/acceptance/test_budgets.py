"""Budgets, with real workers: what they let pass, what they refuse, and what is told of it."""

from decimal import Decimal
from itertools import count

from producer_sdk import BudgetExceeded, Reply, Request
from tests.faults.stage import Stage
from worker.core.spend import Counted
from worker.settings import load
from worker.stores import spend_book

# A dollar for a thousand tokens of output, so that a call costs between some cents and its bound of a dollar.
MONEY = """
[prices."gpt-5-mini"]
input = 0
output = 1000
[budgets.each]
tenant = "*"
per = "month"
usd = "3.00"
on_exceeded = "refuse"
"""
NUMBERS = count()


def bounded(tokens: int) -> Request:
    """Give a request that may cost a thousandth of a dollar for each token."""
    body = {
        "model": "gpt-5-mini",
        "messages": [{"role": "user", "content": f"say something, number {next(NUMBERS)}"}],
        "max_completion_tokens": tokens,
    }
    return Request(tier="standard", body=body)


def standing(stage: Stage) -> Counted:
    (found,) = spend_book(load(stage.config, {}).store).standing()
    return found


async def test_two_workers_spend_a_budget_and_not_more_and_refuse_the_rest(stage: Stage) -> None:
    stage.configure(more=MONEY)
    for _ in range(2):
        await stage.started()
    async with stage.client() as client:
        heard = [
            *await stage.hear(await stage.submit(client, [bounded(500) for _ in range(3)])),
            *await stage.hear(await stage.submit(client, [bounded(2990)])),
        ]
        refused = await stage.hear(await stage.submit(client, [bounded(4000)]))
    replies = [each for each in heard if isinstance(each, Reply)]
    assert len(replies) == 3
    spent = sum((each.cost for each in replies if each.cost is not None), Decimal(0))
    assert 0 < spent <= 3
    assert [type(each) for each in [*heard[3:], *refused]] == [BudgetExceeded, BudgetExceeded]
    findings = await stage.settled()
    assert not findings.lost
    assert (standing(stage).spent, standing(stage).reserved) == (spent, Decimal(0))
