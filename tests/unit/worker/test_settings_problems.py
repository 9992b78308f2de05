from pathlib import Path

import pytest

from tests.unit.worker.settings_samples import MINIMAL, Folder, having
from worker.errors import SettingsError
from worker.settings import load


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def one(problems: tuple[str, ...]) -> str:
    assert len(problems) == 1, problems
    return problems[0]


def test_every_problem_is_told_at_once(folder: Folder) -> None:
    problems = folder.problems(
        """
        tyers = 1
        [broker]
        heartbeat = "5x"
        urll = "amqp://x/"
        [tiers.premium]
        endpoints = ["nowhere"]
        concurrency = 0
        [tiers."Bad Name"]
        endpoints = ["main"]
        [endpoints.main]
        base_url = "ftp://x/"
        """,
        {"WARREN_HTTP__LISTEN": "here", "WARREN_STOAR__PATH": "/x", "WARREN_RETRY__TRIES": ""},
    )
    for part in (
        "tyers (",
        "did you mean tiers?",
        'broker.heartbeat = "5x" (',
        "must be a duration such as",
        "broker.urll (",
        "did you mean url?",
        "broker.url is missing: set it in the file or as WARREN_BROKER__URL",
        'there is no endpoint "nowhere"; add [endpoints.nowhere]',
        "tiers.premium.concurrency = 0 (",
        "must be between 1 and 10000",
        "a name must be 1 to 32 characters",
        "endpoints.main.base_url",
        "must be a URL that begins with http:// or https://",
        'http.listen = "here" (WARREN_HTTP__LISTEN): must be host:port',
        "WARREN_STOAR__PATH: there is no such setting; did you mean WARREN_STORE__PATH?",
        "WARREN_RETRY__TRIES: is empty",
    ):
        assert any(part in problem for problem in problems), (part, problems)
    assert len(problems) == 11


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[broker\nurl = 1", "line 1"),
        ("[broker]\nurl = ", "line 2"),
        ("a = 1\na = 2", "Cannot overwrite a value"),
        ("a = " + "[" * 5000, "too many"),
        ("a = " + "1" * 5000, "too many"),
    ],
)
def test_a_file_that_is_no_toml_is_told_with_its_line(folder: Folder, text: str, part: str) -> None:
    problem = one(folder.problems(text))
    assert "is not TOML" in problem
    assert part in problem


def test_beside_an_unreadable_file_the_environment_is_still_checked(folder: Folder) -> None:
    problems = folder.problems("[", {"WARREN_RETRY__TRIES": "no"})
    assert len(problems) == 2
    assert 'retry.tries = "no" (WARREN_RETRY__TRIES)' in problems[1]


def test_a_file_that_is_not_there_or_not_text_is_told(folder: Folder) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        load(folder.path / "none.toml", {})
    (folder.path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="is not UTF-8 text"):
        load(folder.path / "binary.toml", {})


def test_a_value_given_twice_names_both_places(folder: Folder) -> None:
    problem = one(
        folder.problems(
            having("tiers.premium", "concurrency = 3"), {"WARREN_TIERS__PREMIUM__CONCURRENCY": "3"}
        )
    )
    assert problem == (
        f"tiers.premium.concurrency is given twice: by {folder.config} and by"
        " WARREN_TIERS__PREMIUM__CONCURRENCY; keep one"
    )


@pytest.mark.parametrize(
    ("environ", "suggestion"),
    [
        ("WARREN_BROKER_URL", "WARREN_BROKER__URL"),
        ("WARREN_LOG_LEVEL", "WARREN_WORKER__LOG_LEVEL"),
        ("WARREN_TIER__PREMIUM__CONCURRENCY", "WARREN_TIERS__PREMIUM__CONCURRENCY"),
        ("WARREN_TIERS__PREMIUM__CONCURENCY", "concurrency"),
    ],
)
def test_an_unknown_variable_is_a_problem_with_a_suggestion(
    folder: Folder, environ: str, suggestion: str
) -> None:
    assert one(folder.problems(environ={environ: "x"})).endswith(f"did you mean {suggestion}?")


