"""The Dockerfile, read; and what Docker would make of its first lines, made here without Docker.

hadolint knows the syntax and refuses what is wrong; this reads what is right.
"""

import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tests.faults.vhost import ROOT

FILE = ROOT / "Dockerfile"


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, its lines joined."""

    name: str
    text: str

    @property
    def options(self) -> dict[str, str]:
        """What stands as `--name=value` before the arguments."""
        return dict(re.findall(r"--([\w-]+)=(\S+)", self.text))

    @property
    def arguments(self) -> list[str]:
        """The words that are no options."""
        return [word for word in shlex.split(self.text) if not word.startswith("--")]


Stages: TypeAlias = dict[str, list[Instruction]]


def stages() -> Stages:
    """Give the instructions of each stage by its name, FROM included."""
    lines = [
        line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    ]
    found: Stages = {}
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        name, _, text = line.partition(" ")
        if name == "FROM":
            stage = found.setdefault(text.partition(" AS ")[2], [])
        stage.append(Instruction(name, " ".join(text.split())))
    return found


def values(instructions: list[Instruction], name: str) -> dict[str, str]:
    """Give the NAME=value pairs of all ENV or LABEL instructions."""
    pairs = [
        word.partition("=")
        for each in instructions
        if each.name == name
        for word in shlex.split(each.text)
    ]
    return {key: value for key, _, value in pairs}


def context(folder: Path) -> None:
    """Copy what `.dockerignore` lets through: it names what is let through, and what in that is not."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_through = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    inside = [rule for rule in rules[1:] if not rule.startswith("!")]
    assert all(rule.startswith("**/") for rule in inside)
    ignored = shutil.ignore_patterns(*(rule.removeprefix("**/") for rule in inside))
    for name in let_through:
        source, target = ROOT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=ignored)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


def build(stage: list[Instruction], folder: Path, *, sent: Path, python: Path) -> None:
    """Carry out a stage's COPY and RUN with `folder` in place of the root and `python` in place of the image's."""
    work = folder
    places = {"/opt/": f"{folder}/opt/", "/wheels": f"{folder}/wheels"}
    for each in stage:
        if each.name == "WORKDIR":
            work = folder / each.text.lstrip("/")
            work.mkdir(parents=True)
        elif each.name == "COPY":
            *sources, target = each.arguments
            for source in sources:
                _copy(sent / source, work / target, into=len(sources) > 1 or target.endswith("/"))
        elif each.name == "RUN":
            command = each.text
            for place, here in places.items():
                command = command.replace(place, here)
            _run(command, work, python)


def _copy(source: Path, target: Path, *, into: bool) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
        return
    target = target / source.name if into else target
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def _run(command: str, work: Path, python: Path) -> None:
    done = subprocess.run(
        ["/bin/sh", "-ec", command],
        cwd=work,
        env=os.environ | {"PATH": f"{python.parent}:/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout
