from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer_sdk.wire import Dedupe
from tests.unit.worker.settings_samples import MINIMAL, Folder, having
from worker.core.routing import Policy
from worker.settings import Address, describe, load, reference
from worker.settings.fields import FIELDS
from worker.settings.values import format_duration, format_size, parse_duration, parse_size

EXAMPLE = Path(__file__).parents[3] / "examples" / "warren.toml"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_the_example_loads_with_three_tiers_on_one_endpoint() -> None:
    settings = load(EXAMPLE, {})
    assert list(settings.tiers) == ["premium", "standard", "budget"]
    assert {tier.endpoints for tier in settings.tiers.values()} == {("main",)}
    assert settings.warnings == ()


def test_values_come_in_internal_units(folder: Folder) -> None:
    settings = folder.load(
        having("http", 'listen = "[::1]:0"')
        + '[store]\ncache_max_size = "10MiB"\nresult_ttl = "90s"\n'
        + '[retry]\nattempt_backoffs = ["250ms", 2, "1.5h"]\n'
    )
    assert settings.http.listen == Address(host="::1", port=0)
    assert settings.store.cache_max_size == 10 * 1024**2
    assert settings.store.result_ttl == timedelta(seconds=90)
    assert settings.retry.attempt_backoffs == (
        timedelta(milliseconds=250),
        timedelta(seconds=2),
        timedelta(minutes=90),
    )


def test_a_price_is_read_digit_by_digit_under_its_models_whole_name(folder: Folder) -> None:
    settings = folder.load(
        MINIMAL
        + '[prices."Qwen/Qwen3-32B:free"]\ninput = 0\noutput = 0.1\ncached_input = 1.25\n'
        + '[prices."gpt-4.1"]\ninput = "0.000000000001"\noutput = "3.10"\n'
    )
    assert list(settings.prices) == ["Qwen/Qwen3-32B:free", "gpt-4.1"]
    free, dear = settings.prices.values()
    assert (free.input, free.output, free.cached_input) == tuple(map(Decimal, ("0", "0.1", "1.25")))
    assert (dear.input, dear.cached_input) == (Decimal("0.000000000001"), None)
    shown = {row.path: row.value for row in describe(settings) if row.source != "default"}
    assert shown['prices."gpt-4.1".input'] == "0.000000000001"
    assert shown['prices."gpt-4.1".output'] == "3.10"


def test_the_environment_alone_is_enough() -> None:
    settings = load(
        None,
        {
            "WARREN_BROKER__URL": "amqps://worker@rabbit.example/",
            "WARREN_TIERS__PREMIUM__ENDPOINTS": "main, backup",
            "WARREN_TIERS__PREMIUM__CONCURRENCY": "4",
            "WARREN_TIERS__PREMIUM__DEDUPE": "cache",
            "WARREN_TIERS__PREMIUM__ROUTING": "least-load",
            "WARREN_ENDPOINTS__MAIN__BASE_URL": "https://api.example/v1/",
            "WARREN_ENDPOINTS__MAIN__HEADERS": '{ "X-Team" = "blue" }',
            "WARREN_ENDPOINTS__BACKUP__BASE_URL": "http://elsewhere.example/v1",
            "WARREN_ENDPOINTS__BACKUP__ALLOW_PLAINTEXT": "true",
            "PATH": "/bin",
            "OPENAI_API_KEY": "not ours",
        },
    )
    tier = settings.tiers["premium"]
    assert (tier.name, tier.endpoints, tier.concurrency, tier.dedupe) == (
        "premium",
        ("main", "backup"),
        4,
        Dedupe.CACHE,
    )
    assert tier.routing is Policy.LEAST_LOAD
    main = settings.endpoints["main"]
    assert main.base_url == "https://api.example/v1"
    assert main.headers == {"X-Team": "blue"}
    assert main.key is None
    assert settings.sources["tiers.premium.concurrency"] == "WARREN_TIERS__PREMIUM__CONCURRENCY"


