"""No SQL function is used that a server which EAS runs on lacks: MySQL 8.4 to 9.x, MariaDB 10.6 to 12."""

from __future__ import annotations

import re

from tests.vocabulary import ROOT

MISSING = (
    r"sha1|sha|password|encode|decode|des_encrypt|des_decrypt|encrypt|old_password|master_pos_wait|json_value|any_value"
)
"""Removed from MySQL (SHA1 from the core of 9.6), or known to one of the two only."""


def test_no_function_that_some_server_lacks() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in (ROOT / "eas").rglob("*.py")
        for match in re.finditer(rf"\bfunc\.({MISSING})\(", path.read_text(encoding="utf-8"), re.IGNORECASE)
    ]
    assert found == []
    assert re.search(rf"\bfunc\.({MISSING})\(", "func.sha1(x)"), "it would be found"
