"""How often the worker's process looks for cyclic garbage."""

import gc
from typing import Final

YOUNG: Final = 20_000
"""So many more objects made than ended start a look at the young ones. CPython's 700 are reached by a few jobs that begin
together, and each look walks over what all calls in flight hold: an eighth of the CPU at 200 in flight, measured."""


def settle() -> None:
    """Set what was made until now aside, for good, and look for garbage more seldom.

    To be called once, when the worker stands: modules, settings and price lists live as long as the process, and every
    full collection would walk over them. A job leaves next to no cycles behind, so what waits to be found is small.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
