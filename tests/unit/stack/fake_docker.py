"""A `docker` for PATH that records what it is asked, and answers as its folder's file says.

There is no engine where these tests run: what is tested is what docker would be asked, and what is made of its
answers. Run as a program, `fake_docker.py FOLDER ARGUMENT ...`, this file is that docker.
"""

import json
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeDocker:
    """The fake in a folder that is put on PATH."""

    folder: Path

    def of(self, verb: str) -> list[dict[str, Any]]:
        """Give what it was asked with this verb: `asked`, and `environment` as far as it is RabbitMQ's."""
        log = self.folder / "asked.jsonl"
        text = log.read_text(encoding="utf-8") if log.exists() else ""
        lines = [json.loads(line) for line in text.splitlines()]
        return [line for line in lines if line["asked"][0] == verb]

    def answer(self, question: str, status: int, text: str = "") -> None:
        """Set exit status and text for all questions that begin or end like this."""
        file = self.folder / "answers.json"
        known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        file.write_text(json.dumps(known | {question: [status, text]}), encoding="utf-8")


def install(folder: Path, *, amqp: int = 1, http: int = 1) -> FakeDocker:
    """Put a healthy fake into a folder; its containers have these ports."""
    folder.mkdir()
    program = folder / "docker"
    command = shlex.join([sys.executable, "-I", __file__, str(folder)])
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    docker = FakeDocker(folder=folder)
    for question in ("compose", "info", "run", "rm"):
        docker.answer(question, 0)
    docker.answer("inspect", 0, "true")
    docker.answer("logs", 0, "boot failed")
    docker.answer("5672/tcp", 0, f"127.0.0.1:{amqp}")
    docker.answer("15672/tcp", 0, f"127.0.0.1:{http}")
    return docker


def main() -> int:
    folder, asked = Path(sys.argv[1]), sys.argv[2:]
    kept = {name: it for name, it in os.environ.items() if name.startswith("RABBITMQ_DEFAULT")}
    with (folder / "asked.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps({"asked": asked, "environment": kept}) + "\n")
    answers = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
    status, text = answers.get(asked[-1], answers.get(asked[0], [1, "unknown command"]))
    (sys.stderr if status else sys.stdout).write(f"{text}\n")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
