"""The file's thread: what is committed together, who fails, and what an error says."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path

import apsw
import pytest

from worker.errors import SettingsError, StoreUnavailable
from worker.store.embedded import schema
from worker.store.embedded.connection import connect_reader
from worker.store.embedded.file import EmbeddedFile
from worker.store.embedded.options import Durability, EmbeddedOptions

HASTY = EmbeddedOptions(busy_timeout=timedelta(milliseconds=30))


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[EmbeddedFile]:
    file = EmbeddedFile(tmp_path / "private" / "warren.db", HASTY)
    await file.open()
    await file.run(lambda connection: connection.execute("CREATE TABLE notes (text UNIQUE)"))
    yield file
    await file.close()


def note(connection: apsw.Connection, *, text: str) -> str:
    connection.execute("INSERT INTO notes VALUES (?)", (text,))
    return text


def notes(connection: apsw.Connection) -> set[object]:
    return {text for (text,) in connection.execute("SELECT text FROM notes")}


async def test_operations_of_one_turn_share_a_commit(file: EmbeddedFile) -> None:
    before = file.commits
    texts = [str(number) for number in range(100)]
    assert await asyncio.gather(*(file.run(partial(note, text=text)) for text in texts)) == texts
    assert file.commits - before == 1
    assert await file.run(notes, writes=False) == set(texts)


async def test_a_turn_of_very_many_operations_keeps_no_other_process_out_for_all_of_them(
    file: EmbeddedFile,
) -> None:
    before = file.commits
    texts = [str(number) for number in range(300)]
    assert await asyncio.gather(*(file.run(partial(note, text=text)) for text in texts)) == texts
    assert file.commits - before == 3
    assert await file.run(notes, writes=False) == set(texts)


async def test_what_is_left_of_a_turn_of_very_many_operations_fails_when_the_file_closes(
    tmp_path: Path,
) -> None:
    file = EmbeddedFile(tmp_path / "warren.db", HASTY)
    await file.open()
    begun = threading.Event()

    def slow(_: apsw.Connection) -> None:
        begun.set()
        time.sleep(0.2)  # in the file's thread

    queued = [file.submit(slow if number == 0 else lambda _: None) for number in range(400)]
    await asyncio.to_thread(begun.wait)
    await file.close()
    told = await asyncio.gather(*queued, return_exceptions=True)
    assert told[:128] == [None] * 128
    assert all(isinstance(error, StoreUnavailable) for error in told[128:])
    assert len(told) == 400


async def test_operations_that_come_while_the_thread_is_busy_share_few_commits(
    file: EmbeddedFile,
) -> None:
    before = file.commits

    async def lane(name: int) -> None:
        for number in range(20):
            await file.run(partial(note, text=f"{name}-{number}"))

    await asyncio.gather(*(lane(name) for name in range(50)))
    assert file.commits - before < 500
    assert len(await file.run(notes, writes=False)) == 1000


async def test_reading_commits_nothing(file: EmbeddedFile) -> None:
    before = file.commits
    await file.run(notes, writes=False)
    assert file.commits == before


async def test_only_the_guilty_operation_of_a_commit_fails(file: EmbeddedFile) -> None:
    texts = ["a", "b", "a", "c"]
    told = await asyncio.gather(
        *(file.run(partial(note, text=text)) for text in texts), return_exceptions=True
    )
    assert [told[0], told[1], told[3]] == ["a", "b", "c"]
    assert isinstance(told[2], apsw.ConstraintError)
    assert await file.run(notes, writes=False) == {"a", "b", "c"}


async def test_an_operation_that_fails_half_way_leaves_nothing(file: EmbeddedFile) -> None:
    def half(connection: apsw.Connection) -> None:
        note(connection, text="half")
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        await file.run(half)
    assert await file.run(notes, writes=False) == set()


async def test_a_cancelled_caller_stops_nobody_else(file: EmbeddedFile) -> None:
    kept = asyncio.create_task(file.run(partial(note, text="kept")))
    dropped = asyncio.create_task(file.run(partial(note, text="dropped")))
    await asyncio.sleep(0)
    dropped.cancel()
    assert await kept == "kept"
    assert "kept" in await file.run(notes, writes=False)


async def test_a_file_locked_by_another_process_is_unavailable_and_then_works_again(
    file: EmbeddedFile,
) -> None:
    with closing(apsw.Connection(str(file.path))) as other:
        other.execute("BEGIN IMMEDIATE")
        told = await asyncio.gather(
            *(file.run(partial(note, text=text)) for text in "ab"), return_exceptions=True
        )
        for error in told:
            assert isinstance(error, StoreUnavailable)
            assert isinstance(error.__cause__, apsw.BusyError)
            assert "locked by another process" in str(error)
        other.execute("ROLLBACK")
    assert await file.run(partial(note, text="a")) == "a"


async def test_a_full_disk_fails_those_that_do_not_fit_and_no_others(file: EmbeddedFile) -> None:
    await file.run(lambda connection: connection.pragma("max_page_count", 60), writes=False)
    told = await asyncio.gather(
        file.run(partial(note, text="small")),
        file.run(partial(note, text="x" * 1_000_000)),
        return_exceptions=True,
    )
    assert told[0] == "small"
    assert isinstance(told[1], StoreUnavailable)
    assert "free disk space" in str(told[1])
    assert await file.run(notes, writes=False) == {"small"}


async def test_a_file_that_was_replaced_is_not_written_any_more(file: EmbeddedFile) -> None:
    file.path.rename(file.path.with_name("elsewhere.db"))
    with pytest.raises(StoreUnavailable, match="moved or replaced"):
        await file.run(partial(note, text="lost"))


async def test_close_is_prompt_while_another_process_holds_the_lock(tmp_path: Path) -> None:
    patient = EmbeddedFile(tmp_path / "warren.db", EmbeddedOptions(busy_timeout=timedelta(hours=1)))
    await patient.open()
    with closing(apsw.Connection(str(patient.path))) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = patient.submit(lambda connection: connection.execute("SELECT 1").get)
        await asyncio.sleep(0.01)
        await asyncio.wait_for(patient.close(), 10)
        with pytest.raises(StoreUnavailable):
            await waiting


async def test_a_closed_file_says_so(tmp_path: Path) -> None:
    file = EmbeddedFile(tmp_path / "warren.db", HASTY)
    with pytest.raises(StoreUnavailable, match="closed"):
        await file.run(notes)
    await file.open()
    queued = [file.submit(partial(note, text=str(number))) for number in range(5)]
    await file.close()
    told = await asyncio.gather(*queued, return_exceptions=True)
    assert all(isinstance(error, StoreUnavailable | apsw.SQLError) for error in told)
    with pytest.raises(StoreUnavailable, match="closed"):
        await file.run(notes)


@pytest.mark.parametrize(("durability", "level"), [(Durability.PROCESS, 1), (Durability.POWER, 2)])
async def test_durability_sets_how_far_a_commit_is_synced(
    tmp_path: Path, durability: Durability, level: int
) -> None:
    file = EmbeddedFile(tmp_path / "warren.db", EmbeddedOptions(durability=durability))
    await file.open()
    assert await file.run(lambda connection: connection.pragma("synchronous")) == level
    assert await file.run(lambda connection: connection.pragma("journal_mode")) == "wal"
    await file.close()


async def test_the_file_and_its_parts_are_for_their_owner_alone(file: EmbeddedFile) -> None:
    assert file.path.parent.stat().st_mode & 0o777 == 0o700
    for name in ("warren.db", "warren.db-wal", "warren.db-shm"):
        assert file.path.with_name(name).stat().st_mode & 0o777 == 0o600


async def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "warren.db"
    path.touch(0o644)
    file = EmbeddedFile(path, HASTY)
    await file.open()
    assert path.stat().st_mode & 0o777 == 0o600
    await file.close()


# What cannot be opened


async def open_and_close(path: Path) -> None:
    file = EmbeddedFile(path, HASTY)
    try:
        await file.open()
    finally:
        await file.close()


async def test_a_file_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(apsw.Connection(str(path))) as other:
        other.execute("CREATE TABLE theirs (x)")
    content = path.read_bytes()
    with pytest.raises(SettingsError, match="is no Warren store"):
        await open_and_close(path)
    assert path.read_bytes() == content


async def test_a_file_of_a_newer_schema_is_refused(file: EmbeddedFile) -> None:
    await file.run(lambda connection: connection.pragma("user_version", 99))
    with pytest.raises(SettingsError, match="schema version 99"):
        await open_and_close(file.path)


async def test_a_file_of_an_older_schema_is_brought_up_to_date_and_keeps_what_it_holds(
    tmp_path: Path,
) -> None:
    path = tmp_path / "warren.db"
    with closing(apsw.Connection(str(path))) as older:
        older.execute(schema._TABLES)
        older.execute(f"PRAGMA application_id={schema.APPLICATION_ID}; PRAGMA user_version=1")
        older.execute("INSERT INTO claims VALUES ('key', 'owner', 'job', 1, NULL)")
    with pytest.raises(SettingsError, match="start a worker of this Warren once"):
        connect_reader(path)
    for _ in range(2):
        await open_and_close(path)
    with closing(connect_reader(path)) as reader:
        assert reader.execute("SELECT job_id, followed FROM claims").fetchall() == [("job", 0)]
        assert reader.execute("SELECT count(*) FROM lanes, permits, called_off, meters").get == 0


async def test_of_the_calls_before_costs_were_kept_no_cost_is_known(tmp_path: Path) -> None:
    path = tmp_path / "warren.db"
    texts = ("id", "tenant", "key", "tier", "lane", "path", "model", "content_hash", "carrier")
    numbers = ("priority", "run", "generation", "received_at", "submitted_at", "deadline")
    columns = ", ".join((*texts, *numbers, "state", "expires_at", "calls"))
    given = ", ".join(["'x'"] * (len(texts) - 1) + ["1"] * len(numbers))
    with closing(apsw.Connection(str(path))) as older:
        older.execute(" ".join(schema._STEPS[version] for version in range(3)))
        older.execute(f"PRAGMA application_id={schema.APPLICATION_ID}; PRAGMA user_version=3")
        for name, calls in (("called", 2), ("not called", 0)):
            older.execute(
                f"INSERT INTO jobs ({columns}) VALUES (?, {given}, 'open', 9, ?)",  # noqa: S608  # names from above
                (name, calls),
            )
    await open_and_close(path)
    with closing(connect_reader(path)) as reader:
        rows = reader.execute("SELECT id, spent, unpriced FROM jobs ORDER BY id").fetchall()
    assert rows == [("called", "0", 2), ("not called", "0", 0)]


@pytest.mark.parametrize("content", [b"no database at all, " * 500, b"SQLite format 3\0" * 300])
async def test_a_damaged_file_is_unavailable_and_says_what_to_do(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "warren.db"
    path.write_bytes(content)
    with pytest.raises(StoreUnavailable, match="damaged; stop the workers"):
        await open_and_close(path)
    assert path.read_bytes() == content


async def test_a_path_below_a_file_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="check who owns"):
        await open_and_close(tmp_path / "file" / "warren.db")


async def test_a_file_opens_again_after_its_close(file: EmbeddedFile) -> None:
    await file.run(partial(note, text="kept"))
    await file.close()
    again = EmbeddedFile(file.path, HASTY)
    await again.open()
    assert await again.run(notes, writes=False) == {"kept"}
    await again.close()
