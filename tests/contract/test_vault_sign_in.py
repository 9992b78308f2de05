"""Vault and OpenBao: the ways to sign in, a token that ran out, and what never leaves for another address."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.contract import openbao
from tests.contract.secret_shelves import bao, readers_of, vault_options
from tests.contract.secret_stands import Stand, VaultStand, open_stand
from worker.errors import SecretUnavailable, SettingsError
from worker.secrets.reference import parse_reference
from worker.secrets.vaultoptions import VaultAuth, VaultOptions

# OpenBao may have to be fetched first.
pytestmark = pytest.mark.timeout(300)

KEY = parse_reference("vault:secret/data/openai#key")
SECRET = "secret-id-canary"


@pytest.fixture
def vault() -> VaultStand:
    return VaultStand(
        secrets={"secret/data/openai": {"key": "sk-1"}},
        role="warren",
        secret_id=SECRET,
        jwt="jwt-canary",
        fresh=(f"token-{number}" for number in count(1)),
    )


@pytest.fixture
def stand(vault: VaultStand) -> Iterator[Stand]:
    with open_stand(Stand(answer=vault.answer)) as opened:
        yield opened


def approle(url: str, **more: Any) -> VaultOptions:  # noqa: ANN401  # any field of the options
    usual = {"auth": VaultAuth.APPROLE, "mount": "approle", "role": "warren"}
    return vault_options(url, **{**usual, "secret_id": lambda: SECRET, **more})


def test_a_role_signs_in_once_and_anew_when_its_token_is_refused(
    vault: VaultStand, stand: Stand
) -> None:
    readers = readers_of(approle(stand.url))
    assert [readers.read(KEY), readers.read(KEY)] == ["sk-1", "sk-1"]
    vault.tokens.clear()
    assert readers.read(KEY) == "sk-1"
    signed_in = [asked for asked in stand.asked if asked.path.endswith("/login")]
    assert len(signed_in) == 2
    assert {asked.headers["x-vault-token"] for asked in stand.asked if "/login" not in asked.path} == {
        "token-1",
        "token-2",
    }  # fmt: skip


def test_a_service_account_of_kubernetes_signs_in_with_the_token_that_its_file_has_now(
    vault: VaultStand, stand: Stand, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("jwt-canary\n")
    options = approle(stand.url, auth=VaultAuth.KUBERNETES, mount="k8s", jwt_file=file)
    readers = readers_of(options)
    assert readers.read(KEY) == "sk-1"
    vault.tokens.clear()
    vault.jwt = "jwt-next"
    file.write_text("jwt-next\n")
    assert readers.read(KEY) == "sk-1"


def test_a_token_that_is_rotated_is_taken_when_the_old_one_is_refused(
    vault: VaultStand, stand: Stand
) -> None:
    tokens = ["old"]
    vault.tokens = {"old"}
    readers = readers_of(vault_options(stand.url, token=lambda: tokens[0]))
    assert readers.read(KEY) == "sk-1"
    vault.tokens, tokens[0] = {"new"}, "new"
    assert readers.read(KEY) == "sk-1"


def test_a_refused_sign_in_is_told_without_what_was_sent(stand: Stand) -> None:
    with pytest.raises(SecretUnavailable) as caught:
        readers_of(approle(stand.url, secret_id=lambda: "wrong-canary")).read(KEY)
    assert str(caught.value) == (
        "cannot be read: Vault refuses the sign-in by approle, 400 (InvalidRequest)"
    )


def test_what_one_signs_in_with_may_be_missing_and_is_told_by_its_file(stand: Stand) -> None:
    def lost() -> str:
        raise SettingsError(("the secret file /run/token cannot be read",))

    with pytest.raises(SecretUnavailable, match="the secret file /run/token cannot be read"):
        readers_of(vault_options(stand.url, token=lost)).read(KEY)


def test_a_redirect_takes_the_token_to_nobody(vault: VaultStand) -> None:
    other = Stand(answer=vault.answer)
    with open_stand(other):
        there = f"{other.url}/v1/secret/data/openai"
        stand = Stand(answer=lambda _: (307, {"Location": there}, {}))
        with open_stand(stand), pytest.raises(SecretUnavailable):
            readers_of(vault_options(stand.url, token=lambda: "token")).read(KEY)
    assert other.asked == []


def test_no_variable_of_vaults_own_client_changes_where_or_as_whom_one_asks(
    vault: VaultStand, stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.tokens = {"configured"}
    monkeypatch.setenv("VAULT_TOKEN", "of-the-environment")
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert readers_of(vault_options(stand.url, token=lambda: "configured")).read(KEY) == "sk-1"


def test_the_options_show_nothing_that_one_signs_in_with() -> None:
    assert SECRET not in repr(approle("http://127.0.0.1:1"))


def test_a_role_of_a_real_openbao_reads_what_its_policy_allows_and_nothing_else(
    tmp_path: Path,
) -> None:
    with openbao.running(tmp_path) as url:
        bao(url, "secret/data/openai", {"data": {"key": "sk-bao"}})
        bao(url, "secret/data/another", {"data": {"key": "sk-other"}})
        policy = 'path "secret/data/openai" { capabilities = ["read"] }'
        bao(url, "sys/policies/acl/warren", {"policy": policy})
        bao(url, "sys/auth/machines", {"type": "approle"})
        bao(url, "auth/machines/role/warren", {"token_policies": "warren", "token_ttl": "1h"})
        bao(url, "auth/machines/role/warren/role-id", {"role_id": "warren-id"})
        secret_id = bao(url, "auth/machines/role/warren/secret-id", {})["data"]["secret_id"]
        options = approle(url, mount="machines", role="warren-id", secret_id=lambda: secret_id)
        readers = readers_of(options)
        assert readers.read(KEY) == "sk-bao"
        with pytest.raises(SecretUnavailable, match=r"Vault answers 403 \(Forbidden\)"):
            readers.read(parse_reference("vault:secret/data/another#key"))
        bao(url, "sys/leases/revoke-prefix/auth/machines", {})  # the token is gone: sign in anew
        assert readers.read(KEY) == "sk-bao"
