"""The doctor's verdicts: plain functions from facts to findings."""

import socket
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from producer_sdk.wire import QueueType
from worker.broker.comparison import Difference
from worker.broker.management import Replicas
from worker.cli.doctor import broker, clock, endpoint, host
from worker.cli.doctor.finding import (
    BROKER,
    MANAGEMENT,
    Finding,
    Severity,
    exit_status,
    failed,
    ok,
    warn,
)

OK, WARN, FAIL = Severity
NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
MIB = 1024**2
MINUTE = timedelta(minutes=1)
STORE = host.Store(
    path=Path("/var/lib/warren"),
    nearest=Path("/var/lib/warren"),
    writable=True,
    filesystem="ext4",
    free=10_000 * MIB,
    used=0,
    loose=(),
)


@pytest.mark.parametrize(
    ("findings", "status"),
    [
        ([], 0),
        ([ok("a", "")], 0),
        ([ok("a", ""), warn("b", "", "x")], 0),
        ([warn("b", "", "x"), failed("c", "", "x")], 1),
        ([failed(BROKER, "", "x")], 3),
        ([failed(MANAGEMENT, "", "x"), failed("c", "", "x")], 3),
        ([warn(MANAGEMENT, "", "x")], 0),
    ],
)
def test_the_worst_finding_makes_the_exit_status(findings: list[Finding], status: int) -> None:
    assert exit_status(findings) == status


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        ("3.9.29", FAIL),
        ("3.10.8", WARN),
        ("3.13.7", WARN),
        ("4.0.5", WARN),
        ("4.1.9", WARN),
        ("4.2.9", WARN),
        ("4.2.10", OK),
        ("4.2.11", OK),
        ("4.3.4", WARN),
        ("4.3", WARN),
        ("4.3.5", OK),
        ("4.4.0", OK),
        ("5.0.0-rc.1", OK),
        ("unknown", WARN),
    ],
)
def test_a_version_is_judged_by_its_series_and_patch(text: str, severity: Severity) -> None:
    found = broker.version(text)
    assert found.severity is severity
    assert bool(found.mend) is (severity is not OK)


@pytest.mark.parametrize(
    ("attempt", "limit", "severity"),
    [
        (2 * MINUTE, None, OK),
        (30 * MINUTE, None, FAIL),
        (2 * MINUTE, 3 * MINUTE, OK),
        (2 * MINUTE, 2 * MINUTE, FAIL),
        (2 * MINUTE, MINUTE, FAIL),
        (45 * MINUTE, 60 * MINUTE, OK),
    ],
)
def test_an_attempt_must_be_shorter_than_the_broker_lets_a_delivery_be_held(
    attempt: timedelta, limit: timedelta | None, severity: Severity
) -> None:
    set_by = {} if limit is None else {"small": limit}
    (found,) = broker.delivery_timeout({"small": attempt}, set_by, 30 * MINUTE)
    assert found.severity is severity


@pytest.mark.parametrize(
    ("lanes", "offered", "severity"), [(3, 0, OK), (3, 256, OK), (3, 10, FAIL), (300, 256, FAIL)]
)
def test_a_connection_needs_a_channel_for_each_lane(
    lanes: int, offered: int, severity: Severity
) -> None:
    assert broker.channels(lanes, offered).severity is severity


@pytest.mark.parametrize(
    ("configured", "version", "severity", "said"),
    [
        ("classic", "3.10.8", OK, "one node"),
        ("classic", "4.3.6", OK, "one node"),
        ("quorum", "3.10.8", FAIL, "no priorities"),
        ("quorum", "3.13.7", FAIL, "no priorities"),
        ("quorum", "4.0.5", WARN, "only priority high"),
        ("quorum", "4.2.10", WARN, "only priority high"),
        ("quorum", "4.3.5", OK, "strict"),
        ("quorum", "5.0.0", OK, "strict"),
        ("quorum", "unreadable", OK, "strict"),
    ],
)
def test_a_queue_type_is_judged_by_the_priorities_that_it_has(
    configured: QueueType, version: str, severity: Severity, said: str
) -> None:
    found = broker.queue_type(configured, version)
    assert found.severity is severity
    assert said in found.detail
    assert bool(found.mend) is (severity is not OK)


