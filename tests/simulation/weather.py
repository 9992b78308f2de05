"""How long things take and which of them fail, drawn from the schedule's chance."""

from dataclasses import dataclass
from random import Random
from typing import Final, Literal, TypeAlias

from tests.simulation.loop import SimulatedLoop

Outage: TypeAlias = Literal["out", "flaky", "unknown"]

_HALF: Final = 0.5


@dataclass(slots=True)
class Weather:
    """What stands between the processes. Each `until` is in the loop's seconds."""

    loop: SimulatedLoop
    chance: Random
    outage: Outage = "out"
    outage_until: float = 0.0
    late_confirms_until: float = 0.0
    refusals_until: float = 0.0

    def clear_up(self) -> None:
        """Let nothing fail from now on."""
        self.outage_until = self.late_confirms_until = self.refusals_until = 0.0

    def commit_s(self) -> float:
        """Tell how long a commit takes."""
        return 0.0 if self.chance.random() < _HALF else 0.003 * self.chance.random()

    def wire_s(self) -> float:
        """Tell how long a frame is on its way."""
        return 0.0 if self.chance.random() < _HALF else 0.005 * self.chance.random()

    def confirm_s(self) -> float:
        """Tell how long the broker thinks about a confirm."""
        if self.late_confirms_until <= self.loop.time():
            return 0.0
        return 14 * self.chance.random() if self.chance.random() < _HALF else 0.0

    def refuses(self) -> bool:
        """Tell whether a callback queue refuses a reply now."""
        return self.refusals_until > self.loop.time() and self.chance.random() < _HALF

    def store(self) -> Literal["before", "after"] | None:
        """Tell whether the store fails now, and on which side of the commit."""
        if self.outage_until <= self.loop.time():
            return None
        match self.outage:
            case "out":
                return "before"
            case "flaky":
                return "before" if self.chance.random() < _HALF else None
            case "unknown":
                return "after" if self.chance.random() < _HALF / 2 else None
