"""What a call is counted against when its job begins: permits of an account's limits, and money."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from worker.core.limits import Charge
from worker.core.spend import Cap, Reserved


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """An amount, of US dollars, to be reserved against all of the caps under a name that nobody else uses."""

    name: str
    caps: Sequence[Cap]
    amount: Decimal

    @property
    def reserved(self) -> Reserved:
        """What it is once it is counted."""
        return Reserved(name=self.name, amount=self.amount)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a job's first call needs besides the claim: all of it is counted with the attempt, or none."""

    charges: tuple[Charge, ...] = ()
    reservation: Reservation | None = None
