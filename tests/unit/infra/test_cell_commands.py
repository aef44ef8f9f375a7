"""What is typed wrong at commands of cells and zones is refused before anything is asked or waited for."""

import pytest

from infra.cli.main import main


@pytest.mark.parametrize("typed", [
    ("cell", "add", "b", "--wait", "nan"), ("cell", "add", "b", "--wait", "-1"), ("cell", "add", "b", "--wait", "inf"),
    ("topics", "cost", "--zones", "--rate", "1", "--gb-price", "nan"),
    ("topics", "cost", "--zones", "--gb-price", "-1"),
])
def test_a_number_that_is_none_is_refused_by_its_option(typed, capsys):
    assert main(list(typed)) == 2
    assert f"{typed[-2]} {typed[-1]}: a " in capsys.readouterr().err
