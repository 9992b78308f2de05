"""The process's garbage collection, once a worker stands."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from worker import garbage


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.enable()
    gc.unfreeze()
    gc.set_threshold(*before)


class _Ring:
    def __init__(self) -> None:
        self.own = self


def test_what_stands_is_not_walked_over_again() -> None:
    made = [object.__new__(_Ring)]
    garbage.settle(jobs=1)
    assert gc.get_freeze_count() > 0
    assert not any(each is made for each in gc.get_objects())


def test_young_objects_are_looked_at_more_seldom_and_others_as_before() -> None:
    _, *older = gc.get_threshold()
    garbage.settle(jobs=1)
    assert gc.get_threshold() == (garbage.YOUNG, *older)


def test_where_more_jobs_are_worked_on_at_once_it_is_looked_at_more_seldom_still() -> None:
    """All that the jobs hold which have begun together is in use."""
    garbage.settle(jobs=10_000)
    assert gc.get_threshold()[0] == 10_000 * garbage.PER_JOB


def test_a_cycle_made_later_is_still_found() -> None:
    garbage.settle(jobs=1)
    seen = weakref.ref(_Ring())
    assert seen() is not None
    gc.collect()
    assert seen() is None


def test_what_is_garbage_by_then_is_not_kept_for_good() -> None:
    seen = weakref.ref(_Ring())
    garbage.settle(jobs=1)
    assert seen() is None


def test_while_it_is_put_off_nothing_is_looked_for_and_what_is_made_is_set_aside() -> None:
    garbage.put_off()
    assert not gc.isenabled()
    made = [object.__new__(_Ring)]
    garbage.keep()
    assert gc.isenabled()
    assert not any(each is made for each in gc.get_objects())


def test_where_nobody_has_put_it_off_nothing_is_set_aside() -> None:
    before = gc.get_freeze_count()
    garbage.keep()
    assert gc.isenabled()
    assert gc.get_freeze_count() == before
