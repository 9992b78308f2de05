"""docs/monitoring.md says what the code does."""

import re

from tests.faults.vhost import ROOT
from tests.monitoring.catalogued import table

PAGE = (ROOT / "docs/monitoring.md").read_text(encoding="utf-8")


def test_the_table_of_metrics_is_the_codes() -> None:
    between = re.search(r"<!-- metrics -->\n(.*)\n<!-- /metrics -->", PAGE, re.DOTALL)
    assert between is not None
    assert between[1] == table()
