"""What a fetch brought, read so that no record stops a partition.

aiokafka raises where a record or a batch cannot be read, and raises again at the same place for ever: the records
before it are lost on the way, the position stays. Here such a record comes out as one that says why it is unreadable.
The smallest unit that can be told: one record, where its batch can be read and its length is right (a header name that
is no UTF-8); else the batch (a wrong checksum, a codec that nobody knows, or more than `PACING.max_batch_bytes`
unpacked: 1,622 bytes of zstd unpack to 50 MB).
"""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cramjam
from aiokafka.codec import _detect_xerial_stream
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch
from aiokafka.record.util import decode_varint

from topology.pacing import PACING
from topology.stream.records import Record

log = logging.getLogger(__name__)

# base offset, length, leader epoch, magic, checksum, attributes, last offset delta, 2 timestamps, producer id and
# epoch, base sequence, records
HEADER = struct.Struct(">qiibIhiqqqhii")
LENGTH_END, MAGIC_AT, ATTRIBUTES_AT = 12, 16, 21
CODEC, TRANSACTIONAL, CONTROL = 0x07, 0x10, 0x20
GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4


class Unreadable(str):
    """Why a record could not be read. It travels where aiokafka keeps the checksum of records of before 2017."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ByHand:
    """A record read by hand. With an `Unreadable` checksum: in the place of one, or of many, that cannot be read."""

    offset: int
    checksum: Unreadable | None
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp: int = -1
    timestamp_type: int = 0


class Batches:
    """The batches of one partition in one answer to a fetch. Takes the place of aiokafka's MemoryRecords."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._least = -1  # the offset that the next batch begins at, or later

    def size_in_bytes(self) -> int:
        """Of all batches, an unfinished last one included."""
        return len(self._data)

    def has_next(self) -> bool:
        """Whether another whole batch is there; the broker cuts the last one where the answer is full.

        Where offsets go back, the length before was wrong: then the next fetch goes on behind it.
        """
        if len(self._data) - self._at <= MAGIC_AT or self._end() > len(self._data):
            return False
        offset: int = struct.unpack_from(">q", self._data, self._at)[0]
        return offset >= self._least

    def next_batch(self) -> Batch:
        """The next one."""
        start, self._at = self._at, self._end()
        batch = Batch(self._data[start : self._at])
        self._least = batch.next_offset
        return batch

    def _end(self) -> int:
        length: int = struct.unpack_from(">i", self._data, self._at + LENGTH_END - 4)[0]
        # A length that cannot be: nobody knows where the next batch begins, so all the rest counts as one.
        return self._at + LENGTH_END + length if length > MAGIC_AT - LENGTH_END else len(self._data)


class Batch:
    """A batch whose iteration never raises: what cannot be read is `ByHand` and says why."""

    def __init__(self, raw: bytes) -> None:
        self._raw, self._why = raw, ""
        fields = HEADER.unpack(raw[: HEADER.size].ljust(HEADER.size, b"\0"))
        attributes = fields[5]
        self.base_offset: int = fields[0]
        self.next_offset: int = fields[0] + max(0, fields[6]) + 1
        self.producer_id: int = fields[9]
        self._codec, self._count = attributes & CODEC, fields[12]
        self._old: list[Any] = []
        self.is_transactional = bool(attributes & TRANSACTIONAL)
        self.is_control_batch = bool(attributes & CONTROL)
        if raw[MAGIC_AT] < 2:
            self._read_old()
        elif len(raw) < HEADER.size or raw[MAGIC_AT] != 2:
            self._give_up(f"{len(raw)} bytes of a batch in format {raw[MAGIC_AT]}, which this client does not know")

    def _read_old(self) -> None:
        """A batch in a format of before 2017, all at once; it has neither producers nor transactions."""
        self.producer_id, self.next_offset = -1, self.base_offset + 1
        self.is_transactional = self.is_control_batch = False
        try:
            batch = LegacyRecordBatch(self._raw, self._raw[MAGIC_AT])
            if not batch.validate_crc():
                raise ValueError("a wrong checksum")
            self._old = list(batch)
            self.next_offset = batch.next_offset
        except Exception as error:  # as below
            self._give_up(f"in an old format: {error}")

    def _give_up(self, why: str) -> None:
        self._why = why
        self.is_transactional = self.is_control_batch = False

    def validate_crc(self) -> bool:
        """Always True, so that aiokafka goes on; a batch with a wrong checksum comes out as `ByHand` and says why."""
        if not self._why and not self._old and not DefaultRecordBatch(self._raw).validate_crc():
            self._give_up("a wrong checksum")
        return True

    def __next__(self) -> Any:
        """The first record: aiokafka asks a control batch for its marker."""
        return next(iter(DefaultRecordBatch(self._raw)))

    def __iter__(self) -> Iterator[Any]:
        if self._old:
            yield from self._old
            return
        if not self._why:
            try:
                self._raw = _unpacked(self._raw, self._codec)
            except Exception as error:  # each codec raises errors of its own
                self._why = f"it does not unpack: {type(error).__name__}: {error}"[:300]
        if self._why:
            why = f"the batch of offsets {self.base_offset} to {self.next_offset - 1} cannot be read: {self._why}"
            yield ByHand(self.base_offset, Unreadable(why))
            return
        count, least = 0, self.base_offset
        try:
            for record in DefaultRecordBatch(self._raw):
                if not least <= record.offset < self.next_offset:  # to commit it would skip other records
                    raise ValueError(f"offset {record.offset}")
                count, least = count + 1, record.offset + 1
                yield record
        except Exception as error:  # CorruptRecordException, UnicodeDecodeError, and what a parser in C may raise
            log.debug("read by hand from offset %d: %s", least, error)
            yield from self._one_by_one(count, least)

    def _one_by_one(self, read: int, least: int) -> Iterator[ByHand]:
        """The records after the first `read`, each cut out by its own length; `least` is the first's lowest offset."""
        body, at = bytearray(self._raw[HEADER.size :]), 0
        for index in range(self._count):
            if least >= self.next_offset:
                return
            try:
                length, at = decode_varint(body, at)
                if not 0 < length <= len(body) - at:
                    raise ValueError(f"a record of {length} bytes, where {len(body) - at} are left")
            except (ValueError, IndexError) as framing:
                why = f"the records from here to offset {self.next_offset - 1} cannot be read: {framing}"
                yield ByHand(least, Unreadable(why))
                return
            record, at = body[at : at + length], at + length
            if index >= read:
                found = self._record(record, least)
                least = found.offset + 1
                yield found

    def _record(self, body: bytearray, least: int) -> ByHand:
        offset, key, value = least, None, None
        try:
            _, at = decode_varint(body, 1)  # its time, after a byte of attributes
            delta, at = decode_varint(body, at)
            if not least <= self.base_offset + delta < self.next_offset:
                raise ValueError(f"offset {self.base_offset + delta} in a batch that ends at {self.next_offset - 1}")
            offset = self.base_offset + delta
            key, at = _bytes(body, at)
            value, at = _bytes(body, at)
            return ByHand(offset, None, key, value, _headers(body, at))
        except (ValueError, IndexError) as error:  # a UnicodeDecodeError is a ValueError
            return ByHand(offset, Unreadable(f"the record cannot be read: {error}"[:300]), key, value)


