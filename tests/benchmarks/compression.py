"""What smaller readers cost beside the pair, and how well each does: notebook 12's stored tables.

    python tests/benchmarks/compression.py cost
    python tests/benchmarks/compression.py frontier FOLDER   # with compression-2, -3, -4, -6
    python tests/benchmarks/compression.py kept --reviews 2000

`cost` needs no data: reviews are made of random tokens, every reader runs in each round, and what
counts is CPU time of the process and its ratio to that of the pair in the same round. `frontier`
reads what `python -m mmlib.finetune papermill_runs/finetune/compression-K.yaml` left in
FOLDER/compression-K, adds word vectors alone and a bag of words learnt from the same reviews, and
scores the validation split. `kept` reads the test split with the model in mmlib/dyfulm/weights.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from mmlib.data import load
from mmlib.data.corpus import first
from mmlib.data.readers.reviews import natural
from mmlib.data.targets import Targets, constant, targets
from mmlib.dyfulm import bag_of_words, kept
from mmlib.dyfulm.losses import Targets as Tensors
from mmlib.dyfulm.losses import task_losses, weighting
from mmlib.dyfulm.model import DyFuLM
from mmlib.finetune import pair
from mmlib.finetune.config import Config, read_config
from mmlib.scores import calibration, results
from mmlib.text import made
from mmlib.text.encoder import load as load_encoder

RUN, NOTEBOOK = "compression-hotel", "compression"
LAYERS, LENGTHS, ROUNDS, BATCH = (2, 3, 4, 6), (32, 128, 384), 9, 8
EPOCHS, RATE = 3, 3e-3  # of the word vectors


# What a reader costs


def readers() -> dict[str, pair.Pair]:
    """The pair of the stored run `hotel`, and MiniLM's first layers alone, under DyFuLM."""
    names = {"pair": ["minilm", "carried"], **{f"{k} layers": [f"minilm:{k}"] for k in LAYERS}}
    models = {}
    for name, encoders in names.items():
        folders = [str(made.named(encoder, [])) for encoder in encoders]
        models[name] = pair.build(Config(folders))[0].eval()
    return models


def batch(model: pair.Pair, b: int, t: int) -> pair.Batch:
    """b texts of t random tokens for every encoder of a model."""
    ids = torch.randint(1000, 20000, (b, t), generator=torch.Generator().manual_seed(0))
    n = len(model.encoders)
    ones = torch.ones(b, t, dtype=torch.long)
    return pair.Batch(np.arange(b), (ids,) * n, (ones,) * n, None, ones.bool())


@torch.inference_mode()
def cost() -> None:
    """A line a reader and length: CPU milliseconds of one review, reviews a CPU second, ratios."""
    models, lines = readers(), []
    for t in LENGTHS:
        single, many = ({name: [] for name in models} for _ in range(2))
        for k in range(ROUNDS):
            for name, model in models.items():
                single[name].append(cpu_seconds(model, batch(model, 1, t)))
                if k % 4 == 0:
                    many[name].append(cpu_seconds(model, batch(model, BATCH, t)) / BATCH)
        lines += [line(name, model, t, single, many) for name, model in models.items()]
    frame = pd.DataFrame(lines)
    print(frame.to_string(index=False))
    results.save_table(frame, RUN, "cost")


def line(name: str, model: pair.Pair, t: int, single: dict, many: dict) -> dict[str, object]:
    count = sum(p.numel() for p in model.parameters())
    ms = 1000 * np.array(single[name])
    return {
        "reader": name,
        "tokens": t,
        "parameters": count,
        "mb_float32": round(4 * count / 1e6, 1),
        "ms_median": round(float(np.median(ms)), 2),
        "ms_p95": round(float(np.quantile(ms, 0.95)), 2),
        "times_faster": round(float(np.median(np.array(single["pair"]) / single[name])), 2),
        "a_cpu_second": round(1 / float(np.median(many[name])), 1),
        "times_faster_batch": round(float(np.median(np.array(many["pair"]) / many[name])), 2),
    }


def cpu_seconds(model: pair.Pair, texts: pair.Batch) -> float:
    """CPU time of one call, after one that does not count."""
    model(texts)
    start = time.process_time()
    model(texts)
    return time.process_time() - start


# How well it does


def frontier(folder: Path) -> None:
    """Rows of the validation split, for what was trained on the same first reviews."""
    config = read_config(folder / "compression-3" / "config.yaml")
    corpus = first(load(config.dataset), config.utterances)
    goal = targets(corpus, config.intensity)
    valid = corpus.take(corpus.rows("valid"))
    known, weights = goal.take(corpus.rows("valid")), natural(valid)
    answers = {}
    for k in LAYERS:
        path = folder / f"compression-{k}" / "valid.npz"
        if not path.exists():
            print(f"{path} is missing: left out")
            continue
        with np.load(path) as arrays:
            assert arrays["ids"].tolist() == list(valid.ids)
            answers[f"single_a:{k} layers"] = Targets(*(arrays[n][None] for n in Targets._fields))
    answers["single_a:word vectors"] = word_vectors(corpus, goal)
    without_test = corpus.take(np.flatnonzero(corpus.split != "test"))
    rest = goal.take(np.flatnonzero(corpus.split != "test"))
    answers["tfidf:full"] = bag_of_words.learn(without_test, rest).predict(valid)
    plain, usual = constants(corpus, goal, len(valid))
    answers["constant:full"] = plain
    store("frontier", answers, known, valid.groups, weights, usual, "valid", corpus.checksums)


