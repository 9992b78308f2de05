"""Stands for managers of secrets: small servers on loopback that answer as the managers' documentation says.

`VaultStand` speaks KV version 2 with sign-in by token, AppRole and Kubernetes; `GoogleStand` the REST form of
AccessSecretVersion; `AzureStand` Get Secret with the challenge that comes before it. AWS has a server of moto's.
"""

import json
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Mapping[str, str], object]


@dataclass(slots=True, kw_only=True)
class Asked:
    """One request to a stand."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass(slots=True, kw_only=True)
class Stand:
    """A server that answers by a function and remembers what it was asked."""

    answer: Callable[[Asked], Answer]
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def open_stand(stand: Stand) -> Iterator[Stand]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(length)
            asked = Asked(
                method=self.command,
                path=self.path,
                headers={name.lower(): value for name, value in self.headers.items()},
                body=json.loads(raw) if raw else None,
            )
            stand.asked.append(asked)
            status, headers, document = stand.answer(asked)
            body = json.dumps(document).encode()
            self.send_response_only(status)
            for name, value in {**headers, "Content-Type": "application/json"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  # the name that http.server looks for

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        stand.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield stand
        finally:
            server.shutdown()
            thread.join()


@dataclass(slots=True, kw_only=True)
class VaultStand:
    """What Vault's documentation says of `/v1/secret/data/...` and of three ways to sign in."""

    secrets: dict[str, Mapping[str, object]] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    role: str = ""
    secret_id: str = ""
    jwt: str = ""
    fresh: Iterator[str] = field(default_factory=lambda: iter(()))

    def answer(self, asked: Asked) -> Answer:
        match asked.path.removeprefix("/v1/"):
            case "auth/approle/login":
                good = asked.body == {"role_id": self.role, "secret_id": self.secret_id}
                return self._signed_in(good=good)
            case "auth/k8s/login":
                return self._signed_in(good=asked.body == {"role": self.role, "jwt": self.jwt})
            case path if asked.headers.get("x-vault-token") not in self.tokens:
                return 403, {}, {"errors": ["permission denied"], "asked": path}
            case path if path in self.secrets:
                data = {"data": self.secrets[path], "metadata": {"version": 1}}
                return 200, {}, {"request_id": "1", "data": data, "warnings": None}
            case _:
                return 404, {}, {"errors": []}

    def _signed_in(self, *, good: bool) -> Answer:
        if not good:
            return 400, {}, {"errors": ["invalid role or secret ID"]}
        token = next(self.fresh)
        self.tokens.add(token)
        return 200, {}, {"auth": {"client_token": token, "lease_duration": 3600}}


@dataclass(slots=True, kw_only=True)
class GoogleStand:
    """`GET /v1/projects/*/secrets/*/versions/*:access`, as its reference describes it."""

    secrets: dict[str, str] = field(default_factory=dict)

    def answer(self, asked: Asked) -> Answer:
        name = asked.path.partition("?")[0].removeprefix("/v1/").removesuffix(":access")
        if name not in self.secrets:
            error = {"code": 404, "status": "NOT_FOUND", "message": f"Secret [{name}] not found"}
            return 404, {}, {"error": error}
        data = b64encode(self.secrets[name].encode()).decode()
        return 200, {}, {"name": name, "payload": {"data": data}}


@dataclass(slots=True, kw_only=True)
class AzureStand:
    """`GET /secrets/<name>/<version>`: without a token the challenge, with one the secret."""

    token: str
    secrets: dict[str, str] = field(default_factory=dict)

    def answer(self, asked: Asked) -> Answer:
        if asked.headers.get("authorization") != f"Bearer {self.token}":
            challenge = (
                'Bearer authorization="https://login.microsoftonline.com/tenant",'
                ' resource="https://vault.azure.net"'
            )
            return 401, {"WWW-Authenticate": challenge}, {"error": {"code": "Unauthorized"}}
        name = asked.path.partition("?")[0].removeprefix("/secrets/").rstrip("/")
        if name not in self.secrets:
            return 404, {}, {"error": {"code": "SecretNotFound", "message": f"{name} not found"}}
        place = f"https://my-vault.vault.azure.net/secrets/{name}/1"
        return 200, {}, {"value": self.secrets[name], "id": place, "attributes": {"enabled": True}}
