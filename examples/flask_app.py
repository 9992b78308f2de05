"""Flask: an invoice's summary, enqueued or awaited; with any server, threads and worker processes included.

WARREN_URL=amqp://USER:PASSWORD@HOST/VHOST flask --app examples/flask_app.py run
"""

import os
from datetime import timedelta
from http import HTTPStatus

from flask import Flask

from producer_sdk import (
    BrokerUnavailable,
    DeadlineExceeded,
    JobError,
    JobNotEnded,
    JobUnknown,
    PublishFailed,
    Request,
)
from producer_sdk.sync import CompletionClient, Completions

STATUS: dict[type[Exception], HTTPStatus] = {
    JobNotEnded: HTTPStatus.ACCEPTED,
    JobUnknown: HTTPStatus.NOT_FOUND,
    DeadlineExceeded: HTTPStatus.GATEWAY_TIMEOUT,
    JobError: HTTPStatus.BAD_GATEWAY,
    PublishFailed: HTTPStatus.SERVICE_UNAVAILABLE,
    BrokerUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}


def summary_of(invoice: int) -> Request:
    """Ask for an invoice's summary. Its key makes every repetition the same job, which is paid for once."""
    return Request(
        tier="standard",
        body={
            "model": "gpt-5-mini",
            "messages": [{"role": "user", "content": f"Summarise invoice {invoice}."}],
        },
        idempotency_key=f"invoice-{invoice}-summary",
        deadline=timedelta(seconds=20),
    )


def create_app(client: Completions | None = None) -> Flask:
    """Make the application. The client opens itself at its first use, anew in each worker process."""
    app = Flask(__name__)
    warren = client or CompletionClient(os.environ["WARREN_URL"])

    @app.post("/invoices/<int:invoice>/summary")
    def enqueue(invoice: int) -> tuple[dict[str, str], int]:
        job = warren.submit_request(summary_of(invoice), reply=False)  # stored once this returns
        return {"job": job.id}, HTTPStatus.ACCEPTED

    @app.get("/invoices/<int:invoice>/summary")
    def wait(invoice: int) -> dict[str, str]:
        return {"text": warren.submit_request(summary_of(invoice)).reply().text}

    @app.get("/jobs/<job>")
    def look(job: str) -> dict[str, str]:
        return {
            "text": warren.result(job, timeout=5).text
        }  # any process may ask, not only the submitter

    for kind, status in STATUS.items():
        app.register_error_handler(
            kind, lambda error, status=status: ({"error": str(error)}, status)
        )
    return app
