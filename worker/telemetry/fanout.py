"""One listener that tells several, and outlives one that raises."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

from worker.core.events import Event, Trouble
from worker.ports import Listener

Hears: TypeAlias = Mapping[type[Event], Callable[[Any], None]]


@runtime_checkable
class Choosy(Protocol):
    """A listener that says which events it hears, and what hears each; it is told no others."""

    @property
    def hears(self) -> Hears:
        """What hears an event, by the event's type."""
        ...


class Fanout:
    """Tells each event to every listener that hears its kind, in their order.

    A listener that raises is told nothing more: telemetry that is broken must not cost jobs, and what a
    half-updated listener would show is not worth having. The others hear of it as a `Trouble`.
    """

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners
        # Who hears an event of a kind, as it was found at the first of them: several are told for each job.
        self._hear: dict[type[Event], tuple[tuple[Listener, Callable[[Any], None]], ...]] = {}

    def tell(self, event: Event) -> None:
        """Tell the event to all that hear it; never raises."""
        kind = type(event)
        hear = self._hear.get(kind)
        if hear is None:
            hear = self._hear[kind] = self._who_hears(kind)
        dropped: list[Trouble] = []
        for listener, tell in hear:
            try:
                tell(event)
            except Exception as error:  # noqa: BLE001  # the border between the line and its telemetry
                self._listeners = tuple(each for each in self._listeners if each is not listener)
                self._hear.clear()
                dropped.append(_dropped(listener, error))
        for trouble in dropped:
            self.tell(trouble)

    def _who_hears(self, kind: type[Event]) -> tuple[tuple[Listener, Callable[[Any], None]], ...]:
        found = []
        for listener in self._listeners:
            tell = listener.hears.get(kind) if isinstance(listener, Choosy) else listener.tell
            if tell is not None:
                found.append((listener, tell))
        return tuple(found)


def _dropped(listener: Listener, error: Exception) -> Trouble:
    # The text of the error may quote what the event holds, so only its type is told.
    return Trouble(
        what="a listener raised and is told nothing more until the next start",
        about=type(listener).__name__,
        error=type(error).__name__,
    )
