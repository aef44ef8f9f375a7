"""What production asks of a cluster, from metadata that is passed in."""

import pytest

from topology.errors import Misconfigured
from topology.settings import parse
from topology.stream.production import check_brokers, check_topics, together, zones_advice
from topology.stream.replicas import Node, stand_of
from topology.topics import for_production, hardened

RING = '[rings.en]\nlanguages = ["en"]\nencoder = "x"\n'
NODES = [Node(1, "a:9092", "z1"), Node(2, "b:9092", "z2"), Node(3, "c:9092", "z3")]


def partition(number, replicas=(1, 2, 3), isr=(1, 2, 3), leader=1):
    return {"partition": number, "replicas": list(replicas), "isr": list(isr), "leader": leader}


def topic(*partitions, name="t"):
    return {"topic": name, "partitions": list(partitions)}


def test_production_raises_what_the_file_has_less_of_and_leaves_what_it_has_more_of():
    plain, more = parse(RING), parse(f"[topics]\nreplication = 5\nmin_insync_replicas = 3\n{RING}")
    assert [(s.topics.replication, s.topics.min_insync_replicas) for s in map(for_production, (plain, more))] == [
        (3, 2), (5, 3),
    ]
    for spec in hardened(for_production(plain)):
        assert spec.configs["min.insync.replicas"] == "2"
        assert spec.configs["unclean.leader.election.enable"] == "false"


def test_as_many_in_sync_as_there_are_replicas_is_refused_since_one_broker_away_stops_all_writes():
    settings = for_production(parse(f"[topics]\nreplication = 3\nmin_insync_replicas = 3\n{RING}"))
    with pytest.raises(Misconfigured, match="min_insync_replicas is 3 of 3"):
        check_topics(settings)


def test_fewer_than_three_brokers_are_refused_by_name():
    check_brokers(NODES, "x:1")
    with pytest.raises(Misconfigured, match=r"x:1 has 2 of the 3 brokers .*: 1 \(a:9092, zone z1\), 2 \(b:9092, zone"):
        check_brokers(NODES[:2], "x:1")


def test_replicas_that_share_a_zone_are_told_where_the_cluster_has_zones():
    four = [*NODES, Node(4, "d:9092", "z3")]
    assert list(together(topic(partition(0), partition(1, (1, 2, 4))), four)) == []
    (told,) = together(topic(partition(0), partition(1, (1, 3, 4))), four)
    assert told.startswith("partitions 1 ")
    assert list(together(topic(partition(0, (1, 3, 4))), [Node(n, "x:1") for n in (1, 3, 4)])) == []


def test_brokers_that_know_no_zone_or_share_one_are_told():
    assert list(zones_advice(NODES)) == []
    (none,) = zones_advice([*NODES[:2], Node(3, "c:9092")])
    (two,) = zones_advice([*NODES[:2], Node(3, "c:9092", "z2")])
    assert "brokers 3 have no broker.rack" in none and "2 zones (z1, z2)" in two


def test_a_broker_that_is_away_is_named_and_what_it_stops_is_told_apart():
    seen = stand_of(NODES[:2], [topic(
        partition(0), partition(1, isr=(1, 2)), partition(2, isr=(1,)), partition(3, isr=(3,), leader=-1), name="t",
    )], min_insync=2)
    assert (seen.away, seen.partitions) == ((3,), 4)
    assert (seen.behind, seen.refusing, seen.leaderless) == (("t[1]",), ("t[2]",), ("t[3]",))