@pytest.mark.parametrize(
    ("nodes", "members", "online", "told"),
    [
        (3, 3, 3, [(OK, "every queue lives on 3 nodes")]),
        (0, 3, 3, []),
        (5, 3, 3, [(OK, "every queue lives on 3 nodes")]),
        (3, 1, 1, [(WARN, "on fewer than 3 nodes: q")]),
        (3, 3, 2, [(WARN, "not on all their nodes now: q")]),
        (1, 1, 1, [(WARN, "the cluster has 1 of the 3 nodes")]),
        (2, 1, 1, [(WARN, "the cluster has 2 of"), (WARN, "on fewer than 2 nodes: q")]),
    ],
)
def test_queues_are_judged_by_the_nodes_that_they_live_on(
    nodes: int, members: int, online: int, told: list[tuple[Severity, str]]
) -> None:
    found = list(broker.replicas(nodes, {"q": Replicas(members=members, online=online)}))
    assert [each.severity for each in found] == [severity for severity, _ in told]
    assert all(said in each.detail for each, (_, said) in zip(found, told, strict=True))


def test_classic_queues_have_no_replicas_to_judge() -> None:
    assert list(broker.replicas(1, {})) == []


def test_a_queue_that_is_refused_is_named() -> None:
    assert broker.queues({}).severity is OK
    found = broker.queues({"warren.jobs.small.interactive": "NOT_FOUND"})
    assert found.severity is FAIL
    assert "warren.jobs.small.interactive: NOT_FOUND" in found.detail


def test_each_difference_of_the_topology_is_a_finding_with_its_advice() -> None:
    missing = Difference(kind="queues", name="q", problem="is missing", advice="apply it")
    unseen = replace(missing, problem="not checked: this user may not see it")
    assert [each.severity for each in broker.topology([missing, unseen])] == [FAIL, WARN]
    assert [each.severity for each in broker.topology([])] == [OK]
    assert next(broker.topology([missing])).mend == "apply it"


@pytest.mark.parametrize(
    ("apart", "severity", "said"),
    [
        (0, OK, ""),
        (2, OK, ""),
        (-3, OK, ""),  # a Date has whole seconds
        (4, WARN, "4 s ahead"),
        (-10, WARN, "9 s behind"),
        (45, FAIL, "45 s ahead"),
        (-3600, FAIL, "behind"),
    ],
)
def test_a_clock_may_be_off_by_two_seconds(apart: int, severity: Severity, said: str) -> None:
    theirs = NOW + timedelta(seconds=apart)
    found = clock.clock("the broker", theirs, asked=NOW, answered=NOW)
    assert found.severity is severity
    assert said in found.detail


def test_a_slow_answer_makes_no_clock_wrong() -> None:
    late = NOW + timedelta(seconds=20)
    found = clock.clock("x", NOW + timedelta(seconds=10), asked=NOW, answered=late)
    assert found.severity is OK


@pytest.mark.parametrize(
    ("limit", "jobs", "severity"),
    [(1024, 16, OK), (1024, 1000, FAIL), (80, 16, OK), (79, 16, FAIL)],
)
def test_each_job_at_once_needs_a_descriptor(limit: int, jobs: int, severity: Severity) -> None:
    found = host.descriptors(limit, jobs, jobs + 64)
    assert found.severity is severity
    assert bool(found.mend) is (severity is FAIL)


@pytest.mark.parametrize(
    ("change", "what", "severity"),
    [
        ({}, "store", OK),
        ({"nearest": Path("/var/lib")}, "store", OK),
        ({"writable": False}, "store", FAIL),
        ({"filesystem": "nfs4"}, "store file system", FAIL),
        ({"filesystem": "fuse.sshfs"}, "store file system", FAIL),
        ({"filesystem": "tmpfs"}, "store file system", WARN),
        ({"filesystem": "xfs"}, "store file system", OK),
        ({"filesystem": ""}, "store file system", OK),
        ({"free": 1000 * MIB}, "store room", WARN),
        ({"free": 1000 * MIB, "used": 900 * MIB}, "store room", OK),
        ({"free": 10 * MIB}, "store room", FAIL),
        ({"loose": (Path("/var/lib/warren/warren.db"),)}, "store files", WARN),
    ],
)
def test_the_stores_folder_is_judged(
    change: dict[str, object], what: str, severity: Severity
) -> None:
    found = {each.what: each for each in host.disk(replace(STORE, **change), 1024 * MIB)}  # type: ignore[arg-type]  # a table of fields
    assert found[what].severity is severity
    assert all(each.mend for each in found.values() if each.severity is not OK)


