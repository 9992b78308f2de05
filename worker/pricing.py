"""The prices of models: the configured ones first, else those that come with genai-prices. Nothing is fetched.

That library knows far more than a worker may ask on every call (170 us a time, and caches without bounds);
so its data are looked at once for each endpoint and model, and what was found is kept.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

from worker.core.ceiling import ceiling
from worker.core.costs import Price, cost, highest_cost
from worker.core.model import Job, Usage

_Steps: TypeAlias = tuple[Price, ...]

# Model names come from requests and answers: whoever makes them up gets no room.
_MOST_KEPT: Final = 1024
# What an answer says that was charged at the model's own price; "auto" is what a request says.
_STANDARD: Final = frozenset({None, "default", "standard", "auto", "on_demand"})
# Priced by what no usage of a completion tells: such a model's cost is not known.
_UNSEEN: Final = ("requests_kcount", "output_reasoning_mtok")


class _Dated(NamedTuple):
    """A bundled model, and the steps of each of its prices, by the price's identity: they have no hash."""

    model: ModelInfo
    steps: Mapping[int, _Steps]

    def at(self, instant: datetime) -> _Steps:
        return self.steps[id(self.model.get_prices(instant))]


class _Served(NamedTuple):
    """A bundled model as a service tier charges it. Rare, so it is put together for each call."""

    model: ModelInfo
    tier: str

    def at(self, instant: datetime) -> _Steps:
        variants = self.model.price_variants or ()
        told = [each for each in variants if each.when == {"service_tier": self.tier}]
        if not any(each.constraint is None or each.constraint.active(instant) for each in told):
            return ()  # charged otherwise, and nobody knows how
        return _steps(self.model.get_prices(instant, {"service_tier": self.tier}))


_BY_TIME: Final = (_Dated, _Served)


class Prices:
    """Tells what calls cost. `endpoints`: their base URLs by name; `own`: prices by model, before all others.

    `models`: by endpoint, the names that models have there by those asked for, where they differ. A price of
    either is the model's. A base URL that the library knows names the provider, and then only that provider's prices count. Any
    other endpoint (a gateway, a server of one's own) is priced by the model's name alone.
    """

    def __init__(
        self,
        endpoints: Mapping[str, str],
        own: Mapping[str, Price],
        models: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self._models = models or {}
        self._own = {model: (price,) for model, price in own.items()}
        self._providers = get_snapshot().providers
        self._at = {name: self._provider(url) for name, url in endpoints.items()}
        self._find = lru_cache(maxsize=_MOST_KEPT)(self._look_up)

    def __call__(
        self, *, endpoint: str, asked: str, answered: str | None, usage: Usage | None, at: datetime
    ) -> Decimal | None:
        """Give the cost of a call made at the instant `at`, in US dollars; None: not known.

        `asked` and `answered` are the model's name in request and answer: of a model to fall back to, `asked` is
        that one's. The answer's is the more exact one, then comes what the model is called there; but a
        configured price of any of them goes before a bundled one.
        """
        if usage is None:
            return None
        return cost(self._steps(endpoint, asked, answered, at=at, tier=usage.service_tier), usage)

    def highest(
        self, job: Job, places: Iterable[tuple[str, str]], *, at: datetime, standard: bool = False
    ) -> Decimal | None:
        """Give the most that a call of the job costs at any of the places, in US dollars; None: not known of one.

        A place is an endpoint and the model that is asked for there. `standard`: whatever service tier is asked for.
        """
        bounds = job.ceiling or ceiling(job.path, job.body)
        tier = None if standard else bounds.service_tier
        highest: Decimal | None = None
        for endpoint, model in places:
            there = highest_cost(self._steps(endpoint, model, None, at=at, tier=tier), bounds)
            if there is None:
                return None
            highest = there if highest is None else max(highest, there)
        return highest

    def highest_known(
        self, job: Job, places: Iterable[tuple[str, str]], *, at: datetime
    ) -> Decimal | None:
        """Give the most that a call of the job costs at those of the places whose price is known; None: at none of them.

        Of a service tier without a price the standard one stands for it.
        """
        bounds = job.ceiling or ceiling(job.path, job.body)
        costs = [
            highest_cost(steps, bounds)
            for endpoint, model in places
            for tier in dict.fromkeys((bounds.service_tier, None))
            if (steps := self._steps(endpoint, model, None, at=at, tier=tier))
        ]
        return max((each for each in costs if each is not None), default=None)

    def _steps(
        self, endpoint: str, asked: str, answered: str | None, *, at: datetime, tier: str | None
    ) -> _Steps:
        found = self._find(endpoint, asked, answered, None if tier in _STANDARD else tier)
        return found.at(at) if isinstance(found, _BY_TIME) else found

    def _look_up(
        self, endpoint: str, asked: str, answered: str | None, tier: str | None
    ) -> "_Steps | _Dated | _Served":
        there = self._models.get(endpoint, {}).get(asked)
        names = [name for name in (answered, there, asked) if name]
        for name in names:
            if name in self._own:
                return self._own[name] if tier is None else ()
        for name in names:
            provider = self._at.get(endpoint) or self._makers(name)
            if provider is None:
                continue
            model = provider.find_model(name, all_providers=self._providers)
            if model is not None:
                return _dated(model) if tier is None else _served(model, tier)
        return ()

    def _provider(self, url: str) -> Provider | None:
        return _first(each for each in self._providers if re.match(each.api_pattern, url))

    def _makers(self, model: str) -> Provider | None:
        """Give the provider that is known by a model's name, such as OpenAI for `gpt-...`."""
        name = model.lower()
        return _first(
            each for each in self._providers if each.model_match and each.model_match.is_match(name)
        )


def _first(providers: Iterable[Provider]) -> Provider | None:
    return next(iter(providers), None)


def _dated(model: ModelInfo) -> _Steps | _Dated:
    if isinstance(model.prices, ModelPrice):
        return _steps(model.prices)
    return _Dated(model, {id(each.prices): _steps(each.prices) for each in model.prices})


def _served(model: ModelInfo, tier: str) -> _Steps | _Served:
    told = [each.when for each in model.price_variants or ()]
    return _Served(model, tier) if {"service_tier": tier} in told else ()


def _steps(price: ModelPrice) -> _Steps:
    """Give the library's price as steps; none where usage alone does not tell the cost."""
    if price.input_mtok is None or any(getattr(price, key) is not None for key in _UNSEEN):
        return ()
    rates = (price.input_mtok, price.output_mtok, price.cache_read_mtok, price.cache_write_mtok)
    starts = {tier.start for rate in rates if isinstance(rate, TieredPrices) for tier in rate.tiers}
    return tuple(_step(rates, above) for above in sorted({-1, *starts}))


def _step(rates: Sequence[Decimal | TieredPrices | None], above: int) -> Price:
    given, made, cached, written = (_rate(rate, above) for rate in rates)
    assert given is not None  # noqa: S101  # `_steps` has made sure
    return Price(input=given, output=made, cached_input=cached, cache_write=written, above=above)


def _rate(rate: Decimal | TieredPrices | None, above: int) -> Decimal | None:
    """Give the rate of calls with more prompt tokens than `above`."""
    if not isinstance(rate, TieredPrices):
        return rate
    return [rate.base, *(tier.price for tier in rate.tiers if tier.start <= above)][-1]
