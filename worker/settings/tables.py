"""The settings as tables: those in force with their sources, and all there are with their meanings."""

from dataclasses import dataclass

from worker.settings.fields import FIELDS, FILE_ONLY, SECTIONS, Key, dotted
from worker.settings.schema import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A setting in force. `value` is masked where it is a secret; `source` is "default" if nothing gave it."""

    path: str
    value: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A setting that there is: its path, its default as one would write it, and what it means."""

    path: str
    default: str
    meaning: str


def describe(settings: Settings) -> list[Described]:
    """Give every setting in force with its masked value and its source, section by section."""
    places: list[tuple[Key, object]] = [
        ((section,), getattr(settings, section)) for section in SECTIONS
    ]
    places += [(("tiers", name), tier) for name, tier in settings.tiers.items()]
    places += [(("endpoints", name), endpoint) for name, endpoint in settings.endpoints.items()]
    places += [(("prices", name), price) for name, price in settings.prices.items()]
    places += [(("budgets", name), budget) for name, budget in settings.budgets.items()]
    return [
        Described(
            path=(path := dotted((*prefix, name))),
            value=setting.show(getattr(values, name)),
            source=settings.sources.get(path, "default"),
        )
        for prefix, values in places
        for name, setting in FIELDS[prefix[0]].items()
    ]


def reference() -> list[Row]:
    """Give every setting there is, for the tables in docs/settings.md.

    A secret's row stands for its `<key>_file` and `<key>_from` too. A default of "required" means that there is none.
    """
    return [
        Row(
            path=".".join((*_place(section), name)),
            default="required" if setting.required else setting.show(setting.default),
            meaning=setting.meaning
            + (
                "; or its file as `" + name + "_file`, or its place as `" + name + "_from`"
                if setting.is_secret
                else ""
            ),
        )
        for section, settings in FIELDS.items()
        for name, setting in settings.items()
    ]


def _place(section: str) -> Key:
    """Give the table of a section's settings, with a placeholder for its name."""
    if section in SECTIONS:
        return (section,)
    return (section, '"<model>"' if section in FILE_ONLY else "<name>")
