import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import SecretUnavailable
from worker.secrets.reference import FORMS, Manager, Reference, parse_reference, picked

CANARY = "sk-canary-4711"


@pytest.mark.parametrize(
    ("text", "manager", "path", "field"),
    [
        ("vault:secret/data/openai#key", Manager.VAULT, "secret/data/openai", "key"),
        ("vault:team/kv/data/a/b#k.1", Manager.VAULT, "team/kv/data/a/b", "k.1"),
        ("aws:prod/openai", Manager.AWS, "prod/openai", None),
        ("aws:prod/openai#key", Manager.AWS, "prod/openai", "key"),
        (
            "aws:arn:aws:secretsmanager:eu-west-1:123456789012:secret:openai-AbCdEf#key",
            Manager.AWS,
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:openai-AbCdEf",
            "key",
        ),
        ("gcp:projects/p/secrets/s", Manager.GCP, "projects/p/secrets/s", None),
        ("gcp:projects/p/secrets/s/versions/7#k", Manager.GCP, "projects/p/secrets/s/versions/7", "k"),
        (
            "gcp:projects/p/locations/europe-west3/secrets/s",
            Manager.GCP,
            "projects/p/locations/europe-west3/secrets/s",
            None,
        ),
        ("azure:my-vault/openai-key", Manager.AZURE, "my-vault/openai-key", None),
        ("azure:my-vault.vault.azure.cn/k/0a1b", Manager.AZURE, "my-vault.vault.azure.cn/k/0a1b", None),
    ],
)  # fmt: skip
def test_a_place_is_read_and_shown_as_it_was_written(
    text: str, manager: Manager, path: str, field: str | None
) -> None:
    reference = parse_reference(text)
    assert reference == Reference(manager=manager, path=path, field=field)
    assert str(reference) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        CANARY,
        f"op:{CANARY}",
        "vault:",
        "vault:openai#key",
        "vault:secret/data/openai",
        "vault:secret/data/openai#",
        "vault:secret/../sys/raw#key",
        "vault:secret//openai#key",
        "vault:/secret/data/openai#key",
        "vault:secret/data/openai?list=true#key",
        "aws:",
        "aws:a b",
        "aws:name#a#",
        "gcp:projects/p/secrets",
        "gcp:projects/p/secrets/s/versions/../x",
        "azure:my-vault",
        "azure:host@evil/name",
        "azure:my-vault/na_me",
        "azure:my-vault/name/1/2",
    ],
)
def test_what_names_no_place_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="must ") as caught:
        parse_reference(text)
    assert CANARY not in str(caught.value)


@given(st.text(max_size=60))
def test_no_text_makes_a_place_that_leads_elsewhere(text: str) -> None:
    for manager in Manager:
        try:
            reference = parse_reference(f"{manager}:{text}")
        except ValueError:
            continue
        assert str(reference) == f"{manager}:{text}"
        assert not {"..", "."} & set(reference.path.split("/")) or manager is Manager.AWS
        assert reference.path.isascii()
        assert not set("?#% \\@\n") & set(reference.path) or manager is Manager.AWS


def test_each_form_that_is_told_can_be_read() -> None:
    assert [parse_reference(form).manager for form in FORMS.values()] == list(Manager)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"{CANARY}", "is no JSON object that could have a field key"),
        ("[1]", "has no text in a field key"),
        (f'{{"kee": "{CANARY}"}}', "has no text in a field key"),
        ('{"key": 7}', "has no text in a field key"),
        ("[" * 100_000, "is no JSON object that could have a field key"),
    ],
)
def test_a_field_that_cannot_be_picked_is_told_without_the_text(text: str, problem: str) -> None:
    with pytest.raises(SecretUnavailable) as caught:
        picked(text, "key")
    assert str(caught.value) == problem
    # A JSON error has the whole document on it.
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_without_a_field_the_text_is_the_secret() -> None:
    assert picked('{"a": 1}', None) == '{"a": 1}'
    assert picked('{"a": "b"}', "a") == "b"
