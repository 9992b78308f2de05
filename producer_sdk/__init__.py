"""What a backend service installs: submit LLM requests to Warren, await their replies.

    import asyncio
    from datetime import timedelta
    from producer_sdk import CompletionClient, JobFailed

    async def main() -> None:
        async with CompletionClient("amqps://billing:secret@broker/warren", name="billing-1") as client:
            try:
                reply = await client.complete(
                    tier="standard", priority="high", deadline=timedelta(minutes=2), idempotency_key="invoice-17",
                    model="gpt-5-mini", messages=[{"role": "user", "content": "Summarise invoice 17."}],
                )
                print(reply.text, reply.usage)
            except JobFailed as error:
                print(error)  # says how to look at it and to replay it

    asyncio.run(main())

The map of the package:

    client.py       CompletionClient: connections, opening, closing
    completions.py  Completions: the interface that the client and its test double share
    request.py      Request: what to ask, and how it is to be treated
    job.py          Job: a submission and the way to its reply
    reply.py        Reply, Usage, Timings, and which reply means which error
    errors.py       every error, in one tree
    testing.py      FakeCompletionClient, for tests of code that uses the client
    sync/           all of it for code without an event loop
    publisher.py    publishing with confirms
    replies.py      the callback queue
    waiting.py      who waits for which reply
    batch.py        many requests, each result as it arrives
    flight.py       a bounded number of tasks at a time
    connection.py   connections, and what the broker's refusals mean
    hosts.py        several hosts in one URL
    wire.py         the contract with the worker: names and shapes, no AMQP
    given.py        durations and counts as callers give them
    clock.py        the only reader of wall time
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from producer_sdk.batch import BatchResult
    from producer_sdk.client import CompletionClient
    from producer_sdk.completions import Completions
    from producer_sdk.errors import (
        AccessRefused,
        BrokerUnavailable,
        BudgetExceeded,
        ClientClosed,
        DeadlineExceeded,
        InvalidRequest,
        InvalidSetting,
        JobCancelled,
        JobError,
        JobExpired,
        JobFailed,
        JobNotEnded,
        JobUnknown,
        PublishFailed,
        PublishRefused,
        PublishUnconfirmed,
        PublishUnsent,
        QueueFull,
        ReplyNotRequested,
        ReplyTimeout,
        ResultExpired,
        SubmissionRefused,
        TierUnknown,
        TopologyMissing,
        UnexpectedBody,
        WarrenError,
        WrongThread,
    )
    from producer_sdk.job import Job
    from producer_sdk.reply import Reply, Timings, Usage
    from producer_sdk.request import Request
    from producer_sdk.wire import Dedupe, Lane, Priority, Source

__all__ = [
    "AccessRefused",
    "BatchResult",
    "BrokerUnavailable",
    "BudgetExceeded",
    "ClientClosed",
    "CompletionClient",
    "Completions",
    "DeadlineExceeded",
    "Dedupe",
    "InvalidRequest",
    "InvalidSetting",
    "Job",
    "JobCancelled",
    "JobError",
    "JobExpired",
    "JobFailed",
    "JobNotEnded",
    "JobUnknown",
    "Lane",
    "Priority",
    "PublishFailed",
    "PublishRefused",
    "PublishUnconfirmed",
    "PublishUnsent",
    "QueueFull",
    "Reply",
    "ReplyNotRequested",
    "ReplyTimeout",
    "Request",
    "ResultExpired",
    "Source",
    "SubmissionRefused",
    "TierUnknown",
    "Timings",
    "TopologyMissing",
    "UnexpectedBody",
    "Usage",
    "WarrenError",
    "WrongThread",
]

# Where these names are defined. Each is imported when it is asked for: who needs the wire contract alone, as the worker
# does, loads no client and no AMQP library with it. The light ones come first.
_MODULES = (
    "errors",
    "wire",
    "reply",
    "request",
    "job",
    "completions",
    "batch",
    "client",
)


if not TYPE_CHECKING:  # to a type checker it would make every name one of ours

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            return import_module(f"{__name__}.{name}")
        if name in __all__:
            for each in _MODULES:
                module = import_module(f"{__name__}.{each}")
                if hasattr(module, name):
                    value = globals()[name] = getattr(module, name)
                    return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
