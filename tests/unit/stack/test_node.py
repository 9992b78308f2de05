import os
import socket
from pathlib import Path

import pytest

from stack import node, occupancy
from stack.broker import Broker, running
from stack.errors import BrokerFailed
from stack.ports import Ports, choose_ports
from stack.server import Server

_ROOT = Path(__file__).parents[3]
_PORTS = Ports(amqp=1, http=2, dist=3, epmd=4)


def _record() -> node.Record:
    server = Server(scripts=Path("/s"), erlang=Path("/e"), version="4.0.5")
    return node.Record(name="warren", server=server, ports=_PORTS)


def test_an_overlay_replaces_settings_once_and_keeps_the_rest() -> None:
    base = "# a = 0\na = 1\nb=2\nc = 3\n"

    assert node.overlay(base, {"a": "9", "b": None, "d": "4"}) == "# a = 0\nc = 3\na = 9\nd = 4\n"


def test_a_private_node_listens_on_loopback_only() -> None:
    base = (_ROOT / "rabbitmq/rabbitmq.conf").read_text(encoding="utf-8")
    text = node.overlay(base, node.settings(_PORTS, None))
    used = dict(
        line.split(" = ", 1) for line in text.splitlines() if line and not line.startswith("#")
    )

    assert {key: value for key, value in used.items() if key.startswith("listeners.")} == {
        "listeners.tcp.local": "127.0.0.1:1"
    }
    assert used["management.tcp.ip"] == "127.0.0.1"
    assert "load_definitions" not in used


def test_ports_are_distinct_and_below_the_range_of_outgoing_connections() -> None:
    ports = choose_ports(None, amqp=0, http=0)
    chosen = [ports.amqp, ports.http, ports.dist, ports.epmd]

    assert len(set(chosen)) == 4
    assert max(chosen) < 32_768


def test_the_last_ports_are_taken_again_unless_others_are_asked_for() -> None:
    last = choose_ports(None, amqp=0, http=0)

    assert choose_ports(last, amqp=0, http=0) == last
    assert choose_ports(last, amqp=last.http, http=0).http != last.http


def test_a_port_that_somebody_listens_on_is_not_taken_again() -> None:
    last = choose_ports(None, amqp=0, http=0)
    with socket.socket() as rival:
        rival.bind(("127.0.0.1", last.amqp))
        rival.listen()

        assert choose_ports(last, amqp=0, http=0).amqp != last.amqp


def test_a_record_reads_as_it_was_written(tmp_path: Path) -> None:
    node.write_record(tmp_path, _record())

    assert node.read_record(tmp_path) == _record()


@pytest.mark.parametrize("text", [None, "", "{}", "[]", '{"name": "x", "server": 1}'])
def test_an_unreadable_record_is_none(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "node.json").write_text(text, encoding="utf-8")

    assert node.read_record(tmp_path) is None


def test_a_path_that_shell_scripts_can_bear_is_used_as_it_is() -> None:
    assert node.plain(Path("/a/b-c_d.e")) == Path("/a/b-c_d.e")


@pytest.mark.parametrize("name", ["a b", "a'b", "$HOME", "ü", "long" * 50])
def test_any_other_path_gets_a_link_that_leads_there(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()

    link = node.plain(folder)

    assert link == node.plain(folder)
    assert link.resolve() == folder.resolve()
    assert " " not in str(link)
    assert len(str(link)) < len(str(folder)) or len(name) < 10
    link.unlink()


def test_a_node_inherits_no_secret_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARREN_CANARY", "sesame")

    assert "sesame" not in node.environment(Path("/f"), _record()).values()


def test_a_folder_without_a_living_node_runs_nothing(tmp_path: Path) -> None:
    assert running(tmp_path / "missing") is None
    node.write_record(tmp_path, _record())
    assert running(tmp_path) is None


def test_a_stale_process_id_is_never_signalled(tmp_path: Path) -> None:
    node.write_record(tmp_path, _record())
    (tmp_path / "lock").touch()
    (tmp_path / "node.pid").write_text(str(os.getpid()), encoding="utf-8")
    broker = Broker(folder=tmp_path, name="warren", version="4", amqp_port=1, http_port=2)

    broker.stop()
    broker.kill()  # either would end this very process


def test_a_folder_is_taken_once(tmp_path: Path) -> None:
    with open(occupancy.take(tmp_path)):  # noqa: PTH123 - a descriptor, closed by the block
        assert occupancy.held(tmp_path)
        with pytest.raises(BrokerFailed, match="already runs"):
            occupancy.take(tmp_path)

    assert not occupancy.held(tmp_path)
