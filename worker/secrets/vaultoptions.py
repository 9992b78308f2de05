"""Where Vault is and how one signs in to it, without its library."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class VaultAuth(StrEnum):
    """How a worker signs in: the value is also where Vault mounts that method unless told otherwise."""

    TOKEN = "token"  # noqa: S105  # the method's name
    APPROLE = "approle"
    KUBERNETES = "kubernetes"


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultOptions:
    """What is configured of Vault. `token` and `secret_id` give the secrets, at each time that one signs in."""

    url: str
    auth: VaultAuth
    mount: str
    jwt_file: Path
    namespace: str | None = None
    role: str | None = None
    token: Callable[[], str] | None = field(default=None, repr=False)
    secret_id: Callable[[], str] | None = field(default=None, repr=False)
    ca_file: Path | None = None
