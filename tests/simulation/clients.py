"""Those who use Warren: producers with their submissions and asks, operators with their replays."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from producer_sdk.wire import (
    ASK_KEY,
    PATHS,
    REQUESTS_EXCHANGE,
    Ask,
    CompletionRequest,
    Dedupe,
    Envelope,
    Lane,
    Verb,
    job_id,
    request_key,
)
from tests.properties import properties_of
from tests.simulation.journal import Submitted
from tests.simulation.process import TIER, ReplayProcess, tier_rules
from worker.broker import names
from worker.broker.codec import envelope, job_headers, read
from worker.broker.incoming import Incoming
from worker.core.content import inspect
from worker.core.model import Job

if TYPE_CHECKING:
    from tests.simulation.world import World

TENANTS: Final = ("acme", "bolt")
# The last client of each tenant has no callback queue any more.
CLIENTS: Final = ("web", "cron", "gone")
_AGAIN_S: Final = 0.5
_SPAN: Final = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sending:
    """A message on its way to the broker, by a tenant or (None) by an operator."""

    exchange: str
    key: str
    envelope: Envelope
    body: bytes
    tenant: str | None = None
    copies: int = 1


@dataclass(slots=True)
class Clients:
    """All producers and operators of a world; `unsent` messages wait for the broker to come back."""

    world: "World"
    operators: list[ReplayProcess] = field(default_factory=list)
    unsent: int = 0
    _numbers: int = 0
    _sent: dict[str, Incoming] = field(default_factory=dict)

    def bind(self) -> None:
        """Make the callback queues."""
        for tenant in TENANTS:
            for client in CLIENTS[:-1]:
                self.world.broker.bind_replies(f"{tenant}.{client}")

    def submit(
        self,
        tenant: str,
        key: str | None,
        content: int,
        *,
        dedupe: Dedupe = Dedupe.OFF,
        priority: int = 4,
        deadline_s: float | None = None,
        lane: Lane = Lane.INTERACTIVE,
        client: str = CLIENTS[0],
        copies: int = 1,
    ) -> None:
        """Publish a request; `copies` times, where its producer did not hear the first confirm."""
        now, body = self.world.clock.now(), b'{"model":"m","content":%d}' % content
        request = CompletionRequest(
            submission_id=self._next("s"),
            path=PATHS[0],
            body=body,
            submitted_at=now,
            idempotency_key=key,
            reply_to=f"{tenant}.{client}",
            deadline=None if deadline_s is None else now + timedelta(seconds=deadline_s),
            dedupe=dedupe,
            priority=priority,
        )
        self._note(
            request.submission_id,
            tenant,
            key or request.submission_id,
            client=client,
            content=inspect(PATHS[0], body).content_hash,
        )
        self._publish(
            _Sending(
                exchange=REQUESTS_EXCHANGE,
                key=request_key(TIER, lane),
                envelope=request.envelope(),
                body=body,
                tenant=tenant,
                copies=copies,
            )
        )

    def ask(self, verb: Verb, tenant: str, key: str) -> None:
        """Ask for a job's result, or for its end."""
        ask = Ask(
            ask_id=self._next("a"),
            verb=verb,
            idempotency_key=key,
            reply_to=f"{tenant}.{CLIENTS[0]}",
        )
        self._note(ask.ask_id, tenant, key, client=CLIENTS[0], content=None)
        self._publish(
            _Sending(
                exchange=REQUESTS_EXCHANGE,
                key=ASK_KEY,
                envelope=ask.envelope(),
                body=b"",
                tenant=tenant,
            )
        )

    def replay(self, dies_after_s: float | None = None) -> None:
        """Let an operator replay all dead letters, and perhaps die meanwhile."""
        operator = ReplayProcess(self.world, f"op{len(self.operators) + 1}")
        self.operators.append(operator)
        self.world.journal.tell(operator.name, "replays all dead letters")
        operator.start(operator.replay())
        if dies_after_s is not None:
            self.world.later(dies_after_s, self.world.kill, operator)

    def replay_by_hand(self, number: int) -> None:
        """Let an operator publish a copy for the run after a job's last one, whatever became of that."""
        messages = list(self._sent.values())
        job = self._next_run(messages[number % len(messages)]) if messages else None
        if job is not None:
            self.world.journal.tell("operator", f"replays {job.id[:6]} by hand as run {job.run}")
            copy = envelope(job, job_headers(job), kind="warren.replay")
            self._publish(
                _Sending(
                    exchange=names.REPLAY_EXCHANGE, key=job.queue_key, envelope=copy, body=job.body
                )
            )

    def _next_run(self, message: Incoming) -> Job | None:
        now = self.world.clock.now()
        job = read(message, rules=tier_rules(Lane.INTERACTIVE), now=now)
        run = self.world.database.connection.execute(
            "SELECT run FROM jobs WHERE id = ? AND content_hash = ? AND state != 'open'",
            (job.id, job.content_hash),
        ).get
        if run is None:
            return None
        return replace(job, run=run + 1, first=False, received_at=now, deadline=now + _SPAN)

    def _next(self, letter: str) -> str:
        self._numbers += 1
        return f"{letter}{self._numbers}"

    def _note(
        self, submission: str, tenant: str, key: str, *, client: str, content: str | None
    ) -> None:
        self.world.journal.submitted[submission] = Submitted(
            id=submission,
            job_id=job_id(tenant, key),
            tenant=tenant,
            content=content,
            route=f"{tenant}.{client}",
            owed=client != CLIENTS[-1],
        )

    def _publish(self, sending: _Sending) -> None:
        """Publish as a producer does: again and again until the broker has confirmed."""
        world, said = self.world, sending.envelope
        if not world.broker.up:
            self.unsent += 1
            world.later(_AGAIN_S, self._publish_again, sending)
            return
        properties = properties_of(said, "m")
        properties.user_id = sending.tenant
        for _ in range(sending.copies):
            world.broker.publish(sending.exchange, sending.key, properties, sending.body)
        submitted = world.journal.submitted.get(said.correlation_id or "")
        if submitted is None or sending.tenant is None:
            return
        submitted.accepted = True
        world.journal.tell(
            "producer", f"{submitted.id} for {submitted.job_id[:6]} is accepted, {sending.key}"
        )
        if submitted.content is not None:
            self._sent[submitted.id] = Incoming(
                exchange=sending.exchange,
                body=sending.body,
                headers=dict(said.headers),
                user_id=sending.tenant,
                correlation_id=said.correlation_id,
                reply_to=said.reply_to,
                priority=said.priority,
            )

    def _publish_again(self, sending: _Sending) -> None:
        self.unsent -= 1
        self._publish(sending)
