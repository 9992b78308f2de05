"""What the two Celery contestants share: one task that is acknowledged late, and a worker of a given pool.

Results do not go through a result backend: the task publishes its reply, confirmed, as the others do.
"""

from typing import Any

import requests
from celery import Celery
from kombu import Exchange, Queue
from kombu.pools import producers
from requests.adapters import HTTPAdapter

from benchmarks.peers.asked import HEADERS, JOBS, REPLIES, TASK, TIMEOUT_S, Asked


def work(wanted: Asked, pool: str, concurrency: int) -> None:
    """Run a worker until the process is told to end."""
    app = Celery("bench", broker=wanted.url)
    app.conf.update(
        broker_transport_options={"confirm_publish": True},
        broker_pool_limit=concurrency,
        task_acks_late=True,
        task_ignore_result=True,
        task_queues=[Queue(JOBS, Exchange(""), routing_key=JOBS, no_declare=True)],
        task_default_queue=JOBS,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
    )
    session = requests.Session()
    session.mount("http://", HTTPAdapter(pool_maxsize=concurrency))
    session.headers.update(HEADERS)
    session.trust_env = False

    @app.task(name=TASK)
    def complete(number: str, body: dict[str, Any]) -> None:
        response = session.post(wanted.upstream, json=body, timeout=TIMEOUT_S)
        response.raise_for_status()
        with producers[app.connection_for_write()].acquire(block=True) as producer:
            producer.publish(
                response.content,
                exchange="",
                routing_key=REPLIES,
                correlation_id=number,
                content_type="application/json",
                content_encoding="utf-8",
                delivery_mode=2,
            )

    app.worker_main(
        [
            *("worker", "--pool", pool, "--concurrency", str(concurrency)),
            *("--loglevel", "warning", "--without-gossip", "--without-mingle"),
            *("--without-heartbeat", "--queues", JOBS),
        ]
    )
