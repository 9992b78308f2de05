"""Which failures cost nothing, and which nobody knows of."""

import pytest

from worker.core.charges import cost_of_break, cost_of_refusal
from worker.core.classify import Break


@pytest.mark.parametrize("status", [301, 400, 401, 404, 429, 500, 503, 529])
def test_what_was_refused_or_failed_at_the_upstream_costs_nothing(status: int) -> None:
    assert cost_of_refusal(status) == 0


@pytest.mark.parametrize("status", [101, 200, 204, 408, 502, 504, 524])
def test_what_may_have_been_worked_on_has_no_known_cost(status: int) -> None:
    assert cost_of_refusal(status) is None


def test_a_call_that_was_never_sent_costs_nothing_and_any_other_break_is_unknown() -> None:
    unknown = {broken for broken in Break if cost_of_break(broken) is None}
    assert unknown == {Break.SILENT, Break.CUT, Break.PROTOCOL}
    assert {cost_of_break(broken) for broken in set(Break) - unknown} == {0}
