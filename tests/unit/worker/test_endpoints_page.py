"""What docs/endpoints.md and the README say of endpoints is what the code does: the table, each configuration."""

import re
from pathlib import Path

import pytest

from producer_sdk.wire import PATHS
from tests.faults.vhost import ROOT
from worker.parts import endpoint_spec
from worker.settings import Settings, load
from worker.upstream.apis import APIS, Api
from worker.upstream.site import Site

PAGE = (ROOT / "docs/endpoints.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
CONFIGURATIONS = [
    *re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL),
    *re.findall(r"```toml\n(\[tiers.*?)```", README, re.DOTALL),
]
BROKER = '[broker]\nurl = "amqp://worker@127.0.0.1/"\n'
KEYS = {"bearer": "`Authorization: Bearer`", "api-key": "`api-key`", "x-api-key": "`x-api-key`"}


def table() -> str:
    lines = [
        "| `api` | hosts | path of the base URL | has | key in | documented |",
        "| " + "--- | " * 6,
    ]
    for api, rules in APIS.items():
        hosts = ", ".join(f"`{'*' if host[0] == '.' else ''}{host}`" for host in rules.hosts)
        roots = " or ".join(f"`{root}`" if root else "none" for root in rules.roots)
        paths = "all" if rules.paths == PATHS else ", ".join(f"`{path}`" for path in rules.paths)
        lines.append(
            f"| `{api}` | {hosts or 'any'} | {roots if rules.hosts else 'any'} | {paths} |"
            f" {KEYS[rules.key_header]} | [there]({rules.source}) |"
        )
    return "\n".join(line.rstrip() for line in lines)


def loaded(text: str, folder: Path) -> Settings:
    """Load a configuration of the page, its keys in files of the folder."""
    for name in re.findall(r'"/run/secrets/([\w-]+)"', text):
        (folder / name).write_text("canary", "utf-8")
        (folder / name).chmod(0o600)
    config = folder / "warren.toml"
    config.write_text(BROKER + text.replace("/run/secrets", str(folder)), "utf-8")
    return load(config, {})


def test_the_table_of_apis_is_the_codes() -> None:
    between = re.search(r"<!-- apis -->\n(.*)\n<!-- /apis -->", PAGE, re.DOTALL)
    assert between is not None
    assert between[1] == table()


@pytest.mark.parametrize("text", CONFIGURATIONS, ids=range(len(CONFIGURATIONS)))
def test_every_configuration_of_the_page_loads_without_a_warning_and_makes_its_endpoints(
    text: str, tmp_path: Path
) -> None:
    settings = loaded(text, tmp_path)
    assert settings.warnings == ()
    for endpoint in settings.endpoints.values():
        spec = endpoint_spec(endpoint)
        for model in endpoint.models:
            assert spec.url(PATHS[0], spec.serves(model) or "").startswith("http")


def test_the_page_shows_every_api(tmp_path: Path) -> None:
    spoken = {
        Site(base_url=endpoint.base_url, api=endpoint.api).spoken
        for text in CONFIGURATIONS
        for endpoint in loaded(text, tmp_path).endpoints.values()
    }
    assert spoken == set(Api)


def test_the_page_shows_both_of_azures_addresses(tmp_path: Path) -> None:
    urls = {
        endpoint_spec(endpoint).url(PATHS[0], "my-deployment")
        for text in CONFIGURATIONS
        for endpoint in loaded(text, tmp_path).endpoints.values()
        if "azure.com" in endpoint.base_url
    }
    assert urls == {
        "https://my-resource.openai.azure.com/openai/v1/chat/completions",
        (
            "https://my-resource.openai.azure.com/openai/deployments/my-deployment/chat/completions"
            "?api-version=2024-10-21"
        ),
    }
