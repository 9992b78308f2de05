"""What the compose file says of its services is what their configuration and their commands say."""

import json
import re
import subprocess
import tomllib
from datetime import timedelta
from pathlib import Path

from simulator.options import build, parser
from tests.faults.vhost import ROOT
from tests.packaging.compose import DOCUMENT, SERVICES, duration, mounts, size
from worker.settings import Settings

# What a worker needs on its way down beside the grace period: to stop consuming, and to let go.
MARGIN = timedelta(seconds=10)


def rabbitmq(name: str) -> str:
    """Give a setting of the broker: the container's own file is read last."""
    said = ""
    for file in ("rabbitmq/rabbitmq.conf", "docker/rabbitmq.conf"):
        for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition("=")
            said = value.strip() if key.strip() == name else said
    return said


def test_the_brokers_files_lie_where_its_configuration_looks_for_them() -> None:
    targets = [mount.target for mount in mounts("rabbitmq")]
    assert rabbitmq("load_definitions") in targets
    assert "/etc/rabbitmq/rabbitmq.conf" in targets
    assert any(re.fullmatch(r"/etc/rabbitmq/conf\.d/\S+\.conf", target) for target in targets)


def test_the_broker_knows_how_much_memory_it_has() -> None:
    told = re.fullmatch(r"(\d+)GB", rabbitmq("total_memory_available_override_value"))
    assert told is not None
    limit = size(SERVICES["rabbitmq"]["deploy"]["resources"]["limits"]["memory"])
    assert limit / 2 < int(told[1]) * 10**9 <= limit


def test_the_workers_settings_have_no_problem(settings: Settings) -> None:
    assert settings.broker.password is not None
    assert settings.broker.password.reveal()


def test_a_worker_is_given_longer_than_its_own_grace_period(settings: Settings) -> None:
    patience = duration(SERVICES["worker"]["stop_grace_period"])
    assert patience >= settings.worker.grace_period + MARGIN


def test_worker_and_broker_agree_on_the_consumer_timeout(settings: Settings) -> None:
    broker = timedelta(milliseconds=int(rabbitmq("consumer_timeout")))
    assert settings.broker.consumer_timeout == broker


def test_the_tiers_are_those_of_the_definitions(settings: Settings) -> None:
    definitions = json.loads((ROOT / "rabbitmq/definitions.json").read_text(encoding="utf-8"))
    queues = {queue["name"] for queue in definitions["queues"]}
    assert {f"warren.dead.{tier}" for tier in settings.tiers} == {
        name for name in queues if name.startswith("warren.dead.")
    }


def test_workers_share_the_ledger_on_a_volume_of_the_host_or_in_redis(settings: Settings) -> None:
    if settings.store.url is None:
        assert f"ledger:{settings.store.path}" in SERVICES["worker"]["volumes"]
    else:
        assert settings.store.url.startswith("redis://redis:")
        assert settings.store.password is not None
        assert settings.store.password.reveal()
    # Of the default, local driver: a network file system knows no locks that the ledger could trust.
    assert DOCUMENT["volumes"]["ledger"] == {}
    assert SERVICES["worker"]["deploy"]["replicas"] == 2
    assert "container_name" not in SERVICES["worker"]


def test_what_the_settings_reach_is_on_the_workers_networks(settings: Settings) -> None:
    for url, service in (
        (settings.broker.url, "rabbitmq"),
        (settings.endpoints["main"].base_url, "simulator"),
        (settings.store.url or "redis:", "redis"),
    ):
        assert f"{service}:" in url
        assert set(SERVICES[service]["networks"]) & set(SERVICES["worker"]["networks"])
    assert set(SERVICES["simulator"]["networks"]).isdisjoint(SERVICES["rabbitmq"]["networks"])


def test_the_two_configurations_differ_in_their_store_alone() -> None:
    said = {}
    for store in ("", "redis"):
        (file,) = (m.file for m in mounts("worker", store) if m.target.endswith("warren.toml"))
        said[store] = tomllib.loads(file.read_text(encoding="utf-8"))
        del said[store]["store"]
    assert said[""] == said["redis"]


def test_redis_has_room_for_the_ledger_beside_the_cache(settings: Settings) -> None:
    command = SERVICES["redis"]["command"]
    most = command[command.index("--maxmemory") + 1]
    room = int(most.removesuffix("mb")) * 1024**2
    assert room * 1.2 < size(SERVICES["redis"]["deploy"]["resources"]["limits"]["memory"])
    if settings.store.url is not None:
        assert settings.store.cache_max_size < room / 2
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
    assert command[command.index("--appendonly") + 1] == "yes"


def test_the_health_checks_ask_where_the_services_listen(settings: Settings) -> None:
    port = settings.http.listen.port
    assert SERVICES["worker"]["healthcheck"]["test"][-1] == f"http://127.0.0.1:{port}/readyz"
    assert SERVICES["worker"]["ports"] == [f"127.0.0.1::{port}"]
    asked = SERVICES["simulator"]["healthcheck"]["test"][-1]
    listening = next(each for each in SERVICES["simulator"]["command"] if "--port" in each)
    assert asked == f"http://127.0.0.1:{listening.partition('=')[2]}/_sim/stats"
    assert f":{listening.partition('=')[2]}/" in settings.endpoints["main"].base_url


def test_the_operators_command_sees_what_a_worker_sees_and_the_broker_on_loopback() -> None:
    operator, worker = SERVICES["operator"], SERVICES["worker"]
    assert operator["image"] == worker["image"]
    assert operator["volumes"] == worker["volumes"]
    assert operator["configs"] == worker["configs"]
    assert set(operator["secrets"]) == {*worker["secrets"], "env"}
    # `warren dead replay` sends no password in the clear but to its own machine.
    assert operator["network_mode"] == "service:rabbitmq"
    assert operator["restart"] == "no"


def test_the_operators_entry_point_hands_the_addresses_and_all_arguments_over(
    tmp_path: Path, secrets: Path
) -> None:
    shell, flags, script, name = SERVICES["operator"]["entrypoint"]
    script = script.replace("$$", "$").replace("/run/secrets", str(secrets))
    warren = tmp_path / "warren"
    warren.write_text('#!/bin/sh\necho "$WARREN_OPERATOR_URL|$#|$3"\n', encoding="utf-8")
    warren.chmod(0o755)
    done = subprocess.run(
        [shell, flags, script, name, "dead", "replay", "a b"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.fullmatch(r"amqp://operator:\S+@127\.0\.0\.1:5672/warren\|3\|a b\n", done.stdout)


def test_the_simulators_command_line_is_one_that_it_takes(secrets: Path) -> None:
    given = [
        each.replace("/run/secrets", str(secrets)) for each in SERVICES["simulator"]["command"]
    ]
    assert build(parser().parse_args(given)).port == 8080
    assert SERVICES["simulator"]["entrypoint"] == ["python", "-m", "simulator"]
