"""Parquet, as Hugging Face keeps its sets: the same rows and features as the viewer's JSON."""

from __future__ import annotations

import io
import json

from topology.errors import Misconfigured

PARQUET = b"PAR1"  # what such a file begins and ends with


def as_viewer(body: bytes, name: str) -> str:
    """The rows and the names of numbered labels as the viewer's JSON, a row a line. Raises: Misconfigured."""
    try:
        # Here, not above: other formats do without.
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise Misconfigured(f"{name}: Parquet is read with pip install 'headrace[backfill]'") from error
    try:
        table = parquet.read_table(io.BytesIO(body))
    except (ArrowException, OSError) as error:
        raise Misconfigured(f"{name}: no Parquet that can be read: {error}") from error
    about = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    rows = ",\n".join(json.dumps({"row": row}, ensure_ascii=False, default=str) for row in table.to_pylist())
    features = json.dumps(about.get("info", {}).get("features", {}))
    return f'{{"features": {features}, "rows": [\n{rows}\n]}}'
