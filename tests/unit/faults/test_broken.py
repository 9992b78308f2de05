"""What the audit of the scenarios finds beside the auditor's own findings."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.faults.broken import burnt_attempts, heard_by_another_tenant
from worker.core.letters import Explanation
from worker.core.model import HistoryEntry, State, Tally

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CALLED = HistoryEntry(at=NOW, run=1, generation=0, attempt=1, what="retry", calls=2)
DIED = replace(CALLED, what="taken over", calls=0)
JOB = Explanation(
    job_id="a" * 32,
    tenant="app",
    tier="standard",
    lane="interactive",
    path="/v1/chat/completions",
    model="m",
    state=State.COMPLETED,
    run=1,
    generation=1,
    tally=Tally(attempts=2, calls=2),
    received_at=NOW,
    deadline=NOW + timedelta(hours=1),
    claimed_by=None,
    submissions=(),
    history=(CALLED, replace(CALLED, attempt=2, what="completed", calls=1)),
)
HEARD = {"event": "reply", "completed": True, "tenant": "app", "job": "a", "sha256": "x"}


def test_attempts_that_made_a_call_or_ended_with_their_process_are_not_burnt() -> None:
    assert burnt_attempts([JOB, replace(JOB, history=(DIED, CALLED))]) == ()


@pytest.mark.parametrize(
    "history",
    [(CALLED,), (CALLED, replace(CALLED, what="snooze", calls=0)), (CALLED, replace(DIED, run=2))],
    ids=["no-trace", "no-call", "of-another-run"],
)
def test_an_attempt_that_made_no_call_is_burnt(history: tuple[HistoryEntry, ...]) -> None:
    assert burnt_attempts([replace(JOB, history=history)]) == (JOB.job_id,)


@pytest.mark.parametrize(
    ("second", "found"),
    [
        ({"job": "b"}, ()),
        ({"tenant": "blue", "job": "b"}, ("a", "b")),
        ({"tenant": "blue", "job": "b", "sha256": "y"}, ()),
        ({"tenant": "blue", "job": "b", "completed": False}, ()),
    ],
    ids=["same-tenant", "another-tenant", "own-answer", "an-error"],
)
def test_an_answer_that_two_tenants_heard_is_found(
    second: dict[str, Any], found: tuple[str, ...]
) -> None:
    assert heard_by_another_tenant([HEARD, HEARD | second]) == found
