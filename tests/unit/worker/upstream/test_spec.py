import pytest

from tests.unit.worker.upstream.fakes import KEY
from worker.errors import SettingsError
from worker.upstream.spec import EndpointSpec


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1/chat/completions"),
        (
            "https://generativelanguage.googleapis.com/v1beta/openai",
            "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions",
        ),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1/chat/completions"),
    ],
)
def test_the_path_follows_the_base_url_without_its_own_version(base_url: str, url: str) -> None:
    assert EndpointSpec(name="a", base_url=base_url).url("/v1/chat/completions", "m") == url


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "api.openai.com/v1",
        "ftp://host/v1",
        "https://user:CANARY@host/v1",
        "https://host/v1?api-version=CANARY",
        "https://host/v1#CANARY",
        "https://host\\@127.0.0.1/v1",
        "https://host/v1\n",
        "https://hö/v1",
        "https:///v1",
    ],
)
def test_a_base_url_that_libraries_could_read_differently_is_refused_and_not_shown(
    base_url: str,
) -> None:
    with pytest.raises(SettingsError, match="base_url") as caught:
        EndpointSpec(name="a", base_url=base_url)
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    "base_url", ["http://10.0.0.1/v1", "http://127.0.0.1.evil.test/v1", "http://vllm:8000/v1"]
)
def test_plaintext_beyond_loopback_has_to_be_allowed(base_url: str) -> None:
    with pytest.raises(SettingsError, match="plaintext"):
        EndpointSpec(name="a", base_url=base_url)
    EndpointSpec(name="a", base_url=base_url, allow_plaintext=True)


@pytest.mark.parametrize(
    "base_url", ["http://localhost:1/v1", "http://127.9.9.9/v1", "http://[::1]:80/v1"]
)
def test_plaintext_to_loopback_is_allowed(base_url: str) -> None:
    EndpointSpec(name="a", base_url=base_url)


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "x"},
        {"host": "x"},
        {"content-length": "1"},
        {"cookie": "x"},
        {"X-Upper": "x"},
        {"bad name": "x"},
        {"x-fine": "CANARY\r\nx-more: y"},
        {"x-fine": ""},
        {"x-fine": "ü"},
    ],
)
def test_extra_headers_cannot_take_warrens_place_or_break_a_line(headers: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="extra_headers") as caught:
        EndpointSpec(name="a", base_url="https://host/v1", extra_headers=headers)
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize("number", [0, -1, float("nan")])
def test_weights_timeouts_and_caps_are_above_zero(number: float) -> None:
    with pytest.raises(SettingsError) as caught:
        EndpointSpec(
            name="a",
            base_url="https://host/v1",
            weight=number,
            connect_timeout_s=number,
            read_timeout_s=number,
        )
    assert len(caught.value.problems) == 3


def test_a_specs_repr_shows_neither_key_nor_headers() -> None:
    spec = EndpointSpec(
        name="a",
        base_url="https://host/v1",
        key=lambda: KEY,
        extra_headers={"x-organization": "org-CANARY"},
    )
    assert KEY not in repr(spec)
    assert "CANARY" not in repr(spec)
    assert "lambda" not in repr(spec)
