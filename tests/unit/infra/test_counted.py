"""One is one."""

import re
from pathlib import Path

import pytest

from infra.counted import counted

HERE = Path(__file__).parents[3] / "infra"
# A count before a plural, in a text that is printed: f"{len(rows)} rows".
PLURAL = re.compile(r"\{(?:len\([^{}]*\)|count)(?::,)?\} (?:tenants|examples|findings|lines|records|letters)\b")


@pytest.mark.parametrize("count, one, more, said", [
    (1, "line", "", "1 line"), (0, "line", "", "0 lines"), (1_000, "tenant", "", "1,000 tenants"),
    (1, "record waits", "records wait", "1 record waits"), (2, "record waits", "records wait", "2 records wait"),
])
def test_one_is_one_and_the_others_are_many(count, one, more, said):
    assert counted(count, one, more) == said


@pytest.mark.parametrize("folder", ["cli", "training"])
def test_no_printed_count_of_the_command_line_is_followed_by_a_fixed_plural(folder):
    assert [f"{place.name}: {found}" for place in sorted((HERE / folder).rglob("*.py"))
            for found in PLURAL.findall(place.read_text())] == []
