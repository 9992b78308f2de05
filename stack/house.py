"""A whole Warren on this machine: broker, simulators and workers, in one folder.

    house = raise_house(folder, workers=2, tell=print)
    house.environment()      # what a producer, an operator and `warren` need
    house.lower(tell=print)

The broker is the one at `RABBITMQ_URL` (a user who may administer it; the management API at
`RABBITMQ_MANAGEMENT_URL`, or on port 15672 of the same host), else a private node, else a container.
"""

import json
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

from stack import broker as brokers
from stack import container, credentials, interrupts, occupancy, stores, upstreams
from stack.ports import keep_ports
from stack.services import Service, answers, spawn
from stack.supply import Tell, supply
from stack.upstreams import Simulated, Upstream

ROOT = Path(__file__).parent.parent
DEFINITIONS = ROOT / "rabbitmq/definitions.json"
VHOST = "warren"
# Each tier's concurrency in one worker.
TIERS: Mapping[str, int] = {"premium": 16, "standard": 16, "budget": 8}

# How long a process has left to end by itself once somebody does not want to wait.
_HURRIED_S = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """Where everything is. The value does not change when a process ends.

    `upstreams` has the root of each endpoint's API, by the endpoint's name.
    """

    folder: Path
    amqp: str
    management: str
    broker_name: str
    upstreams: Mapping[str, str]
    simulated: bool
    worker_ports: tuple[int, ...]
    store: stores.Store = field(default_factory=stores.Store)

    @property
    def passwords(self) -> dict[str, str]:
        """Each broker user's password."""
        return credentials.ensure(
            credentials_file(self.folder), credentials.user_names(DEFINITIONS)
        )

    @property
    def config(self) -> Path:
        """The workers' configuration."""
        return self.folder / "warren.toml"

    @property
    def upstream(self) -> str:
        """The root of the first endpoint's API."""
        return next(iter(self.upstreams.values()))

    @property
    def simulators(self) -> dict[str, Service]:
        """The simulators' processes, by the name of the endpoint that each is; none where a real API is called."""
        names = self.upstreams if self.simulated else ()
        return {name: upstreams.simulator(self.folder, name) for name in names}

    @property
    def workers(self) -> list[Service]:
        """The workers' processes."""
        return [
            Service(folder=self.folder / f"worker-{number}")
            for number, _ in enumerate(self.worker_ports, start=1)
        ]

    @property
    def calls_logs(self) -> dict[str, Path]:
        """Each simulator's log of calls, by the name of the endpoint that it is."""
        return {name: upstreams.calls_log(self.folder, name) for name in self.simulators}

    def url(self, user: str) -> str:
        """Give the AMQP URL of a user, password included."""
        return f"amqp://{user}:{quote(self.passwords[user], safe='')}@{self.amqp}/{VHOST}"

    def environment(self) -> dict[str, str]:
        """Give the variables that a producer, an operator and the command `warren` read."""
        admin = f"admin:{quote(self.passwords['admin'], safe='')}"
        return {
            "WARREN_URL": self.url("producer"),
            "WARREN_OPERATOR_URL": self.url("operator"),
            "WARREN_MANAGEMENT_URL": f"http://{admin}@{self.management}",
            "WARREN_CONFIG": str(self.config),
        }

    def lower(self, *, tell: Tell) -> None:
        """Stop everything that runs here; see `lower`."""
        lower(self.folder, tell=tell)


def lower(folder: Path, *, tell: Tell, within_s: float = 60) -> None:
    """Stop everything that was started in a folder, workers first so that they can drain.

    What does not end `within_s` is killed. A Ctrl-C shortens that to a few seconds and abandons nothing.
    """
    with interrupts.put_off() as hurried:
        stop_workers(sorted(folder.glob("worker-*")), tell, within_s=within_s, hurried=hurried)
        for simulator in upstreams.simulators(folder):
            if simulator.alive:
                tell(f"stopping {simulator.folder.name}")
                simulator.stop(timeout_s=min(within_s, _HURRIED_S))
        node = brokers.running(folder / "broker")
        if node is not None:
            tell("stopping the broker")
            node.stop(timeout_s=_HURRIED_S if hurried() else within_s)
        container.remove(folder / "broker")
        stores.stop(folder, tell, within_s=_HURRIED_S if hurried() else within_s)


def stop_workers(
    folders: Sequence[Path], tell: Tell, *, within_s: float, hurried: Callable[[], bool]
) -> None:
    """Let the workers in these folders drain side by side, until `hurried` says that it is enough."""
    services = [service for service in map(Service.of, folders) if service.alive]
    for service in services:
        tell(f"stopping {service.folder.name}")
        service.send(signal.SIGTERM)
    occupancy.wait_until(
        lambda: hurried() or not any(service.alive for service in services),
        max(0, within_s - _HURRIED_S),
    )
    for service in services:
        service.stop(timeout_s=_HURRIED_S)


