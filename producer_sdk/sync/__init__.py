"""The SDK for code without an event loop: Django and Flask, scripts, task queues.

    from producer_sdk.sync import CompletionClient

    client = CompletionClient("amqps://billing:secret@broker/warren")  # opens itself at the first use

    reply = client.complete(tier="standard", model="gpt-5-mini", messages=[...])

Names, parameters, results and errors are those of `producer_sdk`, of which everything here is made; only the
`await` is gone. The client's connections live in a thread of their own, any thread may call it, and a forked child gets
connections of its own.

The map of the package:

    client.py       CompletionClient, and the interface that it shares with its test double
    job.py          Job
    testing.py      FakeCompletionClient
    forwarding.py   makes synchronous methods of asynchronous ones
    relay.py        an asynchronous generator as a plain one
    session.py      one process's client: opened at the first use, closed once
    background.py   the loop, its thread, and forks
"""

from producer_sdk.sync.client import CompletionClient, Completions
from producer_sdk.sync.job import Job

__all__ = ["CompletionClient", "Completions", "Job"]
