"""The managers of secrets as the contract suite uses them: put a secret there, and ask for it through `Readers`."""

import json
import os
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import time
from typing import Any, Final

import boto3
import requests
from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import RequestsTransport
from google.auth.credentials import AnonymousCredentials
from google.cloud.secretmanager import SecretManagerServiceClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports.rest import (
    SecretManagerServiceRestTransport,
)
from moto.server import ThreadedMotoServer
from requests.adapters import HTTPAdapter

from tests.contract import openbao
from tests.contract.secret_stands import AzureStand, GoogleStand, Stand, VaultStand, open_stand
from worker.secrets.azure import AzureReader
from worker.secrets.gcp import GcpReader
from worker.secrets.readers import Readers
from worker.secrets.reference import Manager, Reference
from worker.secrets.vaultoptions import VaultAuth, VaultOptions

CREDENTIAL: Final = "credential-canary-5926"
"""What a reader signs in with, wherever a test may choose it."""

_TIMEOUT: Final = timedelta(seconds=5)
_REGION: Final = "eu-central-1"


@dataclass(slots=True, kw_only=True)
class Shelf:
    """A manager with room for secrets. `put` writes the fields of one; `close` makes it answer nothing more."""

    manager: Manager
    readers: Readers
    put: Callable[[str, dict[str, str]], None]
    close: Callable[[], None]
    path: Callable[[str], str]

    def read(self, name: str, field: str | None) -> str:
        reference = Reference(manager=self.manager, path=self.path(name), field=field)
        return self.readers.read(reference)


def vault_options(url: str, **more: Any) -> VaultOptions:  # noqa: ANN401  # any of its fields
    usual: dict[str, Any] = {
        "url": url,
        "auth": VaultAuth.TOKEN,
        "mount": "token",
        "jwt_file": Path("/nowhere"),
    }
    return VaultOptions(**usual | more)


def readers_of(vault: VaultOptions | None = None) -> Readers:
    readers = Readers()
    readers.use(timeout=_TIMEOUT, vault=vault)
    return readers


@contextmanager
def vault_stand_in(_: Path) -> Iterator[Shelf]:
    vault = VaultStand(tokens={CREDENTIAL})
    stand = Stand(answer=vault.answer)
    with open_stand(stand):
        options = vault_options(stand.url, token=lambda: CREDENTIAL)
        yield Shelf(
            manager=Manager.VAULT,
            readers=readers_of(options),
            put=lambda name, fields: vault.secrets.update({f"secret/data/{name}": fields}),
            close=lambda: _hang_up(stand),
            path=lambda name: f"secret/data/{name}",
        )


@contextmanager
def real_vault(folder: Path) -> Iterator[Shelf]:
    with openbao.running(folder) as url:

        def put(name: str, fields: dict[str, str]) -> None:
            bao(url, f"secret/data/{name}", {"data": fields})

        def close() -> None:
            bao(url, "sys/seal", {})

        yield Shelf(
            manager=Manager.VAULT,
            readers=readers_of(vault_options(url, token=lambda: openbao.TOKEN)),
            put=put,
            close=close,
            path=lambda name: f"secret/data/{name}",
        )


def bao(url: str, path: str, document: object) -> Any:  # noqa: ANN401  # JSON
    """Ask OpenBao something as its root."""
    request = urllib.request.Request(
        f"{url}/v1/{path}",
        data=json.dumps(document).encode(),
        headers={"X-Vault-Token": openbao.TOKEN},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text else None


@contextmanager
def aws(_: Path) -> Iterator[Shelf]:
    """Moto's server. Its URL goes into the environment, where boto3's own chain finds it; the caller takes it back."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    requests.post(f"{url}/moto-api/reset", timeout=10)  # one process has one state of moto
    os.environ["AWS_ENDPOINT_URL_SECRETS_MANAGER"] = url
    client = boto3.client("secretsmanager", region_name=_REGION)
    known: set[str] = set()

    def put(name: str, fields: dict[str, str]) -> None:
        text = fields.get("") or json.dumps(fields)
        if name in known:
            client.put_secret_value(SecretId=name, SecretString=text)
        else:
            client.create_secret(Name=name, SecretString=text)
            known.add(name)

    try:
        yield Shelf(
            manager=Manager.AWS,
            readers=readers_of(),
            put=put,
            close=server.stop,
            path=lambda name: name,
        )
    finally:
        server.stop()


def _nobody() -> AnonymousCredentials:
    return AnonymousCredentials()  # type: ignore[no-untyped-call]  # its constructor has no types


@contextmanager
def gcp(_: Path) -> Iterator[Shelf]:
    google = GoogleStand()
    stand = Stand(answer=google.answer)

    def put(name: str, fields: dict[str, str]) -> None:
        text = fields.get("") or json.dumps(fields)
        google.secrets[f"projects/p/secrets/{name}/versions/latest"] = text

    with open_stand(stand):
        transport = SecretManagerServiceRestTransport(
            host=f"127.0.0.1:{stand.port}", credentials=_nobody(), url_scheme="http"
        )
        readers = readers_of()
        client = SecretManagerServiceClient(transport=transport)
        readers._made[Manager.GCP] = GcpReader(timeout_s=5, client=client)
        yield Shelf(
            manager=Manager.GCP,
            readers=readers,
            put=put,
            close=lambda: _hang_up(stand),
            path=lambda name: f"projects/p/secrets/{name}",
        )


class _Credential:
    def get_token(self, *scopes: str, **_: object) -> AccessToken:
        assert scopes == ("https://vault.azure.net/.default",)
        return AccessToken(CREDENTIAL, int(time()) + 3600)


class _ToStand(HTTPAdapter):
    """Takes what goes to a vault of Azure's to the stand."""

    def __init__(self, stand: Stand) -> None:
        super().__init__()
        self._stand = stand

    def send(
        self,
        request: requests.PreparedRequest,
        *more: Any,  # noqa: ANN401  # as the library calls it
        **named: Any,  # noqa: ANN401  # as the library calls it
    ) -> requests.Response:
        url = request.url or ""
        assert url.startswith("https://my-vault.vault.azure.net/")
        request.url = url.replace("https://my-vault.vault.azure.net", self._stand.url, 1)
        return super().send(request, *more, **named)


@contextmanager
def azure(_: Path) -> Iterator[Shelf]:
    keeper = AzureStand(token=CREDENTIAL)
    stand = Stand(answer=keeper.answer)

    def put(name: str, fields: dict[str, str]) -> None:
        keeper.secrets[name] = fields.get("") or json.dumps(fields)

    def transport() -> RequestsTransport:
        session = requests.Session()
        session.mount("https://", _ToStand(stand))
        return RequestsTransport(session=session, session_owner=False)

    with open_stand(stand):
        readers = readers_of()
        readers._made[Manager.AZURE] = AzureReader(
            timeout_s=5, credential=_Credential, transport=transport
        )
        yield Shelf(
            manager=Manager.AZURE,
            readers=readers,
            put=put,
            close=lambda: _hang_up(stand),
            path=lambda name: f"my-vault/{name}",
        )


def _hang_up(stand: Stand) -> None:
    """Let the stand answer nothing that is worth anything."""
    stand.answer = lambda _: (503, {"Retry-After": "0"}, {"errors": [CREDENTIAL]})


SHELVES: Final = {
    "vault": vault_stand_in,
    "openbao": real_vault,
    "aws": aws,
    "gcp": gcp,
    "azure": azure,
}
