"""No Docker is asked: the Dockerfile is linted, read, and its build stage carried out in a folder."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.faults.vhost import ROOT
from tests.packaging.dockerfile import FILE, Instruction, build, context, stages, values
from tests.packaging.environment import fresh
from worker.settings import load

STAGES = stages()
FINAL = STAGES["warren"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def only(name: str) -> Instruction:
    (found,) = (each for each in FINAL if each.name == name)
    return found


def runs(stage: str) -> list[str]:
    return [each.text for each in STAGES[stage] if each.name == "RUN"]


def test_the_linter_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    command = [str(hadolint), "--no-color", "--failure-threshold", "style", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_stage_begins_with_the_one_pinned_python() -> None:
    froms = [stage[0].text for stage in STAGES.values()]
    first, *others = froms
    image, _, rest = first.partition(":")
    number, slim, _ = rest.partition(" ")[0].split("-")
    assert (image, slim) == ("python", "slim")
    assert len(number.split(".")) == 3
    assert (
        f"Programming Language :: Python :: {number.rpartition('.')[0]}" in PROJECT["classifiers"]
    )
    assert all(each.startswith("base AS ") for each in others)
    assert values(FINAL, "LABEL")["org.opencontainers.image.base.name"].endswith(
        first.partition(" ")[0]
    )


def test_the_image_that_is_built_without_a_target_is_the_one_that_runs() -> None:
    assert list(STAGES)[-1] == "warren"


def test_nothing_is_installed_that_no_lock_names_with_its_hash() -> None:
    every = [run for stage in STAGES for run in runs(stage)]
    steps = [step for run in every for step in run.split(" && ")]
    installs = [step for step in steps if " pip " in step and " install " in step]
    assert len(installs) == 3
    for step in installs:
        hashed = "--require-hashes --only-binary :all: -r requirements/" in step
        assert "--no-deps" in step
        assert hashed or "--no-index" in step
    assert not any(word in run for run in every for word in ("apt-get", "curl", "wget", "gcc"))


def test_no_installer_and_no_builder_is_left_in_what_runs() -> None:
    assert "python -m pip uninstall --yes pip" in only("RUN").text
    copied = [each for each in FINAL if each.name == "COPY"]
    assert [each.arguments[0] for each in copied] == ["/opt/warren", "docker/healthcheck.py"]
    assert copied[0].options == {"from": "build"}
    assert any("venv --without-pip /opt/warren" in run for run in runs("build"))


def test_it_runs_as_a_user_with_a_fixed_id_who_owns_the_ledgers_folder_alone() -> None:
    assert only("USER").text == "10001:10001"
    made = only("RUN").text
    assert "useradd --uid 10001 --gid 10001" in made
    folder = only("VOLUME").text
    assert f"install --directory --owner 10001 --group 10001 --mode 0700 {folder}" in made
    assert Path(folder) == load(ROOT / "examples/warren.toml", {}).store.path
    assert [each.name for each in FINAL].index("USER") > [each.name for each in FINAL].index("RUN")


def test_it_is_the_command_and_a_worker_when_nothing_is_said() -> None:
    assert json.loads(only("ENTRYPOINT").text) == ["warren"]
    assert json.loads(only("CMD").text) == ["worker"]
    assert only("STOPSIGNAL").text == "SIGTERM"
    assert values(FINAL, "ENV")["PATH"].startswith("/opt/warren/bin:")


def test_its_health_check_asks_the_port_that_a_worker_listens_on() -> None:
    check = only("HEALTHCHECK")
    command = json.loads(check.text.partition(" CMD ")[2])
    port = load(ROOT / "examples/warren.toml", {}).http.listen.port
    assert command == [
        "python",
        "-I",
        "/opt/warren/healthcheck.py",
        f"http://127.0.0.1:{port}/livez",
    ]
    assert only("EXPOSE").text == str(port)
    assert check.options.keys() == {"interval", "timeout", "start-period", "retries"}


def test_its_labels_tell_what_the_project_says() -> None:
    labels = values(FINAL, "LABEL")
    prefix = "org.opencontainers.image."
    assert labels[f"{prefix}version"] == PROJECT["version"]
    assert labels[f"{prefix}licenses"] == PROJECT["license"]
    assert labels[f"{prefix}title"].lower() == PROJECT["name"]


def test_only_what_the_image_is_made_of_is_sent_to_the_builder(tmp_path: Path) -> None:
    context(tmp_path)
    sent = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*") if path.is_file()}
    copied = {
        Path(argument).parts[0]
        for stage in STAGES.values()
        for each in stage
        if each.name == "COPY" and "from" not in each.options
        for argument in each.arguments[:-1]
    }
    assert sent == copied
    assert not list(tmp_path.rglob("__pycache__"))


@pytest.mark.timeout(300)  # pip fetches the locked packages, as in an image
def test_the_build_stage_makes_an_environment_in_which_everything_runs(tmp_path: Path) -> None:
    image = tmp_path / "image"
    fresh(image, ["pip"])
    context(tmp_path / "context")
    build(
        STAGES["build"],
        tmp_path / "root",
        sent=tmp_path / "context",
        python=image / "bin/python",
    )
    made = tmp_path / "root/opt/warren/bin"
    config = tmp_path / "warren.toml"
    config.write_text(
        '[broker]\nurl = "amqp://worker@127.0.0.1/warren"\n[endpoints.main]\nbase_url = "http://127.0.0.1/v1"\n'
        '[tiers.standard]\nendpoints = ["main"]\n',
        encoding="utf-8",
    )
    for command, said in (
        (["warren", "--help"], "A durable queue in front of LLM APIs"),
        (["warren", "check-config", "--config", str(config)], "tiers.standard.concurrency"),
        (["python", "-m", "simulator", "--help"], "OpenAI-compatible"),
    ):
        done = subprocess.run(
            [str(made / command[0]), *command[1:]],
            cwd=tmp_path,
            env={},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
    assert not list(made.glob("pip*"))
