"""A Redis over TLS: its certificate is checked, and a password is sent to nobody else."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from stack import ports
from stack import redis as redises
from stack.redis import Redis, find_redis
from tests.faults.vhost import ROOT
from tests.unit.worker.settings_samples import Folder, having
from worker import stores
from worker.errors import StoreUnavailable
from worker.settings import StoreSettings

pytestmark = pytest.mark.redis


@dataclass(frozen=True, slots=True, kw_only=True)
class Secured:
    """A Redis that listens for TLS beside the plain port, and the certificate that it shows."""

    redis: Redis
    port: int
    certificate: Path

    def settings(self, folder: Path, host: str, *, trusted: bool = True) -> StoreSettings:
        lines = [f'url = "rediss://{host}:{self.port}/0"', f'password = "{self.redis.password}"']
        if trusted:
            lines.append(f'ca_file = "{self.certificate}"')
        return Folder(folder).load(having("store", *lines)).store


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ),  # found on PATH
            *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    port = ports.free_port(set())
    settings = {
        "tls-port": str(port),
        "tls-cert-file": str(certificate),
        "tls-key-file": str(key),
        "tls-auth-clients": "no",
    }
    server = find_redis(ROOT / ".warren/servers")
    redis = redises.start(server, folder / "server", settings=settings, die_with_parent=True)
    yield Secured(redis=redis, port=port, certificate=certificate)
    redis.kill()


def test_a_certificate_that_is_trusted_for_the_host_is_taken(
    secured: Secured, tmp_path: Path
) -> None:
    assert stores.lane_book(secured.settings(tmp_path, "localhost")).orders() == {}


def test_a_certificate_for_another_host_is_refused(secured: Secured, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1"):
        stores.lane_book(secured.settings(tmp_path, "127.0.0.1")).orders()


def test_a_certificate_of_nobody_that_is_trusted_is_refused(
    secured: Secured, tmp_path: Path
) -> None:
    with pytest.raises(StoreUnavailable, match="localhost"):
        stores.lane_book(secured.settings(tmp_path, "localhost", trusted=False)).orders()
