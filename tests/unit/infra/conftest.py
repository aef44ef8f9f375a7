"""The directory in which commands of data are typed."""

import pytest


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A directory with headrace.toml and a small encoder, which is the working directory."""
    pytest.importorskip("torch")
    from tests.shop import make_home

    make_home(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path
