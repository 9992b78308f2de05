"""Adapters of the store's ports: ledger with its claims, response cache, rations, limits, spend, orders, the operators' archive.

| folder | keeps it in | for |
| --- | --- | --- |
| `embedded` | one SQLite file, shared by the worker processes of a host | the default |
| `redis` | one Redis or Valkey, shared by the worker processes of a fleet | several hosts |

`outcomes`, `instants` and `orders` are how every adapter writes outcomes, times and orders, `watch` how followers wait, `upkeep` what a
store does beside its operations, `files` what lies where in the store's folder.
"""
