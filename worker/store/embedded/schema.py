"""The tables, and the check that a file is ours. All instants and durations are microseconds.

`jobs` has one row per job, with the facts of its current run. Bodies lie apart: they are large and
expire early. `claims` holds only the claims of calls that run now, so it stays tiny; what an ended claim
leaves for followers stands in `answers`. `called_off` are jobs that were cancelled before any worker knew them;
`lanes` what operators want of a lane; `permits` the calls that a lane with a ration has started lately;
`meters` what is used of the accounts' limits, the amounts of the latest slots in one value. `pots` are what is spent
and reserved of the budgets, and `reservations` what is not settled yet. Money is in the units of `core.money`, as
text: no sum of it is rounded.
"""

from typing import Final

import apsw

from worker.errors import SettingsError

APPLICATION_ID: Final = 0x57415252  # "WARR"
VERSION: Final = 4

_TABLES: Final = """
CREATE TABLE jobs (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  tenant TEXT NOT NULL,
  key TEXT NOT NULL,
  tier TEXT NOT NULL,
  lane TEXT NOT NULL,
  path TEXT NOT NULL,
  model TEXT NOT NULL,
  content_hash TEXT NOT NULL,
  priority INTEGER NOT NULL,
  state TEXT NOT NULL,
  run INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  carrier TEXT NOT NULL,
  received_at INTEGER NOT NULL,
  submitted_at INTEGER NOT NULL,
  deadline INTEGER NOT NULL,
  begun_at INTEGER,
  attempts INTEGER NOT NULL DEFAULT 0,
  calls INTEGER NOT NULL DEFAULT 0,
  refusals INTEGER NOT NULL DEFAULT 0,
  snoozes INTEGER NOT NULL DEFAULT 0,
  upstream INTEGER NOT NULL DEFAULT 0,
  outcome TEXT,
  ended_at INTEGER,
  letter_due INTEGER NOT NULL DEFAULT 0,
  park_kind TEXT,
  park_after INTEGER,
  park_until INTEGER,
  park_carried INTEGER,
  expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX jobs_by_expiry ON jobs (expires_at);
CREATE INDEX jobs_open ON jobs (tier) WHERE state = 'open';

CREATE TABLE bodies (
  job INTEGER PRIMARY KEY,
  size INTEGER NOT NULL,
  sha256 BLOB NOT NULL,
  expires_at INTEGER NOT NULL,
  body BLOB NOT NULL
) STRICT;
CREATE INDEX bodies_by_expiry ON bodies (expires_at);

CREATE TABLE submissions (
  job INTEGER NOT NULL,
  id TEXT NOT NULL,
  reply_to TEXT,
  heard INTEGER NOT NULL,
  PRIMARY KEY (job, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE history (
  job INTEGER NOT NULL,
  line INTEGER NOT NULL,
  at INTEGER NOT NULL,
  run INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  what TEXT NOT NULL,
  kind TEXT,
  status INTEGER,
  endpoint TEXT,
  calls INTEGER NOT NULL,
  upstream_ms INTEGER NOT NULL,
  PRIMARY KEY (job, line)
) STRICT, WITHOUT ROWID;

CREATE TABLE letters (
  job INTEGER PRIMARY KEY,
  run INTEGER NOT NULL,
  kind TEXT NOT NULL,
  status INTEGER,
  code TEXT,
  at INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  request BLOB NOT NULL
) STRICT;

CREATE TABLE claims (
  key TEXT PRIMARY KEY,
  owner TEXT NOT NULL,
  job_id TEXT NOT NULL UNIQUE,
  run INTEGER NOT NULL,
  wanted_until INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE answers (
  key TEXT PRIMARY KEY,
  job_id TEXT NOT NULL,
  run INTEGER NOT NULL,
  ended_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX answers_by_end ON answers (ended_at);

CREATE TABLE owners (
  owner TEXT PRIMARY KEY,
  boot_id TEXT NOT NULL,
  lease_until REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE cache (
  number INTEGER PRIMARY KEY,
  fingerprint TEXT NOT NULL UNIQUE,
  size INTEGER NOT NULL,
  sha256 BLOB NOT NULL,
  used_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  about TEXT NOT NULL,
  body BLOB NOT NULL
) STRICT;
CREATE INDEX cache_by_use ON cache (used_at, size);
CREATE INDEX cache_by_expiry ON cache (expires_at);

CREATE TABLE cache_total (size INTEGER NOT NULL) STRICT;
INSERT INTO cache_total VALUES (0);
CREATE TRIGGER cache_grows AFTER INSERT ON cache
  BEGIN UPDATE cache_total SET size = size + NEW.size; END;
CREATE TRIGGER cache_shrinks AFTER DELETE ON cache
  BEGIN UPDATE cache_total SET size = size - OLD.size; END;
"""

