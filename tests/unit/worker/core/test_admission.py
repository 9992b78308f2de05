from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from worker.core.admission import HOLD, Expired, Go, Hold, Postpone, admit
from worker.core.seats import Unready

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
instants = st.timedeltas(min_value=-timedelta(hours=1), max_value=timedelta(hours=1)).map(
    lambda offset: NOW + offset
)
maybe = st.none() | instants


def test_a_job_with_nothing_against_it_goes() -> None:
    later = NOW + timedelta(hours=1)
    assert admit(now=NOW, deadline=later, not_before=None, opens_at=None, unready=None) == Go()


def test_the_deadline_itself_is_too_late() -> None:
    assert admit(now=NOW, deadline=NOW, not_before=None, opens_at=None, unready=None) == Expired()


def test_a_copy_that_came_back_early_is_parked_alone() -> None:
    minute = NOW + timedelta(minutes=1)
    verdict = admit(
        now=NOW,
        deadline=NOW + timedelta(days=1),
        not_before=minute,
        opens_at=None,
        unready=None,
    )
    assert verdict == Postpone(wait=timedelta(minutes=1), shared=False)


def test_a_closed_lane_makes_a_job_wait_and_its_consumer_is_not_the_lines_business() -> None:
    minute = NOW + timedelta(minutes=1)
    verdict = admit(
        now=NOW,
        deadline=NOW + timedelta(days=1),
        not_before=None,
        opens_at=minute,
        unready=None,
    )
    assert verdict == Postpone(wait=timedelta(minutes=1), shared=False)


def test_a_tier_without_an_endpoint_makes_everybody_wait() -> None:
    minute = NOW + timedelta(minutes=1)
    verdict = admit(
        now=NOW,
        deadline=NOW + timedelta(days=1),
        not_before=None,
        opens_at=None,
        unready=Unready(until=minute),
    )
    assert verdict == Postpone(wait=timedelta(minutes=1), shared=True)


@given(deadline=instants, not_before=maybe, opens_at=maybe, ready_at=maybe)
def test_a_job_runs_exactly_when_nothing_forbids_it(
    deadline: datetime,
    not_before: datetime | None,
    opens_at: datetime | None,
    ready_at: datetime | None,
) -> None:
    verdict = admit(
        now=NOW,
        deadline=deadline,
        not_before=not_before,
        opens_at=opens_at,
        unready=None if ready_at is None else Unready(until=ready_at),
    )
    free = all(limit is None or limit <= NOW for limit in (not_before, opens_at, ready_at))
    assert isinstance(verdict, Expired) == (deadline <= NOW)
    assert isinstance(verdict, Go) == (deadline > NOW and free)


@given(deadline=instants, not_before=maybe, opens_at=maybe, ready_at=maybe)
def test_nobody_is_held_for_long_and_nobody_waits_beyond_the_deadline(
    deadline: datetime,
    not_before: datetime | None,
    opens_at: datetime | None,
    ready_at: datetime | None,
) -> None:
    match admit(
        now=NOW,
        deadline=deadline,
        not_before=not_before,
        opens_at=opens_at,
        unready=None if ready_at is None else Unready(until=ready_at),
    ):
        case Hold(wait=wait):
            assert timedelta(0) < wait <= HOLD
            assert NOW + wait <= deadline
        case Postpone(wait=wait):
            assert wait > HOLD
            assert NOW + wait <= deadline
        case Go() | Expired():
            pass
