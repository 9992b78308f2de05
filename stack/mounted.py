"""`./dev secrets`: the files that docker-compose.yml hands to its services as secrets.

They lie in `.warren/secrets`, a folder that only its owner can enter. Each file in it that is mounted is readable
by all: a container's user is another one than the owner, and sees of the folder its own files alone.
"""

import hashlib
import shlex
from pathlib import Path
from typing import Final
from urllib.parse import quote

from stack import credentials
from stack.errors import StackError

_ROOT: Final = Path(__file__).parent.parent
_DEFINITIONS: Final = _ROOT / "rabbitmq/definitions.json"
_UPSTREAM: Final = "upstream"
_REDIS: Final = "redis"
_GRAFANA: Final = "grafana"
_MOUNTED: Final = 0o444


def main(arguments: list[str]) -> int:
    """Make what is missing, and the definitions anew; passwords and keys that are there stay."""
    if arguments:
        raise StackError("it takes no arguments")
    folder = _ROOT / ".warren/secrets"
    make(folder)
    print(f"made {folder.relative_to(_ROOT)}; next: docker compose up --build --detach --wait")
    return 0


def make(folder: Path) -> None:
    """Make the files in `folder`: two runs give the same passwords and keys.

    A key that somebody put into `upstream-key` stays, and becomes readable as the other files are.

    Raises:
        StackError: the passwords that are there cannot be read.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    users = credentials.user_names(_DEFINITIONS)
    others = [_UPSTREAM, _REDIS, _GRAFANA]
    passwords = credentials.ensure(folder / "credentials.json", [*users, *others])
    definitions = folder / "definitions.json"
    credentials.write_definitions(
        _DEFINITIONS, definitions, {user: passwords[user] for user in users}
    )
    definitions.chmod(_MOUNTED)
    _write(folder / "worker-password", passwords["worker"])
    _write(folder / "redis-password", passwords[_REDIS])
    _write(folder / "grafana-password", passwords[_GRAFANA])
    _write(folder / "redis-users", _redis_users(passwords[_REDIS]))
    key = folder / "upstream-key"
    if key.exists():
        key.chmod(_MOUNTED)
    else:
        _write(key, passwords[_UPSTREAM])
    _write(folder / "env", _environment(passwords))


def _redis_users(password: str) -> str:
    """Give Redis's access list with its one user; it knows the password's hash only."""
    digest = hashlib.sha256(password.encode()).hexdigest()
    return f"user default on #{digest} ~* &* +@all\n"


def _environment(passwords: dict[str, str]) -> str:
    """Give what a shell reads on the host, whose ports docker-compose.yml publishes, or beside the broker."""

    def login(user: str) -> str:
        return f"{user}:{quote(passwords[user], safe='')}"

    values = {
        "WARREN_URL": f"amqp://{login('producer')}@127.0.0.1:5672/warren",
        "WARREN_OPERATOR_URL": f"amqp://{login('operator')}@127.0.0.1:5672/warren",
        "WARREN_MANAGEMENT_URL": f"http://{login('admin')}@127.0.0.1:15672",
    }
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all; nobody else can come by while it is written."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.touch(mode=0o600)
    fresh.write_text(text, encoding="utf-8")
    fresh.chmod(_MOUNTED)
    fresh.replace(path)
