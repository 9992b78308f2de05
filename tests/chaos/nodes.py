"""The brokers that all experiments share: one node per release, started when the first experiment asks for it."""

import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from stack import credentials, interrupts
from stack.broker import Broker, find_server, running, start
from tests.faults.vhost import DEFINITIONS, ROOT

_HOME = ROOT / ".warren/chaos"


@contextmanager
def working_folder() -> Iterator[Path]:
    """Give a fresh folder; when the block ends it is deleted, unless an experiment left something worth a look."""
    _HOME.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=_HOME))
    try:
        yield folder
    finally:
        if not any(folder.iterdir()):
            folder.rmdir()


class Nodes:
    """Starts, keeps and finally kills the nodes. Left by whatever way, also by SIGKILL, none runs on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, Broker] = {}
        self._guard = threading.Lock()
        folder.mkdir(parents=True)
        self.passwords = credentials.ensure(
            folder / "credentials.json", credentials.user_names(DEFINITIONS)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with interrupts.put_off():
            for name in self._made:
                node = running(self._folder / name)
                if node is not None:
                    node.kill()
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def versions(self) -> dict[str, str]:
        """The version of each node that was started, by release."""
        return {name: node.version for name, node in self._made.items()}

    def get(self, release: str | None) -> Broker:
        """Give the running node of that release; one that an experiment left dead is started again.

        Raises:
            StackError: it cannot be had.
        """
        name = release or "machine"
        with self._guard:
            node = running(self._folder / name)
            if node is None:
                node = self._start(name, release)
            self._made[name] = node
        return node

    def _start(self, name: str, release: str | None) -> Broker:
        definitions = self._folder / "definitions.json"
        credentials.write_definitions(DEFINITIONS, definitions, self.passwords)
        last = self._made.get(name)
        return start(
            find_server(ROOT / ".warren/servers", release=release),
            self._folder / name,
            definitions=definitions,
            amqp_port=last.amqp_port if last else 0,
            http_port=last.http_port if last else 0,
            die_with_parent=True,
        )
