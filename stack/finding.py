"""What `./dev doctor` finds: frozen values, as `warren doctor` has them, but without a package installed."""

from dataclasses import dataclass
from enum import StrEnum


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
    """Give a finding that stands in the way."""
    return Finding(what=what, severity=Severity.FAIL, detail=detail, mend=mend)
