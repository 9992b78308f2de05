"""The auditor is only worth something if it finds out a worker that breaks a rule, and accuses no sound one."""

from functools import partial
from pathlib import Path

import pytest

from stack.broker import Broker
from tests.faults.catches import CATCHES, FIRST, Catch
from tests.faults.mutants.table import BUGS, SOUND
from tests.faults.vhost import open_vhost


@pytest.mark.processes
@pytest.mark.parametrize("catch", FIRST, ids=lambda catch: catch.name)
async def test_a_worker_with_a_bug_is_found_out_where_a_sound_one_is_not(
    broker: Broker, passwords: dict[str, str], tmp_path: Path, catch: Catch
) -> None:
    opening = partial(open_vhost, broker, passwords)
    with_bug, sound = await catch.found(opening, tmp_path)
    assert catch.finding in with_bug
    assert sound == frozenset()


def test_each_bug_has_a_scenario_that_finds_it_out() -> None:
    assert {catch.bug for catch in CATCHES} == BUGS.keys() - {SOUND}
