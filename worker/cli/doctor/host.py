"""What this machine gives the worker: descriptors, disk, memory; and how long records are kept."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from worker.cli.doctor.finding import Finding, failed, ok, warn

_MIB: Final = 1024**2
# The ledger's own growth, and what SQLite needs to fold its log in.
_LEDGER_ROOM: Final = 256 * _MIB
_LEAST_ROOM: Final = 64 * _MIB
# Measured: an idle worker has about 90 MiB; a job in flight holds its request and its response.
_IDLE_MEMORY: Final = 128 * _MIB
_JOB_MEMORY: Final = _MIB
_SHARED: Final = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "glusterfs",
        "lustre",
        "gpfs",
        "ocfs2",
        "gfs2",
    }
)
_FLEETING: Final = frozenset({"tmpfs", "ramfs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The store's folder as it was found; `nearest` is itself, or the folder above that is there."""

    path: Path
    nearest: Path
    writable: bool
    filesystem: str
    free: int
    used: int
    loose: tuple[Path, ...]  # files that others than their owner may read or write


def descriptors(limit: int, jobs: int, needed: int) -> Finding:
    """Judge the limit of open files, when each job in flight has a connection of its own."""
    what = "open files"
    detail = f"up to {limit} may be open, {jobs} jobs at once need about {needed}"
    if limit < needed:
        return failed(what, detail, f"ulimit -n {2 * needed} (systemd: LimitNOFILE={2 * needed})")
    return ok(what, detail)


def disk(store: Store, cache_size: int) -> Iterator[Finding]:
    """Judge the store's folder."""
    what, path = "store", store.path
    if not store.writable:
        mend = f"install -d -m 700 -o $(id -un) {path}, as root; or set store.path to a folder of yours"
        yield failed(what, f"{store.nearest} may not be written by this user", mend)
        return
    there = "is there" if store.nearest == path else f"can be made in {store.nearest}"
    yield ok(what, f"{path} {there}, and may be written")
    yield _filesystem(store)
    yield _room(store, cache_size)
    if store.loose:
        names = " ".join(str(each) for each in store.loose)
        yield warn("store files", f"others may use {names}", f"chmod go= {names}")


def _filesystem(store: Store) -> Finding:
    what, detail = (
        "store file system",
        f"{store.path} lies on {store.filesystem or 'an unknown kind'}",
    )
    mend = "set store.path to a folder on a local disk"
    if store.filesystem in _SHARED or store.filesystem.startswith("fuse."):
        return failed(what, f"{detail}: its locks cannot be trusted", mend)
    if store.filesystem in _FLEETING:
        return warn(what, f"{detail}: a restart of the machine loses it", mend)
    return ok(what, detail)


def _room(store: Store, cache_size: int) -> Finding:
    what, wanted = "store room", max(cache_size - store.used, 0) + _LEDGER_ROOM
    detail = (
        f"{store.free // _MIB} MiB are free, ledger and cache may take {wanted // _MIB} MiB more"
    )
    if store.free < _LEAST_ROOM:
        return failed(what, detail, "free disk space")
    if store.free < wanted:
        return warn(what, detail, "free disk space, or lower store.cache_max_size")
    return ok(what, detail)


def memory(available: int | None, jobs: int) -> Finding:
    """Judge the memory that this process may still take; None: it is not known."""
    what, wanted = "memory", _IDLE_MEMORY + jobs * _JOB_MEMORY
    if available is None:
        return ok(what, "this system does not tell how much is available")
    detail = f"{available // _MIB} MiB are available, {jobs} jobs of 1 MiB at once take about {wanted // _MIB} MiB"
    if available < _IDLE_MEMORY:
        return failed(what, detail, "give the worker more memory")
    if available < wanted:
        return warn(what, detail, "give the worker more memory, or lower the tiers' concurrency")
    return ok(what, detail)


def records(*, result: timedelta, record: timedelta, deadline: timedelta) -> Finding:
    """Judge how long results are kept against the longest default deadline of a tier."""
    what = "records"
    detail = (
        f"results are kept for {_days(result)}, the knowledge that a job ended for {_days(record)}"
    )
    if result < deadline:
        return warn(
            what,
            f"{detail}; a job may end up to {_days(deadline)} after it was submitted, and its result be gone "
            "before its caller asks again",
            f"set store.result_ttl to at least {_days(deadline)}",
        )
    return ok(what, detail)


def filesystem_of(path: Path, mounts: str) -> str:
    """Give the kind of file system that a path lies on, from the text of /proc/self/mounts; "": not known."""
    best, kind = -1, ""
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:  # noqa: PLR2004  # device, place, kind
            continue
        place = Path(fields[1].replace("\\040", " "))
        # The last of equal ones lies on top.
        if path.is_relative_to(place) and len(place.parts) >= best:
            best, kind = len(place.parts), fields[2]
    return kind


def text(path: Path) -> str:
    """Give what a file of the kernel's says; "": there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def available_memory(meminfo: str, limit: str, current: str) -> int | None:
    """Give the bytes that may still be taken, from /proc/meminfo and the control group's limit and use."""
    found = [
        int(line.split()[1]) * 1024
        for line in meminfo.splitlines()
        if line.startswith("MemAvailable:")
    ]
    if limit.strip().isdigit() and current.strip().isdigit():
        found.append(max(int(limit) - int(current), 0))
    return min(found, default=None)


def _days(value: timedelta) -> str:
    hours = value / timedelta(hours=1)
    return f"{hours / 24:g}d" if hours >= 24 else f"{hours:g}h"  # noqa: PLR2004  # hours of a day
