"""Links between pages lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(page for folder in (ROOT, ROOT / "docs", ROOT / "docs" / "decisions") for page in folder.glob("*.md"))
LINK = re.compile(r"\]\((?!\w+:)([^)\s#]*)(?:#([^)\s]+))?\)")
PATH = re.compile(r"`((?:docs|infra|topology|tests|benchmarks|\w+_worker)/[\w./-]+\.(?:py|md|toml|json|yaml))`")


def anchors(page):
    return {re.sub(r"[^\w\- ]", "", one.strip().lower()).replace(" ", "-")
            for one in re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_points_to_is_there(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for name, anchor in LINK.findall(text):
        to = page.parent / name if name else page
        assert to.exists(), name
        assert not anchor or anchor in anchors(to), f"{name}#{anchor}"
    gone = {name for name in PATH.findall(text) if not (ROOT / name).exists()}
    assert not gone, gone
