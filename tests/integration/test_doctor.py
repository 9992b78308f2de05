"""`warren doctor` against a real broker, with a fault planted for each thing that it looks at."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.faults.vhost import Vhost
from worker.cli.commands import warren

pytestmark = pytest.mark.broker

QUEUE = "warren.jobs.standard.interactive"


class Api(ThreadingHTTPServer):
    """An endpoint that answers `GET /v1/models` as told."""

    status = 200
    ahead = timedelta()
    keys: list[str]
    asked: list[str]

    def __init__(self) -> None:
        self.keys = []
        self.asked = []
        super().__init__(("127.0.0.1", 0), _Models)


class _Models(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        key = self.headers.get("Authorization") or self.headers.get("api-key") or ""
        self.server.keys.append(key)
        self.server.asked.append(self.path)
        self.send_response_only(self.server.status)
        now = datetime.now(UTC) + self.server.ahead
        self.send_header("Date", format_datetime(now, usegmt=True))
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@dataclass(slots=True, kw_only=True)
class Ward:
    """What the doctor looks at, still healthy; a plant changes something."""

    vhost: Vhost
    folder: Path
    api: Api
    broker: str
    management: str | None
    port: int
    cache: str = "1GiB"
    more: str = ""

    @property
    def key(self) -> Path:
        return self.folder / "key"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def examined(self, *arguments: str) -> Result:
        config = self.folder / "warren.toml"
        config.write_text(
            f'[broker]\nurl = "{self.broker}"\n[store]\npath = "{self.store}"\ncache_max_size = "{self.cache}"\n'
            f'[endpoints.main]\nbase_url = "http://127.0.0.1:{self.port}/v1"\n'
            f'key_file = "{self.key}"\n[tiers.standard]\nendpoints = ["main"]\n{self.more}',
            encoding="utf-8",
        )
        config.chmod(0o600)
        given = ["--config", str(config), *arguments]
        if self.management is not None:
            given += ["--management-url", self.management]
        return CliRunner().invoke(
            warren, ["doctor", *given], env={"WARREN_MANAGEMENT_URL": None, "WARREN_CONFIG": None}
        )

    def remade(self, body: dict[str, Any]) -> None:
        self.vhost.api("DELETE", f"queues/{self.vhost.name}/{QUEUE}")
        self.vhost.api("PUT", f"queues/{self.vhost.name}/{QUEUE}", body)


@pytest.fixture
def ward(vhost: Vhost, tmp_path: Path, api: Api) -> Ward:
    made = Ward(
        vhost=vhost,
        folder=tmp_path,
        api=api,
        broker=vhost.url("worker"),
        management=vhost.management,
        port=api.server_port,
    )
    made.key.write_text("canary-key-2718\n", encoding="utf-8")
    made.key.chmod(0o600)
    made.store.mkdir(mode=0o700)
    return made


def found(result: Result) -> dict[str, tuple[str, str]]:
    """Give severity and detail of each thing; all that is not well has its line."""
    rows = json.loads(result.stdout)
    assert all(row["mend"] for row in rows if row["severity"] != "ok")
    return {row["what"]: (row["severity"], row["detail"]) for row in rows}


def test_a_healthy_ward_has_nothing_but_an_old_broker_at_most(ward: Ward) -> None:
    result = ward.examined("--call", "--json")
    assert result.exit_code == 0, result.output
    rows = found(result)
    assert {what for what, (severity, _) in rows.items() if severity != "ok"} <= {"broker version"}
    assert {"broker", "channels", "queues", "management API", "clock of the broker"} <= rows.keys()
    assert {
        "topology",
        "key of main",
        "endpoint main",
        "call to main",
        "clock of main",
    } <= rows.keys()
    assert {"open files", "store", "store room", "memory", "records"} <= rows.keys()
    assert ward.api.keys == ["Bearer canary-key-2718"]


def test_an_endpoint_is_asked_as_its_api_wants_it(ward: Ward) -> None:
    ward.more = (
        f'[endpoints.older]\nbase_url = "http://127.0.0.1:{ward.port}"\napi = "azure"\n'
        f'api_version = "2024-10-21"\nmodels = ["mine"]\nkey = "canary-older"\n'
    )
    assert found(ward.examined("--call", "--json"))["call to older"][0] == "ok"
    asked = dict(zip(ward.api.asked, ward.api.keys, strict=True))
    assert asked == {
        "/v1/models": "Bearer canary-key-2718",
        "/openai/models?api-version=2024-10-21": "canary-older",
    }


def test_without_call_no_request_goes_out(ward: Ward) -> None:
    assert "call to main" not in found(ward.examined("--json"))
    assert ward.api.keys == []


def test_a_person_gets_a_line_for_each_thing_and_one_that_mends_it(ward: Ward) -> None:
    ward.key.chmod(0o604)
    text = ward.examined().stdout
    assert f"to mend it: chmod o= {ward.key}" in text
    assert "0 fail" in text.splitlines()[-1]
    for secret in ("canary", *ward.vhost.passwords.values()):
        assert secret not in text


def _delete_queue(ward: Ward) -> None:
    ward.vhost.api("DELETE", f"queues/{ward.vhost.name}/{QUEUE}")


def _short_timeout(ward: Ward) -> None:
    arguments = {"x-queue-type": "classic", "x-max-priority": 10, "x-consumer-timeout": 60_000}
    ward.remade({"durable": True, "arguments": arguments})


def _loose_store(ward: Ward) -> None:
    (ward.store / "warren.db").touch()
    (ward.store / "warren.db").chmod(0o644)


def _store_is_a_file(ward: Ward) -> None:
    ward.store.rmdir()
    ward.store.touch()


def _set(**values: object) -> Callable[[Ward], None]:
    def plant(ward: Ward) -> None:
        for name, value in values.items():
            setattr(ward, name, value)

    return plant


def _api(**values: object) -> Callable[[Ward], None]:
    def plant(ward: Ward) -> None:
        for name, value in values.items():
            setattr(ward.api, name, value)

    return plant


FAULTS: dict[str, tuple[Callable[[Ward], object], str, str, str, int]] = {
    "no broker": (
        _set(broker="amqp://worker:x@127.0.0.1:1/warren"),
        "broker",
        "fail",
        "nobody listens",
        3,
    ),
    "a wrong password": (
        lambda ward: _set(broker=ward.broker.replace("worker:", "worker:no"))(ward),
        "broker",
        "fail",
        "refuses user 'worker'",
        3,
    ),
    "another virtual host": (
        lambda ward: _set(broker=ward.broker + "-other")(ward),
        "broker",
        "fail",
        "virtual host",
        3,
    ),
    "no management API": (
        _set(management="http://admin:x@127.0.0.1:1"),
        "management API",
        "fail",
        "cannot be reached",
        3,
    ),
    "none configured": (_set(management=None), "management API", "warn", "not checked", 0),
    "a queue that is gone": (_delete_queue, "queues", "fail", f"{QUEUE}: ", 1),
    "a topology that differs": (
        _delete_queue,
        f"topology: queues {QUEUE}",
        "fail",
        "is missing",
        1,
    ),
    "a short consumer timeout": (
        _short_timeout,
        "consumer timeout of standard",
        "fail",
        "after 60 s (by the queue's policy or argument)",
        1,
    ),
    "too many jobs for the limit of open files": (
        _set(more="concurrency = 6000\n"),
        "open files",
        "fail",
        "6004 jobs",
        1,
    ),
    "a key that everybody may read": (
        lambda ward: ward.key.chmod(0o644),
        "key of main",
        "warn",
        "everybody",
        0,
    ),
    "a key that no header takes": (
        lambda ward: ward.key.write_text(" spaced \n"),
        "key of main",
        "fail",
        "blanks",
        1,
    ),
    "an empty key": (
        lambda ward: ward.key.write_text(""),
        "configuration",
        "fail",
        "key",
        1,
    ),
    "an endpoint that is gone": (
        _set(port=1),
        "endpoint main",
        "fail",
        "nobody listens",
        1,
    ),
    "a key that is refused": (_api(status=401), "call to main", "fail", "refuses the key", 1),
    "a path that is not there": (_api(status=404), "call to main", "warn", "404", 0),
    "a clock that is ahead": (
        _api(ahead=timedelta(minutes=5)),
        "clock of main",
        "fail",
        "ahead",
        1,
    ),
    "a store below a file": (
        _store_is_a_file,
        "configuration",
        "fail",
        "must be a folder",
        1,
    ),
    "a store that others may read": (_loose_store, "store files", "warn", "warren.db", 0),
    "a cache larger than the disk": (
        _set(cache="1024GiB"),
        "store room",
        "warn",
        "are free",
        0,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(ward: Ward, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, what, severity, said, status = FAULTS[name]
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 4096))
    plant(ward)
    result = ward.examined("--call", "--json")
    assert result.exit_code == status, result.output
    rows = found(result)
    assert rows[what][0] == severity, rows
    assert said in rows[what][1]
    for secret in ("canary", *ward.vhost.passwords.values()):
        assert secret not in result.output
