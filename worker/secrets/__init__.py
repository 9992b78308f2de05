"""Managers of secrets, and the only folder that knows their libraries: each is an extra, imported when it is used.

| module | what it is |
| --- | --- |
| `reference` | where a secret is: `vault:secret/data/openai#key`; and the field that is picked out of a text |
| `readers` | the one way to all managers: makes each reader once, and lets no foreign text out |
| `vault`, `aws`, `gcp`, `azure` | a reader each: HashiCorp Vault and OpenBao; the clouds' own managers |
| `vaultoptions` | where Vault is, and how one signs in to it |
| `quiet` | keeps the libraries out of the log |

Everything here blocks: it is called at start, and in threads beside the event loop after that.
"""
