import os
import pickle
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.unit.worker.settings_samples import MINIMAL, Folder, having
from worker.errors import SettingsError
from worker.parts import broker_address
from worker.settings import Secret, Settings, describe, load

CANARY = "sesame-4711/x"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def password(settings: Settings) -> str:
    assert settings.broker.password is not None
    return settings.broker.password.reveal()


def test_a_secret_shows_only_a_mask() -> None:
    secret = Secret(CANARY)
    assert f"{secret}{secret!r}{secret!s:>20}{[secret]}".count(CANARY) == 0
    assert secret.reveal() == CANARY


def test_a_secret_is_not_pickled() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret(CANARY))


def test_a_secret_file_is_read_again_when_it_is_rotated(folder: Folder) -> None:
    file = folder.file("password", "first\n")
    settings = folder.load(having("broker", 'password_file = "password"'))
    assert password(settings) == "first"
    file.write_text("second\r\n")
    assert password(settings) == "second"
    file.unlink()
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        password(settings)


@pytest.mark.parametrize(
    ("content", "reason"),
    [("", "is empty"), ("\n", "is empty"), ("a\nb\n", "line break"), ("x" * 70_000, "larger than")],
)
def test_a_file_that_cannot_serve_as_a_secret_is_a_problem(
    folder: Folder, content: str, reason: str
) -> None:
    file = folder.file("password", content)
    (problem,) = folder.problems(having("broker", f'password_file = "{file}"'))
    assert problem.startswith("broker.password_file (")
    assert str(file) in problem
    assert reason in problem


def test_a_pipe_or_folder_as_secret_file_is_a_problem_and_blocks_nothing(folder: Folder) -> None:
    os.mkfifo(folder.path / "pipe")
    for name in ("pipe", "."):
        (problem,) = folder.problems(having("broker", f'password_file = "{folder.path / name}"'))
        assert "is not a regular file" in problem


def test_a_key_written_where_its_file_belongs_is_not_quoted(folder: Folder) -> None:
    key = CANARY.replace("/", "-")
    for line in (f'key_file = "{key}"', f'ca_file = "{key}"'):
        (problem,) = folder.problems(having("endpoints.main", line))
        assert key not in problem


@pytest.mark.parametrize("name", ["WARREN_BROKER__PASSWORD", "WARREN_BROKER__PASSWORD_FILE"])
def test_the_environment_gives_a_secret_or_its_file(folder: Folder, name: str) -> None:
    file = folder.file("password", f"{CANARY}\n")
    value = str(file) if name.endswith("_FILE") else CANARY
    assert password(folder.load(environ={name: value})) == CANARY


def test_a_secrets_folder_gives_files_named_as_their_variables(folder: Folder) -> None:
    folder.file("WARREN_BROKER__PASSWORD", f"{CANARY}\n")
    folder.file("WARREN_ENDPOINTS__MAIN__KEY", "key\n")
    folder.file("another-service", "")
    settings = folder.load(environ={"WARREN_SECRETS_DIR": str(folder.path)})
    assert password(settings) == CANARY
    key = settings.endpoints["main"].key
    assert key is not None
    assert key.reveal() == "key"


def test_a_file_in_the_secrets_folder_that_is_no_secret_of_ours_is_a_problem(
    folder: Folder,
) -> None:
    folder.file("WARREN_BROKER__PASWORD", CANARY)
    folder.file("WARREN_BROKER__URL", CANARY)
    problems = folder.problems(environ={"WARREN_SECRETS_DIR": str(folder.path)})
    assert len(problems) == 2
    assert "did you mean WARREN_BROKER__PASSWORD?" in problems[0]
    (missing,) = folder.problems(environ={"WARREN_SECRETS_DIR": str(folder.path / "none")})
    assert "cannot be read" in missing


@pytest.mark.parametrize(
    ("lines", "environ"),
    [
        (('password = "a"', 'password_file = "password"'), {}),
        (('password = "a"',), {"WARREN_BROKER__PASSWORD": "a"}),
        (('password_file = "password"',), {"WARREN_BROKER__PASSWORD": "a"}),
    ],
)
def test_a_secret_given_twice_is_a_problem(
    folder: Folder, lines: tuple[str, ...], environ: dict[str, str]
) -> None:
    folder.file("password", "a")
    (problem,) = folder.problems(having("broker", *lines), environ)
    assert "broker.password is given twice" in problem


