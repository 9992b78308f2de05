"""Keys that change: when they are read anew, who waits for that, and what is told when they cannot be."""

import asyncio
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from tests.unit.worker.upstream.fakes import HandClock, Memory
from worker.core.events import Trouble
from worker.errors import SecretUnavailable, SettingsError
from worker.keys import EndpointKey, read_managed
from worker.secrets.reference import Reference, parse_reference
from worker.settings import Secret

PLACE = parse_reference("vault:secret/data/openai#key")


class Shelf:
    """A manager by hand: what it holds, how often it was asked, and a gate before its answers."""

    def __init__(self, value: str = "sk-1") -> None:
        self.value = value
        self.problem: str | None = None
        self.next: list[str] = []
        self.asked = 0
        self.threads: set[int] = set()
        self.open = threading.Event()
        self.open.set()
        self.came = threading.Event()

    def read(self, _: Reference) -> str:
        self.asked += 1
        self.came.set()
        self.threads.add(threading.get_ident())
        assert self.open.wait(30)
        if self.problem is not None:
            raise SecretUnavailable(self.problem)
        return self.next.pop(0) if self.next else self.value

    @property
    def secret(self) -> Secret:
        return Secret(reference=PLACE, read=self.read)


class Bench:
    def __init__(self, secret: Secret) -> None:
        self.clock = HandClock()
        self.told = Memory()
        self.key = EndpointKey(
            secret,
            self.clock,
            about="endpoints.main.key",
            listener=self.told,
            reread=timedelta(minutes=5),
        )

    async def read(self) -> None:
        """Wait until what is being read has been."""
        assert self.key._reading is not None
        await asyncio.wait({self.key._reading})

    @property
    def troubles(self) -> list[tuple[str, str]]:
        return [(each.about, each.error) for each in self.told.of(Trouble)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("sk-1\n")
    return path


def rotate(file: Path, text: str | None) -> None:
    file.unlink()
    if text is not None:
        file.write_text(text)


async def test_a_file_is_looked_at_every_few_seconds_only(file: Path) -> None:
    bench = Bench(Secret(file=file))
    assert bench.key() == "sk-1"
    rotate(file, "sk-2\n")
    bench.clock.passed_s += 4.9
    assert bench.key() == "sk-1"
    bench.clock.passed_s += 0.1
    assert bench.key() == "sk-2"


async def test_a_refused_key_is_looked_up_at_once(file: Path) -> None:
    bench = Bench(Secret(file=file))
    bench.key()
    rotate(file, "sk-2\n")
    assert await bench.key.replaced("sk-1")
    assert bench.key() == "sk-2"


async def test_a_refused_key_that_is_still_the_same_is_not_replaced(file: Path) -> None:
    bench = Bench(Secret(file=file))
    bench.key()
    assert not await bench.key.replaced("sk-1")
    assert bench.key() == "sk-1"


async def test_a_key_that_was_refused_again_is_read_anew_a_few_seconds_later_at_the_soonest() -> (
    None
):
    shelf = Shelf()
    bench = Bench(shelf.secret)
    bench.key()
    assert not await bench.key.replaced("sk-1")
    shelf.value = "sk-2"
    bench.clock.passed_s += 2.9
    assert not await bench.key.replaced("sk-1")
    assert shelf.asked == 2
    bench.clock.passed_s += 0.1
    assert await bench.key.replaced("sk-1")
    assert shelf.asked == 3


async def test_a_call_that_carried_the_key_before_the_last_learns_of_it_without_a_reading() -> None:
    shelf = Shelf()
    bench = Bench(shelf.secret)
    bench.key()
    shelf.value = "sk-2"
    assert await bench.key.replaced("sk-1")
    assert await bench.key.replaced("sk-1")
    assert await bench.key.replaced("sk-0")
    assert shelf.asked == 2


async def test_a_key_that_is_replaced_again_at_once_is_read_again_at_once() -> None:
    shelf = Shelf()
    bench = Bench(shelf.secret)
    bench.key()
    for old, new in (("sk-1", "sk-2"), ("sk-2", "sk-3")):
        shelf.value = new
        assert await bench.key.replaced(old)
    assert shelf.asked == 3


async def test_a_reading_that_began_before_the_key_was_replaced_is_not_the_last_word() -> None:
    shelf = Shelf()
    bench = Bench(shelf.secret)
    bench.key()
    shelf.open.clear()
    shelf.came.clear()
    bench.clock.passed_s += 300
    bench.key()  # has it read, as every five minutes
    assert await asyncio.to_thread(shelf.came.wait, 30)
    refused = [asyncio.ensure_future(bench.key.replaced("sk-1")) for _ in range(3)]
    await asyncio.sleep(0)
    shelf.next.append("sk-1")
    shelf.value = "sk-2"
    shelf.open.set()
    assert await asyncio.gather(*refused) == [True] * 3
    assert shelf.asked == 3


async def test_many_refused_calls_wait_for_one_reading_and_one_that_is_cancelled_spoils_it_for_nobody() -> (
    None
):
    shelf = Shelf()
    bench = Bench(shelf.secret)
    bench.key()
    shelf.value = "sk-2"
    shelf.open.clear()
    shelf.came.clear()
    calls = [asyncio.ensure_future(bench.key.replaced("sk-1")) for _ in range(20)]
    await asyncio.to_thread(shelf.came.wait, 30)
    calls[0].cancel()
    await asyncio.sleep(0)
    shelf.open.set()
    assert await asyncio.gather(*calls[1:]) == [True] * 19
    assert calls[0].cancelled()
    assert shelf.asked == 2


async def test_refused_calls_wait_for_one_reading_also_where_it_takes_longer_than_nobody_reads_anew() -> (
    None
):
    shelf = Shelf()
    bench = Bench(shelf.secret)
    bench.key()
    shelf.problem = "cannot be read: ReadTimeout"
    shelf.open.clear()
    shelf.came.clear()
    calls = [asyncio.ensure_future(bench.key.replaced("sk-1")) for _ in range(3)]
    assert await asyncio.to_thread(shelf.came.wait, 30)
    bench.clock.passed_s += 10
    shelf.open.set()
    assert await asyncio.gather(*calls) == [False] * 3
    bench.clock.passed_s += 2.9
    assert not await bench.key.replaced("sk-1")
    assert shelf.asked == 2
    bench.clock.passed_s += 0.1
    assert not await bench.key.replaced("sk-1")
    assert shelf.asked == 3


async def test_a_manager_that_hangs_keeps_a_refused_call_no_longer_than_it_may_wait() -> None:
    shelf = Shelf()
    bench = Bench(shelf.secret)
    bench.key.patience_s = 0.0
    bench.key()
    shelf.value = "sk-2"
    shelf.open.clear()
    try:
        async with asyncio.timeout(20):
            assert not await bench.key.replaced("sk-1")
        assert bench.key() == "sk-1"
    finally:
        shelf.open.set()
    await bench.read()
    assert bench.key() == "sk-2"
    assert await bench.key.replaced("sk-1")
    assert shelf.asked == 2


async def test_a_manager_is_asked_beside_the_loop_and_its_last_value_is_used_meanwhile() -> None:
    shelf = Shelf()
    bench = Bench(shelf.secret)
    bench.key()
    shelf.threads.clear()
    shelf.value = "sk-2"
    bench.clock.passed_s += 299
    assert bench.key() == "sk-1"
    assert shelf.asked == 1
    shelf.open.clear()
    bench.clock.passed_s += 1
    assert [bench.key() for _ in range(3)] == ["sk-1"] * 3  # it would hang here if it asked
    shelf.open.set()
    await bench.read()
    assert bench.key() == "sk-2"
    assert shelf.asked == 2
    assert threading.get_ident() not in shelf.threads


async def test_a_manager_that_is_down_leaves_the_last_key_in_place_and_is_told_once() -> None:
    shelf = Shelf()
    bench = Bench(shelf.secret)
    bench.key()
    shelf.problem = "cannot be read: ConnectTimeout"
    for _ in range(3):
        bench.clock.passed_s += 3
        assert not await bench.key.replaced("sk-1")
    assert bench.key() == "sk-1"
    told = ("endpoints.main.key", f"the secret {PLACE} cannot be read: ConnectTimeout")
    assert bench.troubles == [told]
    shelf.problem = None
    bench.clock.passed_s += 3
    assert not await bench.key.replaced("sk-1")
    shelf.problem = "cannot be read: ConnectTimeout"
    bench.clock.passed_s += 3
    assert not await bench.key.replaced("sk-1")
    assert bench.troubles == [told, told]


@pytest.mark.parametrize("bad", ["", "two\nlines"])
async def test_what_cannot_be_a_key_does_not_take_the_place_of_one(bad: str) -> None:
    shelf = Shelf()
    bench = Bench(shelf.secret)
    bench.key()
    shelf.value = bad
    assert not await bench.key.replaced("sk-1")
    assert bench.key() == "sk-1"
    assert len(bench.troubles) == 1


async def test_a_key_that_stands_in_the_configuration_is_never_replaced() -> None:
    bench = Bench(Secret("sk-1"))
    assert bench.key() == "sk-1"
    assert not await bench.key.replaced("sk-1")
    assert not await bench.key.replaced("sk-0")


async def test_a_file_that_is_gone_is_told_and_the_next_call_has_no_key(file: Path) -> None:
    bench = Bench(Secret(file=file))
    bench.key()
    rotate(file, None)
    assert not await bench.key.replaced("sk-1")
    assert len(bench.troubles) == 1
    bench.clock.passed_s += 5
    with pytest.raises(OSError, match="cannot be read"):
        bench.key()


def test_at_start_every_managers_secret_is_read_and_all_problems_are_told_at_once() -> None:
    good, bad, worse = Shelf(), Shelf(), Shelf("sk-\n-canary")
    bad.problem = "is not there"
    secrets = {
        "endpoints.a.key": good.secret,
        "endpoints.b.key": bad.secret,
        "endpoints.c.key": worse.secret,
        "broker.password": Secret("as-it-is"),
    }
    with pytest.raises(SettingsError) as caught:
        read_managed(secrets)
    assert caught.value.problems == (
        f"endpoints.b.key_from: the secret {PLACE} is not there",
        f"endpoints.c.key_from: the secret {PLACE} holds a line break or another control character",
    )
    assert secrets["endpoints.a.key"].reveal() == "sk-1"
    assert good.asked == 1


def test_at_start_managers_are_asked_side_by_side() -> None:
    together = threading.Barrier(4)

    def read(_: Reference) -> str:
        together.wait(30)
        return "sk"

    read_managed({str(number): Secret(reference=PLACE, read=read) for number in range(4)})


def test_a_managers_secret_shows_its_place_and_never_its_value() -> None:
    shelf = Shelf("sk-canary")
    secret = shelf.secret
    assert secret.reveal() == "sk-canary"
    assert "canary" not in f"{secret}{secret!r}{secret.place}"
    assert secret.place == str(PLACE)
