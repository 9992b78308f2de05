"""Settings: one TOML file, the environment and secret files to frozen values; every problem at once.

| module | what it is |
| --- | --- |
| `schema`, `calling`, `endpoints`, `managed`, `prices`, `budgets` | every setting: type, bounds, default, meaning |
| `bounds` | how many jobs a worker takes at once at most |
| `load` | the way from the sources to `Settings` |
| `document`, `environment` | the sources: the file; variables and the folder of secrets |
| `found` | what the sources gave, each value from exactly one |
| `fields` | the schema looked at as data: how a setting is read, shown and named |
| `values`, `urls`, `headers`, `served` | how single values are written and checked |
| `secret` | a value that is masked and read again when asked |
| `checks`, `serving`, `stores`, `timing`, `finding` | what must hold between settings |
| `tables` | settings in force for `warren check-config`, all settings for docs/settings.md |
"""

from worker.settings.calling import RetrySettings, TierSettings
from worker.settings.endpoints import EndpointSettings
from worker.settings.load import load
from worker.settings.managed import SecretsSettings, secrets_of
from worker.settings.prices import PriceSettings
from worker.settings.schema import (
    BrokerSettings,
    HttpSettings,
    Settings,
    StoreSettings,
    WorkerSettings,
)
from worker.settings.secret import Secret
from worker.settings.tables import Described, Row, describe, reference
from worker.settings.values import Address

__all__ = [
    "Address",
    "BrokerSettings",
    "Described",
    "EndpointSettings",
    "HttpSettings",
    "PriceSettings",
    "RetrySettings",
    "Row",
    "Secret",
    "SecretsSettings",
    "Settings",
    "StoreSettings",
    "TierSettings",
    "WorkerSettings",
    "describe",
    "load",
    "reference",
    "secrets_of",
]
