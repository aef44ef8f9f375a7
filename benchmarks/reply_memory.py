"""What replies take in Redis: 10⁵ of them by the workers' own script, read from Redis."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.report import Result
from infra.stack.embedded import start_redis
from infra.stack.supervise import Supervisor
from producers.request import uuid7
from topology import keys, wire
from topology.connections import Redis as RedisSettings
from topology.stream.records import OutgoingReply
from topology.stream.redis import connect
from topology.stream.replies import ReplyWriter

TOGETHER = 64
PREFIX = "bench"
KEPT_S = 3_600


def run(replies: int) -> Result:
    """Bytes of a reply at its key, of one on a client's stream, and the seconds that both kinds are kept."""
    with tempfile.TemporaryDirectory(prefix="headrace-replies-") as home:
        supervisor = Supervisor(Path(home))
        try:
            return asyncio.run(_measure(start_redis(supervisor, Path(home), "embedded"), replies))
        finally:
            supervisor.stop()


async def _measure(url: str, replies: int) -> Result:
    settings = RedisSettings(kind="external", url=url, reply_ttl_s=KEPT_S)
    writer, redis = ReplyWriter(settings, PREFIX), connect(settings, alone=True)
    try:
        await writer.write([_reply(False, "")])  # the script and its tables
        empty = int((await redis.info("memory"))["used_memory"])
        began_s = time.perf_counter()
        for _ in range(0, replies, TOGETHER):
            await writer.write([_reply(False, "") for _ in range(TOGETHER)])
        seconds, count = time.perf_counter() - began_s, int(await redis.dbsize()) - 1
        keyed = int((await redis.info("memory"))["used_memory"])
        stream = keys.reply_stream(PREFIX, "client")
        once = _reply(True, stream)
        await writer.write([once])
        kept_s = await redis.pttl(keys.reply(PREFIX, once.tenant, once.request_id)) / 1e3
        for _ in range(0, 20_000, TOGETHER):  # as many as a client's stream holds
            await writer.write([_reply(True, stream) for _ in range(TOGETHER)])
        streamed, length = int(await redis.memory_usage(stream, samples=0) or 0), int(await redis.xlen(stream))
        value = len(once.value or b"")
    finally:
        await writer.close()
        await redis.aclose()
    return {
        "replies": count, "bytes_a_reply": (keyed - empty) / count, "bytes_of_value": value,
        "us_a_reply": seconds / count * 1e6, "bytes_on_stream": streamed / length, "stream_replies": length,
        "stream_mb": streamed / 1e6, "kept_s": KEPT_S, "one_reader_kept_s": kept_s,
    }


def _reply(one_reader: bool, stream: str) -> OutgoingReply:
    """As a head worker makes one: an intent, an entity, and the times of the stages."""
    now_us, request_id = time.time_ns() // 1_000, uuid7()
    text = "please turn on the lights in the kitchen at seven tomorrow"
    room = {"start": 29, "end": 36, "label": "room", "text": "kitchen", "confidence": 0.93}
    value = wire.encode(wire.Prediction(
        request_id, "customer-00000007", "en", "en", text, "turn_on", 0.97, entities=[room],
        head_version="20261127T031500Z-9f9f9f", space="9f" * 8,
        stages=dict.fromkeys(("submitted", "received", "encoded", "predicted"), now_us),
    ))
    digest = keys.request_digest(text, "en")
    until_us = now_us + 10_000_000 if one_reader else 0
    return OutgoingReply(stream, "customer-00000007", request_id, value, True, digest, until_us)


def plot(result: Result) -> Any:
    """Memory by rate."""
    def draw(axes: Any) -> None:
        rates = [10**n for n in range(2, 7)]
        for name, label in (("kept_s", "kept for an hour"), ("one_reader_kept_s", "of one reader")):
            memory_gb = [rate * result[name] * result["bytes_a_reply"] / 1e9 for rate in rates]
            axes.plot(rates, memory_gb, marker="o", label=label)
        axes.set(xlabel="utterances a second", ylabel="GB of replies in Redis", xscale="log", yscale="log")
        axes.legend()

    return draw
