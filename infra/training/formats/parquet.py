"""Parquet and Arrow, as Hugging Face keeps its sets: the same rows and features as the viewer's JSON."""

from __future__ import annotations

import io
import json

from topology.errors import Misconfigured

PARQUET = b"PAR1"  # what such a file begins and ends with
ARROW = (b"ARRO", b"\xff\xff\xff\xff")  # of Arrow's files and of its streams, which save_to_disk writes


def is_table(body: bytes) -> bool:
    """Whether a file's first bytes are those of Parquet or Arrow."""
    return body[:4] in (PARQUET, *ARROW)


def as_viewer(body: bytes, name: str) -> str:
    """The rows and the names of numbered labels as the viewer's JSON, a row a line. Raises: Misconfigured."""
    try:
        # Here, not above: other formats do without.
        from pyarrow import ArrowException, ipc, parquet
    except ImportError as error:
        raise Misconfigured(f"{name}: Parquet and Arrow are read with pip install 'headrace[backfill]'") from error
    try:
        opened = io.BytesIO(body)
        if body[:4] == PARQUET:
            table = parquet.read_table(opened)
        else:
            table = (ipc.open_file(opened) if body[:4] == ARROW[0] else ipc.open_stream(opened)).read_all()
    except (ArrowException, OSError) as error:
        raise Misconfigured(f"{name}: no Parquet or Arrow that can be read: {error}") from error
    about = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    rows = ",\n".join(json.dumps({"row": row}, ensure_ascii=False, default=str) for row in table.to_pylist())
    features = json.dumps(about.get("info", {}).get("features", {}))
    return f'{{"features": {features}, "rows": [\n{rows}\n]}}'
