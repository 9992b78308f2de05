from pathlib import Path

from tests.unit.worker.settings_samples import Folder, having
from worker import parts


def test_metrics_know_the_models_that_the_configuration_names(tmp_path: Path) -> None:
    settings = Folder(tmp_path).load(having('prices."gpt-x/1"', "input = 1", "output = 2"))
    assert parts.models_named(settings) == {"main": ("gpt-x/1",)}


def test_a_configuration_that_names_no_model_has_none(tmp_path: Path) -> None:
    assert parts.models_named(Folder(tmp_path).load()) == {"main": ()}
