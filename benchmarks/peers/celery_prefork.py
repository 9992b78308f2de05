"""Celery with its default pool: a process for each call in flight, but no more than 16 of them."""

from typing import Final

from benchmarks.peers.asked import asked
from benchmarks.peers.celery_app import work

# Each takes some 50 MB, and a machine of a few cores runs no faster with more.
MOST_PROCESSES: Final = 16

if __name__ == "__main__":
    wanted = asked()
    work(wanted, "prefork", min(wanted.in_flight, MOST_PROCESSES))
