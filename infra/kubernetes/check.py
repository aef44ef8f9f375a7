"""What in headrace.toml cannot run in Kubernetes as it stands: each with the setting and its correction."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from infra.kubernetes.fleet import HOME, KAFKA_PORT, KAFKA_SERVICE, REDIS_PORT, REDIS_SERVICE, Fleet
from topology.connections import Tls
from topology.errors import Misconfigured
from topology.secrets import Secret, is_reference

STATE = "/var/lib/headrace"
CACHE = "/models"  # $HEADRACE_CACHE in a pod: the volume of prepared encoders
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_FOLDER = re.compile(r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?")
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_IMAGE = re.compile(r"[a-z0-9]([a-z0-9._:/-]*[a-z0-9])?")


def check(fleet: Fleet) -> None:
    """Raises: Misconfigured with a line for each thing that is in the way."""
    if wrong := list(_faults(fleet)):
        raise Misconfigured("\n".join(f"{place}: {what}" for place, what in wrong))


def advice(fleet: Fleet) -> Iterator[str]:
    """A line for each thing that can be rendered, and that a person should know of."""
    if not fleet.survives_a_zone:
        yield ("topics.replication: overlays/production is left out: three zones want replication = 3 and "
               "min_insync_replicas = 2")
    for ring in fleet.settings.rings.values():
        if ring.device == "auto":
            yield f'rings.{ring.name}.device: "auto" is rendered for CPUs; set "cuda" for GPUs'
    for one in fleet.workers("live"):
        if one.replicas < 3:
            yield f"{one.tier}: {one.replicas} of 3 zones have a worker at the least; workers = 3 gives each zone one"


def files_of(fleet: Fleet) -> dict[str, str]:
    """Setting → the file of a pod that it names."""
    broker, redis = fleet.settings.broker, fleet.settings.redis
    found = {**_of_tls("broker.tls", broker.tls), **_of_tls("redis.tls", redis.tls)}
    for place, path in ((place, ref.removeprefix("file:")) for place, ref in _references(fleet) if ref[:5] == "file:"):
        found[place] = path
    return found


def variables_of(fleet: Fleet) -> list[str]:
    """The environment variables that headrace.toml refers to."""
    return sorted({ref.removeprefix("env:") for _, ref in _references(fleet) if ref.startswith("env:")})


def _of_tls(place: str, tls: Tls | None) -> dict[str, str]:
    given = {} if tls is None else {"ca": tls.ca, "certificate": tls.certificate, "key": tls.key}
    return {f"{place}.{name}": path for name, path in given.items() if path}


def _references(fleet: Fleet) -> Iterator[tuple[str, str]]:
    broker, redis = fleet.settings.broker, fleet.settings.redis
    secrets: list[tuple[str, Secret]] = [("redis.password", redis.password)]
    secrets += [(f"{place}.key_password", tls.key_password)
                for place, tls in (("broker.tls", broker.tls), ("redis.tls", redis.tls)) if tls]
    if broker.sasl:
        secrets.append(("broker.sasl.password", broker.sasl.password))
    if is_reference(redis.url):
        secrets.append(("redis.url", Secret(redis.url)))
    return ((place, secret.reference) for place, secret in secrets if secret)


def _faults(fleet: Fleet) -> Iterator[tuple[str, str]]:
    settings = fleet.settings
    for name, value, pattern in (("--namespace", fleet.namespace, _LABEL), ("--cluster-domain", fleet.domain, _IMAGE)):
        if not pattern.fullmatch(value):
            yield name, f"{value!r}: lowercase letters, digits and '-' are wanted"
    if fleet.registry and not _IMAGE.fullmatch(fleet.registry):
        yield "--registry", f"{fleet.registry!r}: the beginning of an image's name is wanted, such as example.com/nlu"
    if not re.fullmatch(r"\w[\w.-]{0,127}", fleet.tag, re.ASCII):
        yield "--tag", f"{fleet.tag!r}: an image's tag is wanted, such as 1.0"
    for section, kind, mend in (
        ("broker", settings.broker.kind, f'bootstrap = "{KAFKA_SERVICE}:{KAFKA_PORT}" for the Kafka that is rendered'),
        ("redis", settings.redis.kind, f'url = "redis://{REDIS_SERVICE}:{REDIS_PORT}/0" for the Redis that is'),
    ):
        if kind != "external":
            yield (f"{section}.kind", f'"{kind}" is of one machine: set kind = "external", and {mend}, or the address '
                   "of yours")
    yield from _places(fleet)
    if settings.broker.kind == "external" and fleet.has_kafka:
        yield from _kafka(fleet)
    if settings.redis.kind == "external" and fleet.has_redis:
        yield from _redis(fleet)


def _places(fleet: Fleet) -> Iterator[tuple[str, str]]:
    settings = fleet.settings
    if PurePosixPath(settings.state_dir).is_relative_to(HOME):
        yield "state_dir", f'a pod cannot write beside headrace.toml: set state_dir = "{STATE}"'
    if "://" not in settings.heads.store:
        yield "heads.store", 'pods share no directory: set a URL such as store = "s3://bucket/heads"'
    if settings.insights.export and "://" not in settings.insights.export:
        yield "insights.export", 'it would go with the pod: set a URL such as export = "s3://bucket/insights"'
    for ring in settings.rings.values():
        place = PurePosixPath(ring.encoder)
        if "/" in ring.encoder and not place.is_relative_to(CACHE):
            yield (f"rings.{ring.name}.encoder", f"pods have encoders at {CACHE}, a volume: set a prepared name "
                   f'such as "minilm-l6", or a directory below {CACHE}')
    for setting, path in files_of(fleet).items():
        where, folder = PurePosixPath(path), PurePosixPath(path).parent
        fits = str(folder.parent) == str(HOME) and _FOLDER.fullmatch(folder.name) and _KEY.fullmatch(where.name)
        if not fits:
            yield (setting, f"{path}: a file in a pod is {HOME}/NAME/KEY, of the Secret headrace-NAME: write "
                   f'"{_mend(setting)}"')


def _mend(setting: str) -> str:
    section, _, name = setting.rpartition(".")
    part = "kafka" if section.startswith("broker") else "redis"
    return {"ca": f"{HOME}/{part}-ca/ca.crt", "certificate": f"{HOME}/{part}/user.crt",
            "key": f"{HOME}/{part}/user.key"}.get(name, f"file:{HOME}/{part}/{name}")


def _kafka(fleet: Fleet) -> Iterator[tuple[str, str]]:
    """Its pods sign on by certificates: one headrace.toml serves all roles, and each has a user of its own."""
    broker, topics = fleet.settings.broker, fleet.settings.topics
    tls = broker.tls or Tls()
    for name in ("ca", "certificate", "key"):
        mend = _mend(f"broker.tls.{name}")
        if getattr(tls, name) != mend:
            yield f"broker.tls.{name}", f'the Kafka that is rendered asks for a certificate: set {name} = "{mend}"'
    if broker.sasl:
        yield "broker.sasl", "the Kafka that is rendered knows its users by certificates: leave the table out"
    if any(port != KAFKA_PORT for _, port in fleet.brokers):
        yield "broker.bootstrap", f"the Kafka that is rendered listens at {KAFKA_PORT}"
    if topics.min_insync_replicas >= topics.replication > 1:
        yield "topics.min_insync_replicas", (f"{topics.min_insync_replicas} of {topics.replication}: nothing could be "
                                             "written while one broker is away; set one less")


def _redis(fleet: Fleet) -> Iterator[tuple[str, str]]:
    redis, password = fleet.settings.redis, f"file:{HOME}/redis/password"
    if redis.password.reference != password:
        yield "redis.password", f'the Redis that is rendered asks for one: set password = "{password}"'
    if redis.user:
        yield "redis.user", "the Redis that is rendered has the default user alone: leave it out"
    if redis.tls or redis.url.startswith("rediss"):
        yield "redis.url", f'the Redis that is rendered speaks no TLS: set url = "redis://{REDIS_SERVICE}:{REDIS_PORT}/0"'
