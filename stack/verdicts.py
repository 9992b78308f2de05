"""What the facts of a machine mean for developing and trying Warren on it: plain functions."""

from collections.abc import Iterator, Sequence

from stack.finding import Finding, failed, ok, warn
from stack.ways import Way

_OLDEST, _NEWEST = (3, 11), (3, 13)
_MIB = 1024**2
# Packages, RabbitMQ unpacked, a demo's data.
_ROOM = 1024 * _MIB
_LEAST_ROOM = 300 * _MIB
_INSTALL = (
    "apt-get install rabbitmq-server (macOS: brew install rabbitmq; Fedora: dnf install rabbitmq-server), "
    "or set RABBITMQ_URL, or install docker with its compose plugin"
)


def python(version: Sequence[int]) -> Finding:
    """Judge the Python that `./dev` found."""
    what, text = "Python", ".".join(map(str, version))
    if tuple(version[:2]) < _OLDEST:
        return failed(
            what,
            f"{text} is older than 3.11",
            "install Python 3.13, or set WARREN_PYTHON to its path",
        )
    if tuple(version[:2]) > _NEWEST:
        return warn(
            what,
            f"{text} is newer than 3.13, the newest that is tested",
            "set WARREN_PYTHON to the path of a Python 3.11 to 3.13",
        )
    return ok(what, text)


def installer(*, uv: bool, venv: bool) -> Finding:
    """Judge what can make `.venv`."""
    what = "installer"
    if uv:
        return ok(what, "uv")
    if venv:
        return ok(what, "Python's venv and pip (uv would be quicker)")
    return failed(
        what,
        "this Python can make no virtual environment, and there is no uv",
        "apt-get install python3-venv, or pip install uv",
    )


def environment(*, exists: bool, answers: bool, current: bool) -> Finding:
    """Judge `.venv`."""
    what = ".venv"
    if not exists:
        return ok(what, "is made by the first command that needs it, in about a minute")
    if not answers:
        return failed(
            what, "its Python does not run: it was moved, or its Python is gone", "rm -rf .venv"
        )
    if not current:
        return warn(
            what,
            "is stale: made from other locks, by another Python or in another place",
            "./dev status",
        )
    return ok(what, "is as requirements/dev.lock says")


def broker(way: Way) -> Finding:
    """Judge the way to a broker."""
    what = "way to a broker"
    if way is Way.NONE:
        return failed(
            what,
            "no RABBITMQ_URL, no RabbitMQ installed, no apt-get with dpkg-deb, and no docker that answers",
            _INSTALL,
        )
    if way is Way.DOCKER:
        return warn(
            what,
            f"{way.value}; this way is untested against a real engine",
            "if it fails: " + _INSTALL,
        )
    return ok(what, way.value)


def docker(obstacle: str | None, *, needed: bool) -> Finding:
    """Judge docker with its compose plugin: only a machine with no other way to a broker needs it."""
    if obstacle is None:
        return ok("docker", "answers, with its compose plugin")
    if needed:
        return warn("docker", obstacle, "docker compose version && docker info")
    return ok("docker", f"is not needed here ({obstacle})")


def given_broker(*, amqp: str | None, management: str | None) -> Iterator[Finding]:
    """Judge the broker of RABBITMQ_URL by what went wrong on the way to its two addresses; None: nothing."""
    what = "RABBITMQ_URL"
    if amqp is not None:
        yield failed(what, amqp, "export RABBITMQ_URL=amqp://user:password@host:5672, or unset it")
    else:
        yield ok(what, "something listens there")
    if management is not None:
        mend = "rabbitmq-plugins enable rabbitmq_management, or export RABBITMQ_MANAGEMENT_URL"
        yield failed("its management API", management, mend)
    elif amqp is None:
        yield ok("its management API", "something listens there")


def room(free: int, *, writable: bool) -> Finding:
    """Judge the disk that this folder lies on."""
    what, detail = "this folder", f"{free // _MIB} MiB are free"
    if not writable:
        return failed(what, "may not be written by this user", "clone it into a folder of yours")
    if free < _LEAST_ROOM:
        return failed(what, detail, "free at least 1 GiB")
    if free < _ROOM:
        return warn(
            what, f"{detail}; packages, broker and a demo take up to 1 GiB", "free at least 1 GiB"
        )
    return ok(what, detail)


def ports(*, loopback: bool, probes: bool) -> Iterator[Finding]:
    """Judge whether one can listen on 127.0.0.1, and whether the worker's default port is free there."""
    if not loopback:
        yield failed("ports", "nothing can listen on 127.0.0.1", "ip link set lo up, as root")
        return
    yield ok("ports", "the stack takes free ones of 127.0.0.1")
    if not probes:
        yield warn(
            "port 9464",
            "is taken: a `warren worker` of your own could not listen there",
            "export WARREN_HTTP__LISTEN=127.0.0.1:0",
        )


def leftovers(
    *, up: Sequence[str], down: Sequence[str], demo: Sequence[str], unpacking: Sequence[str]
) -> Iterator[Finding]:
    """Judge what earlier runs left: parts of `./dev up` that run and that do not, a demo's, half-unpacked packages."""
    what = "leftovers"
    if up and down:
        yield warn(
            what,
            f"of ./dev up, {', '.join(up)} runs, {', '.join(down)} does not",
            "./dev up, or ./dev down",
        )
    elif up:
        yield ok("stack", f"./dev up runs: {', '.join(up)}")
    if demo:
        yield warn(
            what,
            f"a demo runs, or was killed: {', '.join(demo)}",
            "./dev demo ends it before it begins",
        )
    if unpacking:
        names = " ".join(unpacking)
        yield warn(what, "unpacking RabbitMQ was cut off", f"rm -rf {names}")
    if not (up or demo or unpacking):
        yield ok(what, "none")
