"""`[broker]` and `[redis]` of headrace.toml: where Kafka and Redis are, and how a process signs on to them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from topology.errors import Misconfigured
from topology.secrets import NO_SECRET, Secret, is_reference, wrong_reference
from topology.toml_lines import Mistakes

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
SCHEMES = ("redis", "rediss", "unix")
_HOOK = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True)
class Tls:
    """Encryption, and who is trusted. The table alone, empty, means: TLS, as the system trusts.

    `ca`: who signed the server's certificate. `certificate` and `key`: what this process shows where the server asks.
    """

    ca: str = ""
    certificate: str = ""
    key: str = ""
    key_password: Secret = NO_SECRET
    check_hostname: bool = True

    def placed(self, folder: Path) -> Tls:
        """The same, with relative paths taken from `folder`."""
        ca, certificate, key = (str(folder / p) if p else "" for p in (self.ca, self.certificate, self.key))
        return replace(self, ca=ca, certificate=certificate, key=key, key_password=self.key_password.placed(folder))


@dataclass(frozen=True)
class Sasl:
    """Who this process is to Kafka. `token_provider`: for OAUTHBEARER, `package.module:callable`."""

    mechanism: str = ""
    user: str = ""
    password: Secret = NO_SECRET
    token_provider: str = ""


@dataclass(frozen=True)
class Broker:
    """Where Kafka is. `embedded` and `kafka` are started by `headrace up`; `external` is yours.

    `rack`: the zone of this process, as brokers have it in their `broker.rack`: it reads from a replica there.
    """

    kind: str = "embedded"
    bootstrap: str = ""
    brokers: int = 1
    idempotence: bool = True
    fetch_max_wait_ms: int = 500
    session_timeout_ms: int = 6_000
    rebalance_timeout_ms: int = 30_000
    rack: str = ""
    tls: Tls | None = None
    sasl: Sasl | None = None

    def placed(self, folder: Path) -> Broker:
        """The same, with relative paths taken from `folder`."""
        tls, sasl = self.tls, self.sasl
        return replace(
            self, tls=tls and tls.placed(folder), sasl=sasl and replace(sasl, password=sasl.password.placed(folder))
        )


@dataclass(frozen=True)
class Redis:
    """Where the reply cache is. `embedded` and `local` are started by `headrace up`.

    `url`: without a password, or a reference to one that has it. `user`: of Redis' ACL.
    """

    kind: str = "embedded"
    url: str = ""
    reply_ttl_s: int = 3_600
    user: str = ""
    password: Secret = NO_SECRET
    tls: Tls | None = None

    def placed(self, folder: Path) -> Redis:
        """The same, with relative paths taken from `folder`."""
        url = Secret(self.url).placed(folder).reference if is_reference(self.url) else self.url
        return replace(self, url=url, password=self.password.placed(folder), tls=self.tls and self.tls.placed(folder))


def check_broker(broker: Broker, mistakes: Mistakes) -> None:
    """Note what of `[broker]` cannot be meant. Reads no file and no environment."""
    external = broker.kind == "external"
    mistakes.choice("broker.kind", broker.kind, ("embedded", "kafka", "external"))
    if external and not broker.bootstrap:
        mistakes.add("broker.bootstrap", 'kind = "external" needs bootstrap = "host:port"')
    if broker.bootstrap and not external:
        mistakes.add("broker.bootstrap", f'kind = {broker.kind!r} starts a broker of its own: add kind = "external"')
    if "@" in broker.bootstrap:
        mistakes.add("broker.bootstrap", 'host:port alone is wanted; user and password stand in [broker.sasl]')
    if broker.kind == "kafka" and broker.brokers not in (1, 3):
        mistakes.add("broker.brokers", "a local Apache Kafka has 1 or 3 brokers")
    for name, given in (("tls", broker.tls), ("sasl", broker.sasl)):
        if given is not None and not external:
            mistakes.add(f"broker.{name}", 'only for kind = "external": what `headrace up` starts asks for none')
    _check_tls("broker.tls", broker.tls, mistakes)
    if broker.sasl is not None:
        _check_sasl(broker.sasl, mistakes)


def _check_sasl(sasl: Sasl, mistakes: Mistakes) -> None:
    mistakes.choice("broker.sasl.mechanism", sasl.mechanism, MECHANISMS)
    by_token = sasl.mechanism == "OAUTHBEARER"
    if by_token and not sasl.token_provider:
        mistakes.add("broker.sasl.token_provider", 'OAUTHBEARER needs token_provider = "package.module:callable"')
    if by_token and (sasl.user or sasl.password):
        mistakes.add("broker.sasl", "OAUTHBEARER takes a token_provider, neither user nor password")
    if sasl.token_provider and not _HOOK.fullmatch(sasl.token_provider):
        mistakes.add("broker.sasl.token_provider", '"package.module:callable" is wanted')
    if sasl.mechanism in MECHANISMS and not by_token:
        for name, given in (("user", sasl.user), ("password", sasl.password)):
            if not given:
                mistakes.add(f"broker.sasl.{name}", f"{sasl.mechanism} needs a {name}")
        if sasl.token_provider:
            mistakes.add("broker.sasl.token_provider", f"only OAUTHBEARER takes one, this is {sasl.mechanism}")


def check_redis(redis: Redis, mistakes: Mistakes) -> None:
    """Note what of `[redis]` cannot be meant. Reads no file and no environment."""
    mistakes.choice("redis.kind", redis.kind, ("embedded", "local", "external"))
    external = redis.kind == "external"
    if external and not redis.url:
        mistakes.add("redis.url", 'kind = "external" needs url = "redis://host:port/0" (rediss:// for TLS)')
    for name, given in (("user", redis.user), ("password", redis.password), ("tls", redis.tls)):
        if given and not external:
            mistakes.add(f"redis.{name}", 'only for kind = "external": what `headrace up` starts asks for none')
    if is_reference(redis.url):
        wrong = wrong_reference(redis.url)
    else:
        wrong = wrong_redis_url(redis.url, redis.tls is not None) if redis.url else None
        if wrong is None and has_password(redis.url):
            wrong = 'a password does not stand in this file: set password = "file:PATH" or "env:NAME" under [redis], ' \
                    'or refer to the whole url so'
    if wrong:
        mistakes.add("redis.url", wrong)
    _check_tls("redis.tls", redis.tls, mistakes)


def _check_tls(place: str, tls: Tls | None, mistakes: Mistakes) -> None:
    if tls is None:
        return
    if tls.key and not tls.certificate:
        mistakes.add(f"{place}.key", "a key needs its certificate")
    if tls.key_password and not tls.certificate:
        mistakes.add(f"{place}.key_password", "there is no key that it would open: set certificate and key")


def wrong_redis_url(url: str, tls: bool) -> str | None:
    """What is wrong with the form of a Redis URL, without repeating it: it may hold a password. None where nothing."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in SCHEMES and (parts.hostname or parts.scheme == "unix") and (parts.port or 1) > 0
    except ValueError:
        known = False
    if not known:
        return "redis://host:port/0, rediss://host:port/0 (TLS) or unix:///path is wanted"
    if tls and parts.scheme != "rediss":
        return f"[redis.tls] is set, but the url begins with {parts.scheme}://; write rediss:// for TLS"
    return None


