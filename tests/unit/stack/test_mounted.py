import hashlib
import json
import stat
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from stack import mounted
from stack.errors import StackError

MOUNTED = (
    "definitions.json",
    "env",
    "grafana-password",
    "redis-password",
    "redis-users",
    "upstream-key",
    "worker-password",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "secrets"


def read(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_nobody_else_enters_the_folder_but_any_user_of_a_container_reads_its_files(
    folder: Path,
) -> None:
    mounted.make(folder)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert modes == dict.fromkeys(MOUNTED, 0o444) | {"credentials.json": 0o600}


def test_a_second_run_keeps_passwords_keys_and_what_somebody_put_there(folder: Path) -> None:
    mounted.make(folder)
    (folder / "upstream-key").chmod(0o600)
    (folder / "upstream-key").write_text("sk-of-mine", encoding="utf-8")
    before = read(folder)
    mounted.make(folder)
    after = read(folder)
    assert before.pop("definitions.json") != after.pop("definitions.json")  # fresh salts
    assert before == after
    assert stat.S_IMODE((folder / "upstream-key").stat().st_mode) == 0o444


def test_no_mounted_file_of_broker_or_redis_holds_a_password_of_another(folder: Path) -> None:
    mounted.make(folder)
    passwords = json.loads((folder / "credentials.json").read_text(encoding="utf-8"))
    for name in ("definitions.json", "redis-users"):
        text = (folder / name).read_text(encoding="utf-8")
        assert not [user for user, password in passwords.items() if password in text]


def test_redis_knows_the_password_by_its_hash(folder: Path) -> None:
    mounted.make(folder)
    password = (folder / "redis-password").read_bytes()
    rule = (folder / "redis-users").read_text(encoding="utf-8")
    assert f"#{hashlib.sha256(password).hexdigest()}" in rule.split()


def test_every_user_of_the_definitions_gets_a_hash(folder: Path) -> None:
    mounted.make(folder)
    users = json.loads((folder / "definitions.json").read_text(encoding="utf-8"))["users"]
    assert all(user["password_hash"] for user in users)


def test_a_shell_reads_the_addresses_that_a_command_needs(folder: Path) -> None:
    mounted.make(folder)
    passwords = json.loads((folder / "credentials.json").read_text(encoding="utf-8"))
    script = '. "$0"; printf "%s\\n" "$WARREN_URL" "$WARREN_OPERATOR_URL" "$WARREN_MANAGEMENT_URL"'
    done = subprocess.run(
        ["/bin/sh", "-ec", script, str(folder / "env")],
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    urls = [urlsplit(line) for line in done.stdout.splitlines()]
    assert [(url.username, url.port, url.hostname) for url in urls] == [
        ("producer", 5672, "127.0.0.1"),
        ("operator", 5672, "127.0.0.1"),
        ("admin", 15672, "127.0.0.1"),
    ]
    assert all(unquote(url.password or "") == passwords[url.username or ""] for url in urls)


def test_arguments_are_refused() -> None:
    with pytest.raises(StackError, match="no arguments"):
        mounted.main(["--force"])
