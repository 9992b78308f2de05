"""Experiment: workers with planted bugs, each of which the auditor must find out; a sound worker is the control."""

from pathlib import Path

from tests.chaos.experiment import Bound, Ground, Measured
from tests.faults.catches import CATCHES


async def run(ground: Ground) -> Measured:
    """Play every catch; a bug that is not found, or a sound worker that is accused, breaks a bound."""
    missed: list[str] = []
    accused: list[str] = []
    figures: dict[str, str] = {}
    for number, catch in enumerate(CATCHES):
        ground.tell(f"{number} of {len(CATCHES)} caught, next {catch.bug}")
        folder = Path(ground.folder) / f"{number}"
        folder.mkdir()
        with_bug, sound = await catch.found(ground.vhost, folder)
        figures[catch.name] = ", ".join(sorted(with_bug)) or "nothing"
        if catch.finding not in with_bug:
            missed.append(catch.name)
        if sound:
            accused.append(catch.name)
    return Measured(
        work=f"{len(CATCHES)} scenarios, {len({catch.bug for catch in CATCHES})} planted bugs",
        bounds=(
            Bound(name="mutants not caught", measured=len(missed), at_most=0),
            Bound(name="sound workers accused", measured=len(accused), at_most=0),
        ),
        figures=figures,
    )
