"""What each role may do in Kafka, who may reach whom, and that Strimzi's objects have the fields of its API v1.

Strimzi's own schemas are on no registry: `FIELDS` is those of `kafka.strimzi.io/v1` that are used here, by hand.
"""

import jsonschema
import pytest
import yaml

from infra.kubernetes import pods, rights, tree
from infra.kubernetes.fleet import Fleet
from tests.unit.infra.test_kubernetes import EXAMPLE, FILES, FLEET, of_kind
from topology.settings import parse

SETTINGS = FLEET.settings
USERS = rights.users(SETTINGS)
OPERATIONS = ["Read", "Write", "Create", "Delete", "Alter", "Describe", "AlterConfigs", "DescribeConfigs"]


def closed(**properties):
    return {"type": "object", "properties": properties, "additionalProperties": False}


TEXT, COUNT, ANY = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "object"}
VOLUME = closed(id=COUNT, type={"enum": ["persistent-claim"]}, size=TEXT, kraftMetadata={"enum": ["shared"]})
ACL = closed(resource=closed(type={"enum": ["topic", "group"]}, name=TEXT, patternType={"enum": ["literal", "prefix"]}),
             operations={"type": "array", "items": {"enum": OPERATIONS}, "minItems": 1})
FIELDS = {
    "Kafka": closed(
        kafka=closed(
            version=TEXT, metadataVersion=TEXT, rack=closed(topologyKey=TEXT), config=ANY,
            authorization=closed(type={"const": "simple"}),
            listeners={"type": "array", "minItems": 1, "items": closed(
                name={"type": "string", "pattern": "^[a-z0-9]{1,11}$"}, port={"type": "integer", "minimum": 9092},
                type={"enum": ["internal"]}, tls={"type": "boolean"}, authentication=closed(type={"const": "tls"}),
                networkPolicyPeers={"type": "array", "items": ANY})},
            metricsConfig=closed(type={"const": "strimziMetricsReporter"}, values=closed(
                allowList={"type": "array", "items": TEXT})),
        ),
        entityOperator=closed(topicOperator=ANY, userOperator=ANY),
        kafkaExporter=closed(topicRegex=TEXT, groupRegex=TEXT),
    ),
    "KafkaNodePool": closed(
        replicas=COUNT, roles={"type": "array", "items": {"enum": ["controller", "broker"]}}, resources=ANY,
        storage=closed(type={"const": "jbod"}, volumes={"type": "array", "items": VOLUME}),
        template=closed(pod=closed(terminationGracePeriodSeconds=COUNT, topologySpreadConstraints={"type": "array"})),
    ),
    "KafkaTopic": closed(topicName=TEXT, partitions={"type": "integer", "minimum": 1},
                         replicas={"type": "integer", "minimum": 1}, config=ANY),
    "KafkaUser": closed(authentication=closed(type={"const": "tls"}), authorization=closed(
        type={"const": "simple"}, acls={"type": "array", "items": ACL})),
}


@pytest.mark.parametrize("kind", FIELDS)
def test_strimzis_objects_have_the_fields_of_its_api(kind):
    found = of_kind(kind)
    assert found
    for one in found:
        assert one["apiVersion"] == "kafka.strimzi.io/v1"
        jsonschema.validate(one["spec"], FIELDS[kind])
        assert kind == "Kafka" or one["metadata"]["labels"] == {"strimzi.io/cluster": "headrace"}


def allowed(user, operation):
    """(kind, name) of what a user may do this to; a prefix with a star."""
    return {(one.kind, one.name + "*" * one.prefix) for one in USERS[user] if operation in one.operations}


def test_a_service_may_submit_and_nothing_else():
    assert allowed("headrace-client", "Write") == {
        ("topic", "headrace.en.utterances"), ("topic", "headrace.world.utterances")}
    assert {operation for one in USERS["headrace-client"] for operation in one.operations} == {"Write"}


def test_an_encoder_worker_may_read_its_ring_and_write_what_comes_of_it():
    assert allowed("headrace-encoder-world", "Read") == {
        ("topic", "headrace.world.utterances"), ("topic", "headrace.world.utterances.backfill"),
        ("topic", "headrace.placement"),
        ("group", "headrace.world.encoder"), ("group", "headrace.world.encoder.backfill")}
    assert allowed("headrace-encoder-world", "Write") == {
        ("topic", "headrace.dead-letters"),
        *(("topic", f"headrace.world.a.{kind}{lane}") for kind in ("embeddings", "predictions")
          for lane in ("", ".backfill"))}


