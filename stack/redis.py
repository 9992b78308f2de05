"""A private Redis: start it, ask it, stop it, kill it, start it again where it was.

    redis = start(find_redis(Path(".warren/servers")), Path(".warren/redis"))
    redis.ask("PING")
    redis.stop()

It needs no root, listens on 127.0.0.1 only, asks for a password, and keeps all its state under its folder:

    data/         what it remembers: every write is in its append-only file before it is answered
    redis.conf    made anew at each start
    redis.json    what runs, or ran last, here
    redis.log     what it tells
    credentials.json   its password, made once
    lock          held by it for as long as it lives
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from stack import credentials, interrupts, occupancy, ports, resp
from stack.errors import RedisFailed, RedisNotFound
from stack.redispackages import RedisServer, find_redis

__all__ = ["Redis", "RedisFailed", "RedisNotFound", "RedisServer", "find_redis", "running", "start"]

_TETHER = Path(__file__).with_name("tether.py")
_TAIL_LINES = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Redis:
    """A Redis as it was found or started; the value does not change when it ends."""

    folder: Path
    product: str
    version: str
    port: int

    @property
    def password(self) -> str:
        """The default user's password."""
        return credentials.ensure(self.folder / "credentials.json", ["redis"])["redis"]

    @property
    def address(self) -> str:
        """Its URL without the password."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def url(self) -> str:
        """Its URL with the password."""
        return f"redis://:{quote(self.password, safe='')}@127.0.0.1:{self.port}/0"

    def ask(self, *words: str, timeout_s: float = 5) -> resp.Answer:
        """Give the answer to one command; see `resp.ask`."""
        return resp.ask(self.port, self.password, *words, timeout_s=timeout_s)

    def send(self, number: signal.Signals) -> None:
        """Signal it, if it lives: SIGSTOP makes it one that takes connections and never answers, until SIGCONT."""
        occupancy.send(self.folder / "process.pid", number, self.folder)

    def stop(self, *, timeout_s: float = 30) -> None:
        """Let it end in its own time; killed when it takes longer. Stopping twice does nothing."""
        self.send(signal.SIGTERM)
        if not occupancy.wait_until(lambda: not occupancy.held(self.folder), timeout_s):
            self.kill()

    def kill(self) -> None:
        """End it at once with SIGKILL, as a crash would, and wait until it is gone."""
        occupancy.kill_group(self.folder)


def start(
    server: RedisServer,
    folder: Path,
    *,
    port: int = 0,
    settings: Mapping[str, str] | None = None,
    die_with_parent: bool = False,
    timeout_s: float = 30,
) -> Redis:
    """Start a Redis in `folder` and wait until it answers.

    Data, password and, where it is still free and no other is asked for, the port of an earlier one in the same
    folder are kept. `settings` replace lines of its configuration. With `die_with_parent` it is killed when this
    process ends, whatever way it ends.

    Raises:
        RedisFailed: One runs there already, or this one did not come up; then the text has the end of its log,
            and nothing of it is left running.
    """
    folder = folder.absolute()
    (folder / "data").mkdir(mode=0o700, parents=True, exist_ok=True)
    if running(folder) is not None:  # before its configuration is touched
        raise RedisFailed(f"a Redis already runs in {folder}; stop it first")
    redis = _redis(server, folder, port or _free_port(folder))
    lock = occupancy.take(folder)
    with _nothing_left(folder):
        try:
            for name in ("process.pid", "redis.log"):
                (folder / name).unlink(missing_ok=True)
            _write(folder, redis, settings or {})
            with interrupts.put_off():
                _launch(server, folder, lock, die_with_parent=die_with_parent)
        finally:
            os.close(lock)
        ready = occupancy.wait_until(
            lambda: _serves(redis) or not occupancy.held(folder), timeout_s
        )
        if not ready or not occupancy.held(folder):
            raise RedisFailed(_obituary(redis, in_time=ready))
    return redis


@contextmanager
def _nothing_left(folder: Path) -> Iterator[None]:
    """Kill what was started when the start fails or is given up; no Ctrl-C cuts that short."""
    (folder / "keeper.pid").unlink(missing_ok=True)  # an earlier one's
    try:
        yield
    except BaseException:
        with interrupts.put_off():
            occupancy.kill_group(folder)
        raise


def running(folder: Path) -> Redis | None:
    """Give the Redis that runs in `folder`, or None if none does."""
    folder = folder.absolute()
    last = _last(folder)
    return last if last is not None and occupancy.held(folder) else None


def configuration(folder: Path, port: int, password: str, settings: Mapping[str, str]) -> str:
    """Write redis.conf: loopback only, every write on disk before its answer, nothing evicted."""
    lines = {
        "bind": "127.0.0.1",
        "port": str(port),
        "requirepass": _quoted(password),
        "daemonize": "no",
        "logfile": _quoted(str(folder / "redis.log")),
        "dir": _quoted(str(folder / "data")),
        "appendonly": "yes",
        "appendfsync": "always",
        "save": '""',
        "maxmemory": "512mb",
        "maxmemory-policy": "noeviction",
        "timeout": "0",
    }
    return "".join(f"{name} {value}\n" for name, value in (lines | dict(settings)).items())


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _redis(server: RedisServer, folder: Path, port: int) -> Redis:
    return Redis(folder=folder, product=server.product, version=server.version, port=port)


def _last(folder: Path) -> Redis | None:
    try:
        kept = json.loads((folder / "redis.json").read_text(encoding="utf-8"))
        return Redis(folder=folder, **kept)
    except (OSError, ValueError, TypeError):
        return None


def _free_port(folder: Path) -> int:
    last = _last(folder)
    if last is not None and ports.is_free(last.port):
        return last.port
    return ports.free_port(set())


def _write(folder: Path, redis: Redis, settings: Mapping[str, str]) -> None:
    about = {"product": redis.product, "version": redis.version, "port": redis.port}
    (folder / "redis.json").write_text(json.dumps(about), encoding="utf-8")
    text = configuration(folder, redis.port, redis.password, settings)
    (folder / "redis.conf").touch(mode=0o600)
    (folder / "redis.conf").write_text(text, encoding="utf-8")


def _launch(server: RedisServer, folder: Path, lock: int, *, die_with_parent: bool) -> None:
    # The write end stays open in this process, and in no child of it, for as long as it lives.
    parent = os.pipe()[0] if die_with_parent else -1
    tether = [sys.executable, "-I", "-S", str(_TETHER), str(folder), str(lock), str(parent)]
    try:
        with (folder / "output.log").open("wb") as output:
            subprocess.run(
                [*tether, str(server.program), str(folder / "redis.conf")],
                env=os.environ | server.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=[lock, *([parent] if die_with_parent else [])],
                check=True,
            )
    finally:
        if die_with_parent:
            os.close(parent)


def _serves(redis: Redis) -> bool:
    try:
        return redis.ask("PING", timeout_s=2) == "PONG"
    except (OSError, RedisFailed):
        return False


def _obituary(redis: Redis, *, in_time: bool) -> str:
    """Tell why it did not come up, as far as can be seen: the end of what it wrote."""
    ending = "ended while it started" if in_time else "was not ready in time"
    lines = [f"{redis.product} {redis.version} in {redis.folder} {ending}."]
    for name in ("redis.log", "output.log"):
        path = redis.folder / name
        if path.exists():
            lines += path.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
    return "\n".join(lines)
