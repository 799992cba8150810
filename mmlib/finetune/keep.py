"""Save a fine-tuned run as a self-contained model: `python -m mmlib.finetune.keep`.

    python -m mmlib.finetune.keep data/finetuned/compression-5-full mmlib/dyfulm/weights

Prunes the vocabulary to words that occur in training reviews of many hotels, and rounds the run's
best weights to float16. Then chooses the number of tokens to read and calibrates the probabilities,
both on the validation split.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from mmlib.data import Corpus, load
from mmlib.data.corpus import first
from mmlib.data.targets import targets
from mmlib.dyfulm import kept
from mmlib.finetune import checkpoint, pair
from mmlib.finetune.config import Config
from mmlib.scores import calibration
from mmlib.text import compressed, vocabulary
from mmlib.text.encoder import WEIGHTS, weights_digest

READ = ((128, 127), (128, 32), (256, 64))  # tokens read; of these from the beginning, if cut
SAMPLE = 600  # reviews of the validation split
POSITIONS = "max_position_embeddings"
SHAPE = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    POSITIONS, "type_vocab_size", "layer_norm_eps", "hidden_act", "pad_token_id",
)  # fmt: skip
FUSION = ("width", "layer_fusion", "guidance", "scope")
HEADS = ("coarse", "fine")  # heads with probabilities
TABLE = "encoder.embeddings.word_embeddings.weight"
TOLD = (  # settings that the card shows
    "encoders", "dataset", "utterances", "max_length", "truncation", "epochs", "batch", "lr",
    "head_lr", "weighting", "teacher_weight", "seed",
)  # fmt: skip


def keep(run: Path, folder: Path, corpus: Corpus | None = None) -> kept.Kept:
    """Write the model of a finished run to `folder`; returns the model as loaded from there.

    corpus: the training corpus, if not the data set in the configuration. ValueError if the run is
    not finished, or if it has two encoders or one that is not a BERT.
    """
    config = checkpoint.finished(run)
    if len(config.encoders) != 1:
        raise ValueError(f"{run} has two encoders; a kept model has one")
    corpus = first(load(config.dataset) if corpus is None else corpus, config.utterances)
    student, tokenizer, card = _student(run, config, corpus.take(corpus.rows("train")))
    valid = corpus.take(corpus.rows("valid")).sample(SAMPLE)
    known, best = targets(valid, config.intensity), (-1.0, card, None)
    if (positions := card["encoder"][POSITIONS]) < READ[0][0]:
        raise ValueError(f"the encoder of {run} reads {positions} tokens; a kept model reads 128")
    for length, head in (read for read in READ if read[0] <= positions):
        model = kept.Kept(student.eval(), tokenizer, card | {"max_length": length, "head": head})
        reading = model.read(valid.text)
        right = [float(np.mean(getattr(reading, name).argmax(axis=1) == getattr(known, name)))
                 for name in HEADS]  # fmt: skip
        print(f"{length} tokens, {head} of them from the beginning: coarse {right[0]:.4f}, "
              f"fine {right[1]:.4f} on {len(valid)} reviews of the valid split")  # fmt: skip
        best = max(best, (sum(right), model.card, reading), key=lambda entry: entry[0])
    _, card, reading = best  # if scores are equal, the cheapest
    heat = {name: calibration.temperature(getattr(reading, name), getattr(known, name))
            for name in HEADS}  # fmt: skip
    kept.save(folder, student, tokenizer, card | {"temperature": heat})
    return kept.load(folder)


def _student(
    run: Path, config: Config, train: Corpus
) -> tuple[kept.Student, Tokenizer, dict[str, Any]]:
    """The run's model with a pruned vocabulary, its tokenizer, and a card without temperatures."""
    trained, (tokenizer,) = pair.build(config)
    if (kind := trained.encoders[0].config.model_type) != "bert":
        raise ValueError(f"the encoder of {run} is a {kind}; a kept model has a BERT, e.g. minilm")
    trained.load_state_dict(checkpoint.load_weights(run, trained))
    compressed.multiply(trained)
    backend, before = tokenizer.backend_tokenizer, tokenizer.get_vocab()
    ids = tokenizer(list(train.text), verbose=False)["input_ids"]
    words = vocabulary.kept_tokens(before, tokenizer.all_special_tokens, ids, train.groups)
    pruned = Tokenizer.from_str(vocabulary.pruned_tokenizer(backend.to_str(), words))
    encoder = {name: getattr(trained.encoders[0].config, name) for name in SHAPE}
    encoder |= {"vocab_size": len(words), "pad_token_id": pruned.token_to_id(tokenizer.pad_token)}
    state = {n.replace("encoders.0.", "encoder."): x for n, x in trained.state_dict().items()}
    state[TABLE] = state[TABLE][torch.tensor([before[word] for word in words])]
    fusion = {name: getattr(config, name) for name in FUSION}
    student = kept.Student(encoder, fusion)
    student.load_state_dict({name: x.half().float() for name, x in state.items()})
    settings = asdict(config) | {"encoders": [Path(config.encoders[0]).name]}
    settings |= {} if config.teacher else {"teacher_weight": 0.0}
    card = {"encoder": encoder, "fusion": fusion, "temperature": dict.fromkeys(HEADS, 1.0),
            "trained": {name: settings[name] for name in TOLD},
            "source": source(Path(config.encoders[0]), trained.encoders[0].config)}  # fmt: skip
    return student, pruned, card


def source(folder: Path, config: Any) -> dict[str, str]:
    """The name of an encoder and the SHA-256 of its weights.

    For a shortened encoder (`mmlib.text.made.shortened`), those of the full encoder. An encoder
    that is not in `WEIGHTS` has the name of its folder.
    """
    digest = getattr(config, "shortened_from", "") or weights_digest(folder)
    names = {known: name for name, known in WEIGHTS.items()}
    return {"name": names.get(digest, folder.name), "sha256": digest}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mmlib.finetune.keep", description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)  # fmt: skip
    parser.add_argument("run", type=Path, help="folder of a finished run of one encoder")
    parser.add_argument("folder", type=Path, help="folder that receives the model")
    given = parser.parse_args()
    try:
        if given.folder.exists() and not (given.folder / kept.CARD).exists():
            raise ValueError(f"{given.folder} exists and is no kept model; name another folder")
        keep(given.run, given.folder)
    except (ValueError, OSError) as problem:
        raise SystemExit(f"mmlib.finetune.keep: {problem}") from None


if __name__ == "__main__":
    main()
