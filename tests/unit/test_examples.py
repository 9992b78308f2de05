"""The examples do what their comments say, with the test doubles in the broker's place."""

import importlib
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from types import ModuleType

import httpx
import pytest

from examples import fastapi_app, flask_app, script
from producer_sdk import BrokerUnavailable, Completions, QueueFull, sync
from producer_sdk.sync.testing import FakeCompletionClient
from producer_sdk.testing import SILENCE, Answer, Failure
from producer_sdk.testing import FakeCompletionClient as AsyncFakeCompletionClient
from tests.faults.vhost import ROOT

FULL = QueueFull(submission_id="s", tier="standard")
DEAD = Failure(kind="content_policy", status=400)
EXAMPLES = ROOT / "examples"

# What a client does, and the status that a browser gets for it.
ERRORS = [(FULL, 503), (BrokerUnavailable("no broker"), 503), (DEAD, 502)]


@pytest.fixture
def fake() -> Iterator[FakeCompletionClient]:
    with FakeCompletionClient("Paris.") as made:
        yield made


def test_flask_enqueues_without_a_reply_and_the_same_invoice_is_the_same_job(
    fake: FakeCompletionClient,
) -> None:
    browser = flask_app.create_app(fake).test_client()
    first, again = (browser.post("/invoices/17/summary") for _ in range(2))
    assert (first.status_code, first.json) == (202, again.json)
    assert [sent.reply_to for sent in fake.submissions] == [None, None]


def test_flask_waits_for_a_reply_with_a_deadline_and_tells_the_result_of_a_job_by_its_id(
    fake: FakeCompletionClient,
) -> None:
    browser = flask_app.create_app(fake).test_client()
    assert browser.get("/invoices/17/summary").json == {"text": "Paris."}
    assert fake.requests[0].deadline == timedelta(seconds=20)
    job = fake.job("any", idempotency_key="invoice-17-summary").id
    assert browser.get(f"/jobs/{job}").json == {"text": "Paris."}
    assert browser.get(f"/jobs/{'0' * 32}").status_code == 404


@pytest.mark.parametrize(("answer", "status"), ERRORS)
def test_flask_tells_errors_by_their_status(answer: Answer, status: int) -> None:
    with FakeCompletionClient(answer) as fake:
        answered = flask_app.create_app(fake).test_client().get("/invoices/17/summary")
    assert answered.status_code == status
    assert "error" in (answered.json or {})


def test_flask_tells_a_job_that_goes_on_from_one_that_ended() -> None:
    with FakeCompletionClient(SILENCE) as fake:
        browser = flask_app.create_app(fake).test_client()
        job = (browser.post("/invoices/17/summary").json or {})["job"]
        assert browser.get(f"/jobs/{job}").status_code == 202


@pytest.fixture(scope="module")
def django_app() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WARREN_URL", "amqp://app:secret@127.0.0.1:1/warren")
        return importlib.import_module("examples.django_app")  # which connects to nothing


@pytest.fixture
def django(
    django_app: ModuleType, fake: FakeCompletionClient, monkeypatch: pytest.MonkeyPatch
) -> FakeCompletionClient:
    monkeypatch.setattr(django_app, "client", fake)
    return fake


def ask_django(method: str, number: int) -> tuple[int, dict[str, str]]:
    from django.test import Client  # noqa: PLC0415 - the settings must be there first

    answered = Client(headers={"host": "localhost"}).generic(method, f"/tickets/{number}/team")
    return answered.status_code, json.loads(answered.content)


def test_django_enqueues_without_a_reply_or_waits_and_both_are_the_same_job(
    django: FakeCompletionClient,
) -> None:
    status, told = ask_django("POST", 4)
    assert (status, told["job"]) == (202, django.job("any", idempotency_key="ticket-4").id)
    assert ask_django("GET", 4) == (200, {"team": "Paris."})
    assert [sent.reply_to for sent in django.submissions] == [None, "test.fake"]
    assert len({sent.idempotency_key for sent in django.submissions}) == 1
    assert django.requests[1].deadline == timedelta(seconds=20)


@pytest.mark.parametrize(("answer", "status"), ERRORS)
def test_django_tells_errors_by_their_status(
    django: FakeCompletionClient, answer: Answer, status: int
) -> None:
    django.script(answer)
    assert ask_django("GET", 4)[0] == status


async def ask_fastapi(fake: Completions, method: str) -> tuple[int, dict[str, str]]:
    app = fastapi_app.create_app(fake)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://localhost"
        ) as browser,
    ):
        answered = await browser.request(method, "/documents/9/title")
        return answered.status_code, answered.json()


async def test_fastapi_opens_its_client_enqueues_without_a_reply_and_closes_it() -> None:
    fake = AsyncFakeCompletionClient("Paris.")
    status, told = await ask_fastapi(fake, "POST")
    assert (status, told["job"]) == (202, fake.job("any", idempotency_key="document-9-title").id)
    assert fake.submissions[0].reply_to is None
    assert fake._closed


async def test_fastapi_waits_for_a_reply_with_a_deadline() -> None:
    fake = AsyncFakeCompletionClient("Paris.")
    assert await ask_fastapi(fake, "GET") == (200, {"title": "Paris."})
    assert fake.requests[0].deadline == timedelta(seconds=20)


@pytest.mark.parametrize(("answer", "status"), ERRORS)
async def test_fastapi_tells_errors_by_their_status(answer: Answer, status: int) -> None:
    assert (await ask_fastapi(AsyncFakeCompletionClient(answer), "GET"))[0] == status


def test_the_script_prints_answers_tells_failures_and_forgets_the_last(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with FakeCompletionClient("Paris.", DEAD, FULL, "nobody hears") as fake:
        assert script.run(fake, ["17", "18", "19"]) == 2
    output, errors = capsys.readouterr()
    assert output == "17: Paris.\n"
    assert re.findall(r"^\d+", errors, re.MULTILINE) == ["18", "19"]
    assert fake.submissions[-1].reply_to is None
    assert [sent.idempotency_key for sent in fake.submissions[:2]] == [
        "invoice-17-summary",
        "invoice-18-summary",
    ]


def test_the_program_on_the_page_about_producers_runs(
    fake: FakeCompletionClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs/producers.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.setattr(sync, "CompletionClient", lambda _url: fake)
    exec(program, {"url": "", "messages": []})  # noqa: S102 - our own page
    assert capsys.readouterr().out == "Paris.\n"


def test_the_lock_of_the_example_in_javascript_names_no_host_and_pins_by_hash() -> None:
    text = (EXAMPLES / "package-lock.json").read_text(encoding="utf-8")
    assert "://" not in text
    packages = json.loads(text)["packages"]
    assert all("integrity" in package for name, package in packages.items() if name)
