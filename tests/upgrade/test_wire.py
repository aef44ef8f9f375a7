"""Last release's bytes keep decoding: what workers of 0.1 wrote, the next release reads."""

import msgpack
import pytest

from topology import wire

RELEASED = {
    wire.Utterance: (
        "87a26964a469642d31a674656e616e74a461636d65a474657874aa6c6967687473206f6666a46c616e67a2656eac7375626d"
        "69747465645f757301ab646561646c696e655f757302a87265706c795f746fb268656164726163653a7265706c6965733a78"
    ),
    wire.Embedding: (
        "de0011a26964a469642d31a674656e616e74a461636d65a474657874a161a46c616e67a2656eac7375626d69747465645f75"
        "7301ab646561646c696e655f757302a87265706c795f746fa172a472696e67a2656ea57370616365a57370616365a5647479"
        "7065a4696e7438a6746f6b656e7301a668696464656e02a464617461c4020102a67363616c6573c4040000803fa76f666673"
        "657473c4080000000001000000a97472756e6361746564c2a673746167657381a97375626d697474656401"
    ),
    wire.Prediction: (
        "8fa26964a469642d31a674656e616e74a461636d65a472696e67a2656ea46c616e67a2656ea474657874a161a6696e74656e"
        "74a26f6eaa636f6e666964656e6365cb3fe0000000000000ac6f75745f6f665f73636f7065c2a8656e7469746965739185a5"
        "737461727400a3656e6401a56c6162656ca178a474657874a161aa636f6e666964656e6365cb3fe0000000000000ac686561"
        "645f76657273696f6ea0a57370616365a0a97472756e6361746564c2a673746167657381a97375626d697474656401a56572"
        "726f72a0a76d657373616765a0"
    ),
}


@pytest.mark.parametrize("kind", RELEASED, ids=lambda kind: kind.__name__)
def test_bytes_of_0_1_decode(kind):
    record = wire.decode(kind, bytes.fromhex(RELEASED[kind]))
    assert (record.id, record.tenant, record.lang) == ("id-1", "acme", "en")


@pytest.mark.parametrize("kind", RELEASED, ids=lambda kind: kind.__name__)
def test_a_newer_release_s_unknown_field_is_ignored(kind):
    body = msgpack.unpackb(bytes.fromhex(RELEASED[kind]))
    assert wire.decode(kind, msgpack.packb({**body, "from_the_future": [1]})).id == "id-1"