def test_a_head_worker_may_read_heads_and_never_announce_one():
    assert ("topic", "headrace.heads") in allowed("headrace-head-en", "Read")
    for user in USERS:
        if user != "headrace-operator":
            assert ("topic", "headrace.heads") not in allowed(user, "Write"), user


def test_nobody_but_the_operator_writes_to_what_is_not_theirs():
    for user, given in USERS.items():
        for one in given:
            ring = user.rpartition("-")[2] if user.rpartition("-")[2] in SETTINGS.rings else ""
            shared = "headrace.heads", "headrace.placement", "headrace.dead-letters", "headrace.shadows"
            if ring and one.name not in shared:
                assert one.name.startswith(f"headrace.{ring}."), (user, one)
            if user not in ("headrace-operator", "headrace-backfill", "headrace-scaler"):
                assert not one.prefix, (user, one)
            assert not set(one.operations) & {"Delete", "All"} and one.name.startswith("headrace."), (user, one)


def test_who_only_looks_writes_nothing():
    for one in [*USERS["headrace-scaler"], *rights.keda(SETTINGS)]:
        assert set(one.operations) <= {"Read", "Describe"} and (one.kind == "topic" or one.operations == ("Describe",))


def test_every_pod_signs_on_as_a_user_that_there_is():
    users = {one["metadata"]["name"] for one in of_kind("KafkaUser")}
    mounted = set()
    for kind in ("Deployment", "StatefulSet"):
        for one in of_kind(kind):
            volumes = {v["name"]: v for v in one["spec"]["template"]["spec"]["volumes"]}
            if "kafka" in volumes:
                mounted.add(volumes["kafka"]["secret"]["secretName"])
    job, = of_kind("Job", "jobs/backfill")
    mounted |= {v["secret"]["secretName"] for v in job["spec"]["template"]["spec"]["volumes"] if v["name"] == "kafka"}
    assert mounted <= users
    assert users - mounted == {"headrace-client", "headrace-keda", "headrace-operator"}  # services, KEDA, a person


def policies(*under):
    return {one["metadata"]["name"]: one["spec"] for one in of_kind("NetworkPolicy", *under)}


def selects(selector, labels):
    """Whether a label selector selects these labels."""
    if not (selector.get("matchLabels") or {}).items() <= labels.items():
        return False
    for one in selector.get("matchExpressions", ()):
        has = one["key"] in labels
        if one["operator"] == "DoesNotExist" and has:
            return False
        if one["operator"] == "In" and labels.get(one["key"]) not in one["values"]:
            return False
    return True


def test_nothing_passes_that_is_not_named():
    deny = policies("base/")["default-deny"]
    assert deny["policyTypes"] == ["Ingress", "Egress"] and "ingress" not in deny and "egress" not in deny
    assert selects(deny["podSelector"], pods.labels("encoder", "x"))
    assert not selects(deny["podSelector"], {"strimzi.io/cluster": "headrace"})  # Strimzi writes policies of its own


@pytest.mark.parametrize("component,ways", [
    ("encoder", {"dns", "kafka", "redis"}), ("head", {"dns", "kafka", "redis", "store"}),
    ("scaler", {"dns", "kafka"}), ("lag", {"dns", "kafka"}), ("insights", {"dns", "kafka", "store"}),
    ("backfill", {"dns", "kafka", "store"}), ("operator", {"dns", "kafka", "redis", "store"}),
])
def test_each_role_reaches_what_it_needs(component, ways):
    found = {name for name, one in policies("base/").items()
             if one.get("egress") and selects(one["podSelector"], pods.labels(component, "x"))}
    assert found == ways


def test_callers_reach_redis_by_its_proxy_alone():
    found = policies("base/", "components/redis/")
    peer, = found["redis"]["egress"][0]["to"]
    assert selects(peer["podSelector"], pods.labels("redis-proxy", "x"))
    servers, = found["redis-servers"]["ingress"]
    for component in ("encoder", "head"):
        assert not any(selects(one["podSelector"], pods.labels(component, "x")) for one in servers["from"])


def test_where_one_ring_is_asked_for_only_its_users_are_made():
    one = Fleet(EXAMPLE.read_text().partition("[rings.world]")[0])
    users = yaml.safe_load_all(tree.files(one, "1")["components/kafka-topics/users.yaml"])
    assert not [user for user in users if "world" in user["metadata"]["name"]]
    assert parse(FILES["base/headrace.toml"]).rings.keys() == {"en", "world"}
