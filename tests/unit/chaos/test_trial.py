"""What the experiments under load ask for, and that no fault of the auditor is left out of their bounds."""

import asyncio
import random
from collections import Counter
from dataclasses import fields
from itertools import islice
from types import SimpleNamespace
from typing import Any, cast

import pytest

from producer_sdk import Request
from stack.auditor import Findings
from tests.chaos.trial import Trial, bounds, figures

FAULTS = [each.name for each in fields(Findings) if each.default == ()]


def trial(seed: int = 1, canaries: int = 0) -> Trial:
    made: Any = SimpleNamespace(
        ground=SimpleNamespace(chance=random.Random(seed)),  # noqa: S311  # repeatable, not secret
        load=SimpleNamespace(tenants=("app", "stranger")),
        enough=asyncio.Event(),
        canaries=canaries,
        submitted=0,
    )
    return cast("Trial", made)


def requests(seed: int, count: int) -> list[tuple[str, Request]]:
    return list(islice(Trial._requests(trial(seed), count), count))


@pytest.mark.parametrize("fault", sorted({*FAULTS} - {"unrecorded_calls"}))
def test_whatever_the_auditor_finds_breaks_a_bound(fault: str) -> None:
    findings = Findings(accepted=1, jobs=1, calls=1, replies=1, **cast("Any", {fault: ("x",)}))
    assert sum(bound.broken for bound in bounds(findings, trial())) == 1
    assert figures(findings)[fault] == "x"


def test_a_call_that_a_death_excuses_breaks_none_and_a_secret_in_a_log_does() -> None:
    findings = Findings(accepted=1, jobs=1, calls=2, replies=1, unrecorded_calls=("x",))
    assert not any(bound.broken for bound in bounds(findings, trial()))
    assert any(bound.broken for bound in bounds(findings, trial(canaries=1)))


def test_the_same_seed_asks_the_same_in_the_same_order() -> None:
    assert requests(1, 200) == requests(1, 200) != requests(2, 200)


def test_both_tenants_ask_some_twice_and_some_of_an_upstream_that_fails() -> None:
    asked = requests(3, 2000)
    keys = Counter((tenant, each.idempotency_key) for tenant, each in asked)
    assert {tenant for tenant, _ in asked} == {"app", "stranger"}
    assert 50 < sum(count == 2 for count in keys.values()) < 150
    assert all(count <= 2 for count in keys.values())
    plans = sum(b"sim:" in bytes(each.body) for _, each in asked if isinstance(each.body, bytes))
    assert 80 < plans < 240
