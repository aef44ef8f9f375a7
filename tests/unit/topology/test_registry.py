import json

import pytest

from topology.errors import MalformedRecord
from topology.registry import Candidate, HeadRecord, parse_record

TRIAL = HeadRecord("acme", "en", "v1", "space", "aa", Candidate("v2", "space", "bb", "canary", 0.25))


def test_a_record_with_a_trial_comes_back_and_one_without_still_does():
    assert parse_record(TRIAL.key, TRIAL.to_bytes()) == TRIAL
    old = json.dumps({"tenant": "acme", "ring": "en", "version": "v1", "space": "space", "sha256": "aa"}).encode()
    assert parse_record(TRIAL.key, old) == HeadRecord("acme", "en", "v1", "space", "aa")


@pytest.mark.parametrize("change", [{"mode": 7}, {"share": 2}, {"version": "../x"}, {"share": "x"}])
def test_a_trial_that_makes_no_sense_is_refused(change):
    body = json.loads(TRIAL.to_bytes())
    body["candidate"].update(change)
    with pytest.raises(MalformedRecord, match="en/acme"):
        parse_record(TRIAL.key, json.dumps(body).encode())


def test_a_canary_takes_its_share_of_ids_and_the_same_ones_every_time():
    ids = [f"id-{number}" for number in range(4_000)]
    taken = [i for i in ids if TRIAL.candidate.takes(i)]
    assert 0.22 < len(taken) / len(ids) < 0.28
    assert taken == [i for i in ids if TRIAL.candidate.takes(i)]
