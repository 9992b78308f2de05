"""The request of a benchmark, and the message that each framework's workers take it in.

The formats are those of the frameworks' own producers, written out here so that one publisher fills every queue:
Celery's message protocol 2, and the JSON of dramatiq 2 and taskiq 0.13.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from benchmarks.peers.asked import JOBS, TASK
from producer_sdk.wire import CompletionRequest, Dedupe

_BODY_BYTES: Final = 1024
_MODEL: Final = "gpt-5-mini"
_ROUTE: Final = "producer.bench"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One message to publish; `number` is the correlation id that its reply has to carry.

    `key` is the routing key; none: that of the contestant's route.
    """

    number: str
    body: bytes
    key: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    reply_to: str | None = None
    priority: int | None = None
    kind: str | None = None
    content_type: str = "application/json"
    content_encoding: str | None = None


def request(number: str) -> dict[str, Any]:
    """Give a chat completion whose JSON takes 1 KB, different for each number, so that no cache answers it."""
    made = {"model": _MODEL, "messages": [{"role": "user", "content": f"{number} "}]}
    missing = _BODY_BYTES - len(json.dumps(made))
    made["messages"][0]["content"] += ("lorem ipsum " * (missing // 12 + 1))[:missing]  # type: ignore[index]  # made above
    return made


def plain(number: str) -> Letter:
    """Give the request as it is, for workers that read JSON."""
    return Letter(number=number, body=json.dumps(request(number)).encode())


def celery(number: str) -> Letter:
    """Give the message of a Celery task with the arguments (number, request)."""
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return Letter(
        number=number,
        body=json.dumps([[number, request(number)], {}, embed]).encode(),
        headers={
            "lang": "py",
            "task": TASK,
            "id": number,
            "root_id": number,
            "parent_id": None,
            "group": None,
            "eta": None,
            "expires": None,
            "retries": 0,
            "timelimit": [None, None],
            "argsrepr": "",
            "kwargsrepr": "{}",
            "origin": "bench",
            "ignore_result": True,
        },
        content_encoding="utf-8",
    )


def dramatiq(number: str) -> Letter:
    """Give the message of a dramatiq actor with the arguments (number, request)."""
    message = {
        "queue_name": JOBS,
        "actor_name": TASK,
        "args": [number, request(number)],
        "kwargs": {},
        "options": {},
        "message_id": number,
        "message_timestamp": 0,
    }
    return Letter(number=number, body=json.dumps(message).encode())


def taskiq(number: str) -> Letter:
    """Give the message of a taskiq task with the arguments (number, request)."""
    message: dict[str, Any] = {
        "task_id": number,
        "task_name": TASK,
        "labels": {},
        "labels_types": None,
        "args": [number, request(number)],
        "kwargs": {},
    }
    headers = {"task_id": number, "task_name": TASK}
    return Letter(number=number, body=json.dumps(message).encode(), headers=headers)


def warren(number: str, now: datetime, dedupe: Dedupe, lane: str) -> Letter:
    """Give the message of a Warren job for a lane such as "standard.bulk", as its SDK makes it."""
    said = CompletionRequest(
        submission_id=number,
        path="/v1/chat/completions",
        body=json.dumps(request(number)).encode(),
        submitted_at=now,
        reply_to=_ROUTE,
        dedupe=dedupe,
    )
    envelope = said.envelope()
    return Letter(
        number=number,
        body=said.body,
        key=lane,
        headers=envelope.headers,
        reply_to=envelope.reply_to,
        priority=envelope.priority,
        kind=envelope.kind,
    )
