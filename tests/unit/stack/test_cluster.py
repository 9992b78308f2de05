from pathlib import Path

from stack import cluster, node
from stack.ports import Ports, choose_ports, free_port
from stack.server import Server


def test_the_nodes_know_each_other_and_still_listen_on_loopback_only() -> None:
    ports = Ports(amqp=1, http=2, dist=3, epmd=4)
    base = cluster._configuration(3, 15)
    used = dict(
        line.split(" = ", 1)
        for line in node.overlay(base, node.settings(ports, None)).splitlines()
        if line and not line.startswith("#")
    )
    found = {value for key, value in used.items() if "classic_config.nodes" in key}
    assert found == {"warren0@localhost", "warren1@localhost", "warren2@localhost"}
    assert used["listeners.tcp.local"] == "127.0.0.1:1"
    assert "listeners.tcp.default" not in used
    assert used["net_ticktime"] == "15"
    assert "load_definitions" not in used


def test_the_nodes_share_one_cookie_that_only_their_owner_can_read(tmp_path: Path) -> None:
    cluster._share_cookie(tmp_path, 3)
    cookies = [tmp_path / str(number) / "home/.erlang.cookie" for number in range(3)]
    assert len({each.read_text(encoding="utf-8") for each in cookies}) == 1
    assert {each.stat().st_mode & 0o777 for each in cookies} == {0o400}


def test_a_node_of_a_cluster_uses_the_mapper_that_it_is_given() -> None:
    mapper = free_port(set())
    last = choose_ports(None, amqp=0, http=0)
    assert choose_ports(last, amqp=0, http=0, epmd=mapper).epmd == mapper


def test_who_has_the_mapper_is_written_down_and_told_to_the_node(tmp_path: Path) -> None:
    server = Server(scripts=Path("/s"), erlang=Path("/e"), version="4.3.6")
    ports = Ports(amqp=1, http=2, dist=3, epmd=4)
    for own, told in ((True, "own"), (False, "shared")):
        record = node.Record(name="w", server=server, ports=ports, own_mapper=own)
        node.write_record(tmp_path, record)
        assert node.read_record(tmp_path) == record
        assert node.environment(tmp_path, record)["WARREN_MAPPER"] == told