_SECOND: Final = """
ALTER TABLE claims ADD COLUMN followed INTEGER NOT NULL DEFAULT 0;

CREATE TABLE called_off (
  job_id TEXT PRIMARY KEY,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE lanes (
  lane TEXT PRIMARY KEY,
  paused INTEGER NOT NULL,
  reason TEXT,
  concurrency INTEGER,
  per_minute INTEGER,
  windows TEXT,
  changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE permits (
  lane TEXT NOT NULL,
  number INTEGER NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (lane, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX permits_by_time ON permits (lane, at);
"""

_THIRD: Final = """
CREATE TABLE meters (
  name TEXT PRIMARY KEY,
  newest INTEGER NOT NULL,
  paced_until INTEGER NOT NULL,
  amounts BLOB NOT NULL
) STRICT, WITHOUT ROWID;
"""

_FOURTH: Final = """
ALTER TABLE jobs ADD COLUMN spent TEXT NOT NULL DEFAULT '0';
ALTER TABLE jobs ADD COLUMN unpriced INTEGER NOT NULL DEFAULT 0;
UPDATE jobs SET unpriced = calls WHERE calls > 0; -- what they cost was not kept until now

CREATE TABLE pots (
  key TEXT PRIMARY KEY,
  spent TEXT NOT NULL,
  reserved TEXT NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE reservations (
  name TEXT PRIMARY KEY,
  amount TEXT NOT NULL,
  pots TEXT NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX reservations_by_expiry ON reservations (expires_at);
"""

# What brings a file from each version to the next.
_STEPS: Final = {0: _TABLES, 1: _SECOND, 2: _THIRD, 3: _FOURTH}


def prepare(connection: apsw.Connection, path: str) -> None:
    """Create the tables in an empty file, bring an older file of ours up to date, and leave a current one.

    The caller holds the lock under which only one process prepares at a time.

    Raises:
        SettingsError: the file belongs to another program or to a newer Warren.
    """
    if connection.pragma("application_id") == 0 and _is_empty(connection):
        connection.pragma("journal_mode", "wal")
        _bring_up(connection)
    elif connection.pragma("application_id") == APPLICATION_ID:
        _bring_up(connection)
    check(connection, path)


def _bring_up(connection: apsw.Connection) -> None:
    steps = range(connection.pragma("user_version"), VERSION)
    if steps:
        connection.execute(
            f"BEGIN IMMEDIATE; {' '.join(_STEPS[version] for version in steps)} "
            f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={VERSION}; COMMIT"
        )


def check(connection: apsw.Connection, path: str) -> None:
    """Make sure that the file is a store of this version.

    Raises:
        SettingsError: the file belongs to another program or to a newer Warren.
    """
    if connection.pragma("application_id") != APPLICATION_ID:
        raise SettingsError((f"the store's path: {path} is no Warren store; name another file",))
    version = connection.pragma("user_version")
    if version != VERSION:
        problem = (
            f"the store's path: {path} has schema version {version}, this Warren knows {VERSION}; "
            + (
                "start a worker of this Warren once, which brings it up to date"
                if version < VERSION
                else "run the Warren that wrote it, or name another file"
            )
        )
        raise SettingsError((problem,))


def _is_empty(connection: apsw.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_schema").fetchone() is None