@pytest.mark.parametrize(
    ("section", "line", "expectation"),
    [
        ("retry", "tries = true", "must be a valid integer"),
        ("retry", 'tries = "2"', "must be a valid integer"),
        ("retry", "tries = 2.0", "must be a valid integer"),
        ("retry", "attempt_backoffs = []", "at least 1 item"),
        ("retry", 'attempt_backoffs = ["1s", "x"]', "must be a duration"),
        ("retry", "attempt_backoffs = 5", "must be a list"),
        ("retry", 'try_backoff_cap = "3s"', "must be between 0s and 2s"),
        ("broker", 'allow_plaintext = "yes"', "must be a valid boolean"),
        ("broker", "management_url = 5", "must be a valid string"),
        ("broker", 'management_url = "https://one,two"', "must name one host"),
        ("broker", 'queue_type = "stream"', "must be 'classic' or 'quorum'"),
        ("http", 'listen = "127.0.0.1:99999"', "must be host:port"),
        ("store", 'durability = "none"', "must be 'process' or 'power'"),
        ("store", 'cache_max_size = "10MB"', "must be a size"),
        ("store", "path = {a = 1}", "must be the path"),
        ("tiers.premium", 'dedupe = "all"', "must be one of off, inflight, cache"),
        (
            "tiers.premium",
            'routing = "fastest"',
            "must be one of ewma, peak-ewma, blend, least-load, cheapest",
        ),
        ("tiers.premium", 'name = "x"', "there is no such setting"),
        ("endpoints.main", "weight = 0", "must be between"),
        ("endpoints.main", "weight = nan", "must be between"),
        ("endpoints.main", "http = 2", "must be 'auto', '1.1' or '2'"),
        ("endpoints.main", 'headers = {Authorization = "x"}', "set key, or key_file, instead"),
        ("endpoints.main", 'headers = {X-Api-Key = "x"}', "set key, or key_file, instead"),
        ("endpoints.main", 'headers = {Host = "x"}', "the client sets it"),
        ("endpoints.main", 'headers = {Cookie = "x"}', "the client sets it"),
        ("endpoints.main", 'headers = {"a b" = "x"}', "no HTTP header may have"),
        ("endpoints.main", 'headers = {a = "x\\r\\nb: c"}', "visible ASCII"),
        ("endpoints.main", 'headers = {a = "x", A = "y"}', "twice"),
        ("endpoints.main", "headers = {a = 1}", "must be a valid string"),
        ("endpoints.main", "key = 5", "must be a string"),
        ("endpoints.main", 'key = ""', "is empty"),
        ("endpoints.main", 'key = "a\\nb"', "line break"),
    ],
)
def test_a_value_outside_its_rule_is_told_with_the_rule(
    folder: Folder, section: str, line: str, expectation: str
) -> None:
    problem = one(folder.problems(having(section, line)))
    assert problem.startswith(f"{section}.{line.partition(' =')[0]}")
    assert expectation in problem


@pytest.mark.parametrize(
    "text", ["broker = 1", "[tiers]\nconcurrency = 5\n", "[[endpoints]]\nx = 1"]
)
def test_a_section_that_is_no_table_is_told(folder: Folder, text: str) -> None:
    problems = folder.problems(text)
    assert any("must be a table" in problem for problem in problems)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example/v1?key=sesame",
        "https://user:sesame@api.example/v1",
        "https://api.example:sesame/v1",
        "https://[sesame/v1",
        "sesame",
        "ftp://sesame@x/",
        "https://se same@x/",
    ],
)
def test_an_endpoint_url_with_more_than_a_place_is_refused_and_not_quoted(
    folder: Folder, url: str
) -> None:
    problem = one(folder.problems(MINIMAL.replace("https://api.example/v1", url)))
    assert problem.startswith("endpoints.main.base_url")
    assert "sesame" not in problem


@pytest.mark.parametrize(
    "amount",
    ['"free"', "-1", '"1e3"', "nan", "inf", "true", '""', "[1]", '"0.0000000000001"', "1000000"],
)
def test_a_price_that_is_no_amount_is_told_with_its_rule(folder: Folder, amount: str) -> None:
    problem = one(folder.problems(f'{MINIMAL}[prices."gpt-4.1"]\ninput = {amount}\noutput = 1\n'))
    assert problem.startswith('prices."gpt-4.1".input = ')
    assert 'must be US dollars such as "0.25"' in problem


def test_every_problem_of_every_price_is_told_at_once(folder: Folder) -> None:
    problems = folder.problems(
        MINIMAL
        + '[prices]\n"gpt-5" = 3\n"" = {input = 1, output = 1}\n'
        + '"a\\tb" = {input = 1, output = 1}\n'
        + '"gpt-4.1" = {input = "x", ouput = 1}\n',
        {"WARREN_PRICES__GPT5__INPUT": "1"},
    )
    for part in (
        'prices."gpt-4.1".input = "x" (',
        'prices."gpt-4.1".ouput (',
        "did you mean output?",
        'prices."gpt-4.1".output is missing: set it in the file',
        "prices.gpt-5 (",
        "must be a table, [prices.<name>]",
        "prices.'': a model's name must be 1 to 256 characters",
        r"prices.'a\tb': a model's name",
        "WARREN_PRICES__GPT5__INPUT: there is no such setting",
    ):
        assert any(part in problem for problem in problems), (part, problems)
    assert len(problems) == 7
