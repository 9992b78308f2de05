"""The store in one SQLite file that all worker processes of a host share.

| module | holds |
| --- | --- |
| `store` | `EmbeddedStore`: owns the file, the process's life sign and the sweeper; gives ledger and cache |
| `options` | lifetimes, bounds and durability |
| `file` | the one writer thread and its group commit |
| `connection` | how a connection is opened, and what SQLite's errors mean for us |
| `schema` | the tables, and the check that a file is ours |
| `ledger` | the `Ledger` port over the transaction functions below |
| `ahead` | what an operation will look for, told before it is looked for |
| `books` | what the operations of one transaction share: pages of rows, each read once and written once |
| `jobs` | the ledger's page: jobs, claims, answers, submissions, history |
| `transaction` | what a transaction function of the ledger works with |
| `rows` | a job's rows, as they are read |
| `bodies` | response bodies: apart from their jobs, verified when read |
| `standing` | the rule of `find`: what was decided for a delivery already |
| `entering` | how a delivery enters the books: new job, joined submission, replay |
| `claims` | claims and the answers that ended claims leave for followers |
| `beginning`, `settling`, `carrying` | `begin`; `end` and `park`; `carried` |
| `billing` | what is settled with an `end` or a `park`: limits, money, the response kept |
| `asking`, `calling_off` | `result` and `cancel`; what was cancelled and has no record yet |
| `owners` | which worker process is alive: boot id, lease and kernel file lock |
| `cache`, `rationing`, `limits`, `spend`, `laneorders` | the ports of these names, and the operators' side of the last two |
| `archive` | the `Archive` port, on a read-only connection |
| `sweeper` | drops what has outlived its lifetime, in small steps |

All SQL of a call runs in `file`'s thread; what `books` keeps in memory from one transaction to the next is
read anew as soon as another process has written.
"""

from worker.store.embedded.archive import EmbeddedArchive
from worker.store.embedded.options import Durability, EmbeddedOptions
from worker.store.embedded.store import EmbeddedStore

__all__ = ["Durability", "EmbeddedArchive", "EmbeddedOptions", "EmbeddedStore"]
