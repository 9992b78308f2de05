"""What a house's workers call: the configuration of one simulator and of several, and their logs read as one."""

import json
from pathlib import Path

from stack.callbook import read_calls
from stack.house import find_house
from stack.records import call_lines
from stack.upstreams import calls_log, configuration, simulators
from worker.settings import load

BROKER = """\
[broker]
url = "amqp://worker@127.0.0.1:1/warren"
password = "secret"
[store]
path = "/nowhere"
"""


def test_every_tier_is_served_by_every_endpoint_each_with_its_own_settings(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("key")
    text = configuration(
        {"slow": "http://127.0.0.1:1/v1", "fast": "http://127.0.0.1:2/v1"},
        {"fast": "weight = 2\n"},
        tmp_path / "key",
        {"premium": 3, "standard": 5},
    )
    file = tmp_path / "warren.toml"
    file.write_text(BROKER + text)
    settings = load(file, {})
    assert [tier.endpoints for tier in settings.tiers.values()] == [("slow", "fast")] * 2
    assert [tier.concurrency for tier in settings.tiers.values()] == [3, 5]
    weights = {name: each.weight for name, each in settings.endpoints.items()}
    assert weights == {"slow": 1.0, "fast": 2.0}


def test_several_simulators_logs_are_read_as_one_though_each_counts_from_one(
    tmp_path: Path,
) -> None:
    job = "a" * 32
    for name, status in (("main", 503), ("other", 200)):
        lines = [
            {"event": "start", "call": 1, "id": f"{job}.1.0.1", "at": 1.0},
            # The one of `main` never ended.
            {"event": "end", "call": 1, "at": 2.0, "status": status},
        ][: 2 if name == "other" else 1]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        calls_log(tmp_path, name).write_text(text)
    calls = read_calls(call_lines(calls_log(tmp_path, name) for name in ("main", "other")))
    assert [(call.job, call.status) for call in calls] == [(job, None), (job, 200)]


def test_all_simulators_of_a_folder_are_found_and_no_file_is_taken_for_one(tmp_path: Path) -> None:
    for name in ("simulator", "simulator-slow"):
        (tmp_path / name).mkdir()
    (tmp_path / "simulator.port").write_text("1")
    found = [service.folder.name for service in simulators(tmp_path)]
    assert found == ["simulator", "simulator-slow"]


def test_a_house_that_was_raised_when_there_was_one_upstream_is_still_found(tmp_path: Path) -> None:
    kept = {
        "amqp": "127.0.0.1:1",
        "management": "127.0.0.1:2",
        "broker_name": "a private node",
        "upstream": "http://127.0.0.1:3/v1",
        "simulated": True,
        "worker_ports": [4],
    }
    (tmp_path / "house.json").write_text(json.dumps(kept))
    house = find_house(tmp_path)
    assert house is not None
    assert house.upstreams == {"main": house.upstream} == {"main": "http://127.0.0.1:3/v1"}
    assert [service.folder.name for service in house.simulators.values()] == ["simulator"]
