import base64
import hashlib
import json
import stat
from pathlib import Path

import pytest

from stack import credentials
from stack.errors import StackError


def _definitions(folder: Path) -> Path:
    path = folder / "definitions.json"
    users = [{"name": name, "password_hash": "", "tags": ""} for name in ("producer", "worker")]
    path.write_text(json.dumps({"users": users, "queues": [{"name": "kept"}]}), encoding="utf-8")
    return path


def test_the_hash_is_the_one_of_rabbitmqs_guide_to_passwords() -> None:
    salt = bytes.fromhex("908DC60A")

    assert credentials.password_hash("test12", salt) == (
        "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
    )


def test_passwords_are_kept_and_only_missing_ones_are_made(tmp_path: Path) -> None:
    path = tmp_path / "private/credentials.json"

    first = credentials.ensure(path, ["producer"])
    second = credentials.ensure(path, ["producer", "worker"])

    assert second["producer"] == first["producer"]
    assert second.keys() == {"producer", "worker"}
    assert second["worker"] != second["producer"]
    assert len(second["worker"]) >= 32


def test_only_the_owner_can_read_the_passwords(tmp_path: Path) -> None:
    path = tmp_path / "private/credentials.json"

    credentials.ensure(path, ["producer"])

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"producer": 1}'])
def test_a_broken_file_of_passwords_is_named_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "credentials.json"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(StackError, match=r"credentials\.json"):
        credentials.ensure(path, ["producer"])

    assert path.read_text(encoding="utf-8") == text


def test_the_copy_has_the_hash_of_each_password_and_all_else_unchanged(tmp_path: Path) -> None:
    source, target = _definitions(tmp_path), tmp_path / "copy.json"

    credentials.write_definitions(source, target, {"worker": "sesame"})

    before, after = (json.loads(path.read_text(encoding="utf-8")) for path in (source, target))
    stored = base64.b64decode(after["users"][1]["password_hash"])
    assert stored[4:] == hashlib.sha256(stored[:4] + b"sesame").digest()
    assert after["users"][1]["hashing_algorithm"] == "rabbit_password_hashing_sha256"
    assert after["users"][0] == before["users"][0]
    assert after["queues"] == before["queues"]
    assert "sesame" not in target.read_text(encoding="utf-8")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_password_for_an_unknown_user_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="stranger"):
        credentials.write_definitions(
            _definitions(tmp_path), tmp_path / "copy.json", {"stranger": "x"}
        )

    assert not (tmp_path / "copy.json").exists()


def test_users_are_named_in_the_files_order(tmp_path: Path) -> None:
    assert credentials.user_names(_definitions(tmp_path)) == ["producer", "worker"]
