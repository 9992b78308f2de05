import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from producer_sdk.wire import Source, Status
from worker.core.kinds import Kind
from worker.core.model import Completed, Failed, Outcome, Record, State, Submission, Tally
from worker.core.replies import reply

SECOND = timedelta(seconds=1)
HERE = Submission(id="s-1", reply_to="app.web")


def record(outcome: Outcome | None, state: State) -> Record:
    return Record(
        job_id="j" * 32,
        run=2,
        state=state,
        outcome=outcome,
        tally=Tally(attempts=2, calls=3, refusals=1),
        waited=SECOND,
        upstream=SECOND * 2,
        total=SECOND * 3,
    )


def test_a_completed_reply_carries_the_upstreams_bytes_untouched() -> None:
    body = b'{"x" :  1}\n'
    made = reply(record(Completed(body=body, endpoint="main"), State.COMPLETED), HERE)
    assert made.body == body
    assert (made.status, made.source, made.endpoint) == (Status.COMPLETED, Source.UPSTREAM, "main")
    assert (made.run, made.attempts, made.tries) == (2, 2, 4)
    assert (made.waited_ms, made.upstream_ms, made.total_ms) == (1000, 2000, 3000)


@pytest.mark.parametrize("cost", [None, Decimal("0.00044775"), Decimal(0)])
@pytest.mark.parametrize("source", [Source.UPSTREAM, Source.CACHE, Source.SHARED])
def test_an_own_call_tells_its_cost_and_an_answer_that_needed_none_cost_nothing(
    cost: Decimal | None, source: Source
) -> None:
    completed = Completed(body=b"{}", endpoint="main", source=source, cost=cost)
    made = reply(record(completed, State.COMPLETED), HERE)
    assert made.cost == (cost if source is Source.UPSTREAM else 0)


def test_an_answer_that_is_not_kept_has_no_known_cost() -> None:
    assert reply(record(None, State.COMPLETED), HERE).cost is None


@pytest.mark.parametrize(("unpriced", "cost"), [(0, Decimal("0.5")), (1, None)])
def test_a_run_that_failed_tells_what_its_calls_cost_if_that_is_known_of_all(
    unpriced: int, cost: Decimal | None
) -> None:
    tally = Tally(attempts=2, calls=3, spent=Decimal("0.5"), unpriced=unpriced)
    failed = replace(record(Failed(kind=Kind.TIMEOUT), State.DEAD_LETTERED), tally=tally)
    assert reply(failed, HERE).cost == cost


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (State.DEAD_LETTERED, Status.DEAD_LETTERED),
        (State.EXPIRED, Status.EXPIRED),
        (State.CANCELLED, Status.CANCELLED),
        (State.REFUSED, Status.REFUSED),
    ],
)
def test_a_failed_reply_tells_kind_status_and_code(state: State, status: Status) -> None:
    failed = Failed(kind=Kind.OVERLOADED, status=503, code="overloaded_error", endpoint="main")
    made = reply(record(failed, state), HERE)
    assert made.status is status
    told = json.loads(made.body)["error"]
    assert (told["kind"], told["status"], told["code"]) == ("overloaded", 503, "overloaded_error")
    assert made.error().message == told["message"]


def test_all_submissions_of_a_run_get_the_same_body() -> None:
    ended = record(Failed(kind=Kind.TIMEOUT), State.DEAD_LETTERED)
    other = Submission(id="s-2", reply_to="app.batch")
    assert reply(ended, HERE).body == reply(ended, other).body


def test_a_completed_job_whose_response_is_gone_says_so() -> None:
    made = reply(record(None, State.COMPLETED), HERE)
    assert made.status is Status.REFUSED
    assert made.error().kind == "result_expired"
