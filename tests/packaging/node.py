"""The compose file's broker without its container: a real node, with the files that the container would read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stack import mounted
from stack.broker import Broker, find_server, start
from tests.faults.vhost import ROOT


@contextmanager
def compose_node(folder: Path, *, release: str | None = None) -> Iterator[Broker]:
    """Make secrets in `folder`/secrets and run a node with them; it goes with the test, or with its process."""
    secrets, configuration = folder / "secrets", folder / "rabbitmq.conf"
    mounted.make(secrets)
    files = [ROOT / "rabbitmq/rabbitmq.conf", ROOT / "docker/rabbitmq.conf"]
    configuration.write_text("".join(file.read_text("utf-8") for file in files), "utf-8")
    broker = start(
        find_server(ROOT / ".warren/servers", release=release),
        folder / "node",
        definitions=secrets / "definitions.json",
        configuration=configuration,
        die_with_parent=True,
    )
    try:
        yield broker
    finally:
        broker.kill()
