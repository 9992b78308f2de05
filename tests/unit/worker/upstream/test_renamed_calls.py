"""Which model, at which address, an endpoint is asked for."""

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from tests.unit.worker.upstream.fakes import KEY, HandClock, PlannedUpstream, job
from worker.core.kinds import Kind
from worker.core.model import Completed, Failed, Job
from worker.upstream.endpoint import Endpoint
from worker.upstream.spec import EndpointSpec
from worker.upstream.wire import Request

BODY = b'{ "messages": [{"model": "gpt-small"}],\n "model" : "gpt-small" , "n": 1e400 }'
RENAMED = b'{ "messages": [{"model": "gpt-small"}],\n "model" : "mine" , "n": 1e400 }'


def endpoint(transport: httpx.AsyncBaseTransport, **values: Any) -> Endpoint:  # noqa: ANN401  # any field of the spec
    spec = EndpointSpec(
        **{"name": "one", "base_url": "http://127.0.0.1:1/v1", "key": lambda: KEY, **values}
    )
    return Endpoint(spec, clock=HandClock(), transport=transport)


def prepared(of: Job, model: str | None = None, **values: Any) -> Request | Failed:  # noqa: ANN401  # any field of the spec
    return endpoint(PlannedUpstream(), **values).prepare(of, number=1, model=model)


def request(of: Job, model: str | None = None, **values: Any) -> Request:  # noqa: ANN401  # any field of the spec
    made = prepared(of, model, **values)
    assert isinstance(made, Request)
    return made


def test_a_model_with_another_name_there_is_asked_for_by_that_and_the_rest_stays() -> None:
    made = request(job(BODY), models={"gpt-small": "mine"})
    assert made.body == RENAMED


async def test_the_answer_passes_as_it_is_and_says_what_the_model_is_called_there() -> None:
    one = endpoint(PlannedUpstream(), models={"gpt-small": "mine"})
    made = one.prepare(job(), number=1)
    assert isinstance(made, Request)
    completed = await one.call(made, "/v1/chat/completions")
    assert isinstance(completed, Completed)
    assert completed.model == "mine"
    assert json.loads(completed.body)["model"] == "mine"


def test_made_up_model_names_take_no_room() -> None:
    one = endpoint(PlannedUpstream())
    for number in range(50):
        made = one.prepare(replace(job(), model=f"m{number}", body=b'{"model":"m"}'), number=1)
        assert isinstance(made, Request)
    assert len(one._urls) == 1


@pytest.mark.parametrize("models", [{}, {"gpt-small": "gpt-small"}])
def test_a_model_with_the_same_name_there_goes_byte_for_byte(models: dict[str, str]) -> None:
    assert request(job(BODY), models=models).body == BODY


def test_another_model_to_answer_with_is_asked_for_by_its_name_there() -> None:
    models = {"gpt-small": "gpt-small", "gpt-tiny": "mine"}
    assert request(job(BODY), "gpt-tiny", models=models).body == RENAMED


@pytest.mark.parametrize(
    "values", [{"models": {"other": "other"}}, {"paths": {"/v1/chat/completions": ""}}]
)
def test_nothing_is_made_of_a_job_that_the_endpoint_does_not_serve(
    values: dict[str, Any],
) -> None:
    failed = prepared(job(BODY), **values)
    assert isinstance(failed, Failed)
    assert (failed.kind, failed.endpoint) == (Kind.MODEL_NOT_FOUND, "one")


def test_azures_older_form_has_the_deployment_in_its_path_and_the_key_in_its_own_header() -> None:
    made = request(
        job(BODY),
        base_url="https://ours.openai.azure.com",
        models={"gpt-small": "mine"},
        api_version="2024-10-21",
    )
    assert made.url == (
        "https://ours.openai.azure.com/openai/deployments/mine/chat/completions"
        "?api-version=2024-10-21"
    )
    headers = dict(made.headers)
    assert headers["api-key"] == KEY
    assert "authorization" not in headers


def test_no_message_can_say_where_its_call_goes() -> None:
    """The models of a deployment's endpoint are configured, so an unknown one is not asked for."""
    of = replace(job(BODY), model="../../evil")
    values = {"base_url": "https://ours.openai.azure.com", "api_version": "2024-10-21"}
    assert isinstance(prepared(of, models={"gpt-small": "mine"}, **values), Failed)
