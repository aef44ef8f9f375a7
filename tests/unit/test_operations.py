"""What an operator reads is complete."""

import re
from pathlib import Path

from topology.errors import HeadraceError

OPERATIONS = (Path(__file__).parents[2] / "docs" / "OPERATIONS.md").read_text(encoding="utf-8")


def codes(kind):
    return {kind.code}.union(*(codes(child) for child in kind.__subclasses__()))


def test_every_error_code_says_what_a_caller_does():
    table = OPERATIONS[OPERATIONS.index("## Errors"):]
    assert codes(HeadraceError) <= set(re.findall(r"^\| `(\w+)` \| .+ \| .+ \|$", table, re.MULTILINE))
