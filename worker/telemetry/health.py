"""`/livez`, `/readyz` and `/metrics` over HTTP, in a thread of its own: it answers when the loop is stuck."""

import json
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final, TypeAlias

from worker.ports import Clock
from worker.telemetry.readiness import Pulse, Readiness
from worker.telemetry.web import Answer, Page, WebServer

MetricsPage: TypeAlias = Callable[[str], tuple[str, bytes]]

_PULSE_LIMIT_S: Final = 10.0


class Health:
    """The probes' server. `start` and `stop` belong to the app; a stopped one is not started again."""

    def __init__(
        self, clock: Clock, *, pulse: Pulse, readiness: Readiness, metrics: MetricsPage
    ) -> None:
        self._clock = clock
        self._pulse = pulse
        self._readiness = readiness
        self._metrics = metrics
        self._server: WebServer | None = None

    def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen and answer from now on; give the address, with the port that the system chose for 0.

        Raises:
            OSError: the address cannot be listened on.
        """
        pages: Mapping[str, Page] = {
            "/livez": self._live,
            "/readyz": self._ready,
            "/metrics": self._page,
        }
        self._server = WebServer(host, port, pages, self._clock)
        threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="warren-health", daemon=True
        ).start()
        address = self._server.server_address
        return str(address[0]), int(address[1])

    def stop(self) -> None:
        """Answer no more and free the address; what is being answered ends by its own time limit."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _live(self, _: str) -> Answer:
        age_s = self._pulse.age_s()
        alive = age_s <= _PULSE_LIMIT_S
        return _json(alive, {"alive": alive, "loop_silent_s": round(age_s, 3)})

    def _ready(self, _: str) -> Answer:
        missing = self._readiness.missing()
        return _json(not missing, {"ready": not missing, "missing": missing})

    def _page(self, accept: str) -> Answer:
        content_type, text = self._metrics(accept)
        return HTTPStatus.OK, content_type, text


def _json(good: object, content: object) -> Answer:
    status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
    return status, "application/json", json.dumps(content).encode() + b"\n"
