"""One rule for the names of rings, tenants and versions."""

import pytest

from topology.names import MAX_NAME_BYTES, fault_of_name


@pytest.mark.parametrize("name", ["acme", "Müller & Söhne", "客户-7", "a.b", "x" * MAX_NAME_BYTES, "v1", "%2e%2e"])
def test_what_a_customer_calls_itself_is_a_name(name, tmp_path):
    assert not fault_of_name(name)
    (tmp_path / f".{name}.{'0' * 32}").mkdir()  # as the store does while a version is written


@pytest.mark.parametrize("name", [
    "", ".", "..", ".hidden", "a/b", "/etc", "../x", "a\\b", "a\0b", "a\nb", "\ud800", "客" * 67, "x" * 201, None, 7,
    b"a", ["a"], "\u202eevil",
])
def test_what_leaves_a_directory_or_has_no_bytes_is_none(name):
    assert fault_of_name(name)
