"""FastAPI: the asynchronous client, opened and closed with the application.

WARREN_URL=amqp://USER:PASSWORD@HOST/VHOST uvicorn --factory examples.fastapi_app:create_app
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from producer_sdk import CompletionClient, Completions, DeadlineExceeded, JobError, WarrenError


def title_of(number: int) -> dict[str, Any]:
    """Ask for a document's title; its key makes every repetition the same job, which is paid for once."""
    return {
        "tier": "standard",
        "idempotency_key": f"document-{number}-title",
        "model": "gpt-5-mini",
        "messages": [{"role": "user", "content": f"Give document {number} a title."}],
    }


def create_app(client: Completions | None = None) -> FastAPI:
    """Make the application; without a client, with one for the broker at WARREN_URL."""
    warren = client or CompletionClient(os.environ["WARREN_URL"])

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with warren:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/documents/{number}/title", status_code=HTTPStatus.ACCEPTED)
    async def enqueue(number: int) -> dict[str, str]:
        job = await warren.submit(**title_of(number), reply=False)  # stored once this returns
        return {"job": job.id}

    @app.get("/documents/{number}/title")
    async def wait(number: int) -> dict[str, str]:
        reply = await warren.complete(**title_of(number), deadline=timedelta(seconds=20))
        return {"title": reply.text}

    @app.exception_handler(WarrenError)
    async def failed(_request: Request, error: WarrenError) -> JSONResponse:
        match error:
            case DeadlineExceeded():
                status = HTTPStatus.GATEWAY_TIMEOUT
            case JobError():
                status = HTTPStatus.BAD_GATEWAY
            case _:  # the request did not get into the queue
                status = HTTPStatus.SERVICE_UNAVAILABLE
        return JSONResponse({"error": str(error)}, status_code=status)

    return app
