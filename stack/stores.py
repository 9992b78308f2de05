"""Which store the workers of a house share: the embedded one, a private Redis, or one that somebody else runs."""

import argparse
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from stack import redis as redises
from stack.errors import StackError
from stack.supply import SERVERS, Tell

EMBEDDED, REDIS = "embedded", "redis"
# Not `WARREN_STORE__URL`: what `./dev` is told is no setting of a worker, and a worker refuses it by name.
VARIABLE = "WARREN_STORE_URL"
_EMBEDDED = "the embedded store"
_PRIVATE = "a private Redis"
_GIVEN = f"the Redis of {VARIABLE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A store as the house notes it down: what to show, and for a Redis its URL without the password, and the prefix."""

    name: str = _EMBEDDED
    url: str = ""
    prefix: str = ""

    @property
    def private(self) -> bool:
        """Whether it is a Redis of the house's own."""
        return self.name == _PRIVATE

    def table(self, folder: Path) -> str:
        """Give its part of the workers' configuration."""
        if not self.url:
            return f'[store]\npath = "{folder / "store"}"\n'
        lines = [f'url = "{self.url}"', f'prefix = "{self.prefix}"', 'cache_max_size = "128MiB"']
        password = password_file(folder)
        if password.stat().st_size:
            lines.append(f'password_file = "{password}"')
        if self.url.startswith("redis://"):
            lines.append("allow_plaintext = true")
        return "\n".join(["[store]", *lines, ""])


def option(parser: argparse.ArgumentParser) -> None:
    """Add `--store`."""
    parser.add_argument(
        "--store",
        choices=(EMBEDDED, REDIS),
        help=f"what the workers share: a file (if not told otherwise), or a private Redis; {VARIABLE}: another's Redis",
    )


def supply(
    folder: Path, asked: str | None, last: Store | None, tell: Tell, *, busy: bool = False
) -> Store:
    """Give the store that is asked for, started if it is a Redis of our own.

    `asked` None: what the environment says, else the last one. `busy`: workers run on the last one.

    Raises:
        StackError: there is no way to a Redis, it did not come up, or workers would have to change their store.
    """
    given = os.environ.pop(VARIABLE, None)  # no child of ours is to see it
    last = last or Store()
    private = last.private if asked is None else asked == REDIS
    if asked == EMBEDDED or (asked is None and not given and not private):
        store = Store() if asked else last
    else:
        store = (
            _given(given, last) if given else Store(name=_PRIVATE, url="redis:", prefix="warren")
        )
    if busy and store.name != last.name:
        raise StackError(f"its workers share {last.name}: stop them first, ./dev down")
    if given and store.name == _GIVEN:
        tell(f"using {_GIVEN}")
        write_password(folder, unquote(urlsplit(given).password or ""))
    return _started(folder, tell) if store.private else store


def lives(folder: Path, store: Store) -> bool:
    """Tell whether the house's own Redis runs; of one that somebody else runs it is believed."""
    return not store.private or redises.running(folder / "redis") is not None


def stop(folder: Path, tell: Tell, *, within_s: float) -> None:
    """Stop the house's own Redis, if it runs."""
    server = redises.running(folder / "redis")
    if server is not None:
        tell("stopping Redis")
        server.stop(timeout_s=within_s)


def password_file(folder: Path) -> Path:
    """Where the workers find the password of Redis."""
    return folder / "redis.password"


def write_password(folder: Path, password: str) -> None:
    """Write the password for its owner alone."""
    file = password_file(folder)
    file.touch(mode=0o600)
    file.write_text(password, encoding="utf-8")


def _given(url: str, last: Store) -> Store:
    parts = urlsplit(url)
    if parts.scheme not in {"redis", "rediss"} or not parts.hostname:
        raise StackError(f"{VARIABLE} must look like redis://:password@host:6379/0")
    user, _, host = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    bare = parts._replace(netloc=f"{name}@{host}" if name else host).geturl()
    if last.name == _GIVEN and last.url == bare:
        return last
    # Whoever runs it may have other stacks in it.
    return Store(name=_GIVEN, url=bare, prefix=f"warren-{secrets.token_hex(4)}")


def _started(folder: Path, tell: Tell) -> Store:
    server = redises.running(folder / "redis")
    if server is None:
        found = redises.find_redis(SERVERS)
        tell(f"starting {found.product} {found.version}")
        server = redises.start(found, folder / "redis")
    write_password(folder, server.password)
    return Store(name=_PRIVATE, url=server.address, prefix="warren")
