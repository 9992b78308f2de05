"""A Flask server as a pre-forking one is: it answers in two threads, forks, and answers in both processes."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

from examples.flask_app import create_app

app = create_app()


def ask(who: str, invoice: int) -> None:
    """Enqueue a summary without waiting, wait for it, then look the result up by the job's id."""
    browser = app.test_client()
    enqueued = browser.post(f"/invoices/{invoice}/summary")
    assert enqueued.status_code == 202, enqueued.text
    waited = browser.get(f"/invoices/{invoice}/summary")
    assert waited.status_code == 200, waited.text
    looked = browser.get(f"/jobs/{enqueued.get_json()['job']}")
    assert looked.get_json() == waited.get_json(), looked.text
    sys.stdout.write(f"{who}\n")


def serve(who: str, first: int) -> None:
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(ask, [who] * 2, [first, first + 1]))
    sys.stdout.flush()


serve("parent", 1)
child = os.fork()
if not child:
    serve("child", 3)
    sys.exit(0)
serve("parent", 5)
assert os.waitpid(child, 0)[1] == 0
