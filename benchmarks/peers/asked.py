"""What the harness asks of a contestant: where the broker and the upstream are, and how many calls at once."""

import argparse
from dataclasses import dataclass
from typing import Final

JOBS: Final = "bench.jobs"
REPLIES: Final = "bench.replies"
TASK: Final = "bench.complete"
TIMEOUT_S: Final = 60
HEADERS: Final = {"content-type": "application/json", "authorization": "Bearer none"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The command line of every contestant.

    `url` is the broker's, `upstream` the address that takes a POST, `in_flight` the most calls at once.
    """

    url: str
    upstream: str
    in_flight: int


def asked() -> Asked:
    """Read the command line; a wrong one ends the process with status 2."""
    parser = argparse.ArgumentParser(description="A contestant of ./dev bench, in its own process.")
    parser.add_argument("--url", required=True, help="amqp://user:password@host:port/vhost")
    parser.add_argument("--upstream", required=True, help="the address to POST each request to")
    parser.add_argument("--in-flight", type=int, required=True, help="the most calls at once")
    options = parser.parse_args()
    return Asked(url=options.url, upstream=options.upstream, in_flight=options.in_flight)