def word_vectors(corpus, goal: Targets) -> Targets:
    """The mean of MiniLM's word vectors, trained with DyFuLM's heads; its best epoch on valid."""
    torch.manual_seed(0)
    encoder, tokenizer = load_encoder(made.named("minilm", []))
    rows = [corpus.rows(split) for split in ("train", "valid")]
    ids = [[torch.tensor(x) for x in tokenizer([corpus.text[i] for i in part], truncation=True,
            max_length=128)["input_ids"]] for part in rows]  # fmt: skip
    vectors = encoder.get_input_embeddings().weight.detach()
    bag = nn.EmbeddingBag(*vectors.shape, mode="mean", _weight=vectors.clone())
    heads = DyFuLM((384, 384), (1, 1), layer_fusion="last", gate="a")
    heads.reset([np.random.default_rng(0)])
    weigh = weighting("uncertainty")
    optimizer = torch.optim.AdamW([*bag.parameters(), *heads.parameters(), *weigh.parameters()],
                                  lr=RATE)  # fmt: skip
    known = [Tensors(*(torch.as_tensor(x[part])[None] for x in goal)) for part in rows]
    best = (-1.0, None)

    def output(some):
        starts = torch.tensor([0, *np.cumsum([len(x) for x in some])[:-1]])
        return heads(bag(torch.cat(some), starts)[None, :, None, None], None)

    for _ in range(EPOCHS):
        for part in torch.randperm(len(ids[0])).split(64):
            y = Tensors(*(x[:, part] for x in known[0]))
            loss = weigh(task_losses(output([ids[0][i] for i in part]), y)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.inference_mode():
            y = output(ids[1])
        found = Targets(*(x.numpy() for x in (y.coarse.argmax(-1), y.fine.argmax(-1), y.intensity)))
        right = np.mean(found.coarse == known[1].coarse.numpy())
        right += np.mean(found.fine == known[1].fine.numpy())
        best = max(best, (right, found), key=lambda entry: entry[0])
    return best[1]


def constants(corpus, goal: Targets, n: int) -> list[Targets]:
    """The best constants for n reviews, from the training split: plain, under natural shares."""
    rows = corpus.rows("train")
    weights = natural(corpus.take(rows))
    return [constant(goal.take(rows), n, w) for w in (None, weights)]


def store(
    kind: str, answers: dict[str, Targets], known: Targets, groups, weights, usual, split, checksums
) -> None:
    """Rows and paired tests of the three layers against every other answer.

    usual: the best constant under natural shares, which is another one.
    """
    place = {"notebook": f"{NOTEBOOK}-{kind}", "dataset": "hotel", "split": split}
    rows, named = [], {}
    for name, answer in answers.items():
        model, _, variant = name.partition(":")
        named[name.removesuffix(":full")] = answer
        best = usual if model == "constant" else None
        rows += results.rows(answer, known, groups, weights=weights, natural=best, model=model,
                             variant=variant, **place)  # fmt: skip
    leading = "single_a:3 layers"
    pairs = [(leading, other) for other in named if other not in (leading, "constant")]
    tests = results.comparisons(named, pairs, known, groups, weights=weights, variant="full",
                                **place)  # fmt: skip
    results.save(rows, RUN, place["notebook"], comparisons=tests, parameters={"seed": 0},
                 checksums=dict(checksums))  # fmt: skip
    wide = pd.DataFrame(rows).pivot(index=["model", "variant"], columns="metric", values="mean")
    print(wide[["acc_coarse", "acc_fine", "mae"]].round(4).to_string())


def read_test(reviews: int) -> None:
    """Rows of the test split by the kept model, and its reliability before and after cooling.

    reviews: only so many of the split, drawn at random; 0: all.
    """
    model, corpus = kept.load(), load("hotel")
    utterances = model.card["trained"]["utterances"]
    seen = first(corpus, utterances)
    test = corpus.take(corpus.rows("test")).sample(reviews)
    known, weights = targets(test), natural(test)
    start = time.process_time()
    reading = model.read(test.text)
    print(f"{len(test) / (time.process_time() - start):.1f} reviews a second of CPU")
    answer = Targets(reading.coarse.argmax(1)[None], reading.fine.argmax(1)[None],
                     reading.intensity[None])  # fmt: skip
    goal = targets(seen)
    plain, usual = constants(seen, goal, len(test))
    answers = {"single_a:3 layers": answer,
               "tfidf:full": bag_of_words.learn(seen, goal).predict(test),
               "constant:full": plain}  # fmt: skip
    store("kept", answers, known, test.groups, weights, usual, "test", corpus.checksums)
    lines = []
    for head in ("coarse", "fine"):
        p, y = getattr(reading, head).astype(float), getattr(known, head)
        raw = calibration.cooled(p, 1 / model.card["temperature"][head])
        for name, values in (("as trained", raw), ("cooled", p)):
            table = calibration.reliability(values, y)
            lines.append(table.assign(head=head, kind=name, ece=calibration.ece(values, y)))
    frame = pd.concat(lines)
    results.save_table(frame, RUN, "reliability")
    print(frame.groupby(["head", "kind"])["ece"].first().to_string())
    means = {name: float(getattr(reading, name).mean()) for name in ("cut", "unknown", "tokens")}
    about = pd.DataFrame([{"reviews": len(test), **means}])
    results.save_table(about, RUN, "read")
    print(about.to_string(index=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("cost", "frontier", "kept"))
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--reviews", type=int, default=0, help="of the test split; 0: all")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "cost":
        cost()
    else:
        frontier(given.folder) if given.what == "frontier" else read_test(given.reviews)


if __name__ == "__main__":
    main()
