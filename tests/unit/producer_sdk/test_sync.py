import asyncio
import inspect
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from producer_sdk import (
    BrokerUnavailable,
    ClientClosed,
    InvalidRequest,
    InvalidSetting,
    JobCancelled,
    JobFailed,
    QueueFull,
    ReplyNotRequested,
    ReplyTimeout,
    Request,
    WarrenError,
    WrongThread,
    client,
    completions,
    job,
    testing,
)
from producer_sdk.sync import CompletionClient, Completions, Job
from producer_sdk.sync.testing import FakeCompletionClient
from producer_sdk.testing import SILENCE, Failure
from tests.faults.vhost import ROOT

FAST = Request(tier="fast", body=b"{}")
URL = "amqp://billing:secret@127.0.0.1:1/warren"


@pytest.fixture
def fake() -> Iterator[FakeCompletionClient]:
    with FakeCompletionClient("Paris.") as made:
        yield made


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize(
    ("sync", "model"),
    [
        (Completions, completions.Completions),
        (CompletionClient, client.CompletionClient),
        (FakeCompletionClient, testing.FakeCompletionClient),
        (Job, job.Job),
    ],
)
def test_every_public_name_is_there_with_the_same_parameters_and_none_else(
    sync: type, model: type
) -> None:
    attributes = {"name", "tenant", "requests", "submissions"}  # of instances: no class has them
    assert public(sync) - attributes == public(model) - attributes
    for name in public(model) | ({"__init__"} if sync is not Completions else set()):
        asynchronous = getattr(model, name)
        if (name == "__init__" and sync is Job) or not callable(asynchronous):
            continue
        synchronous = getattr(sync, name)
        assert inspect.signature(synchronous).parameters == (
            inspect.signature(asynchronous).parameters
        ), name
        assert not inspect.iscoroutinefunction(synchronous), name
        assert not inspect.isasyncgenfunction(synchronous), name


def test_every_public_attribute_of_the_asynchronous_objects_is_there() -> None:
    async def attributes() -> tuple[set[str], set[str]]:
        async with testing.FakeCompletionClient("x") as asynchronous:
            submitted = await asynchronous.submit_request(FAST)
            return set(dir(asynchronous)), set(dir(submitted))

    of_client, of_job = asyncio.run(attributes())
    assert {name for name in of_client if name[0] != "_"} == public(FakeCompletionClient)
    assert {name for name in of_job if name[0] != "_"} == public(Job)


def test_a_client_that_nobody_opened_answers(request: pytest.FixtureRequest) -> None:
    fake = FakeCompletionClient("Paris.")
    request.addfinalizer(fake.close)
    assert fake.complete(tier="fast", model="m", messages=[]).text == "Paris."
    assert fake.requests[0].body == {"model": "m", "messages": []}
    fake.open()


def test_a_job_can_be_awaited_found_asked_for_and_forgotten(fake: FakeCompletionClient) -> None:
    submitted = fake.submit(tier="fast", body=b"{}", idempotency_key="k")
    assert isinstance(submitted, Job)
    assert submitted.reply(timeout=5).text == "Paris."
    assert submitted.done
    assert submitted.deadline is None
    assert fake.result(submitted.id).text == "Paris."
    assert not fake.cancel(submitted.id)
    found = fake.job(submitted.submission_id, idempotency_key="k")
    assert (found.id, repr(found)) == (submitted.id, repr(submitted))
    fake.deliver(submitted.submission_id, "Lyon.", run=2)
    assert submitted.next_reply(after_run=1, timeout=5).text == "Lyon."
    submitted.forget()


def test_errors_keep_their_types(fake: FakeCompletionClient) -> None:
    fake.script(Failure(kind="content_policy", status=400))
    with pytest.raises(JobFailed, match="content_policy"):
        fake.complete(tier="fast", body=b"{}")
    fake.script(QueueFull(submission_id="x", tier="fast"))
    with pytest.raises(QueueFull):
        fake.submit_request(FAST)
    with pytest.raises(InvalidRequest, match="stream"):
        fake.complete(tier="fast", model="m", messages=[], stream=True)
    with pytest.raises(InvalidSetting):
        CompletionClient("http://127.0.0.1")


def test_a_wait_in_a_thread_ends_with_its_timeout_or_with_the_client() -> None:
    fake = FakeCompletionClient(SILENCE)
    submitted = fake.submit_request(FAST)
    with pytest.raises(ReplyTimeout):
        submitted.reply(timeout=0.01)
    with ThreadPoolExecutor() as threads:
        waiting = [threads.submit(submitted.reply) for _ in range(3)]
        until_waiting(fake, 3)
        fake.close()
        for waiter in waiting:
            with pytest.raises(ClientClosed):
                waiter.result(timeout=10)
    with pytest.raises(ClientClosed, match="make a new one"):
        fake.submit_request(FAST)
    fake.close()


