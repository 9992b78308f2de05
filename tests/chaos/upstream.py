"""Experiment: an upstream gone mad. Most of its calls fail, in every way that it knows."""

from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Final

from simulator.calllog import Call
from stack.callbook import REFUSED
from tests.chaos.experiment import Bound, Ground, Measured
from tests.faults.broken import broken
from tests.faults.rest import at_rest
from tests.faults.stage import Stage, chat, open_stage
from tests.faults.tap import tapped
from worker.core.model import State

_JOBS: Final = 10_000
_WORKERS: Final = 2
_ENDPOINTS: Final = 8

_ATTEMPTS: Final = 5
_TRIES: Final = 2
_REFUSALS: Final = 20

# 30 % server errors, 20 % refusals with every form of Retry-After, 10 % hang, 5 % garbage, 5 % reset, 2 % drip.
_SHARES: Final = {
    "500": 0.1,
    "502": 0.05,
    "503": 0.1,
    "529": 0.05,
    "429": 0.05,
    "429(retry-after=0)": 0.02,
    "429(retry-after=-7)": 0.02,
    "429(retry-after=soon)": 0.03,
    "429(retry-after-ms=80)": 0.03,
    "429(retry-date=-60)": 0.03,
    "429(retry-after=1)": 0.01,
    "429(retry-date=1)": 0.01,
    "hang": 0.1,
    "garbage": 0.05,
    "reset": 0.05,
    "drip(0.2)": 0.02,
}
# An absurd wait stops its endpoint for minutes, so it comes seldom.
_ABSURD: Final = "429(retry-after=1000000000),ok"
_ABSURDS: Final = 2


async def run(ground: Ground) -> Measured:
    """Let all jobs end over an upstream that fails seven calls of ten."""
    count = ground.scaled(_JOBS, least=200)
    with ground.vhost() as vhost:
        async with open_stage(vhost, Path(ground.folder)) as stage, tapped(vhost) as tap:
            _configure(stage)
            stage.simulator.chaos({**_SHARES, "seed": ground.seed})
            for _ in range(_WORKERS):
                await stage.started()
            async with stage.client() as client:
                await stage.submit(client, (chat(f"mad {number}") for number in range(count)))
                await stage.submit(
                    client, (chat(f"absurd {n}", plan=_ABSURD) for n in range(_ABSURDS))
                )
                ground.tell(f"{count} jobs submitted")
                await at_rest(stage, within_s=1800)
            stage.journal.extend(await tap.drain())
            return _measured(stage, count + _ABSURDS)


def _configure(stage: Stage) -> None:
    """Give short timeouts, and several endpoints that are all the same upstream."""
    names = [f"e{number}" for number in range(_ENDPOINTS)]
    endpoints = "".join(
        f'[endpoints.{name}]\nbase_url = "{stage.simulator.url}/v1"\nread_timeout = "400ms"\n'
        for name in names
    )
    stage.config.write_text(
        f'[broker]\nurl = "{stage.vhost.url("worker")}"\n[store]\npath = "{stage.store}"\n{endpoints}'
        f'[tiers.standard]\nconcurrency = 64\nendpoints = "{", ".join(names)}"\n'
        'attempt_timeout = "2s"\ndeadline = "20m"\n'
        f"[retry]\nmax_attempts = {_ATTEMPTS}\ntries = {_TRIES}\nmax_refusals = {_REFUSALS}\n"
        'try_backoff_base = "50ms"\nattempt_backoffs = ["200ms", "500ms", "1s"]\n'
        'refusal_backoffs = ["200ms", "500ms", "1s"]\n',
        encoding="utf-8",
    )


def _measured(stage: Stage, count: int) -> Measured:
    findings, ledger, found = stage.audit(), stage.ledger(), broken(stage)
    refused = _by_job(stage, lambda call: call.status == HTTPStatus.TOO_MANY_REQUESTS)
    counted = _by_job(stage, lambda call: call.status not in REFUSED)
    made = _by_job(stage, lambda _: True)
    # The last attempt may be refused in each of its tries.
    most_refused = _REFUSALS + _TRIES - 1
    states = Counter(job.state for job in ledger)
    return Measured(
        work=f"{count} jobs, {findings.calls} calls, {_WORKERS} workers",
        bounds=(
            Bound(name="jobs not ended", measured=count - _ended(states), at_most=0),
            Bound(name="lost", measured=len(findings.lost), at_most=0),
            Bound(name="callers that did not hear", measured=len(findings.unheard), at_most=0),
            Bound(
                name=f"jobs with more than {_ATTEMPTS} x {_TRIES} calls",
                measured=sum(calls > _ATTEMPTS * _TRIES for calls in counted.values()),
                at_most=0,
            ),
            Bound(
                name=f"jobs refused more than {_REFUSALS} times",
                measured=sum(calls > most_refused for calls in refused.values()),
                at_most=0,
            ),
            # A call that finds an endpoint still overloaded is an attempt's or a refusal: that the log cannot tell.
            Bound(
                name="jobs with more calls than both",
                measured=sum(calls > _ATTEMPTS * _TRIES + most_refused for calls in made.values()),
                at_most=0,
            ),
            Bound(name="promises broken", measured=len(found), at_most=0),
        ),
        figures={
            "unrecorded": len(findings.unrecorded_calls),
            **{state.value: states[state] for state in State if states[state]},
            "refused calls": refused.total(),
            "most calls of a job": max(counted.values(), default=0),
            "most refusals of a job": max(refused.values(), default=0),
            "broken": ", ".join(sorted(found)) or "nothing",
        },
    )


def _by_job(stage: Stage, which: Callable[[Call], bool]) -> Counter[str]:
    return Counter(str(call.id).partition(".")[0] for call in stage.simulator.calls if which(call))


def _ended(states: Counter[State]) -> int:
    return states.total() - states[State.OPEN]
