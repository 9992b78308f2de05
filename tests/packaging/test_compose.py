"""No Docker is asked: what the compose file says is read, and held against what Warren needs."""

import json
import re
import tomllib
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest

from stack import mounted
from tests.faults.vhost import ROOT
from tests.packaging.compose import DOCUMENT, SERVICES, duration, mounts

EVERY = sorted(SERVICES)
ONE_COMMAND = "operator"
LASTING = [name for name in EVERY if name != ONE_COMMAND]
# By profile.
ASKED_FOR = {
    "operator": "operator",
    "redis": "redis",
    "prometheus": "monitoring",
    "grafana": "monitoring",
}
OURS = ("operator", "simulator", "worker")


def test_the_file_follows_the_compose_specification() -> None:
    schema = json.loads((ROOT / "tests/schemas/compose-spec.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(DOCUMENT)


@pytest.mark.parametrize("name", EVERY)
def test_a_service_can_do_no_more_than_it_must(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert not service.keys() & {"privileged", "cap_add", "pid", "ipc", "devices"}
    assert service.get("network_mode", "service:rabbitmq") == "service:rabbitmq"
    limits = service["deploy"]["resources"]["limits"]
    assert limits.keys() == {"cpus", "memory", "pids"}


@pytest.mark.parametrize("name", LASTING)
def test_a_service_is_watched_restarted_and_given_time_to_end(name: str) -> None:
    service = SERVICES[name]
    check = service["healthcheck"]
    assert check.keys() == {"test", "interval", "timeout", "retries", "start_period"}
    assert duration(check["timeout"]) < duration(check["interval"])
    assert service["restart"] == "unless-stopped"
    assert duration(service["stop_grace_period"]) >= timedelta(seconds=10)
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


@pytest.mark.parametrize("name", EVERY)
def test_a_port_is_published_on_the_hosts_loopback_or_not_at_all(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d*:\d+", port)


@pytest.mark.parametrize("name", EVERY)
def test_a_service_writes_to_named_volumes_and_memory_only(name: str) -> None:
    service = SERVICES[name]
    for volume in service.get("volumes", []):
        assert volume.partition(":")[0] in DOCUMENT["volumes"]
    assert all("size=" in each for each in service["tmpfs"])


@pytest.mark.parametrize("name", EVERY)
def test_every_mounted_file_is_there_or_is_made_by_dev_secrets(name: str, secrets: Path) -> None:
    for mount in mounts(name):
        made = secrets / mount.file.name
        assert made.is_file() if ".warren" in mount.file.parts else mount.file.is_file()


def test_dev_secrets_writes_where_the_file_looks() -> None:
    folders = {Path(secret["file"]).parent for secret in DOCUMENT["secrets"].values()}
    assert folders == {Path(".warren/secrets")}
    assert 'folder = _ROOT / ".warren/secrets"' in Path(mounted.__file__).read_text("utf-8")
    assert ".warren/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_no_secret_stands_in_the_file_or_in_an_environment() -> None:
    told = {name: each["environment"] for name, each in SERVICES.items() if "environment" in each}
    config = {"WARREN_CONFIG": "/etc/warren/warren.toml"}
    assert told == {"operator": config, "worker": config}
    assert not any("env_file" in each for each in SERVICES.values())
    for name in SERVICES:
        for argument in SERVICES[name].get("command", []):
            assert "password" not in argument
            assert "key" not in argument or "/run/secrets/" in argument


def test_every_secret_is_used_and_only_the_broker_sees_the_hashes_of_all_users() -> None:
    used = {name: {mount.file.name for mount in mounts(name)} for name in SERVICES}
    files = {Path(each["file"]).name for each in DOCUMENT["secrets"].values()}
    assert files <= set.union(*used.values())
    assert [name for name in EVERY if "definitions.json" in used[name]] == ["rabbitmq"]
    assert [name for name in EVERY if "worker-password" in used[name]] == ["operator", "worker"]
    assert [name for name in EVERY if "env" in used[name]] == ["operator"]
    assert [name for name in EVERY if "grafana-password" in used[name]] == ["grafana"]
    assert used["prometheus"].isdisjoint(files)


@pytest.mark.parametrize("name", EVERY)
def test_every_image_is_pinned_to_a_patch_version(name: str) -> None:
    assert re.fullmatch(r"(\w+/)?\w+:v?\d+\.\d+\.\d+(-\w+)?", SERVICES[name]["image"])


def test_the_broker_is_a_patched_one_with_its_management() -> None:
    found = re.fullmatch(r"rabbitmq:(\d+)\.(\d+)\.(\d+)-management", SERVICES["rabbitmq"]["image"])
    assert found is not None
    version = tuple(map(int, found.groups()))
    assert (4, 2, 10) <= version < (4, 3, 0) or version >= (4, 3, 5)


def test_a_worker_waits_until_what_it_needs_is_healthy() -> None:
    needed = SERVICES["worker"]["depends_on"]
    assert needed.keys() == {"rabbitmq", "simulator", "redis"}
    assert {each["condition"] for each in needed.values()} == {"service_healthy"}
    assert [name for name, each in needed.items() if each.get("required", True)] == ["rabbitmq"]


@pytest.mark.parametrize(("name", "profile"), ASKED_FOR.items())
def test_what_the_line_does_not_need_comes_only_when_it_is_asked_for(
    name: str, profile: str
) -> None:
    assert SERVICES[name]["profiles"] == [profile]
    for each in SERVICES.values():
        if each.get("profiles") != [profile]:
            assert each.get("depends_on", {}).get(name, {"required": False})["required"] is False


def test_everything_else_comes_always() -> None:
    assert [name for name in EVERY if "profiles" not in SERVICES[name]] == [
        name for name in EVERY if name not in ASKED_FOR
    ]


@pytest.mark.parametrize("name", OURS)
def test_our_services_run_as_the_images_own_user(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert SERVICES[name]["image"] == f"warren:{project['version']}"
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"USER {SERVICES[name]['user']}\n" in dockerfile


def test_the_image_is_built_from_this_folder() -> None:
    stages = re.findall(
        r"^FROM .* AS (\w+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE
    )
    for name in ("simulator", "worker"):
        build_of = SERVICES[name]["build"]
        assert build_of["context"] == "."
        assert build_of["target"] in stages


def test_redis_gets_each_option_and_its_value_as_two_words() -> None:
    # `--appendonly=yes` would be taken for the name of an option, and Redis would not start.
    _, *words = SERVICES["redis"]["command"]
    assert all(option.startswith("--") and "=" not in option for option in words[::2])
    assert not any(value.startswith("--") for value in words[1::2])