def until_waiting(fake: FakeCompletionClient, count: int) -> None:
    """Return once so many callers wait for one reply; the loop itself is asked, again and again."""

    def waiting() -> int:
        return sum(len(box._waiters) for box in fake._fake._mailboxes._open.values())

    while True:
        seen = threading.Event()
        fake._session.background.post(seen.set)
        assert seen.wait(10)
        if waiting() == count:
            return


def test_a_job_that_waits_can_be_cancelled_from_another_thread() -> None:
    with FakeCompletionClient(SILENCE) as fake, ThreadPoolExecutor() as threads:
        submitted = fake.submit_request(FAST)
        waiter = threads.submit(submitted.reply)
        until_waiting(fake, 1)
        assert submitted.cancel()
        with pytest.raises(JobCancelled):
            waiter.result(timeout=10)


def test_threads_that_come_first_together_share_one_opening_and_one_failure() -> None:
    opened = 0

    class Broken(testing.FakeCompletionClient):
        async def open(self) -> None:
            nonlocal opened
            opened += 1
            if opened == 1:
                # A task for each thread, one for the opening, and one that waits for the end.
                while len(asyncio.all_tasks()) < 22:  # noqa: ASYNC110 - nobody announces them
                    await asyncio.sleep(0.001)
                await asyncio.sleep(0)
                raise BrokerUnavailable("no broker yet")

    sync = Completions(lambda _forked: Broken("x"))
    with ThreadPoolExecutor(20) as threads:
        calls = [threads.submit(sync.submit_request, FAST) for _ in range(20)]
        errors = [call.exception(timeout=10) for call in calls]
    assert {type(error) for error in errors} == {BrokerUnavailable}
    assert opened == 1
    assert sync.submit_request(FAST).reply().text == "x"
    assert opened == 2
    sync.close()


def test_many_threads_share_one_client_and_one_thread_behind_it(fake: FakeCompletionClient) -> None:
    fake.script(lambda request: str(request.idempotency_key))

    def ask(number: int) -> bool:
        reply = fake.complete(tier="fast", body=b"{}", idempotency_key=str(number))
        return reply.text == str(number)

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(ask, range(500)))
    behind = [thread for thread in threading.enumerate() if thread.name == "warren client"]
    assert len(behind) == 1
    fake.close()
    assert not behind[0].is_alive()


def test_a_call_from_the_clients_own_thread_is_an_error_and_no_deadlock(
    fake: FakeCompletionClient,
) -> None:
    async def asking() -> AsyncIterator[Request]:
        yield FAST
        fake.complete(tier="fast", body=b"{}")

    async def closing_it() -> AsyncIterator[Request]:
        yield FAST
        fake.close()

    for source in (asking, closing_it):
        with pytest.raises(WrongThread, match="wait for itself"):
            list(fake.submit_many(source(), in_flight=1))
    assert fake.complete(tier="fast", body=b"{}").text == "Paris."


def test_an_interrupted_wait_leaves_a_client_that_works() -> None:
    main = threading.main_thread().ident
    assert main is not None

    def interrupt(_request: Request) -> testing.Answer:
        signal.pthread_kill(main, signal.SIGINT)
        return SILENCE

    with FakeCompletionClient("after") as fake:
        fake.script(interrupt, when=lambda request: request.tier == "slow")
        with pytest.raises(KeyboardInterrupt):
            fake.complete(tier="slow", body=b"{}")
        assert fake.complete(tier="fast", body=b"{}").text == "after"


def test_submit_many_reads_its_source_in_the_callers_thread_and_no_further_than_needed(
    fake: FakeCompletionClient,
) -> None:
    read: list[threading.Thread] = []

    def source() -> Iterator[Request]:
        for _ in range(10):
            read.append(threading.current_thread())
            fake.complete(tier="fast", body=b"{}")  # as a query to a database would, it waits
            yield FAST

    outcomes = fake.submit_many(source(), in_flight=3)
    first = next(outcomes)
    assert isinstance(first, Job)
    assert first.reply().text == "Paris."
    assert set(read) == {threading.current_thread()}
    assert len(read) == 3
    assert len(list(outcomes)) == 9
    assert len(read) == 10


def test_submit_many_yields_a_requests_error_and_raises_its_sources(
    fake: FakeCompletionClient,
) -> None:
    def source() -> Iterator[Request]:
        yield FAST
        yield Request(tier="not a tier", body=b"{}")
        raise LookupError("no more rows")

    outcomes: list[Job | WarrenError] = []
    with pytest.raises(LookupError, match="no more rows"):
        outcomes.extend(fake.submit_many(source(), in_flight=1))
    assert [type(outcome) for outcome in fake.submit_many([FAST, FAST])] == [Job, Job]
    with pytest.raises(InvalidSetting):
        next(fake.submit_many([FAST], in_flight=0))
    refused = list(fake.submit_many([FAST, Request(tier="not a tier", body=b"{}")]))
    assert isinstance(refused[1], InvalidRequest)


