"""A fetch with records or batches that cannot be read gives all the others, and says what is wrong with those."""

import gzip
import struct

import cramjam
import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from topology.stream import fetched

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)


def batch(count=5, codec=NONE, base=0, headers=()):
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 26)
    for i in range(count):
        builder.append(i, 1_000, b"k%d" % i, b"v%d" % i, list(headers))
    return struct.pack(">q", base) + bytes(builder.build())[8:]


def checked(raw):
    return raw[:17] + struct.pack(">I", calc_crc32c(raw[21:])) + raw[21:]


def packed(body, codec, count):
    """A batch with `body` as its packed records."""
    head = bytearray(batch(1)[:61])
    struct.pack_into(">i", head, 8, len(head) + len(body) - 12)
    struct.pack_into(">h", head, 21, codec)
    struct.pack_into(">i", head, 23, count - 1)
    struct.pack_into(">i", head, 57, count)
    return checked(bytes(head) + body)


def read(data):
    """(offset, value, whether it is unreadable) of every record, as aiokafka's fetcher goes through them."""
    found, batches = [], fetched.Batches(data)
    while batches.has_next():
        one = batches.next_batch()
        assert one.validate_crc()
        found += [(r.offset, r.value, isinstance(r.checksum, fetched.Unreadable)) for r in one]
        assert [o for o, _, _ in found] == sorted({o for o, _, _ in found}) and one.next_offset > found[-1][0]
    return found


@pytest.mark.parametrize("codec", [NONE, GZIP, SNAPPY, LZ4, ZSTD])
def test_batches_of_every_codec_are_read(codec):
    assert read(batch(3, codec) + batch(2, codec, base=3)) == [
        (i, b"v%d" % (i % 3), False) for i in range(5)
    ]


def test_a_batch_that_the_broker_cut_off_waits_for_the_next_fetch():
    whole = batch(2)
    for size in (1, 12, 17, 61, len(whole) - 1):
        assert read(whole + batch(2, base=2)[:size]) == [(0, b"v0", False), (1, b"v1", False)]


@pytest.mark.parametrize("codec", [NONE, GZIP])
def test_a_record_with_a_bad_header_name_costs_itself_only(codec):
    plain = batch(5, headers=[("zz", b"")])[61:]
    third = plain.index(b"v3")
    body = plain[:third] + plain[third:].replace(b"zz", b"\xff\xfe", 1)
    raw = packed(gzip.compress(body) if codec else body, codec, 5)
    assert read(raw + batch(1, base=5)) == [(i, b"v%d" % i, i == 3) for i in range(5)] + [(5, b"v0", False)]


def test_a_wrong_length_costs_the_records_behind_it_and_no_other_batch():
    body = bytearray(batch(5)[61:])
    size = len(body) // 5
    body[2 * size] = 0x7E  # the third record's length
    assert [(o, bad) for o, _, bad in read(packed(bytes(body), NONE, 5) + batch(1, base=5))] == [
        (0, False), (1, False), (2, True), (5, False),
    ]


def test_a_wrong_checksum_costs_its_batch():
    raw = batch(3)
    assert read(raw[:-1] + bytes([raw[-1] ^ 1]) + batch(1, base=3)) == [(0, None, True), (3, b"v0", False)]


@pytest.mark.parametrize("codec,body", [
    (GZIP, b"no gzip"), (SNAPPY, b"\xff" * 9), (LZ4, b"no lz4"), (ZSTD, b"no zstd"), (5, b"a codec of next year"),
    (GZIP, gzip.compress(b"\0" * (40 << 20))), (ZSTD, bytes(cramjam.zstd.compress(b"\0" * (40 << 20)))),
    (LZ4, bytes(cramjam.lz4.compress(b"\0" * (40 << 20)))), (SNAPPY, b"\x80\x80\x80\x80\x08" + b"\0" * 20),
    (SNAPPY, b"\x82SNAPPY\0" + struct.pack(">iii", 1, 1, 0)),
])
def test_what_does_not_unpack_or_unpacks_to_too_much_costs_its_batch(codec, body):
    assert read(packed(body, codec, 3) + batch(1, base=3)) == [(0, None, True), (3, b"v0", False)]


@pytest.mark.parametrize("length", [-1, 0, 5, 30, 49])
def test_lengths_of_batches_that_cannot_be_cost_what_cannot_be_told_apart(length):
    raw = bytearray(batch(3))
    struct.pack_into(">i", raw, 8, length)
    assert read(bytes(raw))[0] in [(0, None, True), (0, b"v0", False)]


@pytest.mark.parametrize("magic", [0, 1])
def test_batches_of_before_2017_are_read_and_cost_themselves_where_they_cannot_be(magic):
    builder = LegacyRecordBatchBuilder(magic, 0, 1 << 20)
    builder.append(0, timestamp=1_000, key=b"k", value=b"old")
    raw = bytes(builder.build())
    assert read(raw + batch(1, base=1)) == [(0, b"old", False), (1, b"v0", False)]
    broken = raw[:-1] + b"?"
    assert read(broken + batch(1, base=1)) == [(0, None, True), (1, b"v0", False)]


def test_no_bytes_at_all_make_the_reading_raise():
    raw = bytearray(batch(4, headers=[("h", b"x")]))
    for at in range(61, len(raw)):
        for value in (0, 1, 0x7F, 0x80, 0xFF):
            read(checked(bytes(raw[:at]) + bytes([value]) + bytes(raw[at + 1 :])))
