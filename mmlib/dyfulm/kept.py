"""A trained DyFuLM over one small encoder, saved as a self-contained folder.

The folder holds `weights.safetensors` (float16), `tokenizer.json` with the pruned vocabulary, and
`card.json` (shapes, temperatures, the files' SHA-256). No other weights and no network are needed.
`python -m mmlib.finetune.keep` makes such a folder.
Axes: n text, b batch, t token, k class, l layer.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load as tensors_of
from safetensors.torch import save as bytes_of
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from mmlib import files
from mmlib.data.targets import COARSE
from mmlib.dyfulm.model import DyFuLM, over_positions
from mmlib.text.compressed import to_eight_bits

WEIGHTS = files.ROOT / "mmlib" / "dyfulm" / "weights"
NUMBERS, WORDS, CARD = "weights.safetensors", "tokenizer.json", "card.json"
STARS = (1, 2, 3, 4, 5)
PRECISIONS = ("float32", "bfloat16", "int8")  # of the encoder's computation
REMEDY = "take the folder anew from the project, or make one by python -m mmlib.finetune.keep"


class Reading(NamedTuple):
    """A kept model's predictions for n texts."""

    coarse: np.ndarray  # (n, 3) calibrated probabilities of negative, neutral, positive
    fine: np.ndarray  # (n, 5) calibrated probabilities of 1 to 5 stars
    intensity: np.ndarray  # (n,) in [0, 1], 1 the most positive
    tokens: np.ndarray  # (n,) number of tokens read
    cut: np.ndarray  # (n,) bool: the text was longer than `max_length` tokens
    unknown: np.ndarray  # (n,) share of words not in the vocabulary; 1 for a text without words
    layers: np.ndarray  # (n, l) weight of each layer; sums to 1


class Student(nn.Module):
    """A BERT of few layers followed by a DyFuLM with s = 1, in float32."""

    def __init__(self, encoder: Mapping[str, Any], fusion: Mapping[str, Any]) -> None:
        """encoder: fields of a `BertConfig`; fusion: options of `DyFuLM` except dims and gate."""
        from transformers import BertConfig, BertModel

        super().__init__()
        config = BertConfig(**encoder)
        self.encoder = BertModel(config, add_pooling_layer=False)
        size = ((config.hidden_size,) * 2, (config.num_hidden_layers + 1,) * 2)
        self.fusion = DyFuLM(*size, gate="a", **fusion)

    def forward(self, ids: Tensor, attended: Tensor, words: Tensor) -> tuple[Tensor, ...]:
        """Logits (b, 3) and (b, 5), intensity (b,), layer weights (b, l).

        ids, attended, words: (b, t); `words` is False at special tokens and padding.
        """
        out = self.encoder(input_ids=ids, attention_mask=attended, output_hidden_states=True)
        states = torch.stack(out.hidden_states, dim=2)  # (b, t, l, d)
        y = self.fusion(states[None], None, words[None])
        alpha = y.alpha_a if y.alpha_a.ndim == 3 else over_positions(y.alpha_a, words[None])
        return y.coarse[0], y.fine[0], y.intensity[0], alpha[0]


