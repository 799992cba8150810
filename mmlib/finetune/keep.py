"""A fine-tuned run as a folder that reads texts: `python -m mmlib.finetune.keep`.

    python -m mmlib.finetune.keep --prune hotel minilm:3 data/pruned3   # before the training
    python -m mmlib.finetune.keep data/finetuned/student mmlib/dyfulm/weights

The first makes an encoder whose vocabulary is that of many hotels' training reviews; the second
rounds the best weights of a run to float16, chooses how many tokens are read, and calibrates the
probabilities, both on the validation split.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from mmlib.data import Corpus, load
from mmlib.data.targets import targets
from mmlib.dyfulm import kept
from mmlib.files import sha256
from mmlib.finetune import checkpoint, pair
from mmlib.finetune.alignment import HEAD
from mmlib.finetune.config import Config, read_config
from mmlib.scores import calibration
from mmlib.text import made, vocabulary

LENGTHS = (128, 256, 384)  # tokens
SHAPE = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "max_position_embeddings", "type_vocab_size", "layer_norm_eps", "hidden_act", "pad_token_id",
)  # fmt: skip
FUSION = ("width", "layer_fusion", "guidance", "scope")


def keep(run: Path, folder: Path, corpus: Corpus | None = None) -> kept.Kept:
    """Write the model of a finished run to `folder`; the model as it will be loaded.

    corpus: what it was trained on, if not the data set that its configuration names. ValueError
    where the run has two encoders.
    """
    config = read_config(run / checkpoint.CONFIG)
    if len(config.encoders) != 1:
        raise ValueError(f"{run} has two encoders; a kept model has one")
    student, tokenizer, card = _student(run, config)
    corpus = load(config.dataset) if corpus is None else corpus
    valid = corpus.take(corpus.rows("valid"))
    known = targets(valid, config.intensity)
    tried = {}
    for length in LENGTHS:
        head = length - 1 if config.truncation == "end" else max(1, round(HEAD * length))
        model = kept.Kept(student.eval(), tokenizer, card | {"max_length": length, "head": head})
        reading = model.read(valid.text)
        right = [np.mean(reading.coarse.argmax(1) == known.coarse),
                 np.mean(reading.fine.argmax(1) == known.fine)]  # fmt: skip
        tried[length] = (sum(right), model.card, reading)
        print(f"{length} tokens: coarse {right[0]:.4f}, fine {right[1]:.4f} on the valid split")
    _, card, reading = max(tried.values(), key=lambda entry: entry[0])  # of equals the shortest
    heat = {name: calibration.temperature(getattr(reading, name), getattr(known, name))
            for name in ("coarse", "fine")}  # fmt: skip
    kept.save(folder, student, tokenizer, card | {"temperature": heat})
    return kept.load(folder)


def _student(run: Path, config: Config) -> tuple[kept.Student, Tokenizer, dict[str, Any]]:
    """The model of a run, its tokenizer, and a card without temperatures."""
    trained, (tokenizer,) = pair.build(config)
    trained.load_state_dict(checkpoint.load_weights(run, trained))
    encoder = {name: getattr(trained.encoders[0].config, name) for name in SHAPE}
    fusion = {name: getattr(config, name) for name in FUSION}
    student = kept.Student(encoder, fusion)
    state = {n.replace("encoders.0.", "encoder."): x for n, x in trained.state_dict().items()}
    student.load_state_dict({name: x.half().float() for name, x in state.items()})
    settings = replace(config, encoders=[Path(config.encoders[0]).name])
    trained_by = {name: getattr(settings, name) for name in
                  ("encoders", "dataset", "utterances", "max_length", "truncation", "epochs",
                   "batch", "lr", "head_lr", "weighting", "seed")}  # fmt: skip
    card = {"encoder": encoder, "fusion": fusion, "temperature": {"coarse": 1.0, "fine": 1.0},
            "trained": trained_by | {"best": sha256(run / checkpoint.BEST)}}  # fmt: skip
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    return student, backend, card


def prune(dataset: str, encoder: str, into: Path) -> Path:
    """An encoder with the vocabulary of the training texts of a data set, in the folder `into`.

    ValueError where the folder exists.
    """
    if into.exists():
        raise ValueError(f"{into} exists; choose another folder")
    corpus = load(dataset)
    train = corpus.take(corpus.rows("train"))
    folder = made.named(encoder, train.text)
    return vocabulary.prune(folder, train.text, train.groups, into)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mmlib.finetune.keep", description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)  # fmt: skip
    parser.add_argument("--prune", nargs=2, metavar=("DATASET", "ENCODER"))
    parser.add_argument("folders", nargs="+", type=Path, help="RUN FOLDER, or with --prune FOLDER")
    given = parser.parse_args()
    if len(given.folders) != (1 if given.prune else 2):
        parser.error("name a run and a folder, or one folder with --prune")
    try:
        prune(*given.prune, *given.folders) if given.prune else keep(*given.folders)
    except (ValueError, OSError) as problem:
        raise SystemExit(f"mmlib.finetune.keep: {problem}") from None


if __name__ == "__main__":
    main()
