"""Encoders that need no download, for pairs whose two members differ.

A gate between two encoders that compute the same function has nothing to choose. `small` trains a
different encoder on the texts of a corpus. `carried` makes one that differs in what it can learn:
DeBERTa's attention over relative positions with the weights of a BERT, so that it initially
computes the same function. Both are folders in the cache, which `mmlib.text.encoding` reads like
any other encoder.
"""

import json
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
import transformers  # its models are loaded at first use
from safetensors import SafetensorError
from torch import Tensor, nn

from mmlib.files import cache_root, make_whole
from mmlib.text.encoder import identity, load, locate, quiet, versions, weights_digest

MARKS = {"pad": "[PAD]", "cls": "[CLS]", "sep": "[SEP]", "unk": "[UNK]", "mask": "[MASK]"}
BLOCK, MASKED = 64, 0.15  # tokens of a training sequence, share of them that is masked


def named(encoder: str | Path, texts: Sequence[str]) -> Path:
    """Folder of an encoder: "small" (made from `texts`), "carried", or what `locate` finds.

    "minilm:3", and likewise for other names, is the encoder cut to its first three layers.
    """
    if encoder == "small":
        return small(texts)
    name, _, layers = str(encoder).rpartition(":")
    if name and layers.isdecimal():
        return shortened(name, int(layers))
    return carried() if encoder == "carried" else locate(encoder)


def shortened(encoder: str | Path, layers: int) -> Path:
    """Folder of an encoder's embeddings and first `layers` layers, with its tokenizer.

    ValueError, one line, if it has fewer layers, or if its layers are not stored as in a BERT.
    """
    source = locate(encoder)
    digest = weights_digest(source)
    about = {"shortened": identity(source, encoder), "layers": layers}

    def make(folder: Path) -> None:
        model, tokenizer = load(source)
        has = model.config.num_hidden_layers
        if not 1 <= layers <= has or not hasattr(getattr(model, "encoder", None), "layer"):
            raise ValueError(f"{encoder} cannot be cut to {layers} layers; name a BERT, 1 to {has}")
        model.encoder.layer = model.encoder.layer[:layers]
        model.config.num_hidden_layers, model.pooler = layers, None
        model.config.shortened_from = digest
        save(folder, model, tokenizer)

    return _kept("shortened", about, make)


def carried(encoder: str | Path = "minilm", buckets: int = 32, seed: int = 0) -> Path:
    """Folder of a DeBERTa-v2 that initially computes the same as a BERT but can learn more.

    The states are equal at unmasked positions (1e-4). DeBERTa divides scores by sqrt(3 d), BERT by
    sqrt(d), so queries are multiplied by sqrt(3). The embeddings of relative positions are zero at
    first, but their shared projections still add the biases: the query's bias is added twice and
    therefore halved; the key's shifts all scores of a query equally. `buckets`: relative positions
    per direction, exact if near, on a log scale if far (16 times cheaper than one for each of 512).
    ValueError if `encoder` is not a BERT.
    """
    source = locate(encoder)
    about = {"carried": identity(source, encoder), "buckets": buckets}

    def make(folder: Path) -> None:
        bert, tokenizer = load(source)
        if bert.config.model_type != "bert":
            raise ValueError(f"{encoder} is a {bert.config.model_type}; carry over a BERT")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            deberta = transformers.DebertaV2Model(_as_deberta(bert.config, buckets))
        deberta.load_state_dict(_renamed(bert.state_dict(), deberta))
        save(folder, deberta, tokenizer)

    return _kept("carried", about | {"seed": seed}, make)


def _as_deberta(bert, buckets: int) -> "transformers.DebertaV2Config":
    same = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "hidden_act")
    same += ("intermediate_size", "max_position_embeddings", "type_vocab_size", "pad_token_id")
    same += ("layer_norm_eps", "hidden_dropout_prob", "attention_probs_dropout_prob")
    return transformers.DebertaV2Config(
        **{name: getattr(bert, name) for name in same}, relative_attention=True,
        pos_att_type=["c2p", "p2c"], share_att_key=True, position_buckets=buckets,
        max_relative_positions=bert.max_position_embeddings, position_biased_input=True,
    )  # fmt: skip


def _renamed(state: dict[str, Tensor], deberta: "transformers.DebertaV2Model") -> dict[str, Tensor]:
    """BERT's parameters with DeBERTa's names and scale."""
    renamed = {
        "encoder.rel_embeddings.weight": torch.zeros_like(deberta.encoder.rel_embeddings.weight)
    }
    for name, values in state.items():
        if name.startswith("pooler."):
            continue
        for part in ("query", "key", "value"):
            name = name.replace(f".self.{part}.", f".self.{part}_proj.")
        grown = {"weight": 3**0.5, "bias": 3**0.5 / 2}[name.rpartition(".")[2]]
        renamed[name] = values * grown if ".query_proj." in name else values
    return {name: renamed[name] for name in deberta.state_dict()}


