"""The settings about budgets: what they may say, and what is told when they may not."""

from decimal import Decimal
from pathlib import Path

import pytest

from tests.unit.worker.settings_samples import MINIMAL, Folder
from worker.core.budgets import OnExceeded, Unpriced
from worker.core.spend import Per
from worker.settings.tables import describe


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_budget_has_a_cap_and_all_the_rest_has_defaults(folder: Folder) -> None:
    settings = folder.load(MINIMAL + '[budgets.all]\nper = "month"\nusd = "1500.25"\n')
    budget = settings.budgets["all"]
    assert (budget.per, budget.usd) == (Per.MONTH, Decimal("1500.25"))
    assert (budget.tenant, budget.tier) == (None, None)
    assert (budget.on_exceeded, budget.unpriced) == (OnExceeded.WAIT, Unpriced.ALLOW)


def test_everything_of_a_budget_can_be_said_in_the_file_and_in_the_environment(
    folder: Folder,
) -> None:
    text = MINIMAL + '[budgets.each]\nper = "day"\nusd = 25\ntenant = "*"\ntier = "premium"\n'
    environ = {
        "WARREN_BUDGETS__EACH__ON_EXCEEDED": "refuse",
        "WARREN_BUDGETS__EACH__UNPRICED": "refuse",
        "WARREN_BUDGETS__OTHER__PER": "day",
        "WARREN_BUDGETS__OTHER__USD": "0.50",
    }
    settings = folder.load(text, environ)
    budget = settings.budgets["each"]
    assert (budget.tenant, budget.tier, budget.usd) == ("*", "premium", Decimal(25))
    assert (budget.on_exceeded, budget.unpriced) == (OnExceeded.REFUSE, Unpriced.REFUSE)
    assert settings.budgets["other"].usd == Decimal("0.50")
    shown = {each.path: each.value for each in describe(settings)}
    assert shown["budgets.each.on_exceeded"] == "refuse"
    assert shown["budgets.other.usd"] == "0.50"


def test_all_that_is_wrong_is_told_at_once(folder: Folder) -> None:
    text = MINIMAL + (
        '[budgets.a]\nper = "week"\nusd = "-1"\ntenant = ""\n'
        '[budgets.b]\nper = "day"\nusd = "1"\ntier = "gold"\non_exceeded = "stop"\nunpriced = "no"\n'
        "[budgets.c]\nprice = 3\n"
    )
    problems = folder.problems(text)
    source = folder.config
    assert sorted(problems) == sorted(
        [
            f'budgets.a.per = "week" ({source}): must be one of day, month',
            f'budgets.a.usd = "-1" ({source}): must be US dollars such as "0.25", with at most 12 decimals',
            f'budgets.a.tenant = "" ({source}): must be a broker user of 1 to 255 characters, or "*"',
            f'budgets.b.on_exceeded = "stop" ({source}): must be one of wait, refuse',
            f'budgets.b.unpriced = "no" ({source}): must be one of allow, refuse',
            'budgets.b.tier: there is no tier "gold"; add [tiers.gold]',
            f"budgets.c.price ({source}): there is no such setting; did you mean unpriced?",
            "budgets.c.per is missing: set it in the file or as WARREN_BUDGETS__C__PER",
            "budgets.c.usd is missing: set it in the file or as WARREN_BUDGETS__C__USD",
        ]
    )


def test_two_budgets_for_the_same_money_are_refused(folder: Folder) -> None:
    same = 'per = "day"\nusd = "1"\ntenant = "acme"\n'
    text = f'{MINIMAL}[budgets.a]\n{same}[budgets.b]\n{same}[budgets.c]\nper = "month"\nusd = "9"\n'
    assert folder.problems(text) == (
        "budgets.b is for the same tenant, tier and day as budgets.a: keep one",
    )
