"""Whether Kafka and Redis let this process in, asked once at its start, and which setting is wrong where they do not.

aiokafka tells whoever connects "Unable to bootstrap" and nothing else. So one connection of our own is opened and what
ends it is looked at. A refusal is Misconfigured. A broker that is away is not: who connects waits for it.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import KafkaError, SaslAuthenticationFailed, UnsupportedSaslMechanismError
from aiokafka.protocol.metadata import MetadataRequest
from redis.asyncio import Redis as RedisClient
from redis.exceptions import RedisError

from topology.errors import Misconfigured
from topology.pacing import PACING, Pacing
from topology.settings import Broker, Redis, Settings
from topology.stream.security import kafka_security, redis_security

HOSTNAME_MISMATCH = (62, 64)  # OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH


async def check(settings: Settings, pacing: Pacing = PACING) -> None:
    """Sign on to what is external once. Raises: Misconfigured, naming the setting; never where something is away."""
    if settings.broker.kind == "external":
        await why_kafka_is_away(settings.broker, pacing)
    if settings.redis.kind == "external":
        await why_redis_is_away(settings.redis, pacing)


async def why_kafka_is_away(broker: Broker, pacing: Pacing = PACING) -> str:
    """What keeps this process from Kafka: empty where nothing does, a cause where it is away.

    Raises: Misconfigured where Kafka, or a certificate, refuses `sign_on_tries` times in a row.
    """
    security = kafka_security(broker)
    for left in reversed(range(pacing.sign_on_tries)):
        try:
            return await _kafka_says(broker, security, pacing.sign_on_s)
        except Misconfigured:
            if left == 0:
                raise
        await asyncio.sleep(pacing.sign_on_pause_s)
    return ""


async def _kafka_says(broker: Broker, security: dict[str, Any], within_s: float) -> str:
    cause = ""
    for host, port, _ in collect_hosts(broker.bootstrap):
        at = f"{host}:{port}"
        try:
            async with asyncio.timeout(within_s):
                await _metadata(host, port, security, int(within_s * 1e3))
            return ""
        except ConnectionRefusedError as error:
            cause = str(error)
        except (KafkaError, OSError, TimeoutError) as error:
            if (refused := _kafka_refusal(error, broker, at)) is not None:
                raise Misconfigured(refused) from error
            if (lacking := await _wanted(host, port, broker, security)) is not None:
                raise Misconfigured(lacking) from error
            cause = f"{at}: {type(error).__name__}: {error}"
    return cause


async def _metadata(host: str, port: int, security: dict[str, Any], within_ms: int) -> None:
    """Sign on and ask something. Raises: whatever aiokafka and the system raise."""
    connection = await create_conn(host, port, request_timeout_ms=within_ms, **security)
    try:
        answer = await connection.send(MetadataRequest([]))
        if not answer.brokers and security.get("sasl_mechanism") == "OAUTHBEARER":
            # How Kafka refuses a token: aiokafka overlooks its first answer, and the next is empty.
            raise SaslAuthenticationFailed("it takes no request after this token")
    finally:
        connection.close()


def _kafka_refusal(error: BaseException, broker: Broker, at: str) -> str | None:
    """The setting that is wrong and its mend, where `error` is a refusal."""
    for cause in _chain(error):
        match type(cause).__name__:
            case "Misconfigured":
                return str(cause)
            case "SaslAuthenticationFailed" | "AuthenticationFailedError":
                sasl = broker.sasl
                who = f"user {sasl.user!r}" if sasl and sasl.user else "this process"
                return f"broker.sasl: {at} refuses {who} by {sasl.mechanism if sasl else 'no mechanism'}: " \
                       f"is its password (or token) the one that the cluster knows? It says: {_said(cause)}"
            case "UnsupportedSaslMechanismError":
                return f"broker.sasl.mechanism: {at} does not offer {broker.sasl.mechanism if broker.sasl else ''!r}"
            case "IllegalSaslStateError":
                return f"broker.sasl: {at} asks for no SASL; use the port of its SASL listener, or no [broker.sasl]"
        if isinstance(cause, ssl.SSLError) and (refused := _tls_refusal(cause, "broker", at)) is not None:
            return refused
    return None


def _said(error: BaseException) -> str:
    return ": ".join(str(part) for part in error.args if isinstance(part, str)) or "nothing more"


async def _wanted(host: str, port: int, broker: Broker, security: dict[str, Any]) -> str | None:
    """The table that is missing where a port takes connections and ends them; None where it is only away."""
    if broker.tls is None and await _speaks_tls(host, port):
        return f"broker.tls: {host}:{port} speaks TLS; add [broker.tls], or use another port"
    if broker.sasl is None:
        named = {**security, "security_protocol": "SASL_" + security["security_protocol"], "sasl_mechanism": "NONE"}
        try:  # a mechanism that nobody has: a port that asks for SASL says so, before any secret is sent
            (await create_conn(host, port, request_timeout_ms=int(PACING.sign_on_s * 1e3), **named)).close()
        except UnsupportedSaslMechanismError:
            return f"broker.sasl: {host}:{port} asks who this is; add [broker.sasl], or use another port"
        except (KafkaError, OSError, TimeoutError):
            return None
    return None


async def _speaks_tls(host: str, port: int) -> bool:
    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(PACING.sign_on_s):
            _, writer = await asyncio.open_connection(host, port, ssl=anybody)
    except (OSError, EOFError, TimeoutError):
        return False
    writer.close()
    return True


async def why_redis_is_away(redis: Redis, pacing: Pacing = PACING) -> str:
    """As `why_kafka_is_away`, for Redis. Raises: Misconfigured where it, or a certificate, refuses."""
    client = RedisClient.from_url(**redis_security(redis), socket_connect_timeout=pacing.sign_on_s)
    try:
        async with asyncio.timeout(pacing.sign_on_s):
            await client.ping()
        return ""
    except (RedisError, OSError, TimeoutError) as error:
        if (refused := redis_refusal(error)) is not None:
            raise Misconfigured(refused) from error
        at = client.connection_pool.connection_kwargs
        if "tls_context" not in at and "host" in at and await _speaks_tls(at["host"], at.get("port", 6379)):
            raise Misconfigured("redis.url: this port speaks TLS; write rediss://, or use another port") from error
        return f"Redis does not answer: {type(error).__name__}: {error}"
    finally:
        await client.aclose()


def redis_refusal(error: BaseException) -> str | None:
    """The setting that is wrong and its mend, where an error of Redis is a refusal; None where it is none."""
    for cause in _chain(error):
        name = type(cause).__name__
        if name.startswith("Authentication"):
            return f"redis.user, redis.password: Redis refuses them: {cause}"
        if name == "NoPermissionError":
            return f"redis.user: Redis' ACL does not allow this user what is needed: {cause}"
        if isinstance(cause, ssl.SSLError) and (refused := _tls_refusal(cause, "redis", "Redis")) is not None:
            return refused
    return None


def _tls_refusal(error: ssl.SSLError, section: str, at: str) -> str | None:
    reason = str(error.reason or "").upper()
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in HOSTNAME_MISMATCH:
            return f"{section}.tls.check_hostname: the certificate of {at} is for another name: {error.verify_message}"
        return f"{section}.tls.ca: the certificate of {at} is not trusted: {error.verify_message}"
    if "WRONG_VERSION" in reason or "RECORD_LAYER" in reason or "HTTP_REQUEST" in reason:
        return f"{section}.tls: {at} speaks no TLS; use the port of its TLS listener, or no [{section}.tls]"
    if "ALERT" in reason:  # the other side refuses us: an unknown, expired or missing client certificate, old TLS
        return f"{section}.tls.certificate: {at} refuses this process: {reason.replace('_', ' ').lower()}"
    return None


def _chain(error: BaseException | None) -> list[BaseException]:
    """An error and what caused it, from the last to the first."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


async def check_token(broker: Broker) -> None:
    """Raises: Misconfigured where Kafka refuses the token, which aiokafka takes for a sign-on."""
    if broker.sasl is not None and broker.sasl.mechanism == "OAUTHBEARER":
        await why_kafka_is_away(broker)


async def sign_on_or_wait(broker: Broker) -> str:
    """For whoever could not connect: why not, in words. Raises: Misconfigured where waiting cannot help."""
    if broker.kind != "external":
        return ""
    return await why_kafka_is_away(broker)
