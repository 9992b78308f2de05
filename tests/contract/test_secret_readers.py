"""What every manager of secrets must do behind `Readers`, whichever it is.

`openbao` is a real server, `aws` is moto's; the others are stands that answer as the documentation says.
"""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.contract.openbao import TOKEN
from tests.contract.secret_shelves import CREDENTIAL, SHELVES, Shelf, readers_of
from worker.errors import SecretUnavailable
from worker.secrets.reference import Manager, parse_reference

# OpenBao may have to be fetched first.
pytestmark = pytest.mark.timeout(300)

CANARY = "sk-canary-8979"


@pytest.fixture(params=list(SHELVES))
def shelf(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shelf]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, CREDENTIAL)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with SHELVES[request.param](tmp_path) as made:
        yield made


def refusal(shelf: Shelf, name: str, field: str | None) -> SecretUnavailable:
    with pytest.raises(SecretUnavailable) as caught:
        shelf.read(name, field)
    return caught.value


def test_a_field_of_a_secret_is_read_and_its_next_version_at_the_next_reading(shelf: Shelf) -> None:
    shelf.put("openai", {"key": CANARY, "other": "x"})
    assert shelf.read("openai", "key") == CANARY
    shelf.put("openai", {"key": "sk-next"})
    assert shelf.read("openai", "key") == "sk-next"


def test_a_secret_that_is_one_text_is_read_whole(shelf: Shelf) -> None:
    if shelf.manager is Manager.VAULT:
        pytest.skip("a secret of Vault always has fields")
    shelf.put("openai", {"": CANARY})
    assert shelf.read("openai", None) == CANARY


def test_a_secret_that_is_not_there_is_refused_without_a_word_of_the_library(shelf: Shelf) -> None:
    shelf.put("openai", {"key": CANARY})
    error = refusal(shelf, "nothing", "key")
    assert (error.__cause__, error.__context__) == (None, None)
    assert "nothing" not in str(error)


def test_a_field_that_is_not_there_is_refused_without_any_other_value(shelf: Shelf) -> None:
    shelf.put("openai", {"key": CANARY})
    error = refusal(shelf, "openai", "kee")
    assert str(error) == "has no text in a field kee"
    assert (error.__cause__, error.__context__) == (None, None)


def test_a_manager_that_is_down_is_told_without_its_own_text(shelf: Shelf) -> None:
    shelf.put("openai", {"key": CANARY})
    assert shelf.read("openai", "key") == CANARY
    shelf.close()
    error = refusal(shelf, "openai", "key")
    assert str(error).startswith("cannot be read: ")
    assert CREDENTIAL not in str(error)
    assert (error.__cause__, error.__context__) == (None, None)


def test_many_threads_may_read_at_once(shelf: Shelf) -> None:
    for number in range(4):
        shelf.put(f"key-{number}", {"key": f"sk-{number}"})
    with ThreadPoolExecutor(8) as pool:
        names = [number % 4 for number in range(32)]
        read = list(pool.map(lambda number: shelf.read(f"key-{number}", "key"), names))
    assert read == [f"sk-{number}" for number in names]


def test_neither_the_secret_nor_what_one_signs_in_with_is_logged_at_any_level(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    shelf.put("openai", {"key": CANARY})
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        assert shelf.read("openai", "key") == CANARY
        refusal(shelf, "nothing", "key")
        shelf.close()
        refusal(shelf, "openai", "key")
    lines = [record for record in caplog.records if record.name.partition(".")[0] != "werkzeug"]
    shown = "\n".join(f"{record.name} {record.getMessage()} {record.args}" for record in lines)
    for canary in (CANARY, CREDENTIAL, TOKEN):
        assert canary not in shown
        assert canary not in repr(shelf.readers)


def test_a_vault_that_is_not_configured_is_told() -> None:
    with pytest.raises(SecretUnavailable, match=r"secrets\.vault_url is missing"):
        readers_of().read(parse_reference("vault:secret/data/openai#key"))
