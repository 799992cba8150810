"""Checkpoints in the shapes the public ones have, from a hub on this machine.

roberta: safetensors and tokenizer.json; deberta: .bin, vocab.json and merges.txt; deberta-v3: .bin
and a sentencepiece model, nothing else.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    DebertaConfig,
    DebertaModel,
    DebertaV2Config,
    DebertaV2Model,
    RobertaConfig,
    RobertaModel,
    RobertaTokenizerFast,
)

TEXTS = ["the room wasn't clean", "great stay 😀, see https://x.io", "ok"]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 32, "max_position_embeddings": 130}


def byte_pairs(folder, marks):
    """vocab.json and merges.txt; the ids of the texts."""
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(TEXTS, vocab_size=300, special_tokens=marks, show_progress=False)
    folder.mkdir(parents=True)
    tokenizer.save_model(str(folder))
    return [tokenizer.encode(text).ids for text in TEXTS]


def roberta(folder):
    ids = byte_pairs(folder, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    files = [str(folder / name) for name in ("vocab.json", "merges.txt")]
    RobertaTokenizerFast(*files, model_max_length=128).save_pretrained(folder)
    model = RobertaModel(RobertaConfig(vocab_size=300, **SIZES))
    model.save_pretrained(folder)
    return model, [[0, *row, 2] for row in ids]


def save_bin(folder, model, **settings):
    """As torch saved models before safetensors: in halves, with a head, another model beside it."""
    model.config.save_pretrained(folder)
    prefix, state = model.base_model_prefix, model.state_dict()
    halves = {f"{prefix}.{name}": value.half() for name, value in state.items()}
    halves["lm_predictions.lm_head.bias"] = torch.zeros(300, dtype=torch.half)
    torch.save(halves, folder / "pytorch_model.bin")
    torch.save({"head": torch.zeros(1)}, folder / "pytorch_model.generator.bin")
    model.load_state_dict({name: value.half().float() for name, value in state.items()})
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False, **settings}))


RELATIVE = {"relative_attention": True, "pos_att_type": "c2p|p2c", "type_vocab_size": 0}


def deberta(folder):
    ids = byte_pairs(folder, ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"])
    model = DebertaModel(DebertaConfig(vocab_size=300, **RELATIVE, **SIZES))
    save_bin(folder, model, vocab_type="gpt2")
    return model, [[1, *row, 2] for row in ids]


def deberta_v3(folder):
    sentencepiece = pytest.importorskip("sentencepiece", reason="extra 'sentencepiece'")
    folder.mkdir(parents=True)
    marks = {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"}
    marks |= {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 5),
        model_prefix=str(folder / "spm"),
        vocab_size=50,
        hard_vocab_limit=False,
        minloglevel=2,
        **marks,
    )
    (folder / "spm.vocab").unlink()
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model"))
    own = {"share_att_key": True, "position_buckets": 8, "norm_rel_ebd": "layer_norm"}
    vocabulary = pieces.vocab_size() + 1  # and [MASK]
    model = DebertaV2Model(DebertaV2Config(vocab_size=vocabulary, **RELATIVE, **own, **SIZES))
    save_bin(folder, model, vocab_type="spm")
    return model, [[1, *pieces.encode(text), 2] for text in TEXTS]


FROM_HUB = """
import sys
from pathlib import Path
import numpy as np
from mmlib.config import Config
from mmlib.finetune import finetune
from mmlib.text import encode

out, texts, *names = Path(sys.argv[1]), sys.argv[2].split("|"), *sys.argv[3:]
for name in names:
    np.save(out / f"{name}.npy", encode(texts, f"org/{name}", layers="all", cache=False))
shape = {"max_length": 32, "width": 8, "batch": 4, "utterances": 4, "device": "cpu"}
for pair in (names[:2], names[::2]):  # tokens that line up, and tokens that do not
    pair = [f"org/{name}" for name in pair]
    finetune(Config(pair, dataset="synthetic_reviews", **shape), out / pair[1].split("/")[1])
"""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """Name -> the model and the ids of the texts; the files lie below `hub`."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("hub")
    makers = {"roberta": roberta, "deberta": deberta, "deberta-v3": deberta_v3}
    return root, {name: make(root / "org" / name) for name, make in makers.items()}


@pytest.fixture(scope="module")
def fetched(shapes, tmp_path_factory):
    """What a process of its own, with nothing but the hub's address, makes of them."""
    root, made = shapes
    script, out = Path(__file__).with_name("hub.py"), tmp_path_factory.mktemp("out")
    server = subprocess.Popen([sys.executable, script, root], stdout=subprocess.PIPE, text=True)
    address = server.stdout.readline().strip()
    environment = {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(out / "hf")}
    command = [sys.executable, "-c", FROM_HUB, out, "|".join(TEXTS), *made]
    run = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    server.kill()
    server.communicate()
    assert run.returncode == 0, run.stderr
    return out


@pytest.mark.parametrize("name", ["roberta", "deberta", "deberta-v3"])
def test_states_are_those_of_the_checkpoint(shapes, fetched, name):
    model, ids = shapes[1][name]
    states = np.load(fetched / f"{name}.npy")  # (n, l, d)
    for row, one in zip(ids, states, strict=True):
        with torch.no_grad():
            tokens = torch.tensor([row])
            hidden = model.eval()(tokens, torch.ones_like(tokens), output_hidden_states=True)
        expected = torch.stack([layer[0].mean(0) for layer in hidden.hidden_states])
        np.testing.assert_allclose(one, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("second", ["deberta", "deberta-v3"])
def test_pairs_of_them_can_be_fine_tuned(fetched, second):
    with np.load(fetched / second / "test.npz") as said:
        np.testing.assert_allclose(said["p_fine"].sum(axis=1), 1, atol=1e-5)
        assert said["alpha_b"].shape == (4, 3) and said["gate"].shape == (4, 8)


def test_what_is_fetched(shapes, fetched):
    """A sentencepiece model alone was all there was; weights of another model are left there."""
    there = {path.name for path in (shapes[0] / "org" / "deberta-v3").iterdir()}
    own = {"config.json", "pytorch_model.bin", "spm.model", "tokenizer_config.json"}
    assert there == {*own, "pytorch_model.generator.bin"}
    (snapshot,) = (fetched / "hf" / "hub" / "models--org--deberta-v3" / "snapshots").iterdir()
    assert {path.name for path in snapshot.iterdir()} == own
