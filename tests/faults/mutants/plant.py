"""How a bug is planted: a name of the worker's own code is bound anew, at start, in a process of its own."""


def plant(owner: object, name: str, bug: object) -> None:
    """Put `bug` where `owner` has `name`; a name that is not there would plant nothing."""
    assert hasattr(owner, name), f"{owner} has no {name}: the mutant must follow the worker's code"
    setattr(owner, name, bug)
