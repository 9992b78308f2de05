"""How many calls an endpoint has in flight from here, and how many it bears."""

from worker.core.concurrency import Concurrency, ConcurrencyPolicy
from worker.core.kinds import Kind


class Bearing:
    """Counts one endpoint's calls in flight against a number that is configured, or else found out.

    Found out: it begins at `most`; `core.concurrency` says when it falls.
    """

    def __init__(self, *, configured: int, most: int) -> None:
        self.in_flight = 0
        self._configured = configured
        self._found = Concurrency.new(ConcurrencyPolicy(start=most, most=most))

    @property
    def limit(self) -> int:
        """How many calls may be in flight."""
        return self._configured or int(self._found.limit)

    def admits(self) -> bool:
        """Tell whether one more may begin."""
        return self.in_flight < (self._configured or int(self._found.limit))

    def began(self) -> None:
        """Count a call, which `admits` allowed."""
        self.in_flight += 1

    def completed(self, *, began: float) -> None:
        """Count a call out that completed."""
        if not self._configured:
            self._found.completed(began=began, in_flight=self.in_flight)
        self.in_flight -= 1

    def failed(self, kind: Kind, *, began: float, now: float) -> None:
        """Count a call out that failed now so."""
        if not self._configured:
            self._found.failed(kind, began=began, now=now, in_flight=self.in_flight)
        self.in_flight -= 1
