from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.kinds import RULES, Cure
from worker.core.serving import NO_MODEL, NO_PATH, Offer, Serving, offers, unserved

CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
NAMES = st.sampled_from(["a", "b", "c", "d"])
ENDPOINTS = st.lists(
    st.builds(
        Serving,
        paths=st.frozensets(st.sampled_from([CHAT, EMBEDDINGS])),
        models=st.dictionaries(NAMES, st.sampled_from(["x", "y"]), max_size=3),
    ),
    max_size=4,
)


def serving(models: Mapping[str, str] | None = None, *paths: str) -> Serving:
    return Serving(paths=frozenset(paths or (CHAT,)), models=models or {})


def test_the_model_asked_for_goes_first_and_then_each_fallback_in_its_order() -> None:
    both = [serving({"large": "its-large", "small": "small"}), serving(), serving({"other": "o"})]
    assert offers(CHAT, "large", fallbacks=["other", "small"], endpoints=both) == (
        Offer(endpoint=0, model="large", name="its-large"),
        Offer(endpoint=1, model="large", name="large"),
        Offer(endpoint=1, model="other", name="other", fallback=True),
        Offer(endpoint=2, model="other", name="o", fallback=True),
        Offer(endpoint=0, model="small", name="small", fallback=True),
        Offer(endpoint=1, model="small", name="small", fallback=True),
    )


def test_a_path_that_an_endpoint_does_not_have_is_not_asked_of_it() -> None:
    two = [serving(None, CHAT), serving(None, CHAT, EMBEDDINGS)]
    assert [offer.endpoint for offer in offers(EMBEDDINGS, "m", endpoints=two)] == [1]


def test_embeddings_are_never_another_models() -> None:
    every = [serving(None, CHAT, EMBEDDINGS), serving({"b": "b"}, EMBEDDINGS)]
    made = offers(EMBEDDINGS, "a", fallbacks=["b"], endpoints=every)
    assert made == (Offer(endpoint=0, model="a", name="a"),)


def test_without_fallbacks_a_model_that_nobody_serves_has_no_offer() -> None:
    assert offers(CHAT, "x", endpoints=[serving({"a": "a"})]) == ()


@given(NAMES, st.lists(NAMES, max_size=4), ENDPOINTS)
def test_every_offer_is_what_its_endpoint_serves_and_none_is_missing_or_made_twice(
    model: str, fallbacks: list[str], endpoints: list[Serving]
) -> None:
    made = offers(CHAT, model, fallbacks=fallbacks, endpoints=endpoints)
    for offer in made:
        assert endpoints[offer.endpoint].name_of(CHAT, offer.model) == offer.name
        assert offer.fallback is (offer.model != model)
    found = [(offer.endpoint, offer.model) for offer in made]
    assert len(set(found)) == len(found)
    assert set(found) == {
        (index, each)
        for index, end in enumerate(endpoints)
        for each in (model, *fallbacks)
        if end.name_of(CHAT, each) is not None
    }


@given(NAMES, st.lists(NAMES, max_size=4), ENDPOINTS)
def test_no_fallback_is_offered_before_the_model_that_was_asked_for(
    model: str, fallbacks: list[str], endpoints: list[Serving]
) -> None:
    made = offers(CHAT, model, fallbacks=fallbacks, endpoints=endpoints)
    order = [model, *fallbacks]
    places = [(order.index(offer.model), offer.endpoint) for offer in made]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("endpoints", "why"),
    [
        ([serving({"a": "a"})], NO_MODEL),
        ([serving(None, EMBEDDINGS)], NO_PATH),
        ([serving(None, EMBEDDINGS), serving({"a": "a"})], NO_MODEL),
        ([], NO_PATH),
    ],
)
def test_a_job_that_nobody_has_an_offer_for_fails_for_good_and_is_told_why(
    endpoints: list[Serving], why: str
) -> None:
    assert offers(CHAT, "b", endpoints=endpoints) == ()
    failed = unserved(CHAT, endpoints)
    assert failed.detail == why
    assert RULES[failed.kind].cure is Cure.NONE
