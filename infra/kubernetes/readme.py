"""The page that stands beside what is rendered: what to do first, what to apply, in which order to roll."""

from __future__ import annotations

from infra.kubernetes import jobs, pods
from infra.kubernetes.check import CACHE, variables_of
from infra.kubernetes.fleet import CLUSTER, REDIS_SERVICE, Fleet, user_name
from infra.kubernetes.kafka import CLIENT_NAMESPACE
from infra.kubernetes.network import KEDA, MONITORING

TEXT = """\
# Headrace {version} in namespace {namespace}

Rendered from headrace.toml ({digest}). Change that file and render anew: files that were changed here are not
written over. `base` has the workers, `components` what may be added, `overlays` choose. docs/KUBERNETES.md of Headrace
says why.

## Before

1. Kubernetes 1.33 or later; 1.35 for racks (`HEADRACE_RACK` is the pod's zone label) and autoscalers' `tolerance`.
2. Operators: {operators}.
3. Images: `headrace-encoder`, `headrace-encoder-cuda`, `headrace-head`, `headrace-tools`, tag `{tag}`, from
   `{registry}`; another place: `images` of the overlay.
4. The namespace and its Secrets, which are not rendered:

{secrets}

5. Encoders on the volume claim `headrace-models` (`{cache}` in pods; its storage class must give ReadWriteMany, since
   pods on many nodes read it), prepared once by a pod that may write to it:
   `HEADRACE_CACHE={cache} headrace encoder fetch NAME`, and `headrace encoder quantize NAME` for rings of int8.
6. Namespaces of services that call Headrace have the label `{client}`; Prometheus is in the
   namespace `{monitoring}`, KEDA in `{keda}`.
{users}
## Apply

{first}    kubectl apply -k {overlay}
    kubectl apply -f jobs/operator.yaml
    kubectl exec -it -n {namespace} headrace-operator -- headrace status

## Roll

Who reads goes before who writes: heads, encoders, insights, scaler and lag, then services that call Headrace. Let
replays end first, or pause them (`headrace backfill pause`) and resume them after the encoders. The
annotation `headrace/roll-order` has the numbers, docs/UPGRADES.md of Headrace the reasons. `kubectl apply -k` alone
changes all at once, so apply by label and wait after each. New names in headrace.toml come after the code.

    kubectl apply -k {overlay} -l '!app.kubernetes.io/component'      # topics, rights, policies, headrace.toml
{topics}    kubectl apply -k {overlay} -l app.kubernetes.io/component=head
    kubectl rollout status statefulset -n {namespace} -l app.kubernetes.io/component=head
    kubectl apply -k {overlay} -l app.kubernetes.io/component=encoder
    kubectl rollout status deployment -n {namespace} -l app.kubernetes.io/component=encoder
    kubectl apply -k {overlay}

Back: services, then the rest, encoders, and heads when `headrace lag` shows that no embeddings wait.
A pod has {grace} s from SIGTERM; head workers keep their names, so that their partitions wait for them.

## A backfill

    kubectl exec -n {namespace} headrace-operator -- headrace backfill render --id nightly --from 7d --image x
    sed 's/{example}/nightly/g' jobs/backfill.yaml | kubectl apply -f -
"""
# For a Kafka of others: topics are there before workers. A Job cannot be changed, so the former one is deleted.
FIRST = f"    kubectl apply -k {{overlay}} -l 'app.kubernetes.io/component notin ({', '.join(pods.ROLL_ORDER)})'\n"
TOPICS = """\
    kubectl delete job headrace-topics -n {namespace} --ignore-not-found
    kubectl apply -f jobs/topics.yaml
    kubectl wait job/headrace-topics -n {namespace} --for=condition=complete --timeout=5m
"""


def text(fleet: Fleet, version: str) -> str:
    """README.md."""
    operators = [*(["Strimzi 1.2 (its namespace watches this one)"] if fleet.has_kafka else []),
                 "KEDA 2.20 and the Prometheus operator for `overlays/production`"]
    roles = f" Services sign on as `{user_name('client')}`: the Secret of that name has the certificate."
    overlay = "overlays/production" if fleet.survives_a_zone else "overlays/small"
    topics = "" if fleet.has_kafka else TOPICS.format(namespace=fleet.namespace)
    return TEXT.format(
        version=version, namespace=fleet.namespace, digest=fleet.digest, operators=", ".join(operators), tag=fleet.tag,
        registry=fleet.registry or "(none: give --registry)", secrets="\n".join(_secrets(fleet)), cache=CACHE,
        client=", ".join(f"{name}: {value}" for name, value in CLIENT_NAMESPACE.items()), monitoring=MONITORING,
        keda=KEDA, grace=pods.GRACE_S, example=jobs.EXAMPLE, users=f"  {roles}\n" if fleet.has_kafka else "",
        overlay=overlay, topics=topics, first=FIRST.format(overlay=overlay) + topics if topics else "",
    )


def _secrets(fleet: Fleet) -> list[str]:
    lines = [f"kubectl create namespace {fleet.namespace}"]
    made = {user_name("operator"), f"{CLUSTER}-cluster-ca-cert"} if fleet.has_kafka else set()  # by Strimzi
    for folder, secret in pods.secrets(fleet, user_name("operator")).items():
        if secret == REDIS_SERVICE:
            lines.append(f'kubectl create secret generic {secret} --from-literal=password="$(openssl rand -hex 32)"')
        elif secret not in made:
            lines.append(f"kubectl create secret generic {secret} --from-file={folder}/")
    if names := variables_of(fleet):
        given = " ".join(f"--from-literal={name}=…" for name in names)
        lines.append(f"kubectl create secret generic headrace-env {given}")
    lines.append("kubectl create secret generic headrace-store --from-env-file=…  # credentials of heads.store")
    return [f"       {line}{f' -n {fleet.namespace}' * (number > 0 and '#' not in line)}"
            for number, line in enumerate(lines)]
