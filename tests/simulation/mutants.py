"""Planted bugs: each is one function of Warren's as somebody might well have written it, and the promises it breaks.

They show what the simulation can see. A mutant that no schedule catches is a promise that nobody checks.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from unittest.mock import patch

from tests.simulation import bugs
from tests.simulation.auditor import Broken
from tests.simulation.plan import draw
from tests.simulation.schedule import Verdict, run
from tests.simulation.upstream import Mood
from worker.broker.delivery import BrokerDelivery
from worker.core.model import (
    Job,
)
from worker.pipeline import Line
from worker.store.embedded import beginning, claims, entering, settling, spend, standing
from worker.store.embedded.ledger import EmbeddedLedger

Patch = tuple[Any, str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A planted bug: what is put in which place, and as what the auditor may report it.

    `harm` and `mood` are what brings it to light soon: some bugs take a rare coincidence.
    """

    name: str
    patches: Sequence[Patch]
    breaks: frozenset[Broken] = field(default_factory=frozenset)
    harm: tuple[str, ...] = ()
    mood: Mood | None = None

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Let the bug stand for a while."""
        with ExitStack() as stack:
            for place, name, instead in self.patches:
                stack.enter_context(patch.object(place, name, instead))
            yield


MUTANTS: Final = {
    mutant.name: mutant
    for mutant in (
        Mutant(
            name="ack before record",
            patches=((Line, "handle", bugs.ack_first),),
            breaks=frozenset({Broken.LOST}),
        ),
        Mutant(
            name="reply before record",
            patches=((Line, "handle", bugs.remember), (Line, "_end", bugs.reply_first)),
            harm=("dies", "kill"),
            breaks=frozenset({Broken.DIFFERING}),
        ),
        Mutant(
            name="no fencing of claims",
            patches=((claims, "of_job", bugs.mine),),
            harm=("suspend", "sleeps"),
            mood=Mood(error=0.5, slow=0.7),
            breaks=frozenset({Broken.LATE_CALL, Broken.EXTRA_CALL, Broken.TWO_CLAIMS}),
        ),
        Mutant(
            name="requeue to retry",
            patches=((Line, "_carry", bugs.requeue),),
            breaks=frozenset({Broken.STUCK}),
        ),
        Mutant(
            name="count before find",
            patches=((EmbeddedLedger, "find", bugs.count_at_find),),
            breaks=frozenset({Broken.MISCOUNTED}),
        ),
        Mutant(
            name="mark carried before confirm",
            patches=((Line, "_carry", bugs.mark_first),),
            harm=("dies", "broker"),
            mood=Mood(ok=0.2, error=1.0),
            breaks=frozenset({Broken.LOST}),
        ),
        Mutant(
            name="a redelivery proves death",
            patches=((claims, "in_the_way", bugs.believe),),
            harm=("cut",),
            breaks=frozenset({Broken.EXTRA_CALL, Broken.TWO_CLAIMS, Broken.LATE_CALL}),
        ),
        Mutant(
            name="replay reopens a completed job",
            patches=(
                (standing, "standing", bugs.reopen_all),
                (entering, "standing", bugs.reopen_all),
                (settling, "standing", bugs.reopen_all),
            ),
            harm=("again",),
            breaks=frozenset({Broken.REOPENED}),
        ),
        Mutant(
            name="a follower counts an attempt",
            patches=((beginning, "begin", bugs.follower_counts),),
            breaks=frozenset({Broken.MISCOUNTED}),
        ),
        Mutant(
            name="cache keyed without the tenant",
            patches=((Job, "fingerprint", property(bugs.shared_by_all)),),
            harm=("kill", "cut"),
            breaks=frozenset({Broken.STRAY}),
        ),
        Mutant(
            name="park without confirm",
            patches=((BrokerDelivery, "publish_parked", bugs.fire_and_forget),),
            harm=("dies", "cut", "broker"),
            breaks=frozenset({Broken.LOST}),
        ),
        Mutant(
            name="a record without its bill",
            patches=((Line, "_record", bugs.pay_afterwards),),
            harm=("dies", "kill"),
            breaks=frozenset({Broken.MISPAID}),
        ),
        Mutant(
            name="money that counts as often as it is settled",
            patches=((spend.Pots, "release", bugs.release_again),),
            harm=("store",),
            mood=Mood(),
            breaks=frozenset({Broken.MISPAID}),
        ),
    )
}


def hunt(mutant: Mutant, seeds: Iterable[int]) -> Verdict | None:
    """Play schedules until one shows the bug as it is expected; None: none does."""
    with mutant.planted():
        for seed in seeds:
            verdict = run(draw(seed, harm=mutant.harm, mood=mutant.mood))
            if verdict.kinds & mutant.breaks:
                return verdict
    return None
