"""Which endpoints can answer a job, and with which model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from worker.core.kinds import Kind
from worker.core.model import Failed

# Vectors of two models do not fit together, so no other model's may take the place of those asked for.
_NO_FALLBACK: Final = frozenset({"/v1/embeddings"})

NO_PATH: Final = "no endpoint of the tier has this path"
NO_MODEL: Final = "no endpoint of the tier serves this model on this path"


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What an endpoint serves: API paths, and models by the name asked for, with the name there; none: every model."""

    paths: frozenset[str]
    models: Mapping[str, str]

    def name_of(self, path: str, model: str) -> str | None:
        """Give the name that a model has there; None: the endpoint does not serve it on this path."""
        if path not in self.paths:
            return None
        return self.models.get(model) if self.models else model


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """An endpoint, by its index, that can answer with `model`, whose name there is `name`.

    `fallback`: the job did not ask for this model.
    """

    endpoint: int
    model: str
    name: str
    fallback: bool = False


def offers(
    path: str, model: str, *, fallbacks: Sequence[str] = (), endpoints: Sequence[Serving]
) -> tuple[Offer, ...]:
    """Give who can answer a job for `model`: first with that model, then with each one to fall back to.

    Embeddings have no fallback. Between the endpoints of one model the given order stays. Nothing is offered twice.
    Empty: the job can only fail, see `unserved`. A model that nobody serves is fallen back from as one that
    nobody can serve now.
    """
    others = () if path in _NO_FALLBACK else fallbacks
    return tuple(
        Offer(endpoint=index, model=each, name=name, fallback=each != model)
        for each in dict.fromkeys((model, *others))
        for index, serving in enumerate(endpoints)
        if (name := serving.name_of(path, each)) is not None
    )


def unserved(path: str, endpoints: Sequence[Serving]) -> Failed:
    """Give the failure of a job that nobody has an offer for. No call is made: each would be answered so."""
    known = any(path in serving.paths for serving in endpoints)
    return Failed(kind=Kind.MODEL_NOT_FOUND, detail=NO_MODEL if known else NO_PATH)