def _bytes(body: bytearray, at: int) -> tuple[bytes | None, int]:
    size, at = decode_varint(body, at)
    if size > len(body) - at:
        raise ValueError(f"a field of {size} bytes, where {len(body) - at} are left")
    return (None, at) if size < 0 else (bytes(body[at : at + size]), at + size)


def _headers(body: bytearray, at: int) -> tuple[tuple[str, bytes], ...]:
    count, at = decode_varint(body, at)
    headers = []
    for _ in range(count):
        name, at = _bytes(body, at)
        value, at = _bytes(body, at)
        headers.append(((name or b"").decode(), value or b""))
    return tuple(headers)


def _unpacked(raw: bytes, codec: int) -> bytes:
    """The batch with its records unpacked, within `PACING.max_batch_bytes`."""
    if not codec:
        return raw
    attributes = struct.unpack_from(">h", raw, ATTRIBUTES_AT)[0] & ~CODEC
    head = bytearray(raw[: HEADER.size])
    struct.pack_into(">h", head, ATTRIBUTES_AT, attributes)
    return bytes(head) + _decoded(codec, raw[HEADER.size :], PACING.max_batch_bytes)


def _decoded(codec: int, data: bytes, limit: int) -> bytes:
    if codec == GZIP:
        unpacker = zlib.decompressobj(31)
        out = unpacker.decompress(data, limit)
        if not unpacker.eof:
            raise ValueError(f"more than {limit} bytes, or cut off")
        return out
    if codec == SNAPPY:
        return _snappy(data, limit)
    if codec in (LZ4, ZSTD):
        room = bytearray(limit)  # only the pages that are written to take memory
        size = (cramjam.lz4 if codec == LZ4 else cramjam.zstd).decompress_into(data, room)
        return bytes(memoryview(room)[:size])
    raise ValueError(f"codec {codec} is not known")


def _snappy(data: bytes, limit: int) -> bytes:
    """One block, or many with their lengths, as Java's library writes them."""
    blocks, at = [data], 16
    if _detect_xerial_stream(data):
        blocks = []
        while at < len(data):
            size = struct.unpack_from(">i", data, at)[0]
            if size <= 0:
                raise ValueError(f"a block of {size} bytes")
            blocks.append(data[at + 4 : at + 4 + size])
            at += 4 + size
    if sum(cramjam.snappy.decompress_raw_len(block) for block in blocks) > limit:
        raise ValueError(f"more than {limit} bytes")
    return b"".join(bytes(cramjam.snappy.decompress_raw(block)) for block in blocks)


def record_of(message: Any) -> Record:
    """A message of aiokafka as ours; one that cannot be read, or is too large, says so in `unreadable`."""
    unreadable = str(message.checksum) if isinstance(message.checksum, Unreadable) else ""
    value = message.value
    if value is not None and len(value) > PACING.max_record_bytes:
        unreadable = unreadable or f"a value of {len(value)} bytes; at most {PACING.max_record_bytes} are read"
        value = value[: PACING.dead_value_bytes]
    headers, written_ms = tuple(message.headers), -1 if message.timestamp is None else message.timestamp
    return Record(message.topic, message.partition, message.offset, message.key, value, headers, unreadable, written_ms)


def install() -> None:
    """Have aiokafka's consumers of this process read by `Batches`: it has no setting for it."""
    fetcher.MemoryRecords = Batches
