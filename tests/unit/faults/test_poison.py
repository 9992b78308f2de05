from collections import Counter

from tests.faults.poison import ASK, KINDS, REPLY, REQUEST, ask, reply, request


def test_the_catalogue_has_more_than_sixty_kinds_of_poison_each_with_a_name_of_its_own() -> None:
    counts = Counter(kind.name for kind in KINDS)
    assert max(counts.values()) == 1
    for sort in (REQUEST, ASK, REPLY):
        assert sum(sort in kind.to for kind in KINDS) > 60


def test_every_kind_changes_what_it_poisons() -> None:
    bases = {REQUEST: request("n"), ASK: ask("n"), REPLY: reply("n", route="producer.c")}
    for kind in KINDS:
        for sort in kind.to or {REQUEST}:
            assert kind.change(bases[sort]) != bases[sort], kind.name
