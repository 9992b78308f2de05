"""What the compose file's services find mounted."""

import re
from pathlib import Path

import pytest

from stack import mounted
from tests.packaging.compose import mounts
from worker.settings import Settings, load


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "secrets"
    mounted.make(folder)
    return folder


@pytest.fixture(params=["", "redis"])
def settings(request: pytest.FixtureRequest, secrets: Path, tmp_path: Path) -> Settings:
    """What a worker of the compose file reads, with its mounted files in places that there are here."""
    given = mounts("worker", request.param)
    (file,) = (mount.file for mount in given if mount.target == "/etc/warren/warren.toml")
    text = file.read_text(encoding="utf-8")
    targets = {mount.target for mount in given}
    for path in re.findall(r'"(/run/secrets/[^"]+)"', text):
        assert path in targets
    config = tmp_path / "warren.toml"
    config.write_text(text.replace("/run/secrets", str(secrets)), encoding="utf-8")
    return load(config, {})
