"""What is made anew by hand must lose nothing that a field more would bring."""

from dataclasses import fields, replace
from decimal import Decimal

from producer_sdk.wire import Source
from worker.core.model import Completed, Tally, Usage, Work

USAGE = Usage(prompt_tokens=3, completion_tokens=4)
FULL = Completed(
    body=b"{}",
    endpoint="a",
    model="m",
    usage=USAGE,
    source=Source.CACHE,
    cost=Decimal(1),
    fallback=True,
)


def test_an_answer_with_what_it_cost_is_else_the_same() -> None:
    assert len(fields(Completed)) == 7
    assert FULL.charged(Decimal(2), fallback=False) == replace(
        FULL, cost=Decimal(2), fallback=False
    )
    assert FULL.charged(FULL.cost, fallback=True) is FULL


def test_a_tally_with_an_attempts_work_is_else_the_same() -> None:
    tally = Tally(attempts=1, calls=2, refusals=3, snoozes=4, spent=Decimal(5), unpriced=6)
    assert len(fields(Tally)) == 6
    work = Work(calls=10, refusals=20, spent=Decimal(30), unpriced=40)
    assert tally.plus(work) == replace(tally, calls=12, refusals=23, spent=Decimal(35), unpriced=46)
