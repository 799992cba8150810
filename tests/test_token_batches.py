import numpy as np
import pytest
import torch
from accelerate.utils import send_to_device
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from mmlib.finetune.alignment import NOWHERE
from mmlib.finetune.tokens import batches, steps, tokenize

LENGTHS = np.random.default_rng(0).integers(3, 100, 500)
TEXTS = ["good", "a very good room", "it isn't, is it", "bad bad bad bad"]


def splitting(cut, pad_id, vocabulary=None):
    vocabulary = vocabulary or {"?": 0, "[X]": 1, "[PAD]": pad_id}
    words = Tokenizer(models.WordLevel(vocabulary, "?"))
    words.pre_tokenizer = cut
    words.post_processor = processors.TemplateProcessing(
        single="[X] $A [X]", special_tokens=[("[X]", 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="?")


SPACES = splitting(pre_tokenizers.WhitespaceSplit(), 7)
MARKS = splitting(pre_tokenizers.Whitespace(), 9)


@pytest.mark.parametrize("batch", [1, 7, 32])
def test_an_epoch_has_every_text_once(batch):
    plan = steps(LENGTHS, batch, seed=3, epoch=0)
    assert sorted(np.concatenate(plan)) == list(range(500))
    assert all(len(rows) <= batch for rows in plan) and len(plan) == -(-500 // batch)
    assert [list(rows) for rows in plan] == [list(r) for r in steps(LENGTHS, batch, 3, 0)]
    for other in (steps(LENGTHS, batch, 3, 1), steps(LENGTHS, batch, 4, 0)):
        assert [list(rows) for rows in plan] != [list(rows) for rows in other]


def test_a_step_has_texts_of_like_length():
    spread = [np.ptp(LENGTHS[rows]) for rows in steps(LENGTHS, 8, 0, 0)]
    assert np.mean(spread) < 0.1 * np.ptp(LENGTHS)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_share_a_step_within_the_budget(processes):
    rows = np.arange(40, 60)
    parts = [
        list(batches(LENGTHS, rows, budget=150, process=k, processes=processes))
        for k in range(processes)
    ]
    assert sorted(np.concatenate([part for mine in parts for part in mine])) == list(rows)
    for part in (part for mine in parts for part in mine):
        assert len(part) == 1 or len(part) * LENGTHS[part].max() <= 150
    assert list(batches(LENGTHS, rows[:1], 150, process=1, processes=2)) == []


def test_one_encoder_or_two_that_cut_alike_need_no_pooling():
    for tokenizers in ([SPACES], [SPACES, SPACES]):
        batch = tokenize(TEXTS, tokenizers, 10).batch([0, 1])
        assert batch.positions is None and len(batch.ids) == len(tokenizers)
        assert batch.mask.tolist() == [[False, True] + [False] * 4, [False] + [True] * 4 + [False]]
        assert batch.ids[0].tolist() == [[1, 0, 1, 7, 7, 7], [1, 0, 0, 0, 0, 1]]
        assert batch.attended[0].tolist() == [[1, 1, 1, 0, 0, 0], [1] * 6]


def test_two_that_cut_otherwise_share_positions():
    batch = tokenize(TEXTS, [SPACES, MARKS], 10).batch([0, 2])
    assert batch.positions[0].tolist() == [[-1, 0, -1, -1, -1, -1], [-1, 0, 1, 2, 3, -1]]
    assert batch.positions[1].tolist()[1] == [-1, 0, 1, 1, 1, 1, 2, 3, -1]  # "isn't," is one
    assert batch.mask.tolist() == [[True, False, False, False], [True] * 4]
    assert batch.ids[1][0].tolist() == [1, 0, 1, 9, 9, 9, 9, 9, 9]
    assert (batch.positions[1][0, 2:] == NOWHERE).all()
    alike = tokenize(TEXTS, [SPACES, MARKS], 10).batch([0, 1])
    assert alike.positions is None  # where no text of the batch is cut otherwise


def test_cuts_are_counted_for_either_encoder():
    tokens = tokenize(TEXTS, [SPACES, MARKS], 6)
    assert tokens.cut.tolist() == [False, False, True, False]
    assert tokens.lengths.tolist() == [3, 6, 6, 6]
    assert tokens.batch([2]).mask.sum() == 2  # "it", "isn't,": what both reach


def test_the_middle_of_a_long_text_can_be_left_out():
    words = [f"w{i}" for i in range(50)]
    vocabulary = {"?": 0, "[X]": 1, "[PAD]": 2, **{word: i + 3 for i, word in enumerate(words)}}
    spaces = splitting(pre_tokenizers.WhitespaceSplit(), 2, vocabulary)
    texts = [" ".join(words), " ".join(words[:10])]
    kept = tokenize(texts, [spaces, spaces], 12, "middle")
    assert kept.ids[0][0].tolist() == [1, 3, 4, *range(45, 53), 1]  # a quarter is the beginning
    assert kept.ids[1][0].tolist() == tokenize(texts, [spaces], 12).ids[1][0].tolist()
    assert kept.cut.tolist() == [True, False]
    assert kept.batch([0]).positions is None and kept.batch([0]).mask.sum() == 10


def test_positions_around_what_is_left_out():
    tokens = tokenize(["it is so good but it isn't, or so"], [SPACES, MARKS], 8, "middle")
    positions = [side.tolist() for side in tokens.positions[0]]
    assert positions[0] == [-1, 0, -1, -1, 1, 2, 3, -1]  # [X] it, but it isn't, or so [X]
    assert positions[1] == [-1, 0, 1, 1, 1, 2, 3, -1]  # [X] it, ' t , or so [X]


def test_a_batch_moves_to_a_device_with_all_its_parts():
    batch = send_to_device(tokenize(TEXTS, [SPACES, MARKS], 10).batch([0, 2]), torch.device("meta"))
    moved = [*batch.ids, *batch.attended, *batch.positions, batch.mask]
    assert {one.device.type for one in moved} == {"meta"}
