"""Passwords that are made on this machine, and the copy of the definitions that knows their hashes.

No valid credential is committed: in `rabbitmq/definitions.json` every user has an empty password hash,
which RabbitMQ lets nobody log in with.
"""

import base64
import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from stack.errors import StackError

HASHING = "rabbit_password_hashing_sha256"

_PASSWORD_BYTES = 24
_SALT_BYTES = 4


def ensure(path: Path, users: Iterable[str]) -> dict[str, str]:
    """Give each user's password from the file at `path`, making the missing ones.

    What is there is never changed, so that running services keep their passwords. Only its owner
    can read the file.

    Raises:
        StackError: The file is there but is no JSON object of strings.
    """
    known = _read(path)
    missing = [user for user in users if user not in known]
    if missing:
        known |= {user: secrets.token_urlsafe(_PASSWORD_BYTES) for user in missing}
        _write_private(path, json.dumps(known, indent=2) + "\n")
    return {user: known[user] for user in users}


def write_definitions(source: Path, target: Path, passwords: Mapping[str, str]) -> None:
    """Copy a definitions file, with a fresh salted hash for each user that has a password.

    Only its owner can read the copy. Users without a password keep what the source says.

    Raises:
        StackError: A password is for a user whom the source does not have.
    """
    definitions = json.loads(source.read_text(encoding="utf-8"))
    users = {user["name"]: user for user in definitions["users"]}
    if strangers := sorted(passwords.keys() - users.keys()):
        raise StackError(f"{source} has no user {', '.join(strangers)}; add it there first")
    for name, password in passwords.items():
        salt = secrets.token_bytes(_SALT_BYTES)
        users[name]["password_hash"] = password_hash(password, salt)
        users[name]["hashing_algorithm"] = HASHING
    _write_private(target, json.dumps(definitions, indent=2) + "\n")


def user_names(definitions: Path) -> list[str]:
    """Give the names of the users in a definitions file, in its order."""
    users = json.loads(definitions.read_text(encoding="utf-8"))["users"]
    return [user["name"] for user in users]


def password_hash(password: str, salt: bytes) -> str:
    """Hash a password as RabbitMQ stores it: base64(salt + SHA-256(salt + password)).

    The salt is four bytes; see "Computing Password Hashes" in RabbitMQ's guide to passwords.
    """
    digest = hashlib.sha256(salt + password.encode()).digest()
    return base64.b64encode(salt + digest).decode()


def _read(path: Path) -> dict[str, str]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        known = None
    if not isinstance(known, dict) or not all(isinstance(value, str) for value in known.values()):
        raise StackError(f"{path} is no JSON object of passwords; mend or delete it")
    return known


def _write_private(path: Path, text: str) -> None:
    """Replace a file in one step; at no instant can another user read it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mode 0600
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise
