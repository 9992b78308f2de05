"""The files and the environment of one private RabbitMQ node.

Everything of a node lies under one folder:

    home/         HOME of the node and its tools, with the cookie they share
    data/  logs/  the database; the log, `node.log`, and what the node printed, `console.log`
    etc/          configuration, made anew at each start
    node.json     what runs, or ran last, here
    node.pid      written by RabbitMQ
    lock          held by the node and its keeper for as long as either lives
"""

import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from stack.ports import Ports
from stack.server import Server

PLUGINS = "[rabbitmq_management].\n"
"""What a node's file of enabled plugins says, unless another is asked for."""

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+")
_LONGEST_PLAIN = 150
# No busy waiting and few schedulers: the node shares a small machine with its users.
_QUIET = "+sbwt none +sbwtdcpu none +sbwtdio none"
_LOOPBACK = "-kernel inet_dist_use_interface {127,0,0,1}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What runs, or ran last, in a folder: the contents of `node.json`."""

    name: str
    server: Server
    ports: Ports
    own_mapper: bool = True


def write_record(folder: Path, record: Record) -> None:
    """Note down what is about to run in `folder`."""
    text = json.dumps(asdict(record), indent=2, default=str)
    (folder / "node.json").write_text(text, encoding="utf-8")


def read_record(folder: Path) -> Record | None:
    """Give what `write_record` noted, or None if nothing (or nothing readable) was."""
    try:
        values = json.loads((folder / "node.json").read_text(encoding="utf-8"))
        server = values["server"]
        return Record(
            name=values["name"],
            server=Server(
                scripts=Path(server["scripts"]),
                erlang=Path(server["erlang"]),
                version=server["version"],
            ),
            ports=Ports(**values["ports"]),
            own_mapper=values.get("own_mapper", True),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def overlay(base: str, values: Mapping[str, str | None]) -> str:
    """Replace settings in the text of a rabbitmq.conf; None takes one away, comments stay."""
    kept = [line for line in base.splitlines() if line.partition("=")[0].strip() not in values]
    kept += [f"{key} = {value}" for key, value in values.items() if value is not None]
    return "\n".join(kept) + "\n"


def settings(ports: Ports, definitions: Path | None) -> dict[str, str | None]:
    """Give what a private node changes in the project's rabbitmq.conf."""
    return {
        "listeners.tcp.default": None,
        "listeners.tcp.local": f"127.0.0.1:{ports.amqp}",
        "management.tcp.ip": "127.0.0.1",
        "management.tcp.port": str(ports.http),
        "load_definitions": None if definitions is None else str(definitions),
        "log.console": "false",
        "log.file": "node.log",
        "log.file.level": "info",
        # A laptop's share, and room for a test to raise the alarm long before the disk is full.
        "vm_memory_high_watermark.relative": None,
        "vm_memory_high_watermark.absolute": "1GB",
        "disk_free_limit.absolute": "200MB",
    }


def prepare(
    folder: Path, *, ports: Ports, definitions: Path | None, base: str, plugins: str = PLUGINS
) -> None:
    """Make the folders, the cookie and the configuration files of a node; `plugins`: the text of its list of them."""
    for name in ("home", "data", "logs", "etc"):
        (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    cookie = folder / "home/.erlang.cookie"
    if not cookie.exists():
        cookie.touch(mode=0o600)
        cookie.write_text(secrets.token_hex(20), encoding="utf-8")
        cookie.chmod(0o400)
    loaded = None if definitions is None else plain(folder) / "etc/definitions.json"
    if definitions is not None:
        copy = folder / "etc/definitions.json"
        copy.touch(mode=0o600)
        copy.write_bytes(definitions.read_bytes())
    (folder / "etc/rabbitmq.conf").write_text(overlay(base, settings(ports, loaded)), "utf-8")
    (folder / "etc/enabled_plugins").write_text(plugins, encoding="utf-8")
    (folder / "etc/advanced.config").write_text("[].\n", encoding="utf-8")
    # The machine may have no /etc/hosts; Erlang's own resolver then knows the one name it needs.
    inetrc = '{host, {127,0,0,1}, ["localhost"]}.\n{lookup, [file, native]}.\n'
    (folder / "etc/inetrc").write_text(inetrc, encoding="utf-8")


def environment(folder: Path, record: Record) -> dict[str, str]:
    """Give the whole environment of the node and its tools; nothing else of ours leaks in."""
    home, server = plain(folder), record.server
    search = [str(plain(server.erlang)), os.environ.get("PATH", ""), "/usr/bin:/bin"]
    cores = min(2, os.cpu_count() or 1)
    return {
        "PATH": ":".join(part for part in search if part),
        "HOME": f"{home}/home",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "ERL_EPMD_PORT": str(record.ports.epmd),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "WARREN_MAPPER": "own" if record.own_mapper else "shared",
        "ERL_INETRC": f"{home}/etc/inetrc",
        "ERL_CRASH_DUMP_SECONDS": "0",
        "RABBITMQ_SCRIPTS_DIR": str(scripts(server)),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_NODENAME": f"{record.name}@localhost",
        "RABBITMQ_NODE_PORT": str(record.ports.amqp),
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_DIST_PORT": str(record.ports.dist),
        "RABBITMQ_MNESIA_BASE": f"{home}/data",
        "RABBITMQ_LOG_BASE": f"{home}/logs",
        "RABBITMQ_CONFIG_FILE": f"{home}/etc/rabbitmq.conf",
        "RABBITMQ_ADVANCED_CONFIG_FILE": f"{home}/etc/advanced.config",
        "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/etc/enabled_plugins",
        "RABBITMQ_GENERATED_CONFIG_DIR": f"{home}/etc/generated",
        "RABBITMQ_PID_FILE": f"{home}/node.pid",
        "RABBITMQ_SCHEDULER_BIND_TYPE": "u",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"+S {cores}:{cores} {_QUIET} {_LOOPBACK}",
        "RABBITMQ_CTL_ERL_ARGS": f"+S 1:1 {_QUIET} {_LOOPBACK}",
    }


def scripts(server: Server) -> Path:
    """Give a plain name of the scripts' folder, below one of the folder that they call home."""
    return plain(server.scripts.parent) / server.scripts.name


def plain(path: Path) -> Path:
    """Give a name of `path` that RabbitMQ's shell scripts can bear: short, and without spaces.

    That is the path itself, or else a link to it in a folder of this user below the system's
    temporary folder. A link that was swept away is made anew.
    """
    path = path.absolute()
    if set(str(path)) <= _PLAIN and len(str(path)) <= _LONGEST_PLAIN:
        return path
    links = Path(tempfile.gettempdir()) / f"warren-{os.getuid()}"
    links.mkdir(mode=0o700, exist_ok=True)
    if links.is_symlink() or links.stat().st_uid != os.getuid():
        raise PermissionError(f"{links} belongs to another user; set TMPDIR to a folder of yours")
    link = links / hashlib.sha256(str(path).encode()).hexdigest()[:16]
    if not link.is_symlink():
        link.symlink_to(path)
    return link
