"""What an attempt leaves to be settled: with the record of its end, so that neither can be without the other."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeAlias

from worker.core.limits import Used
from worker.core.spend import Reserved

Spent: TypeAlias = tuple[tuple[Reserved, Decimal], ...]
"""Reservations, each with what was really spent of it, in US dollars."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What was used of limits and spent of money. `fingerprint`: the response is put into the cache under it; None: it is not."""

    used: tuple[Used, ...] = ()
    spent: Spent = ()
    fingerprint: str | None = None

    def again(self) -> "Bill":
        """Give what is settled once more by who does not know whether it was: the money, which counts once.

        What was used of limits would count twice; what is not settled counts as reckoned until it is past. And that the
        response could not be kept may be why the record could not be written.
        """
        return Bill(spent=self.spent)


NO_BILL: Final = Bill()
