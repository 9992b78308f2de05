"""The one way to all managers of secrets. Blocks; may be used by several threads at once."""

import threading
from collections.abc import Callable
from datetime import timedelta
from importlib.util import find_spec
from typing import Final, Protocol

from worker.errors import SecretUnavailable, SettingsError
from worker.secrets.reference import Manager, Reference
from worker.secrets.vaultoptions import VaultOptions

_MODULES: Final[dict[Manager, tuple[str, ...]]] = {
    Manager.VAULT: ("hvac",),
    Manager.AWS: ("boto3",),
    Manager.GCP: ("google.cloud.secretmanager",),
    Manager.AZURE: ("azure.identity", "azure.keyvault.secrets"),
}


class Reader(Protocol):
    """Reads the secrets of one manager."""

    def read(self, reference: Reference) -> str:
        """Give the secret as it is now. Whatever it raises, `Readers` makes a `SecretUnavailable` of it."""
        ...


class Readers:
    """Reads secrets wherever they are kept; each manager's library is imported with the first of its secrets."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[Manager, Reader] = {}
        self._timeout_s = 10.0
        self._vault: VaultOptions | None = None

    def use(self, *, timeout: timedelta, vault: VaultOptions | None) -> None:
        """Take what is configured: how long one request may take, and where Vault is."""
        self._timeout_s = timeout.total_seconds()
        self._vault = vault

    def read(self, reference: Reference) -> str:
        """Give the secret as its manager has it now.

        Raises:
            SecretUnavailable: there is none, or the manager does not give it; the text completes "<place> ...", and
                neither it nor its context holds a word of the library: those quote requests and answers.
        """
        problem = ""
        try:
            return self._reader(reference.manager).read(reference)
        except SecretUnavailable as error:
            problem = str(error)
        except SettingsError as error:  # of what one signs in with
            problem = f"cannot be read: {error.problems[0]}"
        except Exception as error:  # noqa: BLE001  # the libraries' errors have no common root
            problem = f"cannot be read: {type(error).__name__}"
        raise SecretUnavailable(problem)

    def _reader(self, manager: Manager) -> Reader:
        with self._lock:
            if manager not in self._made:
                self._made[manager] = _MAKERS[manager](self._timeout_s, self._vault)
            return self._made[manager]


def is_installed(manager: Manager) -> bool:
    """Tell whether the manager's library is there."""
    try:
        return all(find_spec(module) is not None for module in _MODULES[manager])
    except ModuleNotFoundError:  # a parent package is missing already
        return False


def _make_vault(timeout_s: float, vault: VaultOptions | None) -> Reader:
    from worker.secrets.vault import VaultReader  # noqa: PLC0415  # an extra

    if vault is None:
        raise SecretUnavailable("cannot be read: secrets.vault_url is missing")
    return VaultReader(vault, timeout_s=timeout_s)


def _make_aws(timeout_s: float, _: VaultOptions | None) -> Reader:
    from worker.secrets.aws import AwsReader  # noqa: PLC0415  # an extra

    return AwsReader(timeout_s=timeout_s)


def _make_gcp(timeout_s: float, _: VaultOptions | None) -> Reader:
    from worker.secrets.gcp import GcpReader  # noqa: PLC0415  # an extra

    return GcpReader(timeout_s=timeout_s)


def _make_azure(timeout_s: float, _: VaultOptions | None) -> Reader:
    from worker.secrets.azure import AzureReader  # noqa: PLC0415  # an extra

    return AzureReader(timeout_s=timeout_s)


_MAKERS: Final[dict[Manager, Callable[[float, VaultOptions | None], Reader]]] = {
    Manager.VAULT: _make_vault,
    Manager.AWS: _make_aws,
    Manager.GCP: _make_gcp,
    Manager.AZURE: _make_azure,
}