@pytest.mark.parametrize(
    ("available", "severity"), [(None, OK), (1000 * MIB, OK), (200 * MIB, WARN), (100 * MIB, FAIL)]
)
def test_memory_is_judged_by_the_jobs_at_once(available: int | None, severity: Severity) -> None:
    assert host.memory(available, 100).severity is severity


@pytest.mark.parametrize(("hours", "severity"), [(24, OK), (48, OK), (1, WARN)])
def test_a_result_should_be_kept_as_long_as_a_job_may_take(hours: int, severity: Severity) -> None:
    found = host.records(
        result=timedelta(hours=hours), record=timedelta(days=10), deadline=timedelta(days=1)
    )
    assert found.severity is severity


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/warren", "xfs"),
        ("/var/log/x", "ext4"),
        ("/srv/my data/x", "nfs4"),
        ("/srvx", "ext4"),
        ("/mnt/x", "btrfs"),
    ],
)
def test_the_longest_mount_says_the_file_system_and_the_last_lies_on_top(
    path: str, kind: str
) -> None:
    mounts = (
        "/dev/a / ext4 rw 0 0\n/dev/b /var/lib xfs rw 0 0\nhost:/x /srv/my\\040data nfs4 rw 0 0\n"
        "/dev/c /mnt ext4 rw 0 0\n/dev/d /mnt btrfs rw 0 0\nbroken\n"
    )
    assert host.filesystem_of(Path(path), mounts) == kind


@pytest.mark.parametrize(
    ("meminfo", "limit", "current", "available"),
    [
        ("MemTotal: 9 kB\nMemAvailable: 2048 kB\n", "", "", 2 * MIB),
        ("MemAvailable: 2048 kB\n", "max\n", "5\n", 2 * MIB),
        ("MemAvailable: 2048 kB\n", f"{MIB}\n", "0\n", MIB),
        ("MemAvailable: 2048 kB\n", "100\n", "200\n", 0),
        ("", "", "", None),
    ],
)
def test_the_smaller_of_machine_and_control_group_is_available(
    meminfo: str, limit: str, current: str, available: int | None
) -> None:
    assert host.available_memory(meminfo, limit, current) == available


@pytest.mark.parametrize(
    ("value", "mode", "severity"),
    [
        (None, 0o600, OK),
        ("canary", 0o600, OK),
        ("canary", 0o604, WARN),
        (" canary", 0o600, FAIL),
        ("canäry", 0o600, FAIL),
    ],
)
def test_a_key_is_judged_and_never_shown(value: str | None, mode: int, severity: Severity) -> None:
    found = endpoint.key("main", value, source="/run/key", exposed=mode == 0o604)
    assert found.severity is severity
    assert "can" not in found.detail + found.mend


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (socket.gaierror(-2, "Name or service not known"), "host name is not known"),
        (ConnectionRefusedError(111, "Connection refused"), "nobody listens"),
        (TimeoutError("timed out"), "does not answer in time"),
        (ssl.SSLCertVerificationError("x"), "not trusted"),
        (ssl.SSLError(1, "wrong version"), "speak TLS"),
        (OSError(113, "No route to host"), "No route to host"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_why_an_endpoint_is_not_reached_is_said(error: OSError, said: str) -> None:
    found = endpoint.reached("main", error, where="https://api", jobs=1)
    assert found.severity is FAIL
    assert said in found.detail


@pytest.mark.parametrize(
    ("protocol", "jobs", "severity"),
    [("", 500, OK), ("http/1.1", 500, OK), ("h2", 100, OK), ("h2", 101, WARN)],
)
def test_more_calls_than_streams_are_told(protocol: str, jobs: int, severity: Severity) -> None:
    there = endpoint.Reached(host="api", port=443, protocol=protocol)
    assert endpoint.reached("main", there, where="https://api", jobs=jobs).severity is severity


@pytest.mark.parametrize(
    ("status", "severity"),
    [(200, OK), (401, FAIL), (403, FAIL), (404, WARN), (301, WARN), (429, WARN), (503, WARN)],
)
def test_what_an_endpoint_answers_is_judged(status: int, severity: Severity) -> None:
    found = endpoint.answered("main", status)
    assert found.severity is severity
    assert bool(found.mend) is (severity is not OK)
