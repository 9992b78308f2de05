"""Which planted bug is found out in which scenario, and as what."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from tests.faults import scenarios
from tests.faults.aside import Opening, opened
from tests.faults.broken import Broken
from tests.faults.mutants.table import SOUND
from tests.faults.stage import Stage, open_stage

Scenario: TypeAlias = Callable[[Stage, str], Awaitable[Broken]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Catch:
    """A bug, what befalls its worker, and what the audit must then find among the rest."""

    bug: str
    scenario: Scenario
    finding: str

    @property
    def name(self) -> str:
        return f"{self.bug}-{self.scenario.__name__}"

    async def found(self, opening: Opening, folder: Path) -> tuple[Broken, Broken]:
        """Give what the audit finds of the bug's worker and, side by side, of a sound one."""
        return await asyncio.gather(
            self._play(self.bug, opening, folder), self._play(SOUND, opening, folder)
        )

    async def _play(self, bug: str, opening: Opening, folder: Path) -> Broken:
        mine = folder / f"{self.name}-{bug}"
        mine.mkdir()
        async with opened(opening) as vhost, open_stage(vhost, mine) as stage:
            return await self.scenario(stage, bug)


def _catch(bug: str, scenario: Scenario, finding: str) -> Catch:
    return Catch(bug=bug, scenario=scenario, finding=finding)


# The bugs that any queue in front of paid calls is to be held against.
FIRST: Final = (
    _catch("acks-before-record", scenarios.killed_in_a_call, "lost"),
    _catch("replies-before-record", scenarios.killed_after_its_reply, "differing"),
    _catch("takes-living-claims", scenarios.redelivered_to_another, "extra_calls"),
    _catch("requeues-to-retry", scenarios.fails_twice, "extra_calls"),
)

CATCHES: Final = (
    *FIRST,
    _catch("ends-unowned", scenarios.suspended_past_its_lease, "late_calls"),
    _catch("marks-before-confirm", scenarios.killed_when_all_is_marked, "unheard"),
    _catch("marks-before-confirm", scenarios.killed_when_its_copy_is_marked, "lost"),
    _catch("publishes-unconfirmed", scenarios.callers_queue_is_full, "unheard"),
    _catch("forgets-records", scenarios.killed_after_its_reply, "late_calls"),
    _catch("calls-belong-to-channel", scenarios.cut_in_its_calls, "extra_calls"),
    _catch("redelivery-is-death", scenarios.redelivered_to_another, "extra_calls"),
    _catch("counts-before-find", scenarios.hangs_once, "burnt_attempts"),
    _catch("replays-completed", scenarios.one_letter_comes_twice, "late_calls"),
    _catch("shares-across-tenants", scenarios.two_tenants_ask_the_same, "heard_by_another_tenant"),
)