def test_submit_many_that_is_left_early_leaves_nothing_behind(fake: FakeCompletionClient) -> None:
    def tasks() -> int:
        loop = fake._session.background._loop
        assert loop is not None
        return len(asyncio.all_tasks(loop))

    before = tasks()
    with closing(fake.submit_many([FAST] * 100, in_flight=10)) as outcomes:
        next(outcomes)
    for _ in fake.submit_many(iter([FAST] * 100), in_flight=10):
        break
    assert tasks() == before


def test_a_submission_without_a_route_back_expects_no_reply(fake: FakeCompletionClient) -> None:
    submitted = fake.submit(tier="fast", body=b"{}", reply=False)
    assert fake.submissions[0].reply_to is None
    with pytest.raises(ReplyNotRequested):
        submitted.reply()


def run_alone(script: str, within_s: float = 30) -> str:
    """Run a program with these names at hand in a fresh interpreter; it must end well and say nothing else."""
    head = (
        "import os, sys, threading\n"
        "from producer_sdk import *\n"
        "from producer_sdk.testing import SILENCE\n"
        "from producer_sdk.sync import CompletionClient\n"
        "from producer_sdk.sync.testing import FakeCompletionClient\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", head + script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_an_interpreter_with_an_open_client_and_a_waiter_ends_by_itself() -> None:
    told = run_alone(
        "fake = FakeCompletionClient(SILENCE)\n"
        "job = fake.submit(tier='fast', body=b'{}')\n"
        "def wait():\n"
        "    try: job.reply()\n"
        "    except ClientClosed: pass\n"
        "threading.Thread(target=wait, daemon=True).start()\n"
        "print(job.done)\n"
    )
    assert told == "False\n"


FORKED = """
fake = FakeCompletionClient("yes")
job = fake.submit(tier="fast", body=b"{}")
outcomes = fake.submit_many([Request(tier="fast", body=b"{}")] * 3, in_flight=1)
next(outcomes)
children = []
stop = threading.Event()

def ask():
    while not stop.is_set():
        fake.complete(tier="fast", body=b"{}")

busy = [threading.Thread(target=ask) for _ in range(4)]
for thread in busy:
    thread.start()
for _ in range(20):
    child = os.fork()
    if not child:
        assert fake.complete(tier="fast", body=b"{}").text == "yes"
        for parents in (job.reply, lambda: next(outcomes)):
            try:
                parents()
            except ClientClosed as error:
                assert "before the fork" in str(error)
            else:
                os._exit(1)
        assert fake.result(job.id).text == "yes"
        fake.close()
        sys.stdout.flush()
        os._exit(0)
    children.append(child)
codes = {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children}
stop.set()
for thread in busy:
    thread.join()
assert job.reply().text == "yes"
assert len(list(outcomes)) == 2
print(codes)
"""


def test_children_forked_from_a_busy_client_work_and_so_does_their_parent() -> None:
    assert run_alone(FORKED) == "{0}\n"


def test_a_child_that_ends_as_a_whole_interpreter_says_nothing_of_its_parents_client() -> None:
    told = run_alone(
        "fake = FakeCompletionClient('yes')\n"
        "jobs = list(fake.submit_many([Request(tier='fast', body=b'{}')] * 3))\n"
        "child = os.fork()\n"
        "if child: os.waitpid(child, 0)\n"
        "print(fake.complete(tier='fast', body=b'{}').text)\n"
    )
    assert told == "yes\nyes\n"


def test_a_forked_child_goes_by_a_name_of_its_own_and_a_closed_client_stays_closed() -> None:
    told = run_alone(
        f"client = CompletionClient({URL!r}, name='billing')\n"
        f"closed = CompletionClient({URL!r})\n"
        "closed.close()\n"
        "child = os.fork()\n"
        "if child: os.waitpid(child, 0)\n"
        "else: assert client.name != 'billing' and client.tenant == 'billing'\n"
        "try: closed.open()\n"
        "except ClientClosed: print(client.name == 'billing')\n"
    )
    assert told == "False\nTrue\n"


def test_a_broker_that_is_not_there_is_an_error_at_each_use_and_not_when_it_is_made() -> None:
    with closing(CompletionClient(URL)) as real:
        calls: list[Callable[[], object]] = [real.open, lambda: real.submit_request(FAST)]
        for call in calls:
            with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1"):
                call()
