"""What operations will look for, told ahead: so that it is read for all that share a transaction at once."""

from typing import NamedTuple


class Ahead(NamedTuple):
    """What an operation will look for: its job's row, and with what it needs besides.

    `submission`: whether that has heard; `key`: who holds this claim key, or the job's claim; `answer`: what its last
    holder has left; `ends`: the job's claim and its history; `fingerprint`: the response that the cache keeps;
    `reservation`: whether there is one of this name.
    """

    job_id: str
    submission: str | None = None
    key: str | None = None
    answer: bool = False
    ends: bool = False
    fingerprint: str | None = None
    reservation: str | None = None
