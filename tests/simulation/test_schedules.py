"""Schedules are the same in every process, and no seeded one breaks a promise."""

import os
import random
import subprocess
import sys

import pytest

from tests.simulation.__main__ import main
from tests.simulation.many import explain, play
from tests.simulation.plan import draw
from tests.simulation.points import POINTS, Point, die_at
from tests.simulation.schedule import leave_out, run, seeded, shrink

# About ten seconds; the long run is the experiment `schedules` of ./dev chaos.
SLICE = 600
_DIGESTS = (
    "from tests.simulation.schedule import seeded\n"
    "print(*(seeded(seed, traced=True).digest for seed in range(40)))"
)


def test_no_schedule_of_this_runs_slice_breaks_a_promise() -> None:
    first = random.getrandbits(40)
    tally = play(range(first, first + SLICE))
    assert not tally.broken, "\n".join(explain(tally.broken[0][0]))
    assert tally.calls > SLICE
    assert len(tally.actions) > 12, "some kinds of harm are never done"


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_a_death_at_each_point_repeats_no_call_that_it_need_not(point: Point) -> None:
    deaths, most, broken = die_at(point, seeds=range(15))
    assert broken == 0
    assert most <= point.repeats
    assert deaths == 15 or point.point == "drain"


def test_a_seed_is_the_same_schedule_step_by_step_in_every_process() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", _DIGESTS],
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
    here = " ".join(seeded(seed, traced=True).digest for seed in range(40))
    assert digests.pop().decode().strip() == here


def test_a_schedule_without_one_action_is_another_one() -> None:
    plan = draw(7)
    fewer = leave_out(plan, {0})
    assert len(fewer.actions) == len(plan.actions) - 1
    assert run(fewer, traced=True).digest != run(plan, traced=True).digest


def test_a_traced_schedule_takes_the_same_steps_as_one_that_is_not() -> None:
    assert seeded(11, traced=True).steps == seeded(11).steps


def test_the_command_tells_a_seeds_story_and_how_to_repeat_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--only", "3"]) == 0
    told = capsys.readouterr().out
    assert "accepted" in told
    assert told.rstrip().endswith("python -m tests.simulation --only 3")


def test_a_sound_schedule_needs_none_of_its_actions_to_be_sound() -> None:
    verdict = seeded(3)
    assert shrink(verdict) == frozenset()