def test_the_environment_adds_to_the_file(folder: Folder) -> None:
    settings = folder.load(
        MINIMAL + '[tiers.my-tier]\nendpoints = ["main"]\n',
        {"WARREN_TIERS__MY_TIER__CONCURRENCY": "3"},
    )
    assert settings.tiers["my-tier"].concurrency == 3
    assert list(settings.tiers) == ["premium", "my-tier"]


def test_without_a_path_the_file_is_the_one_that_warren_config_names(folder: Folder) -> None:
    folder.file("warren.toml", having("worker", 'log_level = "debug"'))
    settings = load(None, {"WARREN_CONFIG": str(folder.config)})
    assert settings.worker.log_level == "debug"


def test_relative_paths_of_the_file_are_meant_from_its_folder(folder: Folder) -> None:
    assert folder.load(having("store", 'path = "data"')).store.path == folder.path / "data"


def test_a_service_named_warren_in_kubernetes_does_not_stop_the_worker(folder: Folder) -> None:
    environ = {
        "WARREN_SERVICE_HOST": "10.0.0.1",
        "WARREN_SERVICE_PORT": "9464",
        "WARREN_PORT": "tcp://10.0.0.1:9464",
        "WARREN_PORT_9464_TCP_ADDR": "10.0.0.1",
        "WARREN_DB_SERVICE_PORT_HTTP": "80",
    }
    assert folder.problems(environ=environ) == ()


def test_no_value_of_the_settings_can_be_changed(folder: Folder) -> None:
    settings = folder.load()
    with pytest.raises(AttributeError):
        settings.broker.url = "amqp://elsewhere"  # type: ignore[misc]  # that is what is tested
    with pytest.raises(TypeError):
        settings.tiers["more"] = settings.tiers["premium"]  # type: ignore[index]  # that is what is tested
    with pytest.raises(TypeError):
        settings.endpoints["main"].headers["X"] = "y"  # type: ignore[index]  # that is what is tested


@given(st.timedeltas(timedelta(), timedelta(days=3650)))
def test_a_duration_is_read_as_it_was_written(value: timedelta) -> None:
    value -= timedelta(microseconds=value.microseconds % 1000)
    assert abs(parse_duration(format_duration(value)) - value) < timedelta(milliseconds=1000)
    whole = timedelta(seconds=value // timedelta(seconds=1))
    assert parse_duration(format_duration(whole)) == whole


@given(st.integers(0, 2**45))
def test_a_size_is_read_as_it_was_written(value: int) -> None:
    assert parse_size(format_size(value)) == value


@pytest.mark.parametrize(
    "value", ["", "5x", "-1s", "1h30m", "s", "1e3", "nan", True, -1, float("nan"), 1e300, None, []]
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        parse_duration(value)


@pytest.mark.parametrize("value", ["", "10MB", "-1", "1.5MiB", True, 1.5, None])
def test_what_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="must be a size"):
        parse_size(value)


def test_every_default_is_valid_by_its_own_rules() -> None:
    for section, settings in FIELDS.items():
        for setting in settings.values():
            if setting.required or not setting.show(setting.default):
                continue
            shown = setting.show(setting.default)
            again = setting.adapter.validate_python(shown, strict=False)
            assert again == setting.default, (section, setting.key)


def test_the_reference_names_every_setting_once_with_a_meaning() -> None:
    rows = reference()
    paths = [row.path for row in rows]
    assert len(set(paths)) == len(paths) == sum(len(settings) for settings in FIELDS.values())
    assert all(len(row.meaning) > 10 for row in rows)
    by_path = {row.path: row for row in rows}
    assert by_path["tiers.<name>.concurrency"].default == "16"
    assert by_path["broker.url"].default == "required"
    assert "key_file" in by_path["endpoints.<name>.key"].meaning
    assert by_path['prices."<model>".output'].default == "required"


def test_the_example_names_only_settings_that_there_are() -> None:
    known = {row.path.rpartition(".")[2] for row in reference()}
    known |= {f"{name}_{source}" for name in known for source in ("file", "from")}
    commented = [line[2:] for line in EXAMPLE.read_text().splitlines() if line.startswith("# ")]
    named = {line.partition(" = ")[0] for line in commented if " = " in line}
    assert named <= known
    assert named, "the example shows at least one optional setting"
