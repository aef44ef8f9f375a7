"""Which ring serves a language, and which cell holds a tenant."""

import pytest

from topology.cells import cell_of
from topology.errors import UnknownLanguage
from topology.rings import primary, ring_of

RINGS = {"en": ("en",), "multi": ("fr", "de", "pt")}
TENANTS = [f"tenant-{n}" for n in range(2_000)]


def cells(weights, pins=None):
    return {tenant: cell_of(tenant, weights, pins or {}) for tenant in TENANTS}


@pytest.mark.parametrize(
    "tag, ring", [("en", "en"), ("en-GB", "en"), ("EN_us", "en"), ("pt-BR", "multi"), (" fr ", "multi")]
)
def test_a_language_is_served_by_its_primary_subtag(tag, ring):
    assert ring_of(tag, RINGS) == ring


@pytest.mark.parametrize("tag", ["ja", "", "-", "english", "e"])
def test_a_language_that_no_ring_speaks_is_refused_with_those_that_are_served(tag):
    with pytest.raises(UnknownLanguage, match="served here: de, en, fr, pt"):
        ring_of(tag, RINGS)


def test_a_tag_is_cut_to_its_primary_subtag():
    assert [primary(tag) for tag in ("zh-Hant-TW", "DE", "sr_Latn")] == ["zh", "de", "sr"]


def test_a_new_cell_takes_its_share_and_moves_nobody_else():
    before, after = cells({"a": 1, "b": 1}), cells({"a": 1, "b": 1, "c": 1})
    moved = [tenant for tenant in TENANTS if before[tenant] != after[tenant]]
    assert {after[tenant] for tenant in moved} == {"c"}
    assert len(moved) / len(TENANTS) == pytest.approx(1 / 3, abs=0.04)


def test_a_cell_that_goes_gives_its_tenants_to_the_others_and_moves_nobody_else():
    before, after = cells({"a": 1, "b": 1, "c": 1}), cells({"a": 1, "b": 1})
    assert all(before[tenant] == "c" for tenant in TENANTS if before[tenant] != after[tenant])


def test_a_cells_weight_is_its_share():
    found = list(cells({"a": 3, "b": 1}).values())
    assert found.count("a") / len(found) == pytest.approx(0.75, abs=0.04)


def test_a_pinned_tenant_lives_where_it_is_pinned_and_nobody_else_moves():
    plain, pinned = cells({"a": 1, "b": 1}), cells({"a": 1, "b": 1}, {"b": ("tenant-0", "tenant-1")})
    assert (pinned["tenant-0"], pinned["tenant-1"]) == ("b", "b")
    assert all(plain[t] == pinned[t] for t in TENANTS[2:])


def test_where_a_tenant_lives_never_changes_between_versions():
    found = {tenant: cell_of(tenant, {"a": 1, "b": 1, "c": 2}, {}) for tenant in ("acme", "bank", "shop", "日本")}
    assert found == {"acme": "a", "bank": "b", "shop": "c", "日本": "c"}
