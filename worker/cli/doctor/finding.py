"""What the doctor finds: frozen values."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from worker.cli.output import FAILED, UNREACHABLE

BROKER: Final = "broker"
MANAGEMENT: Final = "management API"
REDIS: Final = "redis"


class Severity(StrEnum):
    """How bad it is: `warn` keeps nothing from working today, `fail` does."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at; `mend` is the line that mends it, empty where nothing is to be mended."""

    what: str
    severity: Severity
    detail: str
    mend: str = ""


def ok(what: str, detail: str) -> Finding:
    """Give a finding that all is well."""
    return Finding(what=what, severity=Severity.OK, detail=detail)


def warn(what: str, detail: str, mend: str) -> Finding:
    """Give a finding that should be known."""
    return Finding(what=what, severity=Severity.WARN, detail=detail, mend=mend)


def failed(what: str, detail: str, mend: str) -> Finding:
    """Give a finding that keeps Warren from its work."""
    return Finding(what=what, severity=Severity.FAIL, detail=detail, mend=mend)


def exit_status(findings: Iterable[Finding]) -> int:
    """Give 0 for warnings at most, 3 when the broker, its management API or Redis was not reached, else 1."""
    bad = {finding.what for finding in findings if finding.severity is Severity.FAIL}
    if bad & {BROKER, MANAGEMENT, REDIS}:
        return UNREACHABLE
    return FAILED if bad else 0
