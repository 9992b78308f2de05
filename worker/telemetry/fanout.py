"""One listener that tells several, and outlives one that raises."""

from worker.core.events import Event, Trouble
from worker.ports import Listener


class Fanout:
    """Tells each event to every listener, in their order.

    A listener that raises is told nothing more: telemetry that is broken must not cost jobs, and what a
    half-updated listener would show is not worth having. The others hear of it as a `Trouble`.
    """

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners

    def tell(self, event: Event) -> None:
        """Tell the event to all; never raises."""
        dropped: list[Trouble] = []
        for listener in self._listeners:
            try:
                listener.tell(event)
            except Exception as error:  # noqa: BLE001  # the border between the line and its telemetry
                self._listeners = tuple(each for each in self._listeners if each is not listener)
                dropped.append(_dropped(listener, error))
        for trouble in dropped:
            self.tell(trouble)


def _dropped(listener: Listener, error: Exception) -> Trouble:
    # The text of the error may quote what the event holds, so only its type is told.
    return Trouble(
        what="a listener raised and is told nothing more until the next start",
        about=type(listener).__name__,
        error=type(error).__name__,
    )
