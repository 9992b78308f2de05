"""The control API under `/_sim/`: look at the simulator and change it while it runs.

==========  ====================  ==========================================================
``GET``     ``/_sim/stats``       counts of calls and connections
``PUT``     ``/_sim/script``      a list of rules
``PUT``     ``/_sim/chaos``       random faults by share
``PUT``     ``/_sim/latency``     distributions by model
``PUT``     ``/_sim/limits``      requests and tokens a minute, for each key
``PUT``     ``/_sim/storm``       faults over every call, for some seconds
``POST``    ``/_sim/heal``        every call is ok from now on
``POST``    ``/_sim/reset``       plans start again, counts start at zero
==========  ====================  ==========================================================

Control requests are not calls: they are neither counted nor logged.
"""

import json
from collections.abc import Callable, Mapping
from typing import Final

from simulator.accounts import parse_limits
from simulator.behaviour import Behaviour
from simulator.latency import parse_latencies
from simulator.reactions import Reaction, reply
from simulator.script import parse_chaos, parse_rules
from simulator.storm import parse_storm
from simulator.wire import Request

PREFIX: Final = "/_sim/"


def respond(request: Request, behaviour: Behaviour) -> Reaction:
    """Carry out a control request; what is wrong with it stands in the 4xx answer."""
    action = _ACTIONS.get((request.method, request.path))
    if action is None:
        known = ", ".join(f"{method} {path}" for method, path in _ACTIONS)
        return reply(404, {"error": f"no {request.method} {request.path} here: use {known}"})
    try:
        document = json.loads(request.body) if request.method == "PUT" else None
        return reply(200, action(behaviour, document))
    except ValueError as wrong:
        return reply(400, {"error": str(wrong)})


def _stats(behaviour: Behaviour, _: object) -> object:
    return behaviour.snapshot()


def _set_script(behaviour: Behaviour, document: object) -> object:
    rules = parse_rules(document)
    behaviour.script.set_rules(rules)
    return {"rules": len(rules)}


def _set_chaos(behaviour: Behaviour, document: object) -> object:
    chaos = parse_chaos(document)
    behaviour.script.set_chaos(chaos)
    return {"faults": len(chaos.shares)}


def _set_latency(behaviour: Behaviour, document: object) -> object:
    if not isinstance(document, dict):
        raise ValueError("latency is a JSON object of model prefixes and distributions")  # noqa: TRY004 - the client's mistake, as every other one here
    behaviour.latencies = parse_latencies(document)
    return {"models": len(behaviour.latencies.by_prefix)}


def _set_limits(behaviour: Behaviour, document: object) -> object:
    behaviour.accounts.limit(parse_limits(document))
    return {"limited": behaviour.accounts.limits.any}


def _set_storm(behaviour: Behaviour, document: object) -> object:
    behaviour.storm = parse_storm(document, now_ns=behaviour.now_ns())
    return {"faults": len(behaviour.storm.chaos.shares)}


def _heal(behaviour: Behaviour, _: object) -> object:
    behaviour.heal()
    return {"healed": True}


def _reset(behaviour: Behaviour, _: object) -> object:
    behaviour.reset()
    return {"reset": True}


_ACTIONS: Final[Mapping[tuple[str, str], Callable[[Behaviour, object], object]]] = {
    ("GET", "/_sim/stats"): _stats,
    ("PUT", "/_sim/script"): _set_script,
    ("PUT", "/_sim/chaos"): _set_chaos,
    ("PUT", "/_sim/latency"): _set_latency,
    ("PUT", "/_sim/limits"): _set_limits,
    ("PUT", "/_sim/storm"): _set_storm,
    ("POST", "/_sim/heal"): _heal,
    ("POST", "/_sim/reset"): _reset,
}
