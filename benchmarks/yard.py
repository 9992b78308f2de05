"""Where the contestants meet: one broker, one simulator of some processes, and the worker of Warren, which stands still."""

import json
import sys
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from benchmarks.contestants import Contestant, Warren
from benchmarks.peers.asked import JOBS, REPLIES
from benchmarks.postoffice import Route
from producer_sdk.wire import REPLIES_EXCHANGE, REQUESTS_EXCHANGE, reply_queue, reply_route
from stack.house import VHOST, House, raise_house
from stack.services import Service, spawn
from stack.supply import Tell
from stack.upstreams import Simulated

_VHOST: Final = "bench"
TIER: Final = "standard"
_QUEUES: Final = tuple(
    f"warren.jobs.{tier}.{lane}"
    for tier in ("premium", "standard", "budget")
    for lane in ("interactive", "bulk")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Yard:
    """What stands: `more` are the simulator's further processes, `text` Warren's configuration as it was made."""

    house: House
    more: tuple[Service, ...]
    text: str

    @property
    def upstream(self) -> str:
        """The address that takes a POST."""
        return f"{self.house.upstream}/chat/completions"

    @property
    def simulators(self) -> tuple[Service, ...]:
        """The simulator's processes."""
        return (*self.house.simulators.values(), *self.more)

    @property
    def logs(self) -> tuple[Path, ...]:
        """The logs of calls, one of each of the simulator's processes."""
        return (
            *self.house.calls_logs.values(),
            *(each.folder / "calls.jsonl" for each in self.more),
        )

    @property
    def pids(self) -> Mapping[str, int]:
        """The processes that all contestants share, but for this one."""
        found = {f"simulator {number}": each.pid for number, each in enumerate(self.simulators)}
        node = self.house.folder / "broker/node.pid"
        if node.exists():  # the broker is one of our own
            found["broker"] = int(node.read_text(encoding="utf-8"))
        return found

    @property
    def admin_url(self) -> str:
        """The broker's address for the peers, in a virtual host of their own."""
        password = quote(self.house.passwords["admin"], safe="")
        return f"amqp://admin:{password}@{self.house.amqp}/{_VHOST}"

    def purge(self) -> None:
        """Empty the queues of Warren's jobs; those of the peers are made afresh for each."""
        for name in _QUEUES:
            _ask(self.house, "DELETE", f"queues/{VHOST}/{name}/contents")

    def route(self, contestant: Contestant | Warren) -> Route:
        """Give where a contestant's jobs go and its replies come from."""
        if isinstance(contestant, Warren):
            return Route(
                url=self.house.url("producer"),
                user="producer",
                exchange=REQUESTS_EXCHANGE,
                key=f"{TIER}.interactive",
                replies=reply_queue("producer", "bench"),
                binding=(REPLIES_EXCHANGE, reply_route("producer", "bench")),
            )
        return Route(
            url=self.admin_url,
            user="admin",
            exchange="",
            key=JOBS,
            replies=REPLIES,
            jobs_arguments=contestant.queue_arguments,
        )


def set_up(folder: Path, *, latency: str, simulators: int, tell: Tell) -> Yard:
    """Start everything but the contestants; `latency` is the upstream's, as the simulator reads it.

    Raises:
        StackError: something did not come up.
    """
    options = ("--latency", latency, "--reuse-port")
    house = raise_house(
        folder,
        workers=1,
        tell=tell,
        simulators=(Simulated(options=options),),
        tiers={TIER: 16},  # each contestant is told its own
    )
    (worker,) = house.workers
    worker.stop()
    _add_vhost(house)
    port = house.upstream.rpartition(":")[2].removesuffix("/v1")
    more = []
    for number in range(1, simulators):
        place = folder / f"simulator-more-{number}"
        opened = folder / f"more-{number}.port"
        log = str(place / "calls.jsonl")
        command = [sys.executable, "-m", "simulator", "--port", port, "--port-file", str(opened)]
        service = spawn(place, [*command, "--log", log, *options], {})
        service.wait_until(opened.exists)
        more.append(service)
    return Yard(house=house, more=tuple(more), text=house.config.read_text(encoding="utf-8"))


def _add_vhost(house: House) -> None:
    """Make the peers' virtual host: their libraries declare names of their own, which Warren's users may not."""
    _ask(house, "PUT", f"vhosts/{_VHOST}", {})
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    _ask(house, "PUT", f"permissions/{_VHOST}/admin", everything)


def _ask(house: House, method: str, path: str, body: Mapping[str, str] | None = None) -> None:
    """Ask the broker's management API for something, as the administrator."""
    token = b64encode(f"admin:{house.passwords['admin']}".encode()).decode()
    asked = urllib.request.Request(
        f"http://{house.management}/api/{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"authorization": f"Basic {token}", "content-type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(asked, timeout=60):  # noqa: S310  # our own broker
        pass
