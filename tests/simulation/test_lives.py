"""Hypothesis draws what befalls the world, and makes a failure small: the auditor must find nothing."""

import asyncio

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from producer_sdk.wire import Dedupe, Verb
from tests.simulation.auditor import audit
from tests.simulation.clients import CLIENTS, TENANTS
from tests.simulation.schedule import database
from tests.simulation.tasks import DeadlockError, RunawayError
from tests.simulation.upstream import MOODS, Mood
from tests.simulation.weather import Outage
from tests.simulation.world import World

WORKERS = st.integers(0, 1)
SOON = st.sampled_from([0.0, 0.01, 0.3, 5.0])


class Lives(RuleBasedStateMachine):
    world: World

    @initialize(seed=st.integers(0, 2**16), mood=st.sampled_from(MOODS))
    def begin(self, seed: int, mood: Mood) -> None:
        self.world = World(seed, database(), workers=2, mood=mood)
        self.world.start()

    @rule(
        tenant=st.sampled_from(TENANTS),
        key=st.sampled_from(["k1", "k2", None]),
        content=st.integers(0, 1),
        dedupe=st.sampled_from(Dedupe),
        client=st.sampled_from(CLIENTS),
        copies=st.integers(1, 2),
    )
    def submit(
        self,
        tenant: str,
        key: str | None,
        content: int,
        *,
        dedupe: Dedupe,
        client: str,
        copies: int,
    ) -> None:
        self.world.clients.submit(tenant, key, content, dedupe=dedupe, client=client, copies=copies)

    @rule(verb=st.sampled_from(Verb), tenant=st.sampled_from(TENANTS))
    def ask(self, verb: Verb, tenant: str) -> None:
        self.world.clients.ask(verb, tenant, "k1")

    @rule(dies_after_s=st.sampled_from([None, 0.0, 0.01]))
    def replay(self, dies_after_s: float | None) -> None:
        self.world.clients.replay(dies_after_s)

    @rule(number=st.integers(0, 5))
    def replay_by_hand(self, number: int) -> None:
        self.world.clients.replay_by_hand(number)

    @rule(index=WORKERS)
    def kill(self, index: int) -> None:
        self.world.harm.kill(index)

    @rule(index=WORKERS, steps=st.integers(1, 100))
    def die_within(self, index: int, steps: int) -> None:
        self.world.harm.die_within(index, steps)

    @rule(index=WORKERS, seconds=st.sampled_from([1.0, 18.0]))
    def suspend(self, index: int, seconds: float) -> None:
        self.world.harm.suspend(index, seconds)

    @rule(index=WORKERS, which=st.integers(0, 1), broker_s=SOON, client_s=SOON)
    def cut(self, index: int, which: int, broker_s: float, client_s: float) -> None:
        self.world.harm.cut(index, which, broker_s, client_s)

    @rule(seconds=SOON)
    def restart_broker(self, seconds: float) -> None:
        self.world.harm.restart_broker(seconds)

    @rule(kind=st.sampled_from(["out", "flaky", "unknown"]), seconds=st.sampled_from([0.5, 3.0]))
    def outage(self, kind: Outage, seconds: float) -> None:
        self.world.harm.outage(kind, seconds)

    @rule(index=WORKERS, grace_s=st.sampled_from([0.1, 30.0]))
    def drain(self, index: int, grace_s: float) -> None:
        self.world.harm.drain(index, grace_s)

    @rule(seconds=st.sampled_from([0.001, 0.05, 1.0, 20.0]))
    def pass_by(self, seconds: float) -> None:
        self.world.loop.go_on(asyncio.sleep(seconds))

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            violations = self.world.loop.go_on(self.come_to_rest())
        except (DeadlockError, RunawayError) as error:
            violations = [f"stuck: {error}"]
        finally:
            self.world.loop.end()
        assert violations == []

    async def come_to_rest(self) -> list[str]:
        self.world.heal()
        await self.world.settled()
        left = await self.world.close()
        return [str(violation) for violation in audit(self.world, left)]


def test_no_life_that_hypothesis_draws_breaks_a_promise() -> None:
    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=60,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