def find_house(folder: Path) -> House | None:
    """Give the house that was raised in a folder, running or not; None: there never was one."""
    try:
        kept = json.loads((folder / "house.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    if "upstream" in kept:  # of a house that was raised when it had only one
        kept["upstreams"] = {upstreams.MAIN: kept.pop("upstream")}
    store = stores.Store(**kept.pop("store", {}))
    ports = tuple(kept.pop("worker_ports"))
    return House(**kept, folder=folder, worker_ports=ports, store=store)


def raise_house(
    folder: Path,
    *,
    workers: int,
    tell: Tell,
    upstream: Upstream | None = None,
    simulators: Sequence[Simulated] = (Simulated(),),
    config: str = "",
    tiers: Mapping[str, int] = TIERS,
    store: str | None = None,
) -> House:
    """Start broker, store, simulators (unless `upstream` is given) and workers, and wait until they are ready.

    What runs already in the folder is kept, but for workers beyond `workers`, which are stopped. `config` is
    appended to the workers' configuration; `tiers` are its tiers with their concurrency, each served by every
    simulator; for `store` see `stores.supply`.

    Raises:
        StackError: something did not come up; the text says what, and what to do.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    passwords = credentials.ensure(credentials_file(folder), credentials.user_names(DEFINITIONS))
    definitions = folder / "definitions.json"
    credentials.write_definitions(DEFINITIONS, definitions, passwords)
    last = find_house(folder)
    busy = last is not None and any(service.alive for service in last.workers)
    shared = stores.supply(folder, store, last.store if last else None, tell, busy=busy)
    amqp, management, name = supply(folder, passwords["admin"], definitions, tell)
    if upstream is None:
        urls = {each.name: upstreams.start(folder, each, tell) for each in simulators}
    else:
        urls = {upstreams.MAIN: upstream.base_url}
    house = House(
        folder=folder,
        amqp=amqp,
        management=management,
        broker_name=name,
        upstreams=urls,
        simulated=upstream is None or upstream.simulated,
        worker_ports=() if last is None else last.worker_ports,
        store=shared,
    )
    house = _staffed(house, workers, tell)
    kept = {
        "amqp": amqp,
        "management": management,
        "broker_name": name,
        "upstreams": urls,
        "simulated": house.simulated,
        "worker_ports": house.worker_ports,
        "store": asdict(shared),
    }
    _write(folder / "house.json", json.dumps(kept))
    _write(folder / "worker.password", passwords["worker"])
    key_file = folder / "upstream.key"
    _write(key_file, (upstream.key if upstream else None) or "simulated-key")
    settings = {each.name: each.settings for each in simulators}
    called = upstreams.configuration(urls, settings if upstream is None else {}, key_file, tiers)
    _write(house.config, _configuration(house, called + config))
    exports = [f"export {name}={shlex.quote(it)}\n" for name, it in house.environment().items()]
    # It is `./dev`'s alone: the command `warren` would take it for a setting misspelt.
    _write(folder / "env", "".join([*exports, f"unset {stores.VARIABLE}\n"]))
    start_workers(house, tell)
    return house


def _staffed(house: House, count: int, tell: Tell) -> House:
    """Give the house with so many workers: running ones keep their ports, those beyond the number are stopped."""
    surplus = [service.folder for service in house.workers[count:]]
    with interrupts.put_off() as hurried:
        stop_workers(surplus, tell, within_s=60, hurried=hurried)
    alive = [service.alive for service in house.workers]
    return replace(house, worker_ports=keep_ports(house.worker_ports, alive, count))


def start_workers(house: House, tell: Tell) -> None:
    """Start the workers that do not run, and wait until they are ready."""
    started = []
    for number, (service, port) in enumerate(zip(house.workers, house.worker_ports, strict=True)):
        if not service.alive:
            tell(f"starting worker {number + 1}")
            command = [sys.executable, "-m", "worker.cli.main", "worker"]
            environment = {
                "WARREN_CONFIG": str(house.config),
                "WARREN_HTTP__LISTEN": f"127.0.0.1:{port}",
            }
            started.append((spawn(service.folder, command, environment), port))
    for service, port in started:
        service.wait_until(lambda port=port: answers(ready_url(port)))  # type: ignore[misc]  # bound now, not later


def ready_url(port: int) -> str:
    """Where a worker tells whether it is ready."""
    return f"http://127.0.0.1:{port}/readyz"


def credentials_file(folder: Path) -> Path:
    """Where a house keeps the passwords that were generated for it."""
    return folder / "credentials.json"


def _configuration(house: House, called: str) -> str:
    return f"""\
# Written by ./dev; the commented example is examples/warren.toml.
[broker]
url = "amqp://worker@{house.amqp}/{VHOST}"
password_file = "{house.folder / "worker.password"}"
allow_plaintext = true

{house.store.table(house.folder)}
{called}"""


def _write(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    fresh.touch(mode=0o600)
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
