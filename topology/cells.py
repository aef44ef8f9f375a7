"""Which cell of a ring holds a tenant: pins first, then weighted rendezvous hashing.

Adding a cell moves only the share that the new cell wins; nobody moves between the old ones
(Thaler and Ravishankar 1998; the weighted form is Mosko's, -weight / ln(hash)).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping


def cell_of(tenant: str, weights: Mapping[str, float], pins: Mapping[str, Iterable[str]]) -> str:
    """The cell of `tenant`. `weights`: cell → share (> 0); `pins`: cell → tenants that must live there."""
    for cell, tenants in pins.items():
        if tenant in tenants:
            return cell
    return max(weights, key=lambda cell: (_score(tenant, cell, weights[cell]), cell))


def _score(tenant: str, cell: str, weight: float) -> float:
    digest = hashlib.blake2b(f"{cell}\0{tenant}".encode(), digest_size=8).digest()
    uniform = (int.from_bytes(digest, "big") + 0.5) / 2**64  # in (0, 1)
    return -weight / math.log(uniform)
