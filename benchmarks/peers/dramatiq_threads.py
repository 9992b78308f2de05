"""dramatiq in one process with a thread for each call in flight; a message is acknowledged when its actor has ended.

Its broker has a connection for each thread, and `confirm_delivery` makes every publish wait for the broker's confirm.
"""

import signal
import threading
from typing import Any

import dramatiq
import pika
import requests
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.middleware import Retries
from requests.adapters import HTTPAdapter

from benchmarks.peers.asked import HEADERS, JOBS, REPLIES, TASK, TIMEOUT_S, Asked, asked


def main(wanted: Asked) -> None:
    """Work until the process is told to end."""
    broker = RabbitmqBroker(url=wanted.url, confirm_delivery=True, middleware=[Retries()])
    dramatiq.set_broker(broker)
    session = requests.Session()
    session.mount("http://", HTTPAdapter(pool_maxsize=wanted.in_flight))
    session.headers.update(HEADERS)
    session.trust_env = False

    @dramatiq.actor(actor_name=TASK, queue_name=JOBS)
    def complete(number: str, body: dict[str, Any]) -> None:
        response = session.post(wanted.upstream, json=body, timeout=TIMEOUT_S)
        response.raise_for_status()
        broker.channel.basic_publish(
            "",
            REPLIES,
            response.content,
            pika.BasicProperties(
                content_type="application/json", correlation_id=number, delivery_mode=2
            ),
        )

    worker = dramatiq.Worker(broker, worker_threads=wanted.in_flight)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    worker.start()
    ended.wait()
    worker.stop()


if __name__ == "__main__":
    main(asked())
