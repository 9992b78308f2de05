"""Secrets of Azure Key Vault, with the credential that azure-identity finds by its default chain."""

import threading
from collections.abc import Callable
from typing import Any, Final

from azure.core.credentials import TokenCredential
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.transport import HttpTransport, RequestsTransport
from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient

from worker.errors import SecretUnavailable
from worker.secrets.quiet import silence
from worker.secrets.reference import Reference, picked

silence("azure", "msal", "requests", "urllib3")

_PUBLIC: Final = "vault.azure.net"


class AzureReader:
    """Reads the version that a reference names, else the current one. The arguments but `timeout_s` are for tests."""

    def __init__(
        self,
        *,
        timeout_s: float,
        credential: Callable[[], TokenCredential] = DefaultAzureCredential,
        transport: Callable[[], HttpTransport[Any, Any]] = RequestsTransport,
    ) -> None:
        self._timeout_s = timeout_s
        self._credential = credential
        self._transport = transport
        self._lock = threading.Lock()
        self._clients: dict[str, SecretClient] = {}

    def read(self, reference: Reference) -> str:
        """Give the secret's text or field. Raises `SecretUnavailable`, and the library's errors else."""
        vault, name, *version = reference.path.split("/")
        try:
            secret = self._client(vault).get_secret(name, version[0] if version else None)
        except HttpResponseError as error:
            said = f"{error.status_code or ''} ({type(error).__name__})"
            raise SecretUnavailable(f"cannot be read: Azure answers {said}") from error
        if secret.value is None:
            raise SecretUnavailable("is empty")
        return picked(secret.value, reference.field)

    def _client(self, vault: str) -> SecretClient:
        with self._lock:
            if vault not in self._clients:
                host = vault if "." in vault else f"{vault}.{_PUBLIC}"
                self._clients[vault] = SecretClient(
                    vault_url=f"https://{host}",
                    credential=self._credential(),
                    transport=self._transport(),
                    connection_timeout=self._timeout_s,
                    read_timeout=self._timeout_s,
                    retry_total=1,
                    logging_enable=False,
                )
            return self._clients[vault]
