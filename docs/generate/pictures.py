"""Generate the pictures of plans in the documentation with the code of `eas plan --graph`."""

from __future__ import annotations

import re
from pathlib import Path

from eas.chains.drawing import svg
from eas.chains.folded_plan import fold
from eas.chains.grammar import parse_chain
from eas.registry import builtin, merge_registries

STUDY = Path(__file__).resolve().parents[1] / "tutorial" / "detection_limit_study.md"
CHAIN = re.compile(r"^```\{code-block\} json\n:caption: limit.json\n\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def detection_limit_plan() -> str:
    """Return the picture of the chain in the tutorial's study."""
    found = CHAIN.search(STUDY.read_text(encoding="utf-8"))
    assert found, "the tutorial shows no chain"
    registry = merge_registries([("builtin", builtin())])
    chain = parse_chain(found[1], "limit.json", registry)
    return svg(fold(chain, registry, "1", job_name="limit", working_directory="limit"))
