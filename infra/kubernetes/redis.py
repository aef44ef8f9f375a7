"""Redis: three servers with a Sentinel beside each, and a proxy that passes callers to the master.

Headrace's clients know one address. When Sentinel makes another server the master, the proxy ends connections to the
former one, and clients connect anew.
"""

from __future__ import annotations

from typing import Any

from infra.kubernetes import pods, sizes
from infra.kubernetes.fleet import REDIS_PORT, REDIS_SERVICE, Fleet
from infra.kubernetes.text import Noted

SERVERS, SENTINEL_PORT, QUORUM = 3, 26_379, 2
NODES = f"{REDIS_SERVICE}-nodes"  # the StatefulSet of servers, and the name service of its pods
IMAGE, PROXY_IMAGE = "redis", "haproxy"
REDIS_USER, PROXY_USER = 999, 99  # of these images
HEALTH_PORT = 8404
SECRET, SCRIPTS, DATA = "/etc/headrace/redis", "/scripts", "/data"

MASTER = """\
# Sets $me and $master: the server that a Sentinel names; where none answers, the first.
set -eu
password=$(cat {secret}/password)
me="$HOSTNAME.{domain}"
export REDISCLI_AUTH="$password"
master=$(timeout 3 redis-cli -h {nodes} -p {sentinel} sentinel get-master-addr-by-name headrace | head -n 1) || true
case "$master" in
  *.{domain}) ;;
  *) master="{nodes}-0.{domain}" ;;
esac
"""
SERVER = """\
# Nothing is kept on disk: replies and embeddings can be computed again.
. {scripts}/master.sh
cat > {data}/redis.conf <<END
port {port}
dir {data}
save ""
appendonly no
repl-diskless-sync yes
repl-diskless-load on-empty-db
maxmemory {maxmemory}mb
maxmemory-policy noeviction
requirepass "$password"
masterauth "$password"
replica-announce-ip "$me"
min-replicas-to-write 1
min-replicas-max-lag 10
END
if [ "$master" != "$me" ]; then echo "replicaof $master {port}" >> {data}/redis.conf; fi
exec redis-server {data}/redis.conf
"""
SENTINEL = """\
# Two of three agree that the master is away. Its name is known a moment after its pod is there.
. {scripts}/master.sh
tries=0
until getent hosts "$master" > /dev/null || [ "$tries" -ge 60 ]; do tries=$((tries + 1)); sleep 1; done
cat > {data}/sentinel.conf <<END
port {sentinel}
dir {data}
requirepass "$password"
sentinel sentinel-pass "$password"
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip "$me"
sentinel monitor headrace $master {port} {quorum}
sentinel auth-pass headrace "$password"
sentinel down-after-milliseconds headrace 5000
sentinel failover-timeout headrace 30000
sentinel parallel-syncs headrace 1
END
exec redis-server {data}/sentinel.conf --sentinel
"""
PROXY = """\
# Passes callers to the server that says it is the master, and ends connections to one that no longer is.
global
  fd-hard-limit 50000  # connections follow from it; a container's own limit is a thousand or a billion
defaults
  mode tcp
  timeout connect 2s
  timeout client 1h
  timeout server 1h
  timeout check 2s
resolvers cluster
  parse-resolv-conf
  hold valid 5s
frontend redis
  bind :{port}
  default_backend master
backend master
  balance first
  option tcp-check
  tcp-check connect
  tcp-check send "AUTH ${{REDIS_PASSWORD}}\\r\\n"
  tcp-check expect string +OK
  tcp-check send "INFO replication\\r\\n"
  tcp-check expect string role:master
  tcp-check send "QUIT\\r\\n"
  tcp-check expect string +OK
  default-server check inter 1s fall 2 rise 1 on-marked-down shutdown-sessions resolvers cluster init-addr none
{servers}
frontend page
  mode http
  timeout client 10s
  bind :{health}
  monitor-uri /livez
  http-request use-service prometheus-exporter if {{ path /metrics }}
"""


def scripts(fleet: Fleet) -> dict[str, str]:
    """The files of the ConfigMap that `NODES` names: how servers, Sentinels and the proxy are started."""
    domain = f"{NODES}.{fleet.namespace}.svc.{fleet.domain}"
    servers = "\n".join(f"  server redis-{n} {NODES}-{n}.{domain}:{REDIS_PORT}" for n in range(SERVERS))
    given = {
        "secret": SECRET, "domain": domain, "nodes": NODES, "port": REDIS_PORT, "sentinel": SENTINEL_PORT,
        "quorum": QUORUM, "maxmemory": sizes.redis_mb(fleet.settings), "servers": servers, "health": HEALTH_PORT,
        "scripts": SCRIPTS, "data": DATA,
    }
    parts = {"master.sh": MASTER, "redis.sh": SERVER, "sentinel.sh": SENTINEL, "haproxy.cfg": PROXY}
    return {name: text.format(**given) for name, text in parts.items()}


def servers(fleet: Fleet) -> list[dict[str, Any]]:
    """Servers and Sentinels, their name service, how many may be away."""
    whole_mi = sizes.redis_mb(fleet.settings) + 256  # a server that had another master gets all by a file
    containers = [
        _container("redis", f"{SCRIPTS}/redis.sh", REDIS_PORT, _memory(fleet)),
        _container("sentinel", f"{SCRIPTS}/sentinel.sh", SENTINEL_PORT, sizes.small("50m", 32, 64)),
    ]
    return [
        _service("redis", NODES, {
            "clusterIP": "None", "publishNotReadyAddresses": True,
            "ports": [{"name": "redis", "port": REDIS_PORT}, {"name": "sentinel", "port": SENTINEL_PORT}]}),
        _stateful(SERVERS, _pod(containers, REDIS_USER, f"{whole_mi}Mi", scripts=True)),
        pods.disruption_budget("redis", NODES),
    ]