def test_the_password_in_the_brokers_url_moves_to_the_secret(folder: Folder) -> None:
    text = MINIMAL.replace("worker@127.0.0.1/", "worker:se%2Fsame%40@127.0.0.1:5673/vhost")
    settings = folder.load(text)
    assert settings.broker.url == "amqp://worker@127.0.0.1:5673/vhost"
    assert password(settings) == "se/same@"
    (problem,) = folder.problems(text, {"WARREN_BROKER__PASSWORD": "x"})
    assert "broker.password is given twice" in problem


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("rediss://:se%2Fsame%40@redis.example:6380/2", "rediss://redis.example:6380/2"),
        ("rediss://warren:se%2Fsame%40@redis.example", "rediss://warren@redis.example"),
    ],
)
def test_the_password_in_the_stores_url_moves_to_the_secret(
    folder: Folder, given: str, kept: str
) -> None:
    settings = folder.load(having("store", f'url = "{given}"'))
    assert settings.store.url == kept
    assert settings.store.password is not None
    assert settings.store.password.reveal() == "se/same@"


def test_the_stores_password_comes_from_the_folder_of_secrets_too(folder: Folder) -> None:
    secrets = folder.path / "secrets"
    secrets.mkdir()
    (secrets / "WARREN_STORE__PASSWORD").write_text(f"{CANARY}\n")
    environ = {
        "WARREN_SECRETS_DIR": str(secrets),
        "WARREN_STORE__URL": "rediss://redis.example",
    }
    store = folder.load(environ=environ).store
    assert store.password is not None
    assert store.password.reveal() == CANARY


def test_the_password_moves_also_when_the_url_names_several_hosts(folder: Folder) -> None:
    text = MINIMAL.replace("worker@127.0.0.1/", "worker:sesame@127.0.0.1:5673,localhost:5674/v")
    settings = folder.load(text)
    assert settings.broker.url == "amqp://worker@127.0.0.1:5673,localhost:5674/v"
    assert password(settings) == "sesame"
    address = broker_address(settings.broker)
    assert [(url.port, url.password) for url in address.urls] == [
        (5673, "sesame"),
        (5674, "sesame"),
    ]


def test_a_secret_that_everybody_may_read_is_a_warning(folder: Folder) -> None:
    file = folder.file("key", "x", mode=0o644)
    settings = folder.load(having("endpoints.main", f'key_file = "{file}"'))
    assert settings.warnings == (f"endpoints.main.key: everybody may read {file}: chmod o-r",)
    folder.file("warren.toml", having("endpoints.main", 'key = "x"'), mode=0o644)
    (warning,) = load(folder.config, {}).warnings
    assert "holds endpoints.main.key" in warning


def test_described_settings_name_each_source_and_mask_secrets(folder: Folder) -> None:
    file = folder.file("key", CANARY)
    settings = folder.load(
        having("endpoints.main", f'key_file = "{file}"', f'headers = {{ "X-A" = "{CANARY}" }}'),
        {"WARREN_BROKER__PASSWORD": CANARY, "WARREN_HTTP__LISTEN": "127.0.0.1:0"},
    )
    rows = {row.path: row for row in describe(settings)}
    assert CANARY not in f"{rows}{settings!r}"
    assert (rows["broker.password"].value, rows["broker.password"].source) == (
        "***",
        "WARREN_BROKER__PASSWORD",
    )
    assert rows["endpoints.main.key"].source == f"key_file in {folder.config}"
    assert rows["endpoints.main.key"].value == f"*** in {file}"
    assert rows["endpoints.main.headers"].value == "X-A: ***"
    assert rows["http.listen"].value == "127.0.0.1:0"
    assert rows["store.record_ttl"].source == "default"
    assert rows["store.record_ttl"].value == "10d"


PLACES = [
    'broker.password = "{}"',
    'broker.passwrod = "{}"',
    'broker.url = "amqp://u:{}@127.0.0.1/"',
    'broker.url = "amqp://u:{}"',
    'broker.url = "amqp://u:{}@127.0.0.1:1,host:2/"',
    'broker.url = "amqps://u:{}@one:1,two:x/"',
    'broker.url = "amqp:/u:{}@host/"',
    'broker.password_file = "{}"',
    "broker.password = ['{}']",
    'broker.management_url = "http://u:{}@h/"',
    'store.url = "redis://:{}@127.0.0.1/"',
    'store.url = "redis://u:{}@127.0.0.1/x"',
    'store.url = "http://u:{}@127.0.0.1/"',
    'store.password = "{}"',
    'store.password_file = "{}"',
    'endpoints.main.key = "{}"',
    'endpoints.main.headers = {{ "X-A" = "{}", b = 1 }}',
    'endpoints.main.headers = {{ "X-A" = ["{}"] }}',
    'endpoints.main.headers = "{}"',
    'endpoints.main.base_url = "https://h/v1?key={}"',
    'endpoints.main.base_url = "https://{}@h/v1"',
    'endpoints.main.api_key = "{}"',
    'secret = "{}"',
]


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(places=st.lists(st.sampled_from(PLACES), min_size=1, max_size=4, unique=True))
def test_no_error_text_holds_a_secret(folder: Folder, places: list[str]) -> None:
    canary = "sesame4711"
    problems = folder.problems("\n".join(place.format(canary) for place in places))
    assert problems
    assert canary not in "\n".join(problems)
