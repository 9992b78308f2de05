import http.client
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.unit.worker.telemetry.samples import HandClock
from worker.telemetry import web
from worker.telemetry.health import Health
from worker.telemetry.metrics import Metrics
from worker.telemetry.readiness import Pulse, Readiness


class Probe:
    """A running health server and a way to ask it."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.pulse = Pulse(self.clock)
        self.readiness = Readiness(["premium", "budget"])
        self.metrics = Metrics({"premium": ["main"]}, self.clock)
        self.health = Health(
            self.clock, pulse=self.pulse, readiness=self.readiness, metrics=self.page
        )
        self.host, self.port = self.health.start("127.0.0.1", 0)
        self.broken = False

    def page(self, accept: str) -> tuple[str, bytes]:
        if self.broken:
            raise RuntimeError("sesame")
        return self.metrics.page(accept)

    def ask(self, path: str, method: str = "GET") -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=10)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def send(self, raw: bytes) -> bytes:
        """Send bytes, no more, and give all that comes back."""
        with socket.create_connection((self.host, self.port), timeout=10) as connection:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(4096), b""))


@pytest.fixture
def probe() -> Iterator[Probe]:
    probe = Probe()
    yield probe
    probe.health.stop()


def test_livez_fails_when_the_loop_has_been_silent_for_more_than_ten_seconds(
    probe: Probe,
) -> None:
    probe.clock.seconds += 10
    assert probe.ask("/livez")[0] == 200
    probe.clock.seconds += 0.5
    status, _, body = probe.ask("/livez")
    assert status == 503
    assert json.loads(body) == {"alive": False, "loop_silent_s": 10.5}
    probe.pulse.beat()
    assert probe.ask("/livez")[0] == 200


def test_readyz_names_what_is_missing(probe: Probe) -> None:
    status, headers, body = probe.ask("/readyz")
    assert (status, headers["Content-Type"]) == (503, "application/json")
    assert json.loads(body) == {
        "ready": False,
        "missing": ["broker", "store", "consumer premium", "consumer budget"],
    }
    probe.readiness.broker(connected=True)
    probe.readiness.store(ok=True)
    probe.readiness.consumer("premium", consuming=True)
    probe.readiness.consumer("rogue", consuming=True)
    assert json.loads(probe.ask("/readyz")[2])["missing"] == ["consumer budget"]
    probe.readiness.consumer("budget", consuming=True)
    assert probe.ask("/readyz")[0] == 200
    probe.readiness.broker(connected=False)
    assert json.loads(probe.ask("/readyz")[2])["missing"] == ["broker"]


def test_a_draining_worker_is_alive_and_not_ready(probe: Probe) -> None:
    probe.readiness.broker(connected=True)
    probe.readiness.store(ok=True)
    for tier in ("premium", "budget"):
        probe.readiness.consumer(tier, consuming=True)
    probe.readiness.draining()
    assert json.loads(probe.ask("/readyz")[2]) == {"ready": False, "missing": ["draining"]}
    assert probe.ask("/livez")[0] == 200


def test_metrics_are_served(probe: Probe) -> None:
    status, headers, body = probe.ask("/metrics?x=1")
    assert (status, headers["Content-Type"][:10]) == (200, "text/plain")
    assert b"warren_jobs_total" in body


@pytest.mark.parametrize("path", ["/", "/livez/", "/metrics2", "//", "/%2e%2e/etc/passwd"])
def test_other_paths_are_not_found(probe: Probe, path: str) -> None:
    assert probe.ask(path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_not_allowed(probe: Probe, method: str) -> None:
    status, headers, _ = probe.ask("/livez", method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_head_gives_the_headers_alone(probe: Probe) -> None:
    status, headers, body = probe.ask("/livez", "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 0


def test_a_page_that_fails_is_a_500_without_its_reason(
    probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    probe.broken = True
    status, _, body = probe.ask("/metrics")
    assert status == 500
    assert b"sesame" not in body
    assert "a page of the probes' server failed" in caplog.text


def test_a_head_that_is_too_large_is_refused_before_its_end(probe: Probe) -> None:
    with socket.create_connection((probe.host, probe.port), timeout=2) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\n" + b"X: " + b"y" * 8200)
        assert connection.recv(4096).startswith(b"HTTP/1.0 431 ")
    assert probe.ask("/livez")[0] == 200


@pytest.mark.parametrize("raw", [b"", b"GET", b"\x16\x03\x01\x00", b"GET /livez HTTP/1.1\r\n"])
def test_half_a_request_is_hung_up_on_and_harms_nobody(probe: Probe, raw: bytes) -> None:
    assert probe.send(raw) == b""
    assert probe.ask("/livez")[0] == 200


def test_a_broken_request_is_refused(probe: Probe) -> None:
    assert b" 400 " in probe.send(b"what is this\r\n\r\n")


def test_slow_clients_do_not_keep_a_probe_from_its_answer(probe: Probe) -> None:
    slow = [socket.create_connection((probe.host, probe.port), timeout=10) for _ in range(8)]
    try:
        for connection in slow:
            connection.sendall(b"GET /live")
        assert probe.ask("/livez")[0] == 200
    finally:
        for connection in slow:
            connection.close()


def test_an_idle_connection_is_hung_up_on(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "_TIME_LIMIT_S", 0.05)
    with socket.create_connection((probe.host, probe.port), timeout=10) as connection:
        assert connection.recv(1) == b""


def test_a_request_that_trickles_past_its_time_is_hung_up_on(probe: Probe) -> None:
    with socket.create_connection((probe.host, probe.port), timeout=0.01) as connection:
        for _ in range(500):
            probe.clock.seconds += 6
            try:
                connection.sendall(b"x")
                assert connection.recv(1) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                pass
            return
    pytest.fail("the server went on reading")


def test_past_its_places_the_server_hangs_up_and_recovers(probe: Probe) -> None:
    slow = [socket.create_connection((probe.host, probe.port), timeout=10) for _ in range(17)]
    try:
        assert slow[16].recv(1) == b""
    finally:
        for connection in slow:
            connection.close()
    answered = False
    for _ in range(200):
        try:
            answered = probe.ask("/livez")[0] == 200
        except OSError:  # the places of the slow ones are not free yet
            continue
        break
    assert answered


def test_a_stopped_server_frees_its_address_and_thread(probe: Probe) -> None:
    probe.health.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "warren-health"]
    with pytest.raises(OSError, match="refused"):
        probe.ask("/livez")