def proxy() -> list[dict[str, Any]]:
    """The address that clients know, and the proxies behind it."""
    name = f"{REDIS_SERVICE}-proxy"
    container = {
        "name": "haproxy", "image": PROXY_IMAGE, "args": ["haproxy", "-W", "-db", "-f", f"{SCRIPTS}/haproxy.cfg"],
        "env": [{"name": "REDIS_PASSWORD",
                 "valueFrom": {"secretKeyRef": {"name": REDIS_SERVICE, "key": "password"}}}],
        "ports": [{"name": "redis", "containerPort": REDIS_PORT},
                  {"name": "metrics", "containerPort": HEALTH_PORT}],
        "readinessProbe": {"httpGet": {"path": "/livez", "port": "metrics"}, "periodSeconds": 5},
        "livenessProbe": {"httpGet": {"path": "/livez", "port": "metrics"}, "periodSeconds": 10},
        "resources": sizes.small("100m", 64, 128),
        "securityContext": pods.CONTAINER_SECURITY,
        "volumeMounts": [{"name": "scripts", "mountPath": SCRIPTS, "readOnly": True}],
    }
    spec = {**_pod([container], PROXY_USER, "", scripts=True),
            "topologySpreadConstraints": pods.spread("redis-proxy", name, "pod-template-hash"),
            "tolerations": pods.LEAVE}
    spec["volumes"] = [one for one in spec["volumes"] if one["name"] == "scripts"]
    return [
        _service("redis-proxy", REDIS_SERVICE, {"ports": [{"name": "redis", "port": REDIS_PORT}]}, name),
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": pods.metadata("redis-proxy", name),
         "spec": {"replicas": SERVERS, "selector": {"matchLabels": pods.labels("redis-proxy", name)},
                  "template": {"metadata": {"labels": pods.labels("redis-proxy", name)}, "spec": spec}}},
        pods.disruption_budget("redis-proxy", name),
    ]


def single(fleet: Fleet) -> list[dict[str, Any]]:
    """One server, for one zone: while it is away callers wait, and what it held is computed again."""
    container = _container("redis", "", REDIS_PORT, _memory(fleet))
    maxmemory = f"{sizes.redis_mb(fleet.settings)}mb"
    container["command"] = ["sh", "-c", f'exec redis-server --save "" --maxmemory {maxmemory} '
                            f'--requirepass "$(cat {SECRET}/password)"']
    container["volumeMounts"] = [one for one in container["volumeMounts"] if one["name"] != "scripts"]
    return [_service("redis", REDIS_SERVICE, {"ports": [{"name": "redis", "port": REDIS_PORT}]}, NODES),
            _stateful(1, _pod([container], REDIS_USER, "256Mi"), REDIS_SERVICE)]


def _memory(fleet: Fleet) -> dict[str, Any]:
    mb = sizes.redis_mb(fleet.settings)
    note = f"maxmemory: {sizes.REPLY_BYTES / 1e3:g} KB a reply for redis.reply_ttl_s, and cache.embeddings_mb a ring"
    return sizes.resources("500m", mb + 128, mb + mb // 4 + 256, note)


def _container(name: str, script: str, port: int, resources: dict[str, Any]) -> dict[str, Any]:
    ask = f'REDISCLI_AUTH="$(cat {SECRET}/password)" redis-cli -p {port} ping | grep -q PONG'
    probe = {"exec": {"command": ["sh", "-c", ask]}, "timeoutSeconds": 3}
    return {
        "name": name, "image": IMAGE, "command": ["sh", script],
        "ports": [{"name": name, "containerPort": port}],
        "readinessProbe": {**probe, "periodSeconds": 5}, "livenessProbe": {**probe, "periodSeconds": 10},
        "resources": resources,
        "securityContext": pods.CONTAINER_SECURITY,
        "volumeMounts": [{"name": "data", "mountPath": DATA}, {"name": "password", "mountPath": SECRET},
                         {"name": "scripts", "mountPath": SCRIPTS, "readOnly": True}],
    }


def _pod(containers: list[dict[str, Any]], user: int, disk: str, scripts: bool = False) -> dict[str, Any]:
    volumes: list[dict[str, Any]] = [
        {"name": "data", "emptyDir": {"sizeLimit": disk}},
        {"name": "password", "secret": {"secretName": REDIS_SERVICE, "defaultMode": 0o440}},
        *([{"name": "scripts", "configMap": {"name": NODES}}] if scripts else []),
    ]
    own = {"runAsUser": user, "runAsGroup": user, "fsGroup": user}
    return {"serviceAccountName": "headrace", "automountServiceAccountToken": False, "enableServiceLinks": False,
            "securityContext": {**pods.POD_SECURITY, **own}, "containers": containers, "volumes": volumes}


def _stateful(count: int, spec: dict[str, Any], service: str = NODES) -> dict[str, Any]:
    apart = pods.spread("redis", NODES, "controller-revision-hash") if count > 1 else []
    return {
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": pods.metadata("redis", NODES),
        "spec": {
            "replicas": Noted(count, "Sentinels agree two of three") if count > 1 else count,
            "serviceName": service,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": pods.labels("redis", NODES)},
            "template": {"metadata": {"labels": pods.labels("redis", NODES)},
                         "spec": {**spec, **({"topologySpreadConstraints": apart} if apart else {})}},
        },
    }


def _service(component: str, name: str, spec: dict[str, Any], of: str = "") -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": pods.metadata(component, name),
            "spec": {"selector": pods.labels(component, of or name), **spec}}
