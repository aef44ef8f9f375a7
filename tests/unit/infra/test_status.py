"""What `headrace status` calls wrong, and what it says to do: decided from what was seen alone."""

from dataclasses import replace

import pytest

from infra.cli.status import _text
from infra.observe import away_since
from infra.stack.supervise import ProcessState
from infra.status import DeadLetters, Seen, groups_of, releases, troubles
from topology.settings import parse
from topology.stream.admin import TopicReport
from topology.stream.groups import GroupState, PartitionState
from topology.stream.redis_state import RedisState
from topology.stream.replicas import Replicas
from topology.stream.work import Work

RING = '[rings.en]\nlanguages = ["en"]\nencoder = "x"\n[rings.en.cells.a]\n'
SETTINGS = parse(RING)
ENCODER, HEAD = (one.name for one in groups_of(SETTINGS) if one.live)
REDIS = RedisState("7.2", 1_000, 10_000, "noeviction")


def group(name=ENCODER, committed=10, end=10, state="Stable", members=1, **more):
    topic = next(one.topic for one in groups_of(SETTINGS) if one.name == name)
    partition = PartitionState(0, committed, **{"start": 0, "owned": True, **more}, end=end)
    return GroupState(name, topic, state, members, (partition,))


def seen(*groups, at_s=100.0, **more):
    named = {one.name: one for one in (group(ENCODER), group(HEAD), *groups)}
    return Seen(**{"at_s": at_s, "groups": tuple(named.values()), "heads": {"en": 3}, "redis": REDIS, **more})


WELL = seen()


def test_nothing_is_said_where_all_is_well():
    assert troubles(SETTINGS, WELL) == troubles(SETTINGS, replace(WELL, at_s=103.0), WELL) == []


def test_it_tells_which_version_answers_and_since_when_what_is_away(tmp_path):
    first = away_since(tmp_path, {"redis": "refused"})
    assert away_since(tmp_path, {"redis": "refused", "broker": "refused"})["redis"] == first["redis"]
    text = _text(replace(WELL, versions={"en": {"acme": "v2 (canary v3 10%)"}}, away_since_s=first), [])
    assert "version  en/acme: v2 (canary v3 10%)" in text and "away     redis: since " in text
    many = {"en": {f"t{n}": "v1" for n in range(21)}}
    assert "headrace head list --ring en" in _text(replace(WELL, versions=many), [])
    assert away_since(tmp_path, {}) == {} and list(tmp_path.iterdir()) == []


def test_a_cell_that_takes_no_tenants_needs_no_workers_and_one_that_is_not_nearly_full_no_others():
    idle = seen(group(HEAD, members=0, state="Empty"), idle=(HEAD,))
    assert troubles(SETTINGS, idle) == troubles(SETTINGS, seen(cells={"en": {"a": 799}})) == []


@pytest.mark.parametrize(("what", "words"), [
    (seen(replicas=Replicas(away=(2,), partitions=9, behind=("t[0]", "t[1]"))), ["broker 2 is away", "2 partitions",
                                                                               "Nothing is lost", "start it"]),
    (seen(replicas=Replicas(partitions=9, behind=("t[0]",))), ["all brokers are there", "t[0]", "catches up"]),
    (seen(replicas=Replicas(away=(2, 3), refusing=("t[0]",))), ["brokers 2, 3 are away", "no write is taken"]),
    (seen(replicas=Replicas(away=(1,), leaderless=("t[0]",))), ["no leader"]),
    (seen(group(members=0, state="Empty", end=15)), ["headrace.en.utterances", "5 records wait", "encoder_worker"]),
    (seen(group(HEAD, members=0)), ["headrace.en.a.embeddings", "head_worker --ring en --cell a"]),
    (seen(group(owned=False)), ["no member", "partition 0"]),
    (seen(group(committed=50)), ["beyond the end", "restart"]),
    (seen(group(start=12, end=20)), ["2 records were deleted unread", "retention"]),
    (seen(cells={"en": {"a": 800}}), ["cell en/a is nearly full", "800 tenants", "of 1,000", "headrace cell add"]),
    (seen(cells={"en": {"a": 1_001}}), ["cell en/a is full", "1,001 tenants"]),
    (seen(group(HEAD, members=0, end=15), idle=(HEAD,)), ["5 records wait", "head_worker --ring en --cell a"]),
    (seen(heads={}), ["ring en has no heads", "head publish"]),
    (seen(heads={"en": 1, "fr": 2}), ["2 heads", "ring fr"]),
    (seen(redis=None, away={"redis": "Redis does not answer: refused"}), ["Redis does not answer", "[redis]"]),
    (seen(redis=replace(REDIS, refusal="OOM command not allowed")), ["takes no write", "OOM", "maxmemory"]),
    (seen(redis=replace(REDIS, used_bytes=9_500)), ["95% full", "noeviction"]),
    (seen(topics=(TopicReport("t", False, ("missing",)),)), ["t is missing", "headrace topics apply"]),
    (seen(topics=(TopicReport("t", False, ("partitions: 2, wanted 4",)),)), ["partitions: 2, wanted 4"]),
    (seen(letters=DeadLetters({"bad_head": 2, "internal": 3}, "broken", True)),
     ["5 or more dead letters", "3 internal, 2 bad_head", "broken", "headrace.dead-letters"]),
    (seen(processes=(ProcessState("head-en-a-0", 1 << 30, 1.0, 0, "x.log"),)), ["head-en-a-0", "has ended", "x.log"]),
    (seen(processes=(ProcessState("redis", 1, 90.0, 2, "x.log"),)), ["restarted 2 times", "10 s ago"]),
    (seen(processes=tuple(ProcessState(name, 1 << 30, 1.0, 0, "x.log") for name in ("redis", "broker"))),
     ["none of the 2 processes of `headrace up` runs"]),
])
def test_each_trouble_is_one_sentence_with_what_to_do(what, words):
    (sentence,) = troubles(SETTINGS, what)
    assert [word for word in words if word not in sentence] == [], sentence
    assert "\n" not in sentence


