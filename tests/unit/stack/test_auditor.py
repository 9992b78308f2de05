"""The auditor catches each way in which the promise can be broken."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stack.auditor import Findings, audit, most_in_a_minute
from worker.core.letters import Explanation
from worker.core.model import HistoryEntry, State, Tally

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
JOB = "a" * 32
ENTRY = HistoryEntry(
    at=NOW, run=1, generation=0, attempt=1, what="completed", endpoint="main", calls=1
)
ENDED = Explanation(
    job_id=JOB,
    tenant="app",
    tier="standard",
    lane="interactive",
    path="/v1/chat/completions",
    model="m",
    state=State.COMPLETED,
    run=1,
    generation=0,
    tally=Tally(attempts=1, calls=1),
    received_at=NOW,
    deadline=NOW + timedelta(hours=1),
    claimed_by=None,
    submissions=(),
    history=(ENTRY,),
)
CONFIRMED = {"event": "confirmed", "submission": "s", "job": JOB, "wants_reply": True}
REPLY = {"event": "reply", "submission": "s", "job": JOB, "run": 1, "sha256": "x"}
CALL = {"event": "start", "id": f"{JOB}.1.0.1", "at": (NOW - timedelta(seconds=1)).timestamp()}

CLEAN: tuple[list[Any], list[Any], list[Any]] = ([CONFIRMED, REPLY], [CALL], [ENDED])


def test_a_kept_promise_is_clean() -> None:
    findings = audit(*CLEAN)
    assert findings.clean
    assert (findings.accepted, findings.jobs, findings.calls, findings.replies) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("producer", "simulator", "ledger", "found"),
    [
        ([CONFIRMED], [], [], {"lost": (JOB,), "unheard": ("s",)}),
        (
            [CONFIRMED, REPLY],
            [CALL],
            [replace(ENDED, state=State.OPEN, history=())],
            {"lost": (JOB,), "open_jobs": (JOB,), "unrecorded_calls": (JOB,)},
        ),
        ([CONFIRMED], [CALL], [ENDED], {"unheard": ("s",)}),
        ([CONFIRMED, REPLY, REPLY | {"submission": "x"}], [CALL], [ENDED], {"strays": ("x",)}),
        ([CONFIRMED, REPLY, REPLY | {"sha256": "y"}], [CALL], [ENDED], {"differing": (JOB,)}),
        (
            [CONFIRMED, REPLY],
            [CALL, CALL | {"at": (NOW + timedelta(seconds=1)).timestamp()}],
            [ENDED],
            {"late_calls": (JOB,), "unrecorded_calls": (JOB,)},
        ),
        ([CONFIRMED, REPLY], [CALL, CALL], [ENDED], {"unrecorded_calls": (JOB,)}),
        (
            [CONFIRMED, REPLY],
            [CALL, {**CALL, "id": "b.1.0.1"}],
            [ENDED],
            {"unrecorded_calls": ("b",)},
        ),
    ],
    ids=["lost", "open", "unheard", "stray", "differing", "late", "extra", "unknown-job"],
)
def test_a_broken_promise_is_found_and_named(
    producer: list[Any], simulator: list[Any], ledger: list[Any], found: dict[str, Any]
) -> None:
    findings = audit(producer, simulator, ledger)
    assert not findings.clean
    fine = Findings(
        accepted=findings.accepted,
        jobs=findings.jobs,
        calls=findings.calls,
        replies=findings.replies,
    )
    assert findings == replace(fine, **found)


def test_a_replayed_job_that_completed_before_is_not_lost_while_its_run_is_open() -> None:
    reopened = replace(
        ENDED, state=State.OPEN, run=2, history=(replace(ENTRY, what="dead_lettered"),)
    )
    assert audit([CONFIRMED, REPLY], [CALL], [reopened]).lost == ()


def test_a_submission_that_wants_no_reply_need_not_hear() -> None:
    assert audit([CONFIRMED | {"wants_reply": False}], [CALL], [ENDED]).clean


@pytest.mark.parametrize(
    ("instants", "most"),
    [
        ([], 0),
        ([5.0], 1),
        ([0.0, 59.9], 2),
        ([0.0, 60.0], 1),
        ([100.0, 0.0, 50.0, 59.0, 61.0], 4),
        ([0.5 * n for n in range(1000)], 120),
    ],
)
def test_the_fullest_minute_is_found_wherever_it_begins(instants: list[float], most: int) -> None:
    assert most_in_a_minute(instants) == most
