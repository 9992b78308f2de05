"""How a process comes to connections and channels: `worker.broker.connection.Link`, to the simulated broker."""

import asyncio
from typing import TYPE_CHECKING

from tests.simulation.channels import Channel
from tests.simulation.wires import Connection

if TYPE_CHECKING:
    from tests.simulation.process import Process


class Link:
    """One connection, made when it is wanted, and again when it is lost."""

    reconnect_s = 1.0

    def __init__(self, process: "Process") -> None:
        self.connection: Connection | None = None
        self._process = process
        self._connecting = asyncio.Lock()

    @property
    def connected(self) -> bool:
        return self.connection is not None and self.connection.open

    async def channel(self, *, confirms: bool) -> Channel:  # noqa: ARG002  # all publishes here are confirmed
        async with self._connecting:
            while self.connection is None or not self.connection.open:
                if self._process.world.broker.up:
                    self.connection = Connection(self._process.world.broker, self._process)
                else:
                    await asyncio.sleep(self.reconnect_s)
            connection = self.connection
        channel = Channel(connection)
        await channel._ask(lambda: None)
        return channel

    async def close(self) -> None:
        if self.connection is not None and self.connection.open:
            self.connection.up.send(self.connection.lose_at_broker)
            self.connection.lose_at_client()
