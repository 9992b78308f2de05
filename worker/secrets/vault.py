"""Secrets of HashiCorp Vault or OpenBao: a KV store of version 1 or 2, or what else answers a read with fields."""

import threading
from http import HTTPStatus
from typing import Any

import hvac
import requests
from hvac.exceptions import Forbidden, Unauthorized, VaultError

from worker.errors import SecretUnavailable
from worker.secrets.quiet import silence
from worker.secrets.reference import Reference
from worker.secrets.vaultoptions import VaultAuth, VaultOptions

silence("hvac", "requests", "urllib3")


class VaultReader:
    """Reads over one signed-in client; a token that Vault refuses is fetched anew, once for each read.

    Follows no redirect, which would take the token to another address; uses no proxy of the environment.
    """

    def __init__(self, options: VaultOptions, *, timeout_s: float) -> None:
        self._options = options
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._client: Any = None  # hvac has no types

    def read(self, reference: Reference) -> str:
        """Give the field. Raises `SecretUnavailable`, and requests' errors when Vault is not reached."""
        client = self._signed_in(None)
        try:
            answer = client.read(reference.path)
        except (Forbidden, Unauthorized):
            answer = self._read_again(self._signed_in(client), reference)
        except VaultError as error:
            raise SecretUnavailable(f"cannot be read: Vault answers {_said(error)}") from error
        if answer is None:
            raise SecretUnavailable("is not there, or its latest version is deleted")
        return _field(answer, reference.field or "")

    def _read_again(self, client: Any, reference: Reference) -> Any:  # noqa: ANN401  # hvac has no types
        try:
            return client.read(reference.path)
        except VaultError as error:
            raise SecretUnavailable(f"cannot be read: Vault answers {_said(error)}") from error

    def _signed_in(self, refused: Any) -> Any:  # noqa: ANN401  # hvac has no types
        """Give the client, signed in anew if it is the one that was refused. One thread at a time signs in."""
        with self._lock:
            if self._client is None or self._client is refused:
                self._client = None
                self._client = self._sign_in()
            return self._client

    def _sign_in(self) -> Any:  # noqa: ANN401  # hvac has no types
        options = self._options
        session = requests.Session()
        session.trust_env = False
        # hvac takes the session's word before its own argument.
        session.verify = True if options.ca_file is None else str(options.ca_file)
        token = options.token() if options.auth is VaultAuth.TOKEN and options.token else ""
        client = hvac.Client(
            url=options.url,
            token=token,
            timeout=self._timeout_s,
            allow_redirects=False,
            session=session,
            namespace=options.namespace,
        )
        try:
            match options.auth:
                case VaultAuth.TOKEN:
                    pass
                case VaultAuth.APPROLE:
                    secret_id = options.secret_id() if options.secret_id else None
                    client.auth.approle.login(options.role, secret_id, mount_point=options.mount)
                case VaultAuth.KUBERNETES:
                    jwt = options.jwt_file.read_text(encoding="utf-8").strip()
                    client.auth.kubernetes.login(options.role, jwt, mount_point=options.mount)
        except VaultError as error:
            raise SecretUnavailable(
                f"cannot be read: Vault refuses the sign-in by {options.auth}, {_said(error)}"
            ) from error
        return client


def _field(answer: Any, field: str) -> str:  # noqa: ANN401  # JSON
    """Pick the field out of an answer of KV version 2, which nests what version 1 has on top."""
    data = answer.get("data") if isinstance(answer, dict) else None
    if isinstance(data, dict) and isinstance(data.get("metadata"), dict):
        data = data.get("data")
    value = data.get(field) if isinstance(data, dict) else None
    if not isinstance(value, str):
        raise SecretUnavailable(f"has no text in a field {field}")
    return value


def _said(error: VaultError) -> str:
    """Name a refusal by its kind: Vault's own text may quote what it was sent."""
    names = {
        "InvalidRequest": HTTPStatus.BAD_REQUEST,
        "Unauthorized": HTTPStatus.UNAUTHORIZED,
        "Forbidden": HTTPStatus.FORBIDDEN,
        "InvalidPath": HTTPStatus.NOT_FOUND,
        "RateLimitExceeded": HTTPStatus.TOO_MANY_REQUESTS,
        "InternalServerError": HTTPStatus.INTERNAL_SERVER_ERROR,
        "BadGateway": HTTPStatus.BAD_GATEWAY,
        "VaultDown": HTTPStatus.SERVICE_UNAVAILABLE,
    }
    name = type(error).__name__
    return f"{names[name].value} ({name})" if name in names else name
