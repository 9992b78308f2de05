"""The archive: what operators read of dead letters and jobs."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from producer_sdk.wire import Dedupe, Lane, Source
from tests.contract.world import (
    ANSWER,
    BEGAN,
    DONE,
    INVALID,
    NO_CALL,
    ONE_CALL,
    TIMEOUT,
    Fleet,
    Worker,
    carry_all,
    complete,
    dead_letter,
    make_job,
)
from worker.core.kinds import Kind
from worker.core.letters import Selection
from worker.core.model import Completed, Retry, State, Tally, next_generation
from worker.errors import AmbiguousJob
from worker.ports import Ledger

ALL = Selection()


async def three_letters(fleet: Fleet, ledger: Ledger) -> dict[str, str]:
    """Make three dead letters, a minute apart, and give their job ids by key."""
    jobs = [
        make_job("a", tier="small"),
        make_job("b", tier="large"),
        make_job("c", tier="large", lane=Lane.BULK),
    ]
    for job, why in zip(jobs, (INVALID, TIMEOUT, INVALID), strict=True):
        await dead_letter(ledger, job, why)
        fleet.clock.pass_by(timedelta(minutes=1))
    return {job.key: job.id for job in jobs}


async def test_a_letter_tells_the_request_the_failure_and_its_history(
    fleet: Fleet, ledger: Ledger
) -> None:
    body = bytes(range(256))
    job = make_job(body=body)
    await ledger.begin(job, max_attempts=3)
    soon = BEGAN + timedelta(seconds=1)
    retry = Retry(after=timedelta(seconds=1))
    await ledger.park(job, retry, soon, work=ONE_CALL, why=TIMEOUT, claimed=True)
    await dead_letter(ledger, next_generation(job, not_before=soon))
    (letter,) = fleet.archive().letters(ALL)
    assert (letter.job_id, letter.run, letter.tenant, letter.tier) == (job.id, 1, "acme", "small")
    assert (letter.lane, letter.path, letter.model) == ("interactive", job.path, "m")
    assert (letter.kind, letter.status, letter.code) == (Kind.INVALID_REQUEST, 400, "bad")
    assert (letter.at, letter.attempts, letter.request) == (BEGAN, 2, body)
    assert [line.what for line in letter.history] == ["retry", "dead_lettered"]


@pytest.mark.parametrize(
    ("selection", "keys"),
    [
        (ALL, "abc"),
        (Selection(kinds=frozenset({Kind.INVALID_REQUEST})), "ac"),
        (Selection(tiers=frozenset({"large"})), "bc"),
        (Selection(tiers=frozenset({"large", "small"}), kinds=frozenset({Kind.TIMEOUT})), "b"),
        (Selection(tiers=frozenset({"medium"})), ""),
    ],
)
async def test_letters_are_selected_and_come_oldest_first(
    fleet: Fleet, ledger: Ledger, selection: Selection, keys: str
) -> None:
    ids = await three_letters(fleet, ledger)
    letters = fleet.archive().letters(selection)
    assert [letter.job_id for letter in letters] == [ids[key] for key in keys]
    for letter in letters:
        assert selection.takes(job_id=letter.job_id, kind=letter.kind, tier=letter.tier)


async def test_letters_are_selected_by_job(fleet: Fleet, ledger: Ledger) -> None:
    ids = await three_letters(fleet, ledger)
    (letter,) = fleet.archive().letters(Selection(job_ids=frozenset({ids["b"]})))
    assert letter.job_id == ids["b"]


async def test_a_letter_stays_when_it_was_carried_and_goes_when_it_is_replayed(
    fleet: Fleet, ledger: Ledger
) -> None:
    await carry_all(ledger, make_job(), await dead_letter(ledger, make_job()))
    assert len(fleet.archive().letters(ALL)) == 1
    await ledger.begin(make_job(run=2, first=False), max_attempts=3)
    assert len(fleet.archive().letters(ALL)) == 0


async def test_a_job_that_fails_again_has_one_letter_of_its_last_run(
    fleet: Fleet, ledger: Ledger
) -> None:
    await dead_letter(ledger, make_job())
    await dead_letter(ledger, make_job(run=2, first=False), TIMEOUT)
    (letter,) = fleet.archive().letters(ALL)
    assert (letter.run, letter.kind) == (2, Kind.TIMEOUT)
    assert [line.what for line in letter.history] == ["replayed", "dead_lettered"]


async def test_other_ends_leave_no_letter(fleet: Fleet, ledger: Ledger) -> None:
    await complete(ledger, make_job())
    assert len(fleet.archive().letters(ALL)) == 0


async def test_a_letter_is_kept_as_long_as_its_record(fleet: Fleet, worker: Worker) -> None:
    await dead_letter(worker.ledger, make_job())
    fleet.clock.pass_by(timedelta(days=9))
    await worker.sweep()
    assert len(fleet.archive().letters(ALL)) == 1
    fleet.clock.pass_by(timedelta(days=2))
    await worker.sweep()
    assert len(fleet.archive().letters(ALL)) == 0


async def test_a_job_is_explained(fleet: Fleet, worker: Worker) -> None:
    job = make_job(dedupe=Dedupe.INFLIGHT)
    await worker.ledger.begin(job, max_attempts=3)
    await worker.ledger.begin(make_job(submission="s2"), max_attempts=3)
    told = fleet.archive().explain(job.id)
    assert told is not None
    assert (told.job_id, told.tenant, told.tier, told.lane) == (
        job.id,
        "acme",
        "small",
        "interactive",
    )
    assert (told.path, told.model, told.state) == (job.path, "m", State.OPEN)
    assert (told.run, told.generation, told.tally) == (1, 0, Tally(attempts=1))
    assert (told.received_at, told.deadline) == (job.received_at, job.deadline)
    assert told.claimed_by is not None
    assert {one.id: heard for one, heard in told.submissions} == {"s1": False, "s2": False}
    ended = await worker.ledger.end(job, ANSWER, DONE, work=NO_CALL, claimed=True)
    await worker.ledger.carried(job, [job.submission], letter=False)
    later = fleet.archive().explain(job.id)
    assert later is not None
    assert (later.claimed_by, later.state) == (None, State.COMPLETED)
    assert {one.id: heard for one, heard in later.submissions} == {"s1": True, "s2": False}
    assert [line.what for line in later.history] == ["completed"], ended


@pytest.mark.parametrize(
    ("outcome", "cost"),
    [
        (ANSWER, ANSWER.cost),
        (replace(ANSWER, cost=None), None),
        (replace(ANSWER, source=Source.SHARED), 0),
        (replace(ANSWER, source=Source.CACHE, cost=None), 0),
    ],
    ids=["known", "unknown", "shared", "cached"],
)
async def test_what_a_completed_job_cost_is_explained(
    fleet: Fleet, worker: Worker, outcome: Completed, cost: Decimal | None
) -> None:
    await complete(worker.ledger, make_job(), outcome)
    fleet.clock.pass_by(timedelta(days=2))
    await worker.sweep()  # the body has gone, and the cost has not
    told = fleet.archive().explain(make_job().id)
    assert told is not None
    assert told.cost == cost


async def test_a_job_without_an_answer_has_no_known_cost(fleet: Fleet, ledger: Ledger) -> None:
    await ledger.begin(make_job("open"), max_attempts=3)
    await dead_letter(ledger, make_job("dead"))
    for key in ("open", "dead"):
        told = fleet.archive().explain(make_job(key).id)
        assert told is not None
        assert told.cost is None


async def test_a_job_is_found_by_its_first_digits(fleet: Fleet, ledger: Ledger) -> None:
    ids = await three_letters(fleet, ledger)
    for job_id in ids.values():
        found = fleet.archive().explain(job_id[:6])
        assert found is not None
        assert found.job_id == job_id
    assert fleet.archive().explain("zzzzzz") is None


async def test_digits_that_fit_two_jobs_or_are_too_few_are_ambiguous(
    fleet: Fleet, ledger: Ledger
) -> None:
    for last in "01":
        await ledger.begin(make_job(f"k{last}", id="abcdef" + last), max_attempts=3)
    with pytest.raises(AmbiguousJob):
        fleet.archive().explain("abcdef")
    with pytest.raises(AmbiguousJob):
        fleet.archive().explain("abcde")
    found = fleet.archive().explain("abcdef1")
    assert found is not None
    assert found.job_id == "abcdef1"


async def test_an_unknown_job_has_no_explanation(fleet: Fleet, worker: Worker) -> None:
    assert await worker.ledger.find(make_job()) is None
    assert fleet.archive().explain(make_job().id) is None