def small(
    texts: Sequence[str],
    *,
    vocabulary: int = 2000,
    width: int = 128,
    depth: int = 3,
    steps: int = 100,
    seed: int = 0,
) -> Path:
    """Folder of a small DeBERTa-v2 with its own tokenizer, both trained on `texts`.

    The tokenizer is byte-pair encoding on words with their leading space, as in sentencepiece. The
    model is trained by masked-language modelling (Devlin et al. 2019: 15 % of the tokens, 80 / 10 /
    10); 100 steps take half a minute on one core. The folder is cached under the hash of texts,
    options and versions. ValueError if there are too few texts to learn from.
    """
    options = {"vocabulary": vocabulary, "width": width, "depth": depth, "steps": steps}
    texts = list(dict.fromkeys(texts))

    def make(folder: Path) -> None:
        tokenizer = _tokenizer(texts, vocabulary)
        config = transformers.DebertaV2Config(
            vocab_size=len(tokenizer), hidden_size=width, num_hidden_layers=depth,
            num_attention_heads=width // 32, intermediate_size=2 * width, relative_attention=True,
            pos_att_type=["c2p", "p2c"], share_att_key=True, position_buckets=16,
            position_biased_input=False, norm_rel_ebd="layer_norm",
        )  # fmt: skip
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = transformers.DebertaV2Model(config)
            _guess_masked(model, _blocks(tokenizer, texts), tokenizer, steps)
        save(folder, model, tokenizer)

    return _kept("small", options | {"seed": seed, "texts": texts}, make)


def _tokenizer(texts: list[str], vocabulary: int) -> "transformers.PreTrainedTokenizerFast":
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from tokenizers.trainers import BpeTrainer

    marks = list(MARKS.values())
    tokenizer = Tokenizer(models.BPE(unk_token=MARKS["unk"]))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()]
    )
    tokenizer.decoder = decoders.Metaspace()
    trainer = BpeTrainer(vocab_size=vocabulary, special_tokens=marks, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    ends = [(mark, tokenizer.token_to_id(mark)) for mark in (MARKS["cls"], MARKS["sep"])]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=ends
    )
    named = {f"{name}_token": mark for name, mark in MARKS.items()}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=512, **named
    )


def _blocks(tokenizer: "transformers.PreTrainedTokenizerFast", texts: list[str]) -> Tensor:
    """All tokens of the texts concatenated and cut into blocks, (n, BLOCK), without padding."""
    stream = np.concatenate(tokenizer(texts, verbose=False)["input_ids"])
    n_tokens = len(stream) // BLOCK * BLOCK
    if n_tokens < 32 * BLOCK:
        raise ValueError(f"{len(texts)} texts are too few to make an encoder from; pass more, or "
                         "name minilm instead of small (encoder_b: minilm)")  # fmt: skip
    return torch.from_numpy(stream[:n_tokens]).view(-1, BLOCK)


def _guess_masked(
    model: "transformers.DebertaV2Model",
    blocks: Tensor,
    tokenizer: "transformers.PreTrainedTokenizerFast",
    steps: int,
    b: int = 32,
) -> None:
    """Train by masked-language modelling; the output layer shares the word embeddings."""
    bias = nn.Parameter(torch.zeros(len(tokenizer)))
    optimizer = torch.optim.AdamW([*model.parameters(), bias], lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps, pct_start=0.1)
    special = torch.tensor(tokenizer.all_special_ids)

    for _ in range(steps):
        tokens = blocks[torch.randint(len(blocks), (b,))]  # (b, t)
        chosen = (torch.rand(tokens.shape) < MASKED) & ~torch.isin(tokens, special)
        fate = torch.rand(tokens.shape)
        shown = torch.where(chosen & (fate < 0.8), tokenizer.mask_token_id, tokens)
        other = torch.randint(len(tokenizer), tokens.shape)
        shown = torch.where(chosen & (fate > 0.9), other, shown)
        states = model(shown, torch.ones_like(shown)).last_hidden_state[chosen]  # (masked, d)
        scores = states @ model.embeddings.word_embeddings.weight.T + bias
        loss = nn.functional.cross_entropy(scores, tokens[chosen])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()


def save(folder: Path, model: nn.Module, tokenizer: object) -> None:
    """Write an encoder and its tokenizer as a folder that `mmlib.text.encoder.load` reads."""
    with quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _kept(kind: str, about: dict, make: Callable[[Path], None]) -> Path:
    """The cached folder for `about`; if missing, `make` writes it under a temporary name.

    If several processes need it, one makes it and the others wait.
    """
    key = sha256(json.dumps(about | versions(), sort_keys=True).encode()).hexdigest()
    folder = cache_root() / "encoders" / f"{kind}-{key[:16]}"
    return make_whole(folder, make, SafetensorError)
