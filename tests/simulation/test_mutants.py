"""What the simulation can see: every planted bug, under its own name."""

import pytest

from tests.simulation.mutants import MUTANTS, Mutant, hunt

WITHIN = 600


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_reported_as_what_it_breaks(mutant: Mutant) -> None:
    verdict = hunt(mutant, range(WITHIN))
    assert verdict is not None, f"{mutant.name} was not caught in {WITHIN} schedules"
    story = [str(violation) for violation in verdict.violations]
    assert any(line.startswith(tuple(kind.name for kind in mutant.breaks)) for line in story)


def test_a_bug_that_is_planted_is_gone_afterwards() -> None:
    for mutant in MUTANTS.values():
        before = [getattr(place, name) for place, name, _ in mutant.patches]
        with mutant.planted():
            pass
        assert before == [getattr(place, name) for place, name, _ in mutant.patches]
