"""Which promises an audit finds broken, by name."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from tests.faults.stage import Stage
from worker.core.letters import Explanation

Broken: TypeAlias = frozenset[str]


def broken(stage: Stage, *, spared: int = 0) -> Broken:
    """Audit a stage at rest; `spared` calls may have been cut off by deaths and lost leases."""
    findings = stage.audit(queues=_queues(stage))
    found = {name for name, each in findings.faults.items() if each}
    if len(findings.extra_calls) <= spared:
        found.discard("extra_calls")
    if heard_by_another_tenant(stage.journal):
        found.add("heard_by_another_tenant")
    if burnt_attempts(stage.ledger()):
        found.add("burnt_attempts")
    return frozenset(found)


def _queues(stage: Stage) -> dict[str, int]:
    """Give the depths of all queues but the callers' own, in which replies may wait."""
    return {
        name: depth
        for name, depth in stage.vhost.depths().items()
        if not name.startswith("warren.reply.")
    }


def heard_by_another_tenant(journal: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Give the jobs whose answer a second tenant heard too: no two calls give the same bytes."""
    heard: dict[str, dict[str, str]] = defaultdict(dict)
    for line in journal:
        if line["event"] == "reply" and line.get("completed"):
            heard[line["sha256"]][line["tenant"]] = line["job"]
    return tuple(
        sorted(job for tenants in heard.values() if len(tenants) > 1 for job in tenants.values())
    )


def burnt_attempts(ledger: Iterable[Explanation]) -> tuple[str, ...]:
    """Give the jobs for which more attempts were counted than made a call or ended with their process."""
    return tuple(
        job.job_id
        for job in ledger
        if job.tally.attempts
        > sum(
            entry.run == job.run and (entry.calls > 0 or entry.what == "taken over")
            for entry in job.history
        )
    )
