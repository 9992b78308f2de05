"""Values from the one TOML file. Relative paths in it are meant from its own folder."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from worker.settings.fields import FIELDS, SECTIONS, Key, dotted, nearest
from worker.settings.found import Entry, Found
from worker.settings.secret import Secret, world_readable


def read_document(found: Found, path: Path) -> None:
    """Put the file's values into `found`; a file that cannot be read is one problem."""
    document = _document(found, path)
    for prefix, table in _tables(found, path, document):
        for name, value in table.items():
            found.put(
                prefix, name, Entry(value=value, source=str(path), folder=path.absolute().parent)
            )
    exposed = [
        dotted(key)
        for key, entry in found.entries.items()
        if FIELDS[key[0]][key[-1]].is_secret and not isinstance(entry.value, Secret)
    ]
    if exposed and world_readable(path):
        found.warnings.append(
            f"{path} holds {', '.join(exposed)} and everybody may read it: chmod o-r"
        )


def _document(found: Found, path: Path) -> Mapping[str, object]:
    text, problem = "", ""
    try:
        text = path.read_bytes().decode()
        return tomllib.loads(text)
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        problem = "is not UTF-8 text"
    except tomllib.TOMLDecodeError as error:
        end = f"at the end, line {len(text.splitlines())}"
        problem = f"is not TOML: {error}".replace("at end of document", end)
    except (ValueError, RecursionError):
        problem = "is not TOML: a value has too many digits, or too many levels"
    found.problems.append(f"{path}: {problem}")
    found.complete = False
    return {}


def _tables(
    found: Found, path: Path, document: Mapping[str, object]
) -> Iterator[tuple[Key, Mapping[str, object]]]:
    for section, content in document.items():
        if section not in FIELDS:
            hint = nearest(section, FIELDS)
            found.problems.append(f"{section} ({path}): there is no such section{hint}")
        elif not isinstance(content, dict):
            found.problems.append(f"{section} ({path}): must be a table, [{section}]")
        elif section in SECTIONS:
            yield (section,), content
        else:
            for name, inner in content.items():
                if isinstance(inner, dict):
                    found.names[section][name] = None
                    yield (section, name), inner
                else:
                    found.problems.append(
                        f"{dotted((section, name))} ({path}): must be a table, [{section}.<name>]"
                    )
