"""Secrets that a manager keeps: how their place is written, what must hold, and that nobody shows what they are."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.contract.secret_stands import Stand, VaultStand, open_stand
from tests.unit.worker.settings_samples import MINIMAL, Folder, having
from worker.cli.commands import warren
from worker.cli.doctor.finding import Severity
from worker.cli.doctor.secrets import secret_findings
from worker.errors import SettingsError
from worker.keys import read_managed
from worker.secrets import readers
from worker.secrets.reference import Manager
from worker.settings import Settings, describe, managed, secrets_of

CANARY = "sk-canary-4711"
TOKEN = "token-canary-1618"
PLACE = "vault:secret/data/openai#key"
VAULT = f'[secrets]\nvault_url = "http://127.0.0.1:1"\nvault_token = "{TOKEN}"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def vault() -> VaultStand:
    return VaultStand(secrets={"secret/data/openai": {"key": CANARY}}, tokens={TOKEN})


@pytest.fixture
def stand(vault: VaultStand) -> Iterator[Stand]:
    with open_stand(Stand(answer=vault.answer)) as opened:
        yield opened


def with_key(*lines: str, vault: str = VAULT) -> str:
    return having("endpoints.main", *lines) + vault


def at(stand: Stand) -> str:
    return VAULT.replace("http://127.0.0.1:1", stand.url)


def reading(settings: Settings) -> tuple[str, ...]:
    """Give what a worker would say at start; nothing if it read all its secrets."""
    try:
        read_managed(secrets_of(settings))
    except SettingsError as error:
        return error.problems
    return ()


def test_a_place_in_the_file_is_read_from_its_manager_when_the_worker_starts(
    folder: Folder, stand: Stand
) -> None:
    settings = folder.load(with_key(f'key_from = "{PLACE}"', vault=at(stand)))
    assert stand.asked == []  # nobody was asked for loading it
    assert reading(settings) == ()
    key = settings.endpoints["main"].key
    assert key is not None
    asked = len(stand.asked)
    assert key.reveal() == CANARY
    assert len(stand.asked) == asked


def test_a_place_in_the_environment_is_as_good(folder: Folder, stand: Stand) -> None:
    environ = {
        "WARREN_ENDPOINTS__MAIN__KEY_FROM": PLACE,
        "WARREN_SECRETS__VAULT_URL": stand.url,
        "WARREN_SECRETS__VAULT_TOKEN_FILE": str(folder.file("token", f"{TOKEN}\n")),
    }
    settings = folder.load(MINIMAL, environ)
    assert reading(settings) == ()
    assert settings.sources["endpoints.main.key"] == (
        "key_from in WARREN_ENDPOINTS__MAIN__KEY_FROM"
    )


def test_several_managers_keep_secrets_side_by_side(folder: Folder) -> None:
    text = having("broker", 'password_from = "aws:prod/rabbitmq#password"')
    text += (
        '[endpoints.spare]\nbase_url = "https://b.example/v1"\nkey_from = "azure:my-vault/openai"\n'
    )
    text += '[endpoints.third]\nbase_url = "https://c.example/v1"\nkey_from = "gcp:projects/p/secrets/s"\n'
    secrets = secrets_of(folder.load(text + VAULT, {"WARREN_ENDPOINTS__MAIN__KEY_FROM": PLACE}))
    assert {path: secret.place for path, secret in secrets.items()} == {
        "endpoints.main.key": PLACE,
        "endpoints.spare.key": "azure:my-vault/openai",
        "endpoints.third.key": "gcp:projects/p/secrets/s",
        "broker.password": "aws:prod/rabbitmq#password",
        "secrets.vault_token": "the configuration",
    }


def test_every_secret_that_cannot_be_read_at_start_is_named_at_once(
    folder: Folder, stand: Stand
) -> None:
    more = '[endpoints.other]\nbase_url = "https://b.example/v1"\nkey_from = "vault:secret/data/x#key"\n'
    text = having("broker", f'password_from = "{PLACE.replace("key", "kee")}"')
    problems = reading(folder.load(text + more + at(stand)))
    assert set(problems) == {
        "endpoints.other.key_from: the secret vault:secret/data/x#key is not there, or its latest version is deleted",
        "broker.password_from: the secret vault:secret/data/openai#kee has no text in a field kee",
    }


def test_a_manager_that_is_down_at_start_is_an_error_that_names_the_secret(folder: Folder) -> None:
    (problem,) = reading(folder.load(with_key(f'key_from = "{PLACE}"')))
    assert problem == (
        f"endpoints.main.key_from: the secret {PLACE} cannot be read: ConnectionError"
    )


@pytest.mark.parametrize(
    ("lines", "vault", "problem"),
    [
        ((f'key_from = "{CANARY}"',), VAULT, "must be the place of a secret"),
        (("key_from = 7",), VAULT, "must be a string"),
        ((f'key_from = "vault:{CANARY}"',), VAULT, 'must look like "vault:'),
        ((f'key_from = "{PLACE}"', 'key = "x"'), VAULT, "is given twice"),
        ((f'key_from = "{PLACE}"',), "", "secrets.vault_url does not say where"),
        ((f'base_url_from = "{PLACE}"',), VAULT, "there is no such setting"),
    ],
)
def test_what_cannot_be_the_place_of_a_secret_is_a_problem_and_not_repeated(
    folder: Folder, lines: tuple[str, ...], vault: str, problem: str
) -> None:
    (told,) = folder.problems(with_key(*lines, vault=vault))
    assert problem in told
    assert CANARY not in told


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (('vault_url = "http://vault.example:8200"', 'vault_token = "t"'), "unencrypted"),
        (('vault_url = "https://v.example"',), "secrets.vault_token is missing"),
        (
            ('vault_url = "https://v.example"', 'vault_auth = "approle"', 'vault_role = "r"'),
            "secrets.vault_secret_id is missing",
        ),
        (
            ('vault_url = "https://v.example"', 'vault_auth = "kubernetes"'),
            "secrets.vault_role is missing",
        ),
        (
            ('vault_url = "https://v.example"', f'vault_token_from = "{PLACE}"'),
            "gives nothing to whoever has not signed in",
        ),
        (
            ('vault_url = "https://v.example"', 'vault_token = "t"', 'vault_ca_file = "none.pem"'),
            "there is no such file",
        ),
        (('vault_url = "https://v.example"', 'vault_auth = "ldap"'), "must be one of token"),
    ],
)
def test_a_way_to_vault_that_cannot_work_is_a_problem(
    folder: Folder, lines: tuple[str, ...], problem: str
) -> None:
    problems = folder.problems(having("secrets", *lines))
    assert any(problem in each for each in problems)


def test_a_manager_whose_library_is_missing_is_told_with_the_extra_that_brings_it(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managed, "is_installed", lambda manager: manager is Manager.VAULT)
    places = {
        "aws": "aws:prod/openai#key",
        "gcp": "gcp:projects/p/secrets/s",
        "azure": "azure:my-vault/openai-key",
    }
    for extra, place in places.items():
        (problem,) = folder.problems(with_key(f'key_from = "{place}"'))
        assert f"pip install 'warren[{extra}]'" in problem
        assert problem.startswith("endpoints.main.key_from names ")


def test_nothing_that_shows_settings_shows_what_a_manager_gave(
    folder: Folder, stand: Stand
) -> None:
    settings = folder.load(with_key(f'key_from = "{PLACE}"', vault=at(stand)))
    assert reading(settings) == ()
    rows = {row.path: row.value for row in describe(settings)}
    assert rows["endpoints.main.key"] == f"*** in {PLACE}"
    assert rows["secrets.vault_token"] == "***"
    for canary in (CANARY, TOKEN):
        assert canary not in f"{settings!r}{rows}"


def test_the_doctor_says_which_secrets_can_be_read_and_not_what_they_are(
    folder: Folder, stand: Stand, vault: VaultStand
) -> None:
    text = having("broker", f'password_from = "{PLACE}"') + at(stand)
    settings = folder.load(text)
    found = list(secret_findings(settings))
    assert [(each.what, each.severity, each.detail) for each in found] == [
        ("broker.password", Severity.OK, f"{PLACE} holds one"),
        ("secrets.vault_token", Severity.OK, "the configuration holds one"),
    ]
    vault.secrets.clear()
    (lost, _) = secret_findings(settings)
    assert (lost.what, lost.severity) == ("broker.password", Severity.FAIL)
    assert PLACE in lost.mend
    assert CANARY not in repr([*found, lost])


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_check_config_asks_nobody_and_shows_the_place_alone(
    folder: Folder, stand: Stand, more: tuple[str, ...]
) -> None:
    folder.file("warren.toml", with_key(f'key_from = "{PLACE}"', vault=at(stand)))
    command = ["check-config", "--config", str(folder.config), *more]
    result = CliRunner().invoke(warren, command, env={"WARREN_CONFIG": None})
    assert result.exit_code == 0, result.output
    assert PLACE in result.output
    assert TOKEN not in result.output
    assert stand.asked == []


def test_a_library_whose_parent_package_is_missing_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert all(readers.is_installed(manager) for manager in Manager)
    monkeypatch.setitem(readers._MODULES, Manager.GCP, ("nobody.has.this",))
    assert not readers.is_installed(Manager.GCP)


def test_a_worker_without_managers_imports_none_of_their_libraries() -> None:
    code = "import sys, worker.cli.commands, worker.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    roots = {name.partition(".")[0] for name in done.stdout.split()}
    assert "pyqwest" in roots
    assert not roots & {"hvac", "boto3", "botocore", "google", "grpc", "azure", "msal", "requests"}
