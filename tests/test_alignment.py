from itertools import pairwise

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import CanineTokenizer, PreTrainedTokenizerFast

from mmlib.finetune.alignment import NOWHERE, align, align_alone, pool, read
from mmlib.finetune.tokens import tokenize

TEXTS = [
    "The room wasn't clean, and we didn't get our money back!",
    "Great stay 😀👍🏽 — see https://example.com/a?b=1&c=2 for photos",
    "Café au lait, 5€ … never   again\n\tnever",
    " ok ",
    "It's the staff's fault; they'll say it isn't.",
    "👩‍👩‍👧 family-friendly, 10/10!!!",
]


def gpt2():
    """Byte-level, as RoBERTa and DeBERTa have it: an emoji is several tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet
    )
    return tokenizer, trainer


def sentencepiece():
    """Unigram over pieces with a leading space, as DeBERTa-v3 has it."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    marks = ["<unk>", "[CLS]", "[SEP]"]
    trainer = trainers.UnigramTrainer(vocab_size=90, special_tokens=marks, unk_token="<unk>")
    return tokenizer, trainer


def bridging():
    """Byte pairs without any cut at spaces: tokens reach from word to word."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    return tokenizer, trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>"])


@pytest.fixture(scope="module")
def tokenizers():
    made = {}
    for make in (gpt2, sentencepiece, bridging):
        tokenizer, trainer = make()
        trainer.show_progress = False
        tokenizer.train_from_iterator(TEXTS * 3, trainer)
        made[make.__name__] = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    return made


def characters(spans, places, text):
    """Position -> the characters, spaces left out, of its tokens."""
    found = {}
    for (start, end), place in zip(spans, places, strict=True):
        inside = {i for i in range(start, end) if not text[i].isspace()}
        if place != NOWHERE:
            found.setdefault(int(place), set()).update(inside)
    return found


PAIRS = [
    ("gpt2", "sentencepiece"),
    ("sentencepiece", "gpt2"),
    ("gpt2", "bridging"),
    ("bridging", "sentencepiece"),
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("names", PAIRS, ids="-".join)
def test_both_see_the_same_characters_at_a_position(tokenizers, names, text):
    a, b = (read(tokenizers[name], [text], 512)[0] for name in names)
    aligned = align(text, a, b)
    seen_a, seen_b = (characters(r.spans, p, text) for r, p in ((a, aligned.a), (b, aligned.b)))
    assert seen_a == seen_b
    assert list(seen_a) == list(range(len(aligned.spans)))
    assert set().union(*seen_a.values()) == {i for i, c in enumerate(text) if not c.isspace()}
    for place, (start, end) in enumerate(aligned.spans):
        assert min(seen_a[place]) == start and max(seen_a[place]) == end - 1


@pytest.mark.parametrize("text", TEXTS)
def test_a_position_is_a_token_where_both_cut_alike_else_a_word(tokenizers, text):
    a, b = (read(tokenizers[name], [text], 512)[0] for name in ("gpt2", "sentencepiece"))
    aligned = align(text, a, b)
    for start, end in aligned.spans:
        whole = text[start:end] in text.split()
        tokens = [[tuple(s) for s in align(text, r, r).spans] for r in (a, b)]
        assert whole or all((start, end) in cut for cut in tokens)
    assert len(aligned.spans) >= len(text.split())


@pytest.mark.parametrize("name", ["gpt2", "sentencepiece"])
def test_one_tokenizer_twice_gives_its_tokens(tokenizers, name):
    for text, reading in zip(TEXTS, read(tokenizers[name], TEXTS, 512), strict=True):
        twice, once = align(text, reading, reading), align_alone(text, reading)
        for left, right in zip(twice, once, strict=True):
            np.testing.assert_array_equal(left, right)
        placed = once.a[once.a != NOWHERE]
        np.testing.assert_array_equal(placed, np.arange(len(placed)))
        blank = [i for i, (s, e) in enumerate(reading.spans) if not text[s:e].strip()]
        assert len(placed) == len(reading.ids) - len(blank)


def splitting(pattern):
    words = Tokenizer(models.WordLevel({"?": 0}, "?"))
    words.pre_tokenizer = pattern
    return PreTrainedTokenizerFast(tokenizer_object=words)


def test_contraction_url_and_emoji_one_by_one():
    text = "Don't stop 😀 at http://x.io now."
    spaces, marks = (
        splitting(cut) for cut in (pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Whitespace())
    )
    a, b = (read(one, [text], 512)[0] for one in (spaces, marks))
    aligned = align(text, a, b)
    shown = [text[start:end] for start, end in aligned.spans]
    assert shown == ["Don't", "stop", "😀", "at", "http://x.io", "now."]
    assert aligned.a.tolist() == [0, 1, 2, 3, 4, 5]
    assert aligned.b.tolist() == [0, 0, 0, 1, 2, 3, 4, 4, 4, 4, 4, 5, 5]


@pytest.mark.parametrize("lengths", [(8, 512), (512, 8), (12, 12), (4, 4)])
def test_positions_end_where_either_is_cut(tokenizers, lengths):
    for text in TEXTS:
        a, b = (
            read(tokenizers[name], [text], most)[0]
            for name, most in zip(("gpt2", "sentencepiece"), lengths, strict=True)
        )
        assert len(a.ids) <= lengths[0] and len(b.ids) <= lengths[1]
        aligned = align(text, a, b)
        places = range(len(aligned.spans))
        assert set(aligned.a) - {NOWHERE} == set(aligned.b) - {NOWHERE} == set(places)
        assert all(x < y for (x, _), (y, _) in pairwise(aligned.spans))
        reach = min(reading.spans.max() for reading in (a, b))
        word_end = next((i for i in range(reach, len(text)) if text[i].isspace()), len(text))
        assert aligned.spans.max() <= word_end


def test_cut_is_told(tokenizers):
    assert [one.cut for one in read(tokenizers["gpt2"], [TEXTS[0], "ok"], 8)] == [True, False]


def test_text_without_a_common_position_is_one(tokenizers):
    a, b = (read(tokenizers[name], ["  ok"], 3)[0] for name in ("gpt2", "sentencepiece"))
    aligned = align("  ok", a, b)
    assert aligned.spans.tolist() == [[0, 4]] and set(aligned.a) | set(aligned.b) == {0}


def test_pool_is_the_mean_of_a_positions_tokens():
    places = torch.tensor([[NOWHERE, 0, 1, 1, NOWHERE], [0, 0, 0, 1, 2]])
    states = torch.arange(60.0).view(2, 5, 3, 2)
    expected = [
        [states[0, 1], states[0, 2:4].mean(0), torch.zeros(3, 2)],
        [states[1, :3].mean(0), states[1, 3], states[1, 4]],
    ]
    expected = torch.stack([torch.stack(row) for row in expected])
    torch.testing.assert_close(pool(states, places, 3), expected)


def test_tokenizer_without_offsets_is_refused():
    fast = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel()))
    for call in (
        lambda: read(CanineTokenizer(), ["good"], 8),
        lambda: tokenize(["good"], [fast, CanineTokenizer()], 8),
    ):
        with pytest.raises(ValueError, match=r"CanineTokenizer is no fast.*tokenizer\.json"):
            call()
