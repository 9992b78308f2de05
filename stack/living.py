"""`./dev up`, `down` and `status`: a stack that stays until it is told to go."""

import argparse
import os

from stack import broker as brokers
from stack import container, stores
from stack.arguments import positive
from stack.house import ROOT, House, find_house, lower, raise_house, ready_url
from stack.services import answers
from stack.upstreams import Simulated, Upstream

_FOLDER = ROOT / ".warren/up"
# No job is in flight yet when the start is given up.
_STOP_S = 5


def up(arguments: list[str]) -> int:
    """Start what does not run yet, and tell where it is and what to try."""
    parser = argparse.ArgumentParser(prog="./dev up", description=up.__doc__)
    parser.add_argument(
        "--workers",
        type=positive,
        default=2,
        metavar="N",
        help="this many worker processes: more are started, or some stopped",
    )
    stores.option(parser)
    options = parser.parse_args(arguments)
    upstream = None
    if base_url := os.environ.get("OPENAI_BASE_URL"):
        key = os.environ.get("OPENAI_API_KEY")
        upstream = Upstream(base_url=base_url.rstrip("/"), key=key, simulated=False)
    house = _raised(options.workers, upstream, options.store)
    _show(house)
    print(
        f"""
Try, in this shell:
  . {(_FOLDER / "env").relative_to(ROOT)}
  .venv/bin/warren submit "Say hello in three languages" --tier standard
  .venv/bin/warren status
  ./dev down"""
    )
    return 0


def _raised(workers: int, upstream: Upstream | None, store: str | None) -> House:
    """Raise the house; given up by Ctrl-C it leaves what ran before, or nothing."""

    def tell(text: str) -> None:
        print(f"  {text}", flush=True)

    last = find_house(_FOLDER)
    lived = last is not None and any(service.alive for service in last.workers)
    try:
        return raise_house(
            _FOLDER,
            workers=workers,
            tell=tell,
            upstream=upstream,
            simulators=(Simulated(options=("--latency", "lognormal(0.3,0.4)")),),
            store=store,
        )
    except KeyboardInterrupt:
        if not lived:
            lower(_FOLDER, tell=tell, within_s=_STOP_S)
        raise


def down(arguments: list[str]) -> int:
    """Stop the stack; what is queued stays in its folder for the next `./dev up`, but not that of a container."""
    argparse.ArgumentParser(prog="./dev down", description=down.__doc__).parse_args(arguments)
    house = find_house(_FOLDER)
    if house is None:
        print("nothing to stop: there is no stack here; ./dev up makes one")
        return 0
    house.lower(tell=print)
    return 0


def status(arguments: list[str]) -> int:
    """Tell what runs and where; exit status 1 when something that should run does not."""
    argparse.ArgumentParser(prog="./dev status", description=status.__doc__).parse_args(arguments)
    house = find_house(_FOLDER)
    if house is None:
        print("there is no stack here; ./dev up makes one")
        return 1
    return 0 if _show(house) else 1


def _broker_runs(house: House) -> bool:
    """Tell whether the house's own broker runs; of one that somebody else runs it is believed."""
    folder = house.folder / "broker"
    if house.broker_name.endswith("private node"):
        return brokers.running(folder) is not None
    return not container.is_kept(folder) or container.running(folder) is not None


def _show(house: House) -> bool:
    """Print a line per part; True when all of them run."""
    parts = [("broker", f"{house.broker_name}, amqp://{house.amqp}", _broker_runs(house))]
    parts.append(("management", f"http://{house.management} (user admin)", parts[0][2]))
    where = f"{house.store.name}, {house.store.url or house.folder / 'store'}"
    parts.append(("store", where, stores.lives(house.folder, house.store)))
    for name, service in house.simulators.items():
        parts.append((service.folder.name, house.upstreams[name], service.alive))
    if not house.simulated:
        parts.append(("upstream", house.upstream, True))
    for service, port in zip(house.workers, house.worker_ports, strict=True):
        ready = service.alive and answers(ready_url(port))
        parts.append((service.folder.name, f"http://127.0.0.1:{port}/readyz and /metrics", ready))
    for name, where, runs in parts:
        print(f"  {name:12} {'running' if runs else 'DOWN':8} {where}")
    print(f"  passwords    {(house.folder / 'credentials.json').relative_to(ROOT)}")
    return all(runs for _, _, runs in parts)
