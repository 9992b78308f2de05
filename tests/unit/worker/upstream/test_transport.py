import inspect

import httpx
import pyqwest
import pytest

from worker.upstream import transport
from worker.upstream.transport import ERRORS, PyqwestTransport


def theirs() -> set[type[Exception]]:
    exported = (getattr(pyqwest, name) for name in pyqwest.__all__)
    return {each for each in exported if inspect.isclass(each) and issubclass(each, Exception)}


def raised(error: Exception) -> Exception:
    with pytest.raises(Exception) as caught, transport._translated():  # noqa: PT011  # which one it is, is the question
        raise error
    return caught.value


def made(kind: type[Exception]) -> Exception:
    if issubclass(kind, pyqwest.StreamError):
        return kind("said", pyqwest.StreamErrorCode.CANCEL)
    return kind("said")


def test_every_exception_that_pyqwest_exports_has_its_own_row() -> None:
    assert theirs() <= {error for error, _ in ERRORS}


def test_no_row_hides_behind_a_wider_one_before_it() -> None:
    for index, (error, _) in enumerate(ERRORS):
        assert not any(issubclass(error, before) for before, _ in ERRORS[:index])


@pytest.mark.parametrize(("error", "ours"), ERRORS)
def test_every_exception_becomes_its_counterpart_with_its_cause(
    error: type[Exception], ours: type[httpx.RequestError]
) -> None:
    original = made(error)
    translated = raised(original)
    assert type(translated) is ours
    assert translated.__cause__ is original


def test_other_exceptions_pass_as_they_are() -> None:
    assert type(raised(KeyError("x"))) is KeyError


@pytest.mark.parametrize("name", ["authorization", "x-client-request-id"])
async def test_a_header_that_cannot_be_sent_is_not_shown(name: str) -> None:
    request = httpx.Request("POST", "http://127.0.0.1:1/v1", headers={name: "sk-secret\n"})
    through = PyqwestTransport(http="1.1")
    with pytest.raises(httpx.LocalProtocolError) as caught:
        await through.handle_async_request(request)
    await through.aclose()
    assert "sk-secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("pem", [b"", b"no certificate here", "prüfung".encode()])
def test_authorities_without_a_certificate_are_refused_instead_of_trusting_the_systems(
    pem: bytes,
) -> None:
    with pytest.raises(ValueError, match=r"certificate|ascii"):
        PyqwestTransport(ca_pem=pem)