@dataclass(frozen=True)
class Kept:
    """A kept model that is loaded and ready to predict."""

    student: Student
    tokenizer: Tokenizer
    card: Mapping[str, Any]
    precision: str = "float32"

    coarse = COARSE  # names of the columns of `Reading.coarse`
    stars = STARS  # stars of the columns of `Reading.fine`

    @property
    def max_length(self) -> int:
        """Maximum number of tokens read per text, including the two special tokens."""
        return self.card["max_length"]

    def in_precision(self, precision: str) -> "Kept":
        """A copy of the model whose encoder computes in another of `PRECISIONS`.

        "bfloat16" is slow on a processor without instructions for it, "int8"
        (`mmlib.text.compressed`) without VNNI. ValueError if the model is rounded already.
        """
        if self.precision not in ("float32", precision):
            raise ValueError(f"this model is rounded to {self.precision}; take the one it is from")
        files.refuse_unknown("precision", [precision], PRECISIONS)
        student = copy.deepcopy(self.student)
        if precision == "bfloat16":
            student.encoder.to(torch.bfloat16)
        if precision == "int8":
            to_eight_bits(student.encoder)
        return replace(self, student=student, precision=precision)

    @torch.inference_mode()
    def read(self, texts: Sequence[str], batch: int = 64) -> Reading:
        """Predictions for texts, in batches of similar length; batch size changes them under 1e-6.

        ValueError if `texts` is a single string or contains something other than strings.
        """
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise ValueError("texts must be a list of strings; put a single one in a list")
        encodings = self.tokenizer.encode_batch(list(texts))
        ids, words, cut = self._tokens(encodings)
        lengths = np.array([len(x) for x in ids], dtype=np.int64)
        n, layers = len(ids), self.student.encoder.config.num_hidden_layers + 1
        sizes = ((n, 3), (n, 5), (n,), (n, layers))
        parts = [np.zeros(size, np.float32) for size in sizes]
        order = np.argsort(lengths, kind="stable")
        for rows in np.split(order, range(batch, n, batch)) if n else ():
            for part, values in zip(parts, self._batch(rows, ids, words), strict=True):
                part[rows] = values.numpy()
        unknown = np.array([self.unknown(*pair) for pair in zip(texts, encodings, strict=True)])
        coarse, fine, intensity, alpha = parts
        return Reading(coarse, fine, intensity, lengths, cut, unknown, alpha)

    def _batch(
        self, rows: np.ndarray, ids: list[np.ndarray], words: list[np.ndarray]
    ) -> tuple[Tensor, ...]:
        """Calibrated probabilities, intensity and layer weights of the texts `rows`."""
        parts = ids, {i: np.ones_like(ids[i]) for i in rows}, words
        padded = (pad_sequence([torch.from_numpy(of[i]) for i in rows], True) for of in parts)
        coarse, fine, intensity, alpha = self.student(*padded)
        heat = self.card["temperature"]
        probabilities = [(x / heat[name]).softmax(dim=-1) for name, x in
                         (("coarse", coarse), ("fine", fine))]  # fmt: skip
        return *probabilities, intensity, alpha

    def _tokens(self, encodings: list[Any]) -> tuple[list[np.ndarray], list[np.ndarray], Any]:
        """Token ids, which of them are not special tokens, and whether each text was cut."""
        ids, words = [], []
        head = self.card["head"]  # number of first tokens that a cut text keeps
        for encoding in encodings:
            over = max(0, len(encoding.ids) - self.max_length)
            gone = np.s_[head : head + over]
            special = np.array(encoding.special_tokens_mask, dtype=bool)
            is_word = np.delete(~special, gone)
            ids.append(np.delete(np.array(encoding.ids), gone))
            words.append(is_word if is_word.any() else ~is_word)
        cut = np.array([len(encoding.ids) > self.max_length for encoding in encodings], dtype=bool)
        return ids, words, cut

    def unknown(self, text: str, encoding: Any) -> float:
        """Share of a text's words (beginning with a letter) that are not a token of their own."""
        unknown = self.tokenizer.token_to_id("[UNK]")
        known: dict[int, bool] = {}
        for word, (start, _), token in zip(
            encoding.word_ids, encoding.offsets, encoding.ids, strict=True
        ):
            if word is not None and (word in known or text[start].isalpha()):
                known[word] = word not in known and token != unknown
        return 1 - sum(known.values()) / len(known) if known else 1.0


def save(folder: Path, student: Student, tokenizer: Tokenizer, card: Mapping[str, Any]) -> Path:
    """Write a folder that `load` reads; `card`: encoder, fusion, max_length, head, temperature.

    Weights are rounded to float16. The files' SHA-256 are added to the card.
    """
    state = {name: x.detach().half().contiguous() for name, x in student.state_dict().items()}
    blobs = {NUMBERS: bytes_of(state), WORDS: tokenizer.to_str().encode()}
    digests = {name: sha256(blob).hexdigest() for name, blob in blobs.items()}
    for name, blob in blobs.items():
        files.write_whole(folder / name, blob)
    files.write_whole(folder / CARD, json.dumps({**card, "sha256": digests}, indent=1) + "\n")
    return folder


def load(folder: Path = WEIGHTS) -> Kept:
    """Load the model from a folder.

    ValueError, one line with a remedy, if a file is missing, damaged or of another model.
    """
    try:
        card = json.loads((folder / CARD).read_bytes())
        blobs = {name: (folder / name).read_bytes() for name in (NUMBERS, WORDS)}
    except OSError as error:
        missing = f"{error.filename} ({error.strerror})"
        raise ValueError(f"no kept model: cannot read {missing}; {REMEDY}") from None
    except ValueError:
        raise ValueError(f"{folder / CARD} is damaged; {REMEDY}") from None
    try:
        for name, blob in blobs.items():
            if card["sha256"][name] != sha256(blob).hexdigest():
                raise ValueError(f"{folder / name} is not the file of its card (other SHA-256)")
        return _restored(card, blobs)
    except Exception as error:  # e.g. a card edited by hand, or tensors of another model
        reason = files.reason_of(error)
        raise ValueError(f"{folder} holds no kept model: {reason}; {REMEDY}") from None


def _restored(card: Mapping[str, Any], blobs: Mapping[str, bytes]) -> Kept:
    tokenizer = Tokenizer.from_buffer(blobs[WORDS])
    tokenizer.no_truncation()
    tokenizer.no_padding()
    with torch.random.fork_rng(devices=[]):
        student = Student(card["encoder"], card["fusion"])
    student.load_state_dict({k: x.float() for k, x in tensors_of(blobs[NUMBERS]).items()})
    if not {"max_length", "head"} <= set(card) or set(card["temperature"]) != {"coarse", "fine"}:
        raise ValueError("its card lacks max_length, head or a temperature")
    heat, most = card["temperature"], card["encoder"]["max_position_embeddings"]
    if not (heat["coarse"] > 0 < heat["fine"] and 0 < card["head"] < card["max_length"] <= most):
        raise ValueError("its card has no possible max_length, head and temperature")
    return Kept(student.eval(), tokenizer, card)
