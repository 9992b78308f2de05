"""The store in one Redis or Valkey that all worker processes of a fleet share.

| module | holds |
| --- | --- |
| `store` | `RedisStore`: owns the connection, the process's life sign and the sweeper; gives the ports |
| `options` | where the server is, lifetimes and bounds |
| `checks` | what a server must be like to keep the ledger |
| `address` | how a connection is made |
| `connection` | the worker's connection: in order, several operations in one round trip |
| `listening` | hearing what other processes publish |
| `direct` | a connection that blocks, for operators |
| `trouble` | what the server's errors mean for us |
| `scripts` | what runs inside the server: the ledger's decisions |
| `procedures` | those scripts as this process runs them |
| `ledger` | the `Ledger` port |
| `calls` | beginning calls, and taking back what was begun for nobody |
| `encoding`, `decoding` | what the scripts are given, and what they answer |
| `archive` | the `Archive` port |
| `cache`, `rationing`, `limits`, `spend`, `laneorders` | the ports of these names, and the operators' side of the last two |
| `inspection` | what a server tells about itself, for `warren doctor` |

Nothing here keeps facts about jobs in memory that the server does not have, but for the names of this process's calls.
"""
