"""Celery with its gevent pool: a greenlet for each call in flight, late acknowledgement, `requests`."""

from gevent import monkey

monkey.patch_all()  # before anything that opens sockets is imported

from benchmarks.peers.asked import asked  # noqa: E402  # see above
from benchmarks.peers.celery_app import work  # noqa: E402

if __name__ == "__main__":
    wanted = asked()
    work(wanted, "gevent", wanted.in_flight)
