"""Which way to a broker this machine offers, in the order in which they are tried."""

import os
import shutil
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from stack import container, packages
from stack.server import installed


class Way(StrEnum):
    """A way to a broker."""

    URL = "the broker of RABBITMQ_URL"
    INSTALLED = "the RabbitMQ that is installed here"
    UNPACKED = "the RabbitMQ that was unpacked into this folder before"
    PACKAGES = "the distribution's packages, fetched with apt-get and unpacked into this folder"
    DOCKER = "a container, run with docker"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was found; `docker` counts only where nothing else is to be had, and is not asked before."""

    url: bool
    installed: bool
    unpacked: bool
    apt: bool
    docker: bool = False


def way(facts: Facts) -> Way:
    """Decide: what somebody runs already, what is here, what can be fetched, and docker last."""
    if facts.url:
        return Way.URL
    if facts.installed:
        return Way.INSTALLED
    if facts.unpacked:
        return Way.UNPACKED
    if facts.apt:
        return Way.PACKAGES
    return Way.DOCKER if facts.docker else Way.NONE


def look(servers: Path) -> Facts:
    """Look at this machine; `servers` is where packages are unpacked."""
    facts = Facts(
        url=bool(os.environ.get("RABBITMQ_URL")),
        installed=installed() is not None,
        unpacked=packages.is_unpacked(servers),
        apt=shutil.which("apt-get") is not None and shutil.which("dpkg-deb") is not None,
    )
    return (
        facts if way(facts) is not Way.NONE else replace(facts, docker=container.obstacle() is None)
    )


def without_packages(facts: Facts) -> Facts:
    """Give the facts once the packages turned out not to be had."""
    return replace(facts, unpacked=False, apt=False, docker=container.obstacle() is None)
