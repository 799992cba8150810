"""A trained DyFuLM over one small encoder, kept as a folder that reads texts anywhere.

The folder holds `weights.safetensors` (float16), `tokenizer.json` with the pruned vocabulary,
`card.json` (shapes, temperatures, scores, the files' SHA-256) and README.md, the model card. No
other weights and no network are needed. `python -m mmlib.finetune.keep` makes one.
Axes: n text, b batch, t token, k class, l layer.
"""

import copy
import json
import warnings
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

from mmlib import files
from mmlib.data.targets import COARSE
from mmlib.dyfulm.model import DyFuLM

WEIGHTS = files.ROOT / "mmlib" / "dyfulm" / "weights"
NUMBERS, WORDS, CARD = "weights.safetensors", "tokenizer.json", "card.json"
STARS = (1, 2, 3, 4, 5)
PRECISIONS = ("float32", "bfloat16", "int8")  # in which the encoder can compute
REMEDY = "take the folder anew from the project, or make one by python -m mmlib.finetune.keep"


class Reading(NamedTuple):
    """What a kept model says of n texts."""

    coarse: np.ndarray  # (n, 3) calibrated probabilities of negative, neutral, positive
    fine: np.ndarray  # (n, 5) calibrated probabilities of 1 to 5 stars
    intensity: np.ndarray  # (n,) in [0, 1], 1 the most positive
    tokens: np.ndarray  # (n,) how many tokens were read
    cut: np.ndarray  # (n,) bool: the text was longer than `max_length` tokens
    unknown: np.ndarray  # (n,) share of the words that the vocabulary lacks; 1 without any word
    layers: np.ndarray  # (n, l) weight of each layer; sums to 1


class Student(nn.Module):
    """A BERT of few layers under a DyFuLM of one member, in float32."""

    def __init__(self, encoder: Mapping[str, Any], fusion: Mapping[str, Any]) -> None:
        """The fields of a `BertConfig`, and the options of `DyFuLM` but for gate and dims."""
        from transformers import BertConfig, BertModel

        super().__init__()
        config = BertConfig(**encoder)
        self.encoder = BertModel(config, add_pooling_layer=False)
        size = ((config.hidden_size,) * 2, (config.num_hidden_layers + 1,) * 2)
        self.fusion = DyFuLM(*size, gate="a", **fusion)

    def forward(self, ids: Tensor, attended: Tensor, words: Tensor) -> tuple[Tensor, ...]:
        """Logits (b, 3) and (b, 5), intensity (b,), layers' weights (b, l).

        ids, attended, words: (b, t); `words` is True at tokens that stand for characters.
        """
        out = self.encoder(input_ids=ids, attention_mask=attended, output_hidden_states=True)
        states = torch.stack(out.hidden_states, dim=2)  # (b, t, l, d)
        y = self.fusion(states[None], None, words[None])
        alpha = y.alpha_a if y.alpha_a.ndim == 3 else y.alpha_a.mean(dim=2)
        return y.coarse[0], y.fine[0], y.intensity[0], alpha[0]


@dataclass(frozen=True)
class Kept:
    """A kept model, ready to read."""

    student: Student
    tokenizer: Tokenizer
    card: Mapping[str, Any]

    coarse = COARSE  # names of `Reading.coarse`
    stars = STARS  # of `Reading.fine`

    @property
    def max_length(self) -> int:
        """Tokens read of a text, the two special ones included."""
        return self.card["max_length"]

    def in_precision(self, precision: str) -> "Kept":
        """The same model with an encoder that computes in another of `PRECISIONS`; a copy.

        "bfloat16" is slow on a processor without instructions for it. "int8": weights of linear
        layers in 8 bits, their inputs rounded to 8 bits at each call, by the range that they have
        in the batch, so that a reading depends a little on the texts beside it.
        """
        files.refuse_unknown("precision", [precision], PRECISIONS)
        student = copy.deepcopy(self.student)
        if precision == "bfloat16":
            student.encoder.to(torch.bfloat16)
        if precision == "int8":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torchao is to replace it one day
                torch.ao.quantization.quantize_dynamic(student, {nn.Linear}, inplace=True)
        return replace(self, student=student)

    @torch.inference_mode()
    def read(self, texts: Sequence[str], batch: int = 64) -> Reading:
        """What it says of texts, `batch` of like length at a time; the same whatever the batch.

        ValueError where `texts` is one string, or holds something else than strings.
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
        unknown = np.array([self._unknown(*pair) for pair in zip(texts, encodings, strict=True)])
        coarse, fine, intensity, alpha = parts
        return Reading(coarse, fine, intensity, lengths, cut, unknown, alpha)

    def _batch(
        self, rows: np.ndarray, ids: list[np.ndarray], words: list[np.ndarray]
    ) -> tuple[Tensor, ...]:
        """Calibrated probabilities, intensity and layers' weights of some texts."""
        t = max(len(ids[i]) for i in rows)
        padded, attended = (torch.zeros(len(rows), t, dtype=torch.long) for _ in range(2))
        is_word = torch.zeros(len(rows), t, dtype=torch.bool)
        for k, i in enumerate(rows):
            padded[k, : len(ids[i])] = torch.from_numpy(ids[i])
            attended[k, : len(ids[i])] = 1
            is_word[k, : len(ids[i])] = torch.from_numpy(words[i])
        coarse, fine, intensity, alpha = self.student(padded, attended, is_word)
        heat = self.card["temperature"]
        probabilities = [(x / heat[name]).softmax(dim=-1) for name, x in
                         (("coarse", coarse), ("fine", fine))]  # fmt: skip
        return *probabilities, intensity, alpha

    def _tokens(self, encodings: list[Any]) -> tuple[list[np.ndarray], list[np.ndarray], Any]:
        """Ids, which of them stand for characters, and whether a text was cut."""
        ids, words = [], []
        head = self.card["head"]  # of a text that is cut: tokens of its beginning
        for encoding in encodings:
            over = max(0, len(encoding.ids) - self.max_length)
            gone = np.s_[head : head + over]
            special = np.array(encoding.special_tokens_mask, dtype=bool)
            is_word = np.delete(~special, gone)
            ids.append(np.delete(np.array(encoding.ids), gone))
            words.append(is_word if is_word.any() else ~is_word)
        cut = np.array([len(encoding.ids) > self.max_length for encoding in encodings], dtype=bool)
        return ids, words, cut

    def _unknown(self, text: str, encoding: Any) -> float:
        """Share of a text's words (they begin with a letter) that are not one known token."""
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

    Numbers are rounded to float16. The card also gets the files' SHA-256.
    """
    state = {name: x.detach().half().contiguous() for name, x in student.state_dict().items()}
    blobs = {NUMBERS: bytes_of(state), WORDS: tokenizer.to_str().encode()}
    digests = {name: sha256(blob).hexdigest() for name, blob in blobs.items()}
    for name, blob in blobs.items():
        files.write_whole(folder / name, blob)
    files.write_whole(folder / CARD, json.dumps({**card, "sha256": digests}, indent=1) + "\n")
    return folder


def load(folder: Path = WEIGHTS) -> Kept:
    """The model that lies in a folder.

    ValueError, one line with a remedy, where a file is missing, damaged or another model's.
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
    except Exception as error:  # a card changed by hand, another model's tensors
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
    return Kept(student.eval(), tokenizer, card)
