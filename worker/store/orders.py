"""Orders as the stores keep them: the windows as their texts, read anew by each host."""

from collections.abc import Sequence
from dataclasses import replace

from worker.core.lanes import Orders
from worker.core.windows import Window


def with_windows(orders: Orders, windows: Sequence[str] | None) -> Orders:
    """Add the windows; a lane whose windows mean nothing here is paused: better no call than one at a wrong time."""
    if windows is None:
        return orders
    try:
        return replace(orders, windows=tuple(map(Window.parse, windows)))
    except ValueError as error:
        reason = f"its windows cannot be read on this host: each {error}"
        return replace(orders, paused=True, reason=reason)


def texts(windows: Sequence[Window] | None) -> list[str] | None:
    """Give the windows' texts; None stays None."""
    return None if windows is None else [str(window) for window in windows]
