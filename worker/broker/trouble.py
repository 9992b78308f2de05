"""Tells an operator what is wrong, at a bounded rate."""

import asyncio
from datetime import timedelta

from worker.core.events import Trouble
from worker.ports import Listener


class Troubles:
    """Passes trouble on to a listener, the same thing about the same object at most once in `every`."""

    def __init__(self, listener: Listener, *, every: timedelta = timedelta(seconds=10)) -> None:
        self._listener = listener
        self._every_s = every.total_seconds()
        self._told: dict[tuple[str, str], float] = {}

    def tell(self, what: str, about: str, error: str) -> None:
        """Tell it, unless it was told just now. `what` and `about` come from small fixed sets."""
        now = asyncio.get_running_loop().time()
        last = self._told.get((what, about))
        if last is None or now - last >= self._every_s:
            self._told[what, about] = now
            self._listener.tell(Trouble(what=what, about=about, error=error))
