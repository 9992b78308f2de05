"""A plain script: submits a list of jobs, then waits for their answers; run twice, it pays once.

WARREN_URL=amqp://USER:PASSWORD@HOST/VHOST python examples/script.py 17 18 19
"""

import os
import sys
from collections.abc import Iterable, Iterator
from datetime import timedelta

from producer_sdk import JobError, Request, WarrenError
from producer_sdk.sync import CompletionClient, Completions


def summaries(invoices: Iterable[str]) -> Iterator[Request]:
    """Ask for each invoice's summary; an invoice's key makes every repetition the same job."""
    for invoice in invoices:
        yield Request(
            tier="standard",
            body={
                "model": "gpt-5-mini",
                "messages": [{"role": "user", "content": f"Summarise invoice {invoice}."}],
            },
            idempotency_key=f"invoice-{invoice}-summary",
            deadline=timedelta(minutes=2),
        )


def run(client: Completions, invoices: list[str]) -> int:
    """Print every summary, or why there is none; give the number of those that failed."""
    failed = 0
    submitted = list(client.submit_many(summaries(invoices)))
    for invoice, job in zip(invoices, submitted, strict=True):
        if isinstance(job, WarrenError):  # not stored
            print(f"{invoice}: {job}", file=sys.stderr)
            failed += 1
            continue
        try:
            print(f"{invoice}: {job.reply().text}")
        except JobError as error:  # stored, and ended without an answer
            print(f"{invoice}: {error}", file=sys.stderr)
            failed += 1
    # Fire and forget: stored once this returns, and nobody waits for its reply.
    client.submit(
        tier="budget",
        lane="bulk",
        model="gpt-5-nano",
        messages=[{"role": "user", "content": f"Compare invoices {', '.join(invoices)}."}],
        idempotency_key=f"compare-{'-'.join(invoices)}",
        reply=False,
    )
    return failed


if __name__ == "__main__":
    with CompletionClient(os.environ["WARREN_URL"]) as warren:
        sys.exit(1 if run(warren, sys.argv[1:]) else 0)
