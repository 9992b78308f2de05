"""What the errors of a Redis mean for us."""

from typing import Final

from redis import exceptions as theirs

from worker.errors import StoreUnavailable

_MEMORY: Final = "is out of memory; raise its `maxmemory`, or shorten the lifetimes of results"
_REPLICA: Final = "takes no writes, it is a replica now; name the address that leads to the primary"
_DENIED: Final = "does not let us in; check user, password and the user's rights"
_SLOW: Final = "did not answer in time; look at its load, its slow log and the network"
_AWAY: Final = "cannot be reached; check that it runs, its address and the network"
_UNTRUSTED: Final = (
    "shows a certificate that is not trusted for this host; name the host that it is for in store.url, and its"
    " authority in store.ca_file"
)
# By what the server's error says: a script's error has no type of its own on every version.
_BY_WORD: Final = (
    ("OOM command", _MEMORY),
    ("READONLY", _REPLICA),
    ("read only replica", _REPLICA),
    (
        "MISCONF",
        "cannot write to its disk and so takes no writes; look at that disk and its log",
    ),
    ("NOREPLICAS", "has too few replicas and so takes no writes; bring them back"),
    ("BUSY", "is busy with a script that does not end; look at its slow log"),
    # Of a script's own commands; the first is what 7.0 says.
    ("The user executing the script", _DENIED),
    ("ACL failure in script", _DENIED),
    ("max number of clients", "has no connection left; raise its `maxclients`"),
    ("certificate verify failed", _UNTRUSTED),
)
_BY_TYPE: Final[tuple[tuple[type[Exception], str], ...]] = (
    (theirs.OutOfMemoryError, _MEMORY),
    (theirs.ReadOnlyError, _REPLICA),
    (theirs.BusyLoadingError, "is reading its data after a start; wait, it comes by itself"),
    (theirs.ClusterDownError, "is a cluster that is down; bring its nodes back"),
    (
        theirs.AskError,
        "is a cluster, and our keys lie on another node; name a server that has them",
    ),
    (theirs.AuthenticationError, _DENIED),
    (theirs.NoPermissionError, _DENIED),
    (theirs.TimeoutError, _SLOW),
    (TimeoutError, _SLOW),
    (theirs.ConnectionError, _AWAY),
    (OSError, _AWAY),
    (theirs.RedisError, "refuses us; look at its log"),
)
# How every version names the place in a script that failed.
_IN_SCRIPT: Final = "user_script"


def unavailable(error: Exception, place: str) -> Exception:
    """Give the `StoreUnavailable` that an error stands for, or the error itself when it is a bug of ours."""
    advice = _advice(error)
    if advice is None:
        return error
    told = StoreUnavailable(f"the Redis {place} {advice} ({type(error).__name__})")
    told.__cause__ = error
    return told


def _advice(error: Exception) -> str | None:
    text = str(error)
    if isinstance(error, theirs.RedisError):
        for word, advice in _BY_WORD:
            if word in text:
                return advice
    if type(error) is theirs.ResponseError and _IN_SCRIPT in text:
        return None
    return next((advice for kind, advice in _BY_TYPE if isinstance(error, kind)), None)
