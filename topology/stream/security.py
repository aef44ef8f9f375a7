"""How a process signs on to Kafka and Redis: what headrace.toml says, as their client libraries take it."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiokafka.abc import AbstractTokenProvider
from redis.asyncio.connection import SSLConnection

from topology.connections import Tls, has_password, wrong_redis_url
from topology.errors import Misconfigured, Unavailable
from topology.pacing import PACING, Pacing
from topology.secrets import Secret, is_reference
from topology.settings import Broker, Redis


def kafka_security(broker: Broker) -> dict[str, Any]:
    """Arguments for any client of aiokafka. Raises: Misconfigured, naming the setting."""
    protocol = ("SASL_" if broker.sasl else "") + ("SSL" if broker.tls else "PLAINTEXT")
    found: dict[str, Any] = {"security_protocol": protocol}
    if broker.tls is not None:
        found["ssl_context"] = tls_context(broker.tls, "broker.tls")
    if broker.sasl is None:
        return found
    _silence_sasl()
    found["sasl_mechanism"] = broker.sasl.mechanism
    if broker.sasl.mechanism == "OAUTHBEARER":
        found["sasl_oauth_token_provider"] = Tokens(broker.sasl.token_provider)
    else:
        found["sasl_plain_username"] = broker.sasl.user
        found["sasl_plain_password"] = _read(broker.sasl.password, "broker.sasl.password")
    return found


def redis_security(redis: Redis) -> dict[str, Any]:
    """`url` and what else `Redis.from_url` is to be called with. Raises: Misconfigured, naming the setting."""
    url = redis.url
    if is_reference(url):
        url = _read(Secret(url), "redis.url").strip()
        if wrong := wrong_redis_url(url, redis.tls is not None):
            raise Misconfigured(f"redis.url: what {redis.url} holds: {wrong}")
    found: dict[str, Any] = {"url": url}
    if redis.user or redis.password:
        if has_password(url):
            raise Misconfigured(f"redis.password: {redis.url} holds a password too; set one of them")
        found |= {"username": redis.user or None, "password": _read(redis.password, "redis.password") or None}
    if url.startswith("rediss://"):
        # The library's own context trusts the system's authorities beside `ca`: ours is handed in, by a plain scheme.
        found |= {"url": "redis" + url.removeprefix("rediss"), "connection_class": _TlsConnection}
        found["tls_context"] = tls_context(redis.tls or Tls(), "redis.tls")
    return found


class _TlsConnection(SSLConnection):
    """A connection to Redis by a TLS context of ours."""

    def __init__(self, tls_context: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context.context = tls_context


def tls_context(tls: Tls, place: str) -> ssl.SSLContext:
    """What a connection trusts and shows. Raises: Misconfigured, naming the setting below `place`."""
    try:
        context = ssl.create_default_context(cafile=tls.ca or None)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(f"{place}.ca: {tls.ca} is no file of certificates in PEM form: {_reason(error)}") from None
    context.check_hostname = tls.check_hostname
    if tls.certificate:
        password = _read(tls.key_password, f"{place}.key_password")
        try:  # the password is always given: without one OpenSSL asks the terminal
            context.load_cert_chain(tls.certificate, tls.key or None, password=lambda: password)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise Misconfigured(
                f"{place}: certificate {tls.certificate} and key {tls.key or tls.certificate} do not open: PEM files "
                f"are wanted that belong together, and the key_password of the key ({_reason(error)})"
            ) from None
    return context


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__


def _read(secret: Secret, place: str) -> str:
    try:
        return secret.read()
    except Misconfigured as error:
        raise Misconfigured(f"{place}: {error}") from None


class Tokens(AbstractTokenProvider):  # type: ignore[misc]
    """Tokens for OAUTHBEARER by `package.module:callable`.

    The callable takes nothing and returns a token, or (token, when it expires in seconds since the epoch); it may be
    `async`. A token without a time is asked for at each connection. One with a time is used until `token_margin_s`
    before it. Raises: Misconfigured where there is no such callable.
    """

    def __init__(self, hook: str, pacing: Pacing = PACING) -> None:
        self._hook, self._pacing = hook, pacing
        self._ask = _callable(hook)
        self._token, self._good_until_s = "", 0.0
        self._asking = asyncio.Lock()

    async def token(self) -> str:
        """A token that is good for a while. Raises: Unavailable where the callable gives none."""
        async with self._asking:
            if time.time() >= self._good_until_s:
                await self._renew()
            return self._token

    async def _renew(self) -> None:
        try:
            async with asyncio.timeout(self._pacing.token_s):
                given = await self._given()
        except Exception as error:  # whatever a hook raises means the same: no token now
            raise Unavailable(f"token provider {self._hook}: {type(error).__name__}: {error}") from error
        token, expires_s = given if isinstance(given, tuple) and len(given) == 2 else (given, 0)
        if not isinstance(token, str) or not token or not isinstance(expires_s, int | float):
            wrong = Misconfigured(f"broker.sasl.token_provider: {self._hook} returned {type(given).__name__}, not a "
                                  "token or (token, when it expires in seconds since the epoch)")
            raise Unavailable(str(wrong)) from wrong
        self._token, self._good_until_s = token, expires_s - self._pacing.token_margin_s

    async def _given(self) -> Any:
        if inspect.iscoroutinefunction(self._ask):
            return await self._ask()
        return await asyncio.to_thread(self._ask)


def _callable(hook: str) -> Callable[[], Any]:
    module, _, name = hook.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:  # a hook's module may raise whatever it likes when it is imported
        raise Misconfigured(f"broker.sasl.token_provider: {hook}: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise Misconfigured(f"broker.sasl.token_provider: {hook} is {type(found).__name__}, which cannot be called")
    return found  # type: ignore[no-any-return]


def _silence_sasl() -> None:
    """aiokafka writes each request to its log at level DEBUG, that of a SASL PLAIN password or a token too."""
    log = logging.getLogger("aiokafka.conn")
    if _without_secrets not in log.filters:
        log.addFilter(_without_secrets)


def _without_secrets(record: logging.LogRecord) -> bool:
    parts = record.args if isinstance(record.args, tuple) else ()
    return not any(type(part).__name__.startswith("SaslAuthenticate") for part in parts)
