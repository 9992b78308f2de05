"""The settings about managers of secrets, and what must hold for the secrets that they keep. See `schema`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BeforeValidator, Field, PlainValidator

from worker.secrets.readers import is_installed
from worker.secrets.reference import Manager
from worker.secrets.vaultoptions import VaultAuth, VaultOptions
from worker.settings.finding import Finding
from worker.settings.secret import Secret
from worker.settings.urls import split_url, url
from worker.settings.values import (
    Duration,
    ReadPath,
    lasting,
    one_of,
    parse_path,
    parse_secret,
)

if TYPE_CHECKING:
    from worker.settings.schema import Settings

_JWT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_MOUNT: Final = r"^[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64})*$"
# What an operator has to give for each way to sign in.
_NEEDED: Final[Mapping[VaultAuth, tuple[str, ...]]] = {
    VaultAuth.TOKEN: ("vault_token",),
    VaultAuth.APPROLE: ("vault_role", "vault_secret_id"),
    VaultAuth.KUBERNETES: ("vault_role",),
}
_NAMES: Final[Mapping[Manager, str]] = {
    Manager.VAULT: "Vault",
    Manager.AWS: "AWS Secrets Manager",
    Manager.GCP: "Google's Secret Manager",
    Manager.AZURE: "Azure Key Vault",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretsSettings:
    """How managers of secrets are asked. The clouds' own are found by their libraries' default chains."""

    reread: Annotated[
        Duration,
        lasting("10s", "1d"),
        "How often an endpoint's key is read anew from its manager; a refused one is at once",
    ] = timedelta(minutes=5)
    timeout: Annotated[
        Duration, lasting("100ms", "1m"), "How long a request to a manager of secrets may take"
    ] = timedelta(seconds=10)
    vault_url: Annotated[
        str | None,
        url("http", "https"),
        "HashiCorp Vault or OpenBao: `https://vault.internal:8200`; `http://` to this machine only",
    ] = None
    vault_namespace: Annotated[
        str | None, Field(pattern=r"^[\x21-\x7e]{1,256}$"), "The namespace inside it"
    ] = None
    vault_auth: Annotated[
        VaultAuth,
        one_of(VaultAuth),
        "How a worker signs in to Vault: `token`, `approle` or `kubernetes`",
    ] = VaultAuth.TOKEN
    vault_mount: Annotated[
        str | None,
        Field(pattern=_MOUNT),
        "Where Vault has that method mounted; by default at its own name",
    ] = None
    vault_token: Annotated[
        Secret | None, PlainValidator(parse_secret), "The token, for `token`"
    ] = None
    vault_role: Annotated[
        str | None,
        Field(pattern=r"^[\x21-\x7e]{1,256}$"),
        "The role's id for `approle`, its name for `kubernetes`",
    ] = None
    vault_secret_id: Annotated[
        Secret | None, PlainValidator(parse_secret), "The secret id, for `approle`"
    ] = None
    vault_jwt_file: Annotated[ReadPath, "The service account's token, for `kubernetes`"] = _JWT
    vault_ca_file: Annotated[
        Path | None,
        BeforeValidator(parse_path),
        "Certificates to trust for Vault instead of the well-known ones",
    ] = None
    vault_allow_plaintext: Annotated[bool, "Allow `http://` to Vault on another machine"] = False


def secrets_of(settings: "Settings") -> Mapping[str, Secret]:
    """Give every secret that is configured, by its setting's path."""
    secrets = {f"endpoints.{name}.key": each.key for name, each in settings.endpoints.items()}
    secrets |= {
        "broker.password": settings.broker.password,
        "store.password": settings.store.password,
        "secrets.vault_token": settings.secrets.vault_token,
        "secrets.vault_secret_id": settings.secrets.vault_secret_id,
    }
    return {path: secret for path, secret in secrets.items() if secret is not None}


def vault_options(secrets: SecretsSettings) -> VaultOptions | None:
    """Give where Vault is and how one signs in; None: it is not configured."""
    if secrets.vault_url is None:
        return None
    token, secret_id = secrets.vault_token, secrets.vault_secret_id
    return VaultOptions(
        url=secrets.vault_url,
        auth=secrets.vault_auth,
        mount=secrets.vault_mount or secrets.vault_auth.value,
        jwt_file=secrets.vault_jwt_file,
        namespace=secrets.vault_namespace,
        role=secrets.vault_role,
        token=None if token is None else token.renew,
        secret_id=None if secret_id is None else secret_id.renew,
        ca_file=secrets.vault_ca_file,
    )


def managed_secrets(settings: "Settings") -> Iterator[Finding]:
    """Find secrets whose manager cannot be asked from here: its library is missing, or where it is."""
    for path, secret in secrets_of(settings).items():
        if secret.reference is None:
            continue
        manager = secret.reference.manager
        if not is_installed(manager):
            text = (
                f"{path}_from names {_NAMES[manager]}, and the Python package for it is not installed:"
                f" pip install 'warren[{manager}]'"
            )
            yield Finding(about=(path,), text=text)
        if manager is Manager.VAULT and settings.secrets.vault_url is None:
            text = f"{path}_from names Vault, and secrets.vault_url does not say where it is"
            yield Finding(about=(path, "secrets.vault_url"), text=text)
        if manager is Manager.VAULT and path.startswith("secrets.vault_"):
            text = f"{path}_from names Vault, which gives nothing to whoever has not signed in yet"
            yield Finding(about=(path,), text=text)


def vault(settings: "Settings") -> Iterator[Finding]:
    """Find what is missing for signing in to Vault, and a way there that shows what it gives."""
    secrets = settings.secrets
    if secrets.vault_url is None:
        return
    for name in _NEEDED[secrets.vault_auth]:
        if getattr(secrets, name) is None:
            text = (
                f'secrets.{name} is missing: secrets.vault_auth = "{secrets.vault_auth}" needs it'
            )
            yield Finding(about=(f"secrets.{name}", "secrets.vault_auth"), text=text)
    parts = split_url(secrets.vault_url)
    plain = parts is not None and parts.scheme == "http" and not _is_loopback(parts.hostname or "")
    if plain and not secrets.vault_allow_plaintext:
        yield Finding(
            about=("secrets.vault_url", "secrets.vault_allow_plaintext"),
            text="secrets.vault_url sends tokens and keys unencrypted: use https://, or set"
            " secrets.vault_allow_plaintext = true",
        )
    file = secrets.vault_ca_file
    if file is not None and not file.is_file():
        text = f"secrets.vault_ca_file: there is no such file in {file.parent}"
        yield Finding(about=("secrets.vault_ca_file",), text=text)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