def has_password(url: str) -> bool:
    """Whether a URL holds a password, before its host or in its query."""
    try:
        parts = urlsplit(url)
        return parts.password is not None or any("password" in name for name in parse_qs(parts.query))
    except ValueError:
        return "@" in url


def absent(broker: Broker, redis: Redis) -> Iterator[tuple[str, str]]:
    """(place, what) for each file and secret that the settings refer to and this process cannot read."""
    secrets = {"redis.password": redis.password}
    if is_reference(redis.url):
        secrets["redis.url"] = Secret(redis.url)
    if broker.sasl is not None:
        secrets["broker.sasl.password"] = broker.sasl.password
    for section, tls in (("broker.tls", broker.tls), ("redis.tls", redis.tls)):
        if tls is None:
            continue
        secrets[f"{section}.key_password"] = tls.key_password
        for name, path in (("ca", tls.ca), ("certificate", tls.certificate), ("key", tls.key)):
            if path and not Path(path).is_file():
                yield f"{section}.{name}", f"there is no file {path}"
            elif path and not os.access(path, os.R_OK):
                yield f"{section}.{name}", f"file {path} cannot be read by this user"
    for place, secret in secrets.items():
        try:
            secret.read()
        except Misconfigured as error:
            yield place, str(error)


def in_the_clear(broker: Broker, redis: Redis) -> Iterator[tuple[str, str]]:
    """(place, what) for each secret that would cross the network without encryption."""
    if broker.sasl is not None and broker.tls is None and not broker.sasl.mechanism.startswith("SCRAM"):
        yield "broker.sasl", f"{broker.sasl.mechanism} without [broker.tls] sends its secret unencrypted"
    if redis.password and redis.url.startswith("redis://"):
        yield "redis.password", "redis:// sends it unencrypted; rediss:// is TLS"
