from infra.stack.kafka import cluster_id


def test_no_cluster_id_looks_like_an_option():
    assert not [found for found in (cluster_id() for _ in range(2_000)) if found.startswith("-") or len(found) != 22]
