"""The ground of one experiment: see the protocol in `experiment`."""

import random
from contextlib import AbstractContextManager
from pathlib import Path

from producer_sdk.wire import QueueType
from stack.broker import Broker
from tests.chaos.display import Display
from tests.chaos.nodes import Nodes
from tests.faults.vhost import Vhost, open_vhost


class SharedGround:
    """Gives the nodes that all experiments share, and a chance that is the experiment's own."""

    def __init__(
        self, nodes: Nodes, *, name: str, folder: Path, seed: int, scale: float, display: Display
    ) -> None:
        self._nodes = nodes
        self._scale = scale
        self._display = display
        self.folder = folder
        self.seed = seed
        self.chance = random.Random(f"{seed} {name}")  # noqa: S311  # repeatable, not secret

    def scaled(self, full: int, *, least: int = 1) -> int:
        """Give the amount at this run's scale; see the protocol."""
        return max(least, round(full * self._scale))

    def tell(self, text: str) -> None:
        """Show how far the experiment is."""
        self._display.tell(text)

    def broker(self, release: str | None = None) -> Broker:
        """Give the running node of that release."""
        return self._nodes.get(release)

    def vhost(
        self, release: str | None = None, *, queue_type: QueueType = "classic"
    ) -> AbstractContextManager[Vhost]:
        """Open a fresh virtual host on the node of that release."""
        return open_vhost(self.broker(release), self._nodes.passwords, queue_type=queue_type)
