"""`warren spend`: the budgets' table, and who has spent."""

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.contract.world import INVALID, Ear, make_job
from tests.unit.worker.settings_samples import MINIMAL
from worker.cli.commands import warren
from worker.cli.spend import accounts
from worker.clock import SystemClock
from worker.core.budgets import Budget
from worker.core.model import DeadLetter, Work
from worker.core.spend import Account, Cap, Counted, Per, Pot, Reserved
from worker.store.embedded import EmbeddedStore
from worker.store.files import ledger_file

NOON = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)
ACME = Cap(account=Account(tenant="acme"), per=Per.DAY, usd=Decimal(1))
BUDGETS = """
[budgets.each]
per = "day"
usd = "1.00"
tenant = "*"
[budgets.all]
per = "month"
usd = "100"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration and a store in which acme has spent and holds money, and two jobs have failed."""

    async def fill() -> None:
        path = ledger_file(tmp_path / "store")
        async with EmbeddedStore(path, clock=SystemClock(), listener=Ear()) as store:
            for name, amount in (("a", "0.25"), ("b", "0.5")):
                held = await store.spend.reserve(name, [ACME], Decimal(amount))
                assert isinstance(held, Reserved)
                if name == "a":
                    await store.spend.settle(held, Decimal("0.2000000001"))
            for key, spent, tenant in (("k1", "0.1", "acme"), ("k2", "0.000000000001", "globex")):
                job = make_job(key, tenant=tenant)
                await store.ledger.begin(job, max_attempts=5)
                work = Work(calls=2, spent=Decimal(spent), unpriced=1)
                letter = DeadLetter(reason=INVALID.kind)
                await store.ledger.end(job, INVALID, letter, work=work, claimed=True)

    asyncio.run(fill())
    file = tmp_path / "warren.toml"
    file.write_text(f'{MINIMAL}{BUDGETS}[store]\npath = "{tmp_path / "store"}"\n')
    return file


def run(*arguments: str, config: Path) -> Result:
    return CliRunner().invoke(
        warren, ["spend", *arguments, "--config", str(config)], env={"WARREN_CONFIG": ""}
    )


def test_every_budget_tells_what_is_spent_reserved_and_left(config: Path) -> None:
    result = run("--json", config=config)
    assert result.exit_code == 0, result.output
    rows = {row["account"]: row for row in json.loads(result.stdout)}
    assert rows.keys() == {"tenant acme", "all"}
    acme = rows["tenant acme"]
    assert (acme["budget"], acme["per"], acme["usd"]) == ("each", "day", "1.00")
    assert (acme["spent"], acme["reserved"]) == ("0.2000000001", "0.5")
    assert acme["left"] == "0.2999999999"
    assert (rows["all"]["spent"], rows["all"]["left"]) == ("0", "100")
    assert "tenant acme" in run(config=config).output


@pytest.mark.parametrize(
    ("by", "names"), [("tenant", ["acme", "globex"]), ("tier", ["small"]), ("model", ["m"])]
)
def test_the_ledger_tells_who_has_spent_the_most_first(
    config: Path, by: str, names: list[str]
) -> None:
    rows = json.loads(run("--by", by, "--json", config=config).stdout)
    assert [row[by] for row in rows] == names
    assert sum(Decimal(row["spent"]) for row in rows) == Decimal("0.100000000001")
    assert sum(row["unpriced_calls"] for row in rows) == 2


def test_jobs_that_were_received_before_are_left_out(config: Path) -> None:
    assert json.loads(run("--by", "tier", "--since", "1", "--json", config=config).stdout) == []
    assert run("--since", "1", config=config).exit_code == 2


def budget(name: str, tenant: str | None, usd: str) -> Budget:
    return Budget(name=name, tenant=tenant, tier=None, per=Per.DAY, usd=Decimal(usd))


def counted(account: Account, now: datetime = NOON) -> Counted:
    pot = Pot.of(account, Per.DAY, now)
    return Counted(pot=pot, spent=Decimal("0.3"), reserved=Decimal(0))


def test_a_tenant_with_its_own_budget_is_no_row_of_everybodys() -> None:
    standing = [counted(Account(tenant=name)) for name in ("acme", "globex")]
    budgets = [budget("each", "*", "1"), budget("acme", "acme", "5")]
    rows = [(row["budget"], row["account"]) for row in accounts(budgets, standing, now=NOON)]
    assert rows == [("each", "tenant globex"), ("acme", "tenant acme")]


def test_before_anybody_has_spent_the_budget_is_shown_whole() -> None:
    (row,) = accounts([budget("each", "*", "1")], [], now=NOON)
    assert (row["account"], row["spent"], row["left"]) == ("tenant *", 0, 1)


def test_money_of_another_day_is_not_todays() -> None:
    yesterday = counted(Account(), datetime(2026, 11, 2, tzinfo=UTC))
    (row,) = accounts([budget("all", None, "1")], [yesterday], now=NOON)
    assert row["spent"] == 0
