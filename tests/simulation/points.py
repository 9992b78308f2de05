"""The crash points by name: a schedule of one job whose worker dies just there, and what that may cost."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.simulation.plan import Action, Plan
from tests.simulation.schedule import run
from tests.simulation.upstream import MOODS, Mood

_OK: Final = MOODS[0]
_ERRORS: Final = Mood(ok=0.0, error=1.0)
_INVALID: Final = Mood(ok=0.0, invalid=1.0)
_SLOW: Final = Mood(slow=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A crash point. `repeats`: how many calls may be made a second time."""

    name: str
    point: str
    copy: str | None = None
    repeats: int = 0
    mood: Mood = _OK

    def plans(self, seeds: range) -> Iterator[Plan]:
        """Give a schedule for each seed: one job, one death, and the time it takes is all that differs."""
        for seed in seeds:
            yield self._plan(seed)

    def _plan(self, seed: int) -> Plan:
        chance = Random(f"{self.name} {seed}")  # noqa: S311  # chance that can be repeated is the point
        submit = Action(chance.random(), "clients.submit", ("acme", "k", 0))
        harm: tuple[Action, ...]
        if self.point == "drain":
            at = submit.at + 0.3 * chance.random()
            worker = chance.randrange(2)
            harm = (
                Action(at, "harm.drain", (worker, 5.0)),
                Action(at + 0.3 * chance.random(), "harm.kill", (worker,)),
            )
        else:
            harm = (Action(0.0, "harm.crash", (self.point, self.copy)),)
        return Plan(
            seed=seed,
            workers=2,
            mood=self.mood,
            endpoints=("alpha",),
            actions=tuple(sorted((submit, *harm), key=lambda action: action.at)),
        )


def die_at(point: Point, *, seeds: range) -> tuple[int, int, int]:
    """Play a point's schedules; give deaths, the most calls repeated in one, and how many broke a promise."""
    verdicts = [run(plan) for plan in point.plans(seeds)]
    return (
        sum(verdict.crashed for verdict in verdicts),
        max(verdict.repeated for verdict in verdicts),
        sum(bool(verdict.violations) for verdict in verdicts),
    )


POINTS: Final = (
    Point(name="1 after delivery", point="taken"),
    Point(name="2 after begin", point="begun"),
    Point(name="3 before the call", point="calling"),
    Point(name="4 request sent", point="sent", repeats=1),
    Point(name="5 response headers", point="headers", repeats=1),
    Point(name="6 mid body", point="body", repeats=1),
    Point(name="7 complete, not recorded", point="answered", repeats=1),
    Point(name="8 recorded, not published", point="recorded"),
    Point(name="9 published, not confirmed", point="published", copy="reply"),
    Point(name="10 confirmed, not marked", point="confirmed", copy="reply"),
    Point(name="11 marked, not acked", point="carried"),
    Point(name="12 as 10, parked copy", point="confirmed", copy="parked", mood=_ERRORS),
    Point(name="13 as 10, dead letter", point="confirmed", copy="dead", mood=_INVALID),
    Point(name="14 lease renewal", point="renewed", repeats=1, mood=_SLOW),
    Point(name="15 while going down", point="drain", repeats=1),
)
