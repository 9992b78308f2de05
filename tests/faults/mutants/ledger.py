"""Bugs in what the ledger and the cache know: claims without fences, records that are not looked at."""

from collections.abc import Callable

from tests.faults.mutants.plant import plant
from worker import pipeline
from worker.broker.channels import Message
from worker.broker.delivery import Place, Seat
from worker.broker.intake import TierIntake
from worker.core.model import Decided, Found, Job, State
from worker.patience import PatientLedger
from worker.ports import Delivery
from worker.store.embedded import claims, entering, ledger, rows, settling, standing
from worker.store.embedded.rows import Claim, JobRow
from worker.store.embedded.transaction import Transaction


async def let_go(line: pipeline.Line, job: Job) -> None:
    """Release the claim of a job's call and write nothing down."""
    assert isinstance(line.ledger, PatientLedger)
    embedded = line.ledger.ledger
    assert isinstance(embedded, ledger.EmbeddedLedger)
    await embedded._run(lambda it: claims.release(it, claims.of_job(it, job.id)))


def takes_claims_of_the_living() -> None:
    plant(claims, "lives", lambda transaction, claim: claim.owner == transaction.me)


def takes_a_redelivery_for_a_death() -> None:
    lives, read = claims.lives, TierIntake._read
    came_again: set[str] = set()

    def read_and_note(self: TierIntake, message: Message, seat: Seat, place: Place) -> Delivery:
        delivery = read(self, message, seat, place)
        if message.decoded().redelivered:
            came_again.add(delivery.job.id)
        return delivery

    def lives_unless_it_came_again(transaction: Transaction, claim: Claim) -> bool:
        if claim.job_id in came_again and claim.owner != transaction.me:
            return False
        return lives(transaction, claim)

    plant(TierIntake, "_read", read_and_note)
    plant(claims, "lives", lives_unless_it_came_again)


def ends_what_another_owns() -> None:
    opened = settling._open

    def open_whosever_it_is(
        transaction: Transaction, job: Job, *, claimed: bool
    ) -> tuple[JobRow | Decided, Claim | None]:
        claim = claims.of_job(transaction, job.id)
        if claimed and claim is not None and claim.owner != transaction.me:
            claims._remove(transaction, claim)
        return opened(transaction, job, claimed=claimed)

    plant(settling, "_open", open_whosever_it_is)


def forgets_what_is_recorded() -> None:
    _overlook(lambda row, _: row.state is not State.OPEN)


def replays_what_completed() -> None:
    _overlook(lambda row, job: row.state is State.COMPLETED and not job.first)


def _overlook(overlooked: Callable[[JobRow, Job], bool]) -> None:
    """Let `find` and `begin` not see what stands of some runs that have ended."""
    found = standing.standing

    def stands(transaction: Transaction, row: JobRow | None, job: Job) -> Decided | None:
        if row is not None and overlooked(row, job):
            return None
        return found(transaction, row, job)

    plant(standing, "standing", stands)
    plant(entering, "standing", stands)


def counts_before_it_looks() -> None:
    find = ledger.EmbeddedLedger.find

    async def count_and_find(
        self: ledger.EmbeddedLedger, job: Job, *, cached: bool = False
    ) -> Found | None:
        def count(transaction: Transaction) -> None:
            row = rows.load(transaction.connection, job.id)
            if row is not None and row.state is State.OPEN:
                transaction.connection.execute(
                    "UPDATE jobs SET attempts = attempts + 1 WHERE number = ?", (row.number,)
                )

        await self._run(count)
        return await find(self, job, cached=cached)

    plant(ledger.EmbeddedLedger, "find", count_and_find)


def shares_across_tenants() -> None:
    plant(Job, "fingerprint", property(lambda job: f"{job.tier}:{job.content_hash}"))
