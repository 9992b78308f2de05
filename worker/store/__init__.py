"""Adapters of the store's ports: the ledger with its claims, the response cache, the operators' archive.

| folder | keeps it in | for |
| --- | --- | --- |
| `embedded` | one SQLite file, shared by the worker processes of a host | the default |

`outcomes` and `instants` are how every adapter writes outcomes and times.
"""
