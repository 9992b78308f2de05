"""Adapters of the store's ports: the ledger with its claims, the response cache, the operators' archive.

| folder | keeps it in | for |
| --- | --- | --- |
| `embedded` | one SQLite file, shared by the worker processes of a host | the default |
| `redis` | one Redis or Valkey, shared by the worker processes of a fleet | several hosts |

`outcomes` and `instants` are how every adapter writes outcomes and times, `watch` how followers wait.
"""
