"""Redis keys: no two requests share one, and no request names a stream outside its own prefix."""

from itertools import product

import pytest

from topology import keys
from topology.errors import InvalidUtterance

NAMES = ["a", "b", ":", "a:", ":a", "a:b", "%", "%3A", "%25", "a%3Ab", "*", "{a}", "\n", "a\nb", "", "É", "x" * 256]


@pytest.mark.parametrize("make", [keys.reply, keys.claim, keys.waiters])
def test_every_tenant_and_id_have_a_key_of_their_own(make):
    made = [make("headrace", tenant, id) for tenant, id in product(NAMES, NAMES)]
    assert len(set(made)) == len(made)


def test_no_kind_of_key_can_be_written_as_another():
    kinds = [keys.reply, keys.claim, keys.waiters]
    made = [make("headrace", tenant, id) for make in kinds for tenant, id in product(NAMES, NAMES)]
    made += [keys.reply_stream("headrace", id) for id in NAMES]
    made += [keys.embedding_cache("headrace", "en", "v1")]
    assert len(set(made)) == len(made)


def test_an_ordinary_tenants_key_reads_as_documented():
    assert keys.reply("headrace", "acme", "order:7") == "headrace:reply:acme:order:7"


@pytest.mark.parametrize("name", ["", "headrace:replies:me", "headrace:replies:a:b", "headrace:replies:*"])
def test_a_reply_may_go_nowhere_or_to_a_stream_of_the_prefix(name):
    keys.check_reply_stream("headrace", name)


@pytest.mark.parametrize("name", [
    "billing:events", "headrace:embeddings:en:v1", "headrace:reply:acme:1", "headrace:replies", "headrace:replies:",
    "Headrace:replies:me", " headrace:replies:me", "headrace2:replies:me", "\n", "*",
])
def test_any_other_name_is_refused_with_the_one_that_is_wanted(name):
    with pytest.raises(InvalidUtterance, match="headrace:replies:"):
        keys.check_reply_stream("headrace", name)


def test_the_digest_tells_text_and_language_apart():
    pairs = [("a", "en"), ("a", "fr"), ("b", "en"), ("na", "e"), ("", "ena"), ("1:ea", "n"), ("a", "")]
    assert len({keys.request_digest(text, lang) for text, lang in pairs}) == len(pairs)