def test_a_broker_that_is_away_is_said_once_and_nothing_is_made_up_about_what_it_would_know():
    away = Seen(100.0, redis=REDIS, away={"broker": "the broker at x:1 did not answer in 4 s"})
    (sentence,) = troubles(SETTINGS, away)
    assert "the broker at x:1" in sentence and "[broker]" in sentence


def test_a_lag_is_told_where_callers_wait_longer_than_their_deadline_for_it():
    before = seen(group(committed=100, end=5_000))
    slow = seen(group(committed=110, end=5_100), at_s=102.0)  # 4990 wait, 5 a second
    (sentence,) = troubles(SETTINGS, slow, before)
    assert "4,990 records wait and 5 are read a second" in sentence and "998 s" in sentence
    fast = seen(group(committed=3_000, end=5_100), at_s=102.0)
    assert troubles(SETTINGS, fast, before) == []


def test_a_position_that_stands_still_while_records_wait_is_told():
    before = seen(group(committed=10, end=12))
    (sentence,) = troubles(SETTINGS, seen(group(committed=10, end=15), at_s=102.5), before)
    assert "does not advance on partition 0" in sentence and "5 records wait" in sentence


def test_records_that_came_since_the_first_look_are_no_trouble_yet():
    assert troubles(SETTINGS, seen(group(committed=10, end=15), at_s=102.5), seen(group(committed=10, end=10))) == []


def test_transaction_markers_and_deleted_records_are_no_lag():
    assert PartitionState(0, 10, 0, 11, read=True).lag == 0
    assert PartitionState(0, 10, 40, 50).lag == 10
    assert PartitionState(0, None, 40, 50).lag == 10


def test_a_rebalance_is_a_trouble_only_where_it_lasts():
    moving = seen(group(state="PreparingRebalance"))
    assert troubles(SETTINGS, moving) == []
    (sentence,) = troubles(SETTINGS, replace(moving, at_s=103.0), moving)
    assert "rebalancing" in sentence


def test_insights_are_told_by_cell_and_nobody_is_said_to_wait_for_them():
    settings = parse(f"{RING}[rings.en.cells.b]\n[insights]\nenabled = true\n")
    insights = [one for one in groups_of(settings) if one.name == "headrace.en.insights"]
    assert [one.topic for one in insights] == ["headrace.en.a.predictions", "headrace.en.b.predictions"]

    def looked(lag, members, at_s):
        states = [GroupState(one.name, one.topic, "Stable", members, (PartitionState(0, 10, 0, 10 + lag, owned=True),))
                  for one in insights]
        return seen(*states[:1], at_s=at_s) if not members else replace(WELL, groups=tuple(states), at_s=at_s)

    assert troubles(settings, looked(900, 1, 103.0), looked(800, 1, 100.0)) == [], "a lag that moves, or stands still"
    (sentence,) = troubles(settings, looked(900, 0, 103.0))
    assert "headrace.en.a.predictions" in sentence and "python -m infra.insights --ring en" in sentence


def test_a_group_tells_which_release_each_of_its_workers_runs_now():
    def partition(number, worker, version, begun_s):
        note = Work(worker, 5.0, 1.0, 1.0, 9, version=version, begun_s=begun_s).to_note()
        return PartitionState(number, 1, 0, 1, owned=True, note=note)

    partitions = (
        partition(0, "head-0", "0.2.0", 900), partition(1, "head-1", "0.1.0", 300),
        partition(2, "head-0", "0.1.0", 100),  # what head-0 committed before it was rolled
        partition(3, "head-9", "0.1.0", 50),  # it left
        PartitionState(4, 1, 0, 1, owned=True, note="somebody else's"),
    )
    rolling = GroupState(HEAD, "t", "Stable", 2, partitions)
    assert releases(rolling) == {"0.1.0": ["head-1"], "0.2.0": ["head-0"]}
    before = Work("head-0", 5.0, 1.0, 1.0, 9)
    note = before.to_note().replace(',"version":"","begun_s":0', "")
    assert releases(GroupState(HEAD, "t", "Stable", 1, (PartitionState(0, 1, 0, 1, note=note),))) == {"?": ["head-0"]}
