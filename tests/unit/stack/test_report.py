"""The demo's table adds up what is known and counts what is not."""

import io
from decimal import Decimal

import pytest
from rich.console import Console

from producer_sdk import Reply
from producer_sdk.testing import FakeCompletionClient
from producer_sdk.wire import CompletionReply, Source, Status
from stack.report import Ticket, cost_of, table

JOB = "a" * 32


def reply(cost: str | None, *, source: Source = Source.UPSTREAM) -> Reply:
    body = b'{"usage": {"prompt_tokens": 6, "completion_tokens": 4, "total_tokens": 10}}'
    return Reply.of(
        CompletionReply(
            submission_id="s",
            job_id=JOB,
            status=Status.COMPLETED,
            body=body,
            source=source,
            cost=None if cost is None else Decimal(cost),
        )
    )


@pytest.mark.parametrize(
    ("costs", "told"),
    [
        ([], "$0.0000"),
        (["0"], "$0.0000"),
        (["0.00004", "0.00001"], "$0.0000"),
        (["0.00004", "0.00002"], "$0.0001"),
        (["1.25", None, "0.5", None], "$1.7500 + 2 unknown"),
        ([None, None], "2 unknown"),
    ],
)
def test_known_costs_are_added_exactly_and_unknown_ones_are_counted(
    costs: list[str | None], told: str
) -> None:
    assert cost_of([reply(cost) for cost in costs]) == told


async def test_the_last_line_is_the_total_of_all_tiers() -> None:
    tickets: list[Ticket] = []
    async with FakeCompletionClient("x") as client:
        for tier, heard in [
            ("premium", reply("0.5")),
            ("budget", reply("0.25")),
            ("budget", reply("0", source=Source.CACHE)),
            ("budget", reply(None)),
        ]:
            job = await client.submit(tier=tier, model="m", messages=[])
            tickets.append(Ticket(tier=tier, job=job, heard=[heard]))
    page = io.StringIO()
    Console(file=page, width=200).print(table(tickets))
    lines = [line.split() for line in page.getvalue().splitlines()]
    premium, budget, total = lines[1:]
    assert premium[:8] == ["premium", "1", "1", "0", "0", "0", "10", "$0.5000"]
    assert " ".join(budget[7:11]) == "$0.2500 + 1 unknown"
    assert total[:7] == ["total", "4", "4", "1", "0", "0", "30"]
    assert " ".join(total[7:11]) == "$0.7500 + 1 unknown"
