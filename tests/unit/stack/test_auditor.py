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
            {
                "lost": (JOB,),
                "open_jobs": (JOB,),
                "unrecorded_calls": (JOB,),
                "extra_calls": (JOB,),
            },
        ),
        ([CONFIRMED], [CALL], [ENDED], {"unheard": ("s",)}),
        ([CONFIRMED, REPLY, REPLY | {"submission": "x"}], [CALL], [ENDED], {"strays": ("x",)}),
        ([CONFIRMED, REPLY, REPLY | {"sha256": "y"}], [CALL], [ENDED], {"differing": (JOB,)}),
        (
            [CONFIRMED, REPLY],
            [CALL, CALL | {"at": (NOW + timedelta(seconds=1)).timestamp()}],
            [ENDED],
            {"late_calls": (JOB,), "unrecorded_calls": (JOB,), "extra_calls": (JOB,)},
        ),
        (
            [CONFIRMED, REPLY],
            [CALL, CALL],
            [ENDED],
            {"unrecorded_calls": (JOB,), "extra_calls": (JOB,)},
        ),
        (
            [CONFIRMED, REPLY],
            [CALL, {**CALL, "id": "b.1.0.1"}],
            [ENDED],
            {"unrecorded_calls": ("b",), "extra_calls": ("b",)},
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


T0 = NOW.timestamp()
INTENT = {"event": "intent", "submission": "s", "job": JOB, "wants_reply": True}
DEATH = {"event": "death", "client": "w1", "at": T0 - 10, "gone": T0 - 9.9}
# Two calls of one job by two workers; the ledger knows one of them.
FIRST = {"event": "start", "call": 1, "id": f"{JOB}.1.0.1", "client": "w1", "at": T0 - 11}
CUT = {"event": "end", "call": 1, "at": T0 - 9.95, "status": None}
SECOND = {"event": "start", "call": 2, "id": f"{JOB}.1.0.1", "client": "w2", "at": T0 - 5}
DONE = {"event": "end", "call": 2, "at": T0 - 1, "status": 200}
HEARD = [CONFIRMED, REPLY]


@pytest.mark.parametrize(
    ("producer", "calls"),
    [
        ([DEATH], [FIRST, CUT, SECOND, DONE]),
        ([DEATH], [FIRST, SECOND, DONE]),
        ([DEATH | {"client": None}], [FIRST, CUT, SECOND, DONE]),
        ([DEATH], [FIRST | {"client": None}, CUT, SECOND, DONE]),
        ([DEATH], [FIRST, CUT | {"at": T0 - 10.5, "status": 200}, SECOND, DONE]),
        ([DEATH], [FIRST | {"at": T0 - 9.4}, CUT | {"at": T0 - 9.4}, SECOND, DONE]),
        ([DEATH | {"gone": T0 + 9}], [FIRST, CUT | {"status": 200}, SECOND, DONE]),
    ],
    ids=[
        *("cut", "no-end", "any-process", "nameless-call", "answered-not-recorded"),
        *("sent-before-and-seen-after", "recorded-by-another-during-a-suspension"),
    ],
)
def test_a_call_that_a_death_cut_off_may_be_repeated(producer: list[Any], calls: list[Any]) -> None:
    findings = audit([*HEARD, *producer], calls, [ENDED])
    assert findings.in_flight == 1
    assert findings.unrecorded_calls == (JOB,)
    assert findings.extra_calls == ()
    assert findings.kept
    assert not findings.clean


def test_an_earlier_try_of_an_attempt_that_a_death_cut_off_is_lost_with_it() -> None:
    refused = [FIRST | {"at": T0 - 20}, CUT | {"at": T0 - 19.9, "status": 429}]
    second = [FIRST | {"call": 3}, CUT | {"call": 3}]
    findings = audit([*HEARD, DEATH], [*refused, *second, SECOND, DONE], [ENDED])
    assert findings.in_flight == 2
    assert findings.extra_calls == ()
    assert audit([*HEARD, DEATH], [*refused, SECOND, DONE], [ENDED]).extra_calls == (JOB,)


@pytest.mark.parametrize(
    ("producer", "calls", "extra"),
    [
        ([], [FIRST, CUT, SECOND, DONE], 1),
        ([DEATH | {"client": "w3"}], [FIRST, CUT, SECOND, DONE], 1),
        ([DEATH | {"at": T0 - 20, "gone": T0 - 19}], [FIRST, CUT, SECOND, DONE], 1),
        ([DEATH], [FIRST, CUT | {"at": T0 - 13.5}, SECOND, DONE], 1),
        ([DEATH], [FIRST, CUT, SECOND, DONE, SECOND | {"call": 3}], 1),
        ([DEATH | {"lives_on": True}], [FIRST | {"at": T0 - 9.4}, SECOND, DONE], 1),
        ([DEATH, DEATH | {"at": T0 - 9.99}], [FIRST, CUT, SECOND, DONE, SECOND | {"call": 3}], 1),
    ],
    ids=[
        "no-death",
        "another's",
        "before-it",
        "long-over",
        "one-too-many",
        "after-it",
        "one-call-once",
    ],
)
def test_a_call_that_no_death_explains_is_extra(
    producer: list[Any], calls: list[Any], extra: int
) -> None:
    findings = audit([*HEARD, *producer], calls, [ENDED])
    assert findings.extra_calls == (JOB,) * extra
    assert not findings.kept


def test_a_call_that_was_recorded_before_the_death_was_not_in_flight() -> None:
    parked = replace(ENTRY, at=NOW - timedelta(seconds=10.2), what="retry")
    job = replace(ENDED, history=(parked, ENTRY))
    ended = CUT | {"at": T0 - 10.3, "status": 503}
    findings = audit([*HEARD, DEATH], [FIRST, ended, SECOND, DONE], [job])
    assert findings.in_flight == 0
    assert findings.clean


def test_a_death_excuses_no_unrecorded_call_of_an_earlier_attempt() -> None:
    before = FIRST | {"call": 3, "at": T0 - 600}
    over = {"event": "end", "call": 3, "at": T0 - 599, "status": 503}
    first, second = ({**call, "id": f"{JOB}.1.1.1"} for call in (FIRST, SECOND))
    findings = audit([*HEARD, DEATH], [before, over, first, CUT, second, DONE], [ENDED])
    assert (findings.in_flight, findings.extra_calls) == (1, (JOB,))


@pytest.mark.parametrize(
    ("death", "began", "late"),
    [
        ({}, T0 + 5.05, 0),
        ({"client": None}, T0 + 5.05, 0),
        ({"client": "w3"}, T0 + 5.05, 1),
        ({"lives_on": False}, T0 + 5.05, 1),
        ({}, T0 + 4.9, 1),
        ({}, T0 + 5.2, 1),
    ],
    ids=["on-waking", "any-process", "another's", "dead", "asleep", "well-awake"],
)
def test_a_call_after_the_record_is_late_unless_its_process_was_suspended_with_it(
    death: dict[str, Any], began: float, late: int
) -> None:
    asleep = DEATH | {"at": T0 - 20, "gone": T0 + 5, "lives_on": True} | death
    findings = audit([*HEARD, asleep], [SECOND, DONE, FIRST | {"at": began}], [ENDED])
    assert findings.late_calls == (JOB,) * late
    assert findings.kept is not bool(late)


def test_the_calls_of_a_simulator_that_was_started_again_are_counted_with_those_of_before() -> None:
    again = [SECOND | {"call": 1}, DONE | {"call": 1}]
    findings = audit(HEARD, [FIRST, CUT | {"status": 200}, *again], [ENDED])
    assert (findings.calls, findings.extra_calls) == (2, (JOB,))


@pytest.mark.parametrize(
    ("producer", "found"),
    [
        ([INTENT, CONFIRMED | {"event": "refused"}, REPLY], {"strays": ("s",)}),
        (
            [CONFIRMED | {"tenant": "app"}, REPLY | {"tenant": "app"}, REPLY | {"tenant": "other"}],
            {"strangers": ("s",)},
        ),
        (
            [CONFIRMED | {"request": "abcdef"}, REPLY | {"answers": "abd"}],
            {"strangers": ("s",)},
        ),
    ],
    ids=["refused-and-heard", "another-tenant", "another-request"],
)
def test_a_reply_that_went_astray_is_found(producer: list[Any], found: dict[str, Any]) -> None:
    findings = audit(producer, [CALL], [ENDED])
    assert {name: value for name, value in findings.faults.items() if value} == found


@pytest.mark.parametrize(
    "producer",
    [
        [INTENT, REPLY],
        [INTENT, CONFIRMED | {"event": "unknown"}, REPLY],
        [INTENT, CONFIRMED | {"event": "unknown"}],
        [CONFIRMED | {"request": "abcdef"}, REPLY | {"answers": "abc"}, REPLY | {"answers": None}],
    ],
    ids=["producer-died", "unknown-and-heard", "unknown-and-not-stored", "its-own-answer"],
)
def test_what_may_be_is_no_fault(producer: list[Any]) -> None:
    assert audit(producer, [CALL], [ENDED]).clean


def test_what_is_left_behind_is_found() -> None:
    twice = replace(ENDED, claimed_by="boot.1", history=(ENTRY, replace(ENTRY, calls=0)))
    findings = audit(HEARD, [CALL], [twice], queues={"warren.jobs.a": 2, "warren.dead.a": 5})
    assert {name: value for name, value in findings.faults.items() if value} == {
        "ended_twice": (JOB,),
        "orphan_claims": (JOB,),
        "stuck": ("warren.jobs.a: 2",),
    }


@pytest.mark.parametrize(("there", "missing"), [(1, ()), (2, ()), (0, ("standard: 1",))])
def test_a_dead_letter_that_is_in_the_ledger_alone_is_found(
    there: int, missing: tuple[str, ...]
) -> None:
    dead = replace(ENDED, state=State.DEAD_LETTERED)
    findings = audit(HEARD, [CALL], [dead], queues={"warren.dead.standard": there})
    assert findings.letters_missing == missing
    assert findings.stuck == ()


def test_calls_beyond_the_policy_are_found_and_refusals_and_deaths_do_not_count() -> None:
    history = (replace(ENTRY, calls=3),)
    job = replace(ENDED, history=history)
    begun = [FIRST | {"call": n, "client": "w2", "at": T0 - 5} for n in range(3)]
    ends = [DONE | {"call": n} for n in range(3)]
    over = audit(HEARD, [*begun, *ends], [job], most_calls=2)
    assert over.calls_over_policy == (JOB,)
    refused = audit(HEARD, [*begun, *ends[:2], ends[2] | {"status": 429}], [job], most_calls=2)
    assert refused.clean
    cut = [*HEARD, DEATH | {"client": "w2", "at": T0 - 4, "gone": T0 - 4}]
    excused = audit(cut, [*begun, *ends[:2]], [replace(job, history=(ENTRY,))], most_calls=2)
    assert excused.calls_over_policy == ()


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
