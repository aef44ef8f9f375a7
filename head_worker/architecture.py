"""What a head is made of, read from its tensors: which parts are there and whether they fit together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from topology.heads import HeadManifest

LAYER = ("qkv", "out", "up", "down")
LINEARS = ("project", *LAYER, "pool", "intent", "tag")
NORMS = ("norm0", "norm1", "norm2")


@dataclass(frozen=True)
class Architecture:
    """`project`: hidden to width, where they differ. `layer`: one transformer layer. `pool`: width of the pooled
    vector's own layer, 0 for none. Without a layer a head reads pooled vectors only and has no tags."""

    hidden: int
    width: int
    ffn: int
    pool: int
    project: bool
    layer: bool
    intents: int
    tags: int

    @classmethod
    def of(cls, manifest: HeadManifest, shapes: Mapping[str, tuple[int, ...]]) -> Architecture:
        """From the (n, k) of the linear layers that are there. Raises: ValueError where they do not fit together."""
        project, layer = "project" in shapes, "qkv" in shapes
        width = shapes["project"][0] if project else manifest.hidden
        ffn = shapes["up"][0] if "up" in shapes else 0
        pool = shapes["pool"][0] if "pool" in shapes else 0
        found = cls(
            manifest.hidden, width, ffn, pool, project, layer, len(manifest.intents), len(manifest.tags)
        )
        wanted = found.linears()
        if set(wanted) != set(shapes):
            raise ValueError(f"wrong layers: {', '.join(sorted(set(wanted) ^ set(shapes)))}")
        for name, shape in wanted.items():
            if tuple(shapes[name]) != shape:
                raise ValueError(f"{name} has shape {tuple(shapes[name])}, wanted {shape}")
        if layer and width % manifest.attention_heads:
            raise ValueError(f"width {width} does not divide into {manifest.attention_heads} attention heads")
        return found

    def linears(self) -> dict[str, tuple[int, int]]:
        """(outputs, inputs) of each linear layer; weights are [out, in], as torch writes them."""
        found = {"project": (self.width, self.hidden)} if self.project else {}
        if self.layer:
            found.update(qkv=(3 * self.width, self.width), out=(self.width, self.width))
            found.update(up=(self.ffn, self.width), down=(self.width, self.ffn))
        if self.pool:
            found["pool"] = (self.pool, 2 * self.width)
        found["intent"] = (self.intents, self.pool or 2 * self.width)
        if self.tags > 1:
            found["tag"] = (self.tags, self.width)
        return found

    def norms(self) -> tuple[str, ...]:
        """The layer norms that are there, each of `width`."""
        return (*(NORMS[:1] if self.project else ()), *(NORMS[1:] if self.layer else ()))

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Every tensor of a float32 head and its shape."""
        found: dict[str, tuple[int, ...]] = {}
        for name, shape in self.linears().items():
            found[f"{name}.weight"], found[f"{name}.bias"] = shape, shape[:1]
        for norm in self.norms():
            found[f"{norm}.weight"] = found[f"{norm}.bias"] = (self.width,)
        return found
