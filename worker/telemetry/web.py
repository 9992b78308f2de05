"""A small HTTP server for a few pages: threads, bounded in number, in a request's size and in its time."""

import io
import logging
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, TypeAlias

from worker.ports import Clock

Answer: TypeAlias = tuple[HTTPStatus, str, bytes]
# Gives a page for the value of the request's Accept header.
Page: TypeAlias = Callable[[str], Answer]

# A request has this long to arrive, and its answer as long to be taken.
_TIME_LIMIT_S: Final = 5.0
_LARGEST_HEAD: Final = 8192
# Probes and scrapers come one at a time; more than this at once is somebody else.
_MOST_CONNECTIONS: Final = 16
_CHUNK: Final = 4096
_TEXT: Final = "text/plain; charset=utf-8"

_log: Final = logging.getLogger(__name__)


class WebServer(socketserver.ThreadingTCPServer):
    """Serves pages by path. Whoever comes when all places are taken is hung up on."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 32

    def __init__(self, host: str, port: int, pages: Mapping[str, Page], clock: Clock) -> None:
        self.pages = pages
        self.clock = clock
        self._places = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Request)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  # socketserver's signature
        """Answer in a thread of its own, if there is a place for it."""
        if self._places.acquire(blocking=False):
            try:
                super().process_request(request, client_address)
            except RuntimeError:  # the system has no thread left
                self._places.release()
                raise
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  # socketserver's signature
        """Answer, and free the place."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, *_: object) -> None:
        """Note that a client went away or was too slow: that is its own affair."""
        _log.debug("a connection to the probes' server broke", exc_info=True)


class _Request(BaseHTTPRequestHandler):
    """One request and its answer; the connection is closed after it."""

    server: WebServer
    timeout = _TIME_LIMIT_S
    server_version = "warren"
    sys_version = ""

    def handle(self) -> None:
        self.close_connection = True
        # The whole head is read before it is parsed: stdlib's parser has no limit over all its lines.
        head = self._read_head()
        self.rfile.close()
        self.rfile = io.BytesIO(head)
        self.raw_requestline = self.rfile.readline()
        if b"\r\n\r\n" in head:
            if self.parse_request():
                self._send(self._answer())
        elif len(head) > _LARGEST_HEAD:
            self.requestline, self.request_version, self.command = "", "HTTP/1.0", ""
            self._send((HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _TEXT, b""))

    def _read_head(self) -> bytes:
        until = self.server.clock.monotonic() + _TIME_LIMIT_S
        head = b""
        while b"\r\n\r\n" not in head and len(head) <= _LARGEST_HEAD:
            self.connection.settimeout(max(0.001, until - self.server.clock.monotonic()))
            if not (chunk := self.connection.recv(_CHUNK)):
                break
            head += chunk
        self.connection.settimeout(_TIME_LIMIT_S)
        return head

    def _answer(self) -> Answer:
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            return HTTPStatus.NOT_FOUND, _TEXT, b"there is no such page\n"
        if self.command not in {"GET", "HEAD"}:
            return HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, b"only GET and HEAD\n"
        try:
            return page(self.headers.get("Accept", ""))
        except Exception:  # noqa: BLE001  # the border of this thread's task
            _log.exception("a page of the probes' server failed")
            return (
                HTTPStatus.INTERNAL_SERVER_ERROR,
                _TEXT,
                b"the page failed; the log has the trace\n",
            )

    def _send(self, answer: Answer) -> None:
        status, content_type, body = answer
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's name
        """Log no request: probes come every few seconds."""
