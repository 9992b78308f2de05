"""A test double for code that takes a `Completions`: scripted answers, recorded requests, no broker.

    client = FakeCompletionClient("Paris.")
    client.script(Failure(kind="context_too_long", status=400), when=lambda request: request.tier == "budget")
    async with client:
        reply = await client.complete(tier="standard", model="m", messages=[...])
    assert reply.text == "Paris."
    assert client.requests[0].tier == "standard"

Requests are checked as the real client checks them, and replies pass through the wire contract, so that what
works here works there. Deadlines and timeouts are real.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, Literal, TypeAlias, Union

from producer_sdk.completions import Completions
from producer_sdk.errors import ClientClosed, WarrenError
from producer_sdk.request import Request
from producer_sdk.wire import (
    Ask,
    CompletionReply,
    CompletionRequest,
    ReplyError,
    Source,
    Status,
    Verb,
    encode_body,
    error_body,
    job_id,
    reply_route,
)


class _Silence(Enum):
    SILENCE = auto()


SILENCE: Final = _Silence.SILENCE
"""An answer that never comes; `FakeCompletionClient.deliver` can give one later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """A completed job's answer with its circumstances; a text, mapping or bytes alone will often do."""

    body: str | bytes | Mapping[str, Any]
    source: Source = Source.UPSTREAM
    endpoint: str | None = "fake"
    attempts: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An ending without an answer; `ending` decides which `JobError` is raised."""

    kind: str
    ending: Literal[Status.DEAD_LETTERED, Status.EXPIRED, Status.CANCELLED, Status.REFUSED] = (
        Status.DEAD_LETTERED
    )
    message: str = "scripted failure"
    status: int | None = None
    code: str | None = None
    attempts: int = 1


Answer: TypeAlias = Union[  # noqa: UP007 - the name in quotes takes no `|`
    str,
    bytes,
    Mapping[str, Any],
    Success,
    Failure,
    WarrenError,
    Literal[_Silence.SILENCE],
    Callable[[Request], "Answer"],
]
"""What a script gives: a text (of a chat completion), a body, an ending, an error that the submission raises, or a
function that chooses one by the request."""


@dataclass(slots=True, kw_only=True)
class _Rule:
    when: Callable[[Request], bool]
    answers: list[Answer]

    def next(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class FakeCompletionClient(Completions):
    """A client whose answers are scripted.

    Attributes:
        requests: what was submitted, in order, including what a script refused.
        submissions: the same as wire messages, with their submission ids.
    """

    def __init__(self, *answers: Answer, tenant: str = "test", name: str = "fake") -> None:
        """Answer with `answers` in turn, the last for ever; `script` says more."""
        super().__init__(tenant=tenant, name=name)
        self.requests: list[Request] = []
        self.submissions: list[CompletionRequest] = []
        self._rules: list[_Rule] = []
        self._ended: dict[str, CompletionReply] = {}
        self._closed = False
        if answers:
            self.script(*answers)

    def script(
        self, *answers: Answer, when: Callable[[Request], bool] = lambda _request: True
    ) -> None:
        """Answer requests for which `when` is true, in turn, the last answer for ever; the newest script wins."""
        if not answers:
            raise ValueError("script() needs at least one answer")
        self._rules.insert(0, _Rule(when=when, answers=list(answers)))

    def deliver(
        self,
        submission_id: str,
        answer: str | bytes | Mapping[str, Any] | Success | Failure,
        *,
        run: int = 1,
    ) -> None:
        """Let a reply come now, as after `SILENCE`, or for a replay with a higher `run`."""
        key = next(
            (
                sent.idempotency_key
                for sent in self.submissions
                if sent.submission_id == submission_id
            ),
            None,
        )
        reply = _reply(submission_id, job_id(self.tenant, key or submission_id), answer, run)
        self._ended[reply.job_id] = reply
        if not self._mailboxes.put(reply):
            self._mailboxes.keep(reply)

    async def open(self) -> None:
        """Get ready, which takes nothing here."""

    async def close(self) -> None:
        """Let all who wait hear `ClientClosed`."""
        self._closed = True
        self._mailboxes.close()

    def _reply_route(self) -> str:
        return reply_route(self.tenant, self.name)

    async def _send_ask(self, ask: Ask) -> None:
        if self._closed:
            raise ClientClosed("the client is closed; make a new one, of the same name")
        job = ask.job_id or job_id(self.tenant, ask.idempotency_key or "")
        waiting = [
            sent.submission_id
            for sent in self.submissions
            if job_id(self.tenant, sent.idempotency_key or sent.submission_id) == job
        ]
        if job not in self._ended and ask.verb is Verb.CANCEL and waiting:
            for submission_id in waiting:
                self.deliver(submission_id, Failure(kind="cancelled", ending=Status.CANCELLED))
        refusal = Failure(kind="not_ended" if waiting else "unknown_job", ending=Status.REFUSED)
        answer = self._ended.get(job) or _reply(ask.ask_id, job, refusal, 1)
        self._mailboxes.put(answer.model_copy(update={"submission_id": ask.ask_id}))

    async def _send(self, request: Request, submission: CompletionRequest) -> None:
        if self._closed:
            raise ClientClosed("the client is closed; make a new one, of the same name")
        self.requests.append(request)
        self.submissions.append(submission)
        rule = next((rule for rule in self._rules if rule.when(request)), None)
        if rule is None:
            raise AssertionError(
                f"no script answers a request of tier {request.tier!r} for {request.path}; add one with script()"
            )
        answer = rule.next()
        while callable(answer):
            answer = answer(request)
        if isinstance(answer, WarrenError):
            raise answer
        if submission.reply_to is not None and answer is not SILENCE:
            self.deliver(submission.submission_id, answer)


def _reply(
    submission_id: str,
    job: str,
    answer: str | bytes | Mapping[str, Any] | Success | Failure,
    run: int,
) -> CompletionReply:
    match answer:
        case Failure():
            error = ReplyError(
                kind=answer.kind, message=answer.message, status=answer.status, code=answer.code
            )
            return CompletionReply(
                submission_id=submission_id,
                job_id=job,
                status=answer.ending,
                body=error_body(error),
                run=run,
                attempts=answer.attempts,
            )
        case Success():
            return CompletionReply(
                submission_id=submission_id,
                job_id=job,
                status=Status.COMPLETED,
                body=_bytes(answer.body),
                source=answer.source,
                endpoint=answer.endpoint,
                run=run,
                attempts=answer.attempts,
            )
        case _:
            return _reply(submission_id, job, Success(body=answer), run)


def _bytes(body: str | bytes | Mapping[str, Any]) -> bytes:
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        message = {"role": "assistant", "content": body}
        return encode_body({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    return encode_body(body)
