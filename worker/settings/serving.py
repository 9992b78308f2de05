"""What must hold between an endpoint's own settings, and between a tier and the endpoints that serve it."""

from collections.abc import Callable, Iterator
from typing import Final

from worker.settings.calling import TierSettings
from worker.settings.endpoints import EndpointSettings
from worker.settings.finding import Finding
from worker.settings.schema import Settings
from worker.settings.urls import show_url
from worker.settings.values import format_duration
from worker.upstream.apis import APIS, Api, api_at
from worker.upstream.site import Site
from worker.upstream.spec import is_deployment

_SHARED: Final = ("requests_per_minute", "tokens_per_minute")


def endpoint_site(endpoint: EndpointSettings) -> Site:
    """Give where an endpoint's calls go."""
    return Site(
        base_url=endpoint.base_url,
        api=endpoint.api,
        api_version=endpoint.api_version,
        paths=endpoint.paths,
        key_header=endpoint.key_header,
    )


def sites(settings: Settings) -> Iterator[Finding]:
    """Find base URLs that lead to nothing at a known API, and settings that it has no use for, or needs."""
    for name, endpoint in settings.endpoints.items():
        path, site = f"endpoints.{name}", endpoint_site(endpoint)
        about = (f"{path}.base_url", f"{path}.api")
        if not site.is_rooted:
            roots = " or ".join(each or "/" for each in APIS[site.spoken].roots)
            yield Finding(
                about=about,
                text=f"{path}.base_url = {show_url(endpoint.base_url)}: the path of {site.spoken} is"
                f' {roots}; if it is right as it is, set {path}.api = "{Api.GENERIC}"',
            )
        elif site.spoken is not Api.AZURE and endpoint.api_version is not None:
            yield Finding(
                about=(*about, f"{path}.api_version"),
                text=f"{path}.api_version = {endpoint.api_version}: only {Api.AZURE} has versions, and this is"
                f' {site.spoken}; take it away, or set {path}.api = "{Api.AZURE}"',
            )
        elif site.by_deployment:
            yield from _deployments(path, endpoint)


def _deployments(path: str, endpoint: EndpointSettings) -> Iterator[Finding]:
    """Find what Azure's older form lacks."""
    form = f"{path}.base_url does not end with /v1, so its calls go to their deployments"
    about = (f"{path}.base_url", f"{path}.api")
    if endpoint.api_version is None:
        yield Finding(
            about=(*about, f"{path}.api_version"),
            text=f'{path}.api_version is missing: {form}: set it, such as "2024-10-21"',
        )
    if not endpoint.models:
        yield Finding(
            about=(*about, f"{path}.models"),
            text=f'{path}.models is missing: {form}: set it, such as {{ "gpt-5-mini" = "my-deployment" }}',
        )
    for deployment in endpoint.models.values():
        if not is_deployment(deployment):
            yield Finding(
                about=(*about, f"{path}.models"),
                text=f'{path}.models: "{deployment}" is no name of a deployment: 1 to 64 out of'
                " A-Z a-z 0-9 . _ -, a letter or digit first",
            )


def limits(settings: Settings) -> Iterator[Finding]:
    """Find limits of one account that differ, and such as contradict each other."""
    first: dict[str, str] = {}
    for name, endpoint in settings.endpoints.items():
        path, given = f"endpoints.{name}", settings.sources
        if endpoint.concurrency and f"{path}.max_concurrency" in given:
            yield Finding(
                about=(f"{path}.concurrency", f"{path}.max_concurrency"),
                text=f"{path}.max_concurrency = {endpoint.max_concurrency} is for an endpoint whose concurrency is"
                f" not known, and {path}.concurrency = {endpoint.concurrency}: keep one",
            )
        other = first.setdefault(endpoint.account or name, name)
        for key in _SHARED:
            here, there = getattr(endpoint, key), getattr(settings.endpoints[other], key)
            if here != there:
                yield Finding(
                    about=(f"{path}.{key}", f"endpoints.{other}.{key}", f"{path}.account"),
                    text=f"{path}.{key} = {here} must be endpoints.{other}.{key} = {there}: both are of the"
                    f' account "{endpoint.account or name}"',
                )


def fallbacks(settings: Settings) -> Iterator[Finding]:
    """Find models to fall back to that nothing serves or that stand there twice, and hedging that cannot be."""
    for name, tier in settings.tiers.items():
        path = f"tiers.{name}.fallback_models"
        for model in dict.fromkeys(tier.fallback_models):
            if not _served(settings, tier, model):
                yield Finding(
                    about=(
                        path,
                        f"tiers.{name}.endpoints",
                        *(f"endpoints.{each}.models" for each in tier.endpoints),
                    ),
                    text=f'{path}: no endpoint of the tier serves "{model}": add it to the models of one',
                )
            if tier.fallback_models.count(model) > 1:
                yield Finding(about=(path,), text=f'{path}: "{model}" stands there twice')
        yield from _hedging(settings, name, tier)


def _served(settings: Settings, tier: TierSettings, model: str) -> bool:
    """Tell whether an endpoint of the tier serves a model; one that does not exist is another finding's."""
    ends = [settings.endpoints.get(each) for each in tier.endpoints]
    return any(end is None or not end.models or model in end.models for end in ends)


def _hedging(settings: Settings, name: str, tier: TierSettings) -> Iterator[Finding]:
    path = f"tiers.{name}.hedge_after"
    if tier.hedge_after is not None and tier.hedge_after >= tier.attempt_timeout:
        yield Finding(
            about=(path, f"tiers.{name}.attempt_timeout"),
            text=f"{path} = {format_duration(tier.hedge_after)} must be shorter than its attempt_timeout ="
            f" {format_duration(tier.attempt_timeout)}",
        )
    share = f"tiers.{name}.hedge_share"
    if tier.hedge_after is None and share in settings.sources:
        yield Finding(
            about=(path, share),
            text=f"{share} ({settings.sources[share]}) is a share of nothing: set {path}, or take it away",
        )


def idle_limits(settings: Settings) -> Iterator[str]:
    """Give the limits that nothing can reach, and the hosts whose API is spoken as another."""
    for name, endpoint in settings.endpoints.items():
        most = sum(
            tier.concurrency + tier.bulk_concurrency
            for tier in settings.tiers.values()
            if name in tier.endpoints
        )
        if most and endpoint.concurrency > most:
            yield (
                f"endpoints.{name}.concurrency = {endpoint.concurrency} is never reached: its tiers have at most"
                f" {most} jobs at once"
            )
        own = api_at(endpoint.base_url)
        if Api.GENERIC not in {own, endpoint.api} and endpoint.api not in {None, own}:
            yield f'endpoints.{name}.api = {endpoint.api}, and its host speaks "{own}"'


CHECKS: Final[tuple[Callable[[Settings], Iterator[Finding]], ...]] = (sites, limits, fallbacks)
