"""Who may do what on the broker."""

import pytest

from tests.faults.matrix import MATRIX, ROLES, violations
from tests.faults.vhost import Vhost

JOBS, ASKS = ("warren.jobs.standard.interactive", "warren.jobs.standard.bulk"), "warren.asks"

pytestmark = pytest.mark.broker


async def test_every_role_may_do_what_it_is_for_and_nothing_else(vhost: Vhost) -> None:
    checks, found = await violations(vhost)
    assert found == []
    assert checks >= 25 * len(ROLES)


async def test_a_right_too_many_and_a_right_too_few_are_both_noticed(vhost: Vhost) -> None:
    wider = {"configure": "^$", "write": r"^warren\.(park|return|replies)$", "read": "^$"}
    vhost.api("PUT", f"permissions/{vhost.name}/worker", wider)
    _, found = await violations(vhost)
    assert set(found) == {
        "worker may publish to warren.return, 2s.standard.interactive",
        "worker may not publish to warren.dead, standard",
        "worker may not publish to warren.dead, quarantine",
        *(
            f"worker may not {verb} {queue}"
            for verb, queues in (("consume", (*JOBS, ASKS)), ("purge", (JOBS[0], ASKS)))
            for queue in queues
        ),
    }


@pytest.mark.parametrize("role", ROLES)
def test_every_role_is_allowed_something_and_refused_much(role: str) -> None:
    allowed = sum(role in row.may for row in MATRIX)
    assert allowed >= 5
    assert len(MATRIX) - allowed >= 25
