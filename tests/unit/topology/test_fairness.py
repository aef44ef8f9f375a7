"""Turns between tenants, and quotas."""

import pytest

from topology.errors import Misconfigured, Overloaded
from topology.quotas import Meter
from topology.settings import Quota, Quotas, parse
from topology.stream.fair import FairQueue
from topology.stream.records import Record

RING = '[rings.en]\nlanguages = ["en"]\nencoder = "x"\n[rings.en.cells.a]\n'


def record(number):
    return Record("topic", 0, number, None, b"")


def test_a_flood_waits_behind_itself():
    queue = FairQueue()
    for number in range(100):
        queue.push("flood", record(number))
    queue.push("quiet", record(1_000))
    assert [r.offset for r in queue.take(4)] == [0, 1_000, 1, 2]
    assert (len(queue), queue.waiting("flood"), queue.waiting("quiet")) == (97, 97, 0)


def test_within_a_tenant_order_is_kept_and_what_waited_before_comes_first():
    queue = FairQueue()
    for number in (5, 6):
        queue.push("a", record(number))
    queue.push("b", record(9))
    for _ in range(2):
        queue.hold("a")
    for number in (4, 3):
        queue.give_back("a", record(number))
    assert [r.offset for r in queue.take(9)] == [3, 9, 4, 5, 6]
    assert not queue


def test_while_records_of_a_tenant_are_to_come_back_none_of_its_others_overtakes_them():
    queue = FairQueue()
    for number in range(4):
        queue.push("a", record(number))
    assert [r.offset for r in queue.take(2)] == [0, 1]
    queue.hold("a")
    queue.hold("a")
    queue.push("a", record(4))
    assert not queue.ready and not queue.take(9) and (len(queue), queue.waiting("a")) == (3, 3)
    queue.give_back("a", record(1))  # whichever comes back first
    assert not queue.ready
    queue.give_back("a", record(0))
    assert [r.offset for r in queue.take(9)] == [0, 1, 2, 3, 4]


def test_a_quota_is_a_rate_and_a_burst_and_says_when_to_come_again():
    meter = Meter(Quotas(Quota(per_s=10, burst_s=0.5)))
    for _ in range(5):
        meter.charge("a", now_s=0.0)
    with pytest.raises(Overloaded) as caught:
        meter.charge("a", now_s=0.0)
    assert caught.value.retry_after_ms == 101
    meter.charge("b", now_s=0.0)
    meter.charge("a", now_s=0.102)


@pytest.mark.parametrize("apart_s", [0.0, 1e-5], ids=["at once", "over 3 s"])
def test_a_flood_of_unknown_names_takes_bounded_memory_and_gives_no_tenant_its_burst_again(apart_s):
    meter = Meter(Quotas(Quota(per_s=10, burst_s=5), {"slow": Quota(per_s=1, burst_s=60)}))
    for tenant in ("slow", "real"):
        for _ in range(60 if tenant == "slow" else 50):
            meter.charge(tenant, now_s=0.0)
    for number in range(300_000):
        meter.charge(f"nobody-{number}", now_s=number * apart_s)
    assert len(meter._buckets) <= meter.max_buckets
    meter.charge("slow", now_s=3.0)  # what came back meanwhile: 3 of 60, 30 of 50
    with pytest.raises(Overloaded):
        for _ in range(4):
            meter.charge("slow", now_s=3.0)
    with pytest.raises(Overloaded):
        for _ in range(31):
            meter.charge("real", now_s=3.0)


def test_a_queue_that_is_full_is_told_and_says_when_to_come_again():
    meter = Meter(Quotas(Quota(queue=3)))
    meter.check_queue("a", 2)
    with pytest.raises(Overloaded, match="3 utterances of tenant 'a' wait already") as caught:
        meter.check_queue("a", 3)
    assert caught.value.retry_after_ms == 1_000


def test_workers_of_a_ring_share_a_quota():
    meter = Meter(Quotas(Quota(per_s=10, burst_s=1)), workers=2)
    for _ in range(5):
        meter.charge("a", now_s=0.0)
    with pytest.raises(Overloaded):
        meter.charge("a", now_s=0.0)


def test_one_tenants_own_quota_stands_in_headrace_toml():
    quotas = parse(f"[quotas]\nper_s = 50\n[quotas.tenants.big]\nper_s = 500\n{RING}").quotas
    assert (quotas.default.per_s, quotas.tenants["big"].per_s, quotas.tenants["big"].queue) == (50, 500, 10_000)
    with pytest.raises(Misconfigured, match=r"toml:3: quotas.tenants.big.per_sec: .*per_s"):
        parse(f"[quotas]\n[quotas.tenants.big]\nper_sec = 5\n{RING}")
