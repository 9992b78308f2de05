"""Django in one file: the client is a module's global, as it would be in an app's `warren.py`.

WARREN_URL=amqp://USER:PASSWORD@HOST/VHOST python examples/django_app.py runserver
"""

import os
import secrets
import sys
from datetime import timedelta
from http import HTTPStatus

from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpRequest, JsonResponse
from django.urls import path

from producer_sdk import BrokerUnavailable, DeadlineExceeded, JobError, PublishFailed
from producer_sdk.sync import CompletionClient, Completions

settings.configure(
    ROOT_URLCONF=__name__, ALLOWED_HOSTS=["localhost", "127.0.0.1"], SECRET_KEY=secrets.token_hex()
)

# Nothing is connected here: importing this costs nothing, and each worker process connects at its first use.
client: Completions = CompletionClient(os.environ["WARREN_URL"])


def ticket(request: HttpRequest, number: int) -> JsonResponse:
    """Classify a ticket: GET waits for the answer, any other method only enqueues it."""
    messages = [{"role": "user", "content": f"Which team should handle ticket {number}?"}]
    key = f"ticket-{number}"  # the same ticket is the same job, however often it is asked for
    try:
        if request.method != "GET":
            # In a transaction: transaction.on_commit(lambda: client.submit(…)), or a rollback leaves a job behind.
            job = client.submit(
                tier="standard",
                model="gpt-5-mini",
                messages=messages,
                idempotency_key=key,
                reply=False,
            )
            return JsonResponse({"job": job.id}, status=HTTPStatus.ACCEPTED)
        reply = client.complete(
            tier="standard",
            model="gpt-5-mini",
            messages=messages,
            idempotency_key=key,
            deadline=timedelta(seconds=20),
        )
    except DeadlineExceeded as error:
        return JsonResponse({"error": str(error)}, status=HTTPStatus.GATEWAY_TIMEOUT)
    except JobError as error:
        return JsonResponse({"error": str(error)}, status=HTTPStatus.BAD_GATEWAY)
    except (BrokerUnavailable, PublishFailed) as error:
        return JsonResponse({"error": str(error)}, status=HTTPStatus.SERVICE_UNAVAILABLE)
    return JsonResponse({"team": reply.text})


urlpatterns = [path("tickets/<int:number>/team", ticket)]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
