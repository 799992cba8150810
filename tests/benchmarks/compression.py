"""Cost and scores of smaller readers and of the pair: the stored tables of notebook 12.

    python tests/benchmarks/compression.py cost
    python tests/benchmarks/compression.py used
    python tests/benchmarks/compression.py threads
    python tests/benchmarks/compression.py frontier FOLDER   # with compression-2, -3, ...
    python tests/benchmarks/compression.py parts FOLDER   # with compression-3, -3-last, ...
    python tests/benchmarks/compression.py taught FOLDER   # with compression-teacher, ...
    python tests/benchmarks/compression.py pupils FOLDER   # with compression-teacher, ...
    python tests/benchmarks/compression.py kept --reviews 2000
    python tests/benchmarks/compression.py again FOLDER   # with compression-5-full, -5-full-1
    python tests/benchmarks/compression.py precision --reviews 2000
    python tests/benchmarks/compression.py unknown
    python tests/benchmarks/compression.py students FOLDER   # with teacher.npz
    python tests/benchmarks/compression.py sst5 FOLDER

- `cost` needs no data, because reviews are random tokens. Every reader runs in each round. The
  measures are CPU time of the process, and its ratio to that of the pair in the same round.
- `used` compares the pair with five layers in both precisions, each at the tokens that it reads.
- `threads` compares reviews a second on two threads and on one, in the same round, with the gain of
  a bare matrix product. It counts wall time, so nothing else should run on the machine.
- `frontier` scores the validation split. It reads what `python -m mmlib.finetune
  papermill_runs/finetune/compression-K.yaml` wrote into FOLDER/compression-K (seed S, by `--seed
  S`, into FOLDER/compression-K-S). It adds word vectors alone and a bag of words, both learnt from
  the same reviews.
- `parts` scores the validation split, too: three layers with and without DyFuLM's layer fusion and
  guidance, from the same folders.
- `taught` scores the validation split: three and six layers with and without the fine-tuned pair in
  FOLDER/compression-teacher as teacher, and that pair.
- `pupils` does the same for students of all reviews. Three layers (compression-3-all, ...) have
  compression-teacher as teacher, five (compression-5-full, ...) the pair at 384 tokens in
  FOLDER/dyfulm0. It also compares every student with both pairs. What is not trained is left out.
- `kept` scores the test split with the model in mmlib/dyfulm/weights.
- `again` scores the test split with every seed of the kept model's training in FOLDER, before the
  vocabulary is pruned and the weights are rounded, and compares them with the pair in
  FOLDER/dyfulm0.
- `precision` scores the kept model in float32, in bfloat16 and with 8-bit weights.
- `unknown` counts the texts in which the kept model does not know many words: in the test split of
  hotel reviews, in that of SST-5, and in restaurant reviews of each language.
- `students` trains MiniLM's first layers on SST-5. Each depth is trained with and without the
  teacher, whose soft targets `python -m mmlib.finetune.teacher` wrote into FOLDER. Students that
  are finished are not trained again.
- `sst5` scores them.
"""

import argparse
import copy
import io
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import torch
from torch import nn

from mmlib.data import SPLITS, Corpus, load
from mmlib.data.corpus import first
from mmlib.data.readers.reviews import natural
from mmlib.data.targets import Targets, constant, targets
from mmlib.dyfulm import bag_of_words, frozen, kept, score, tune
from mmlib.dyfulm.losses import Targets as Tensors
from mmlib.dyfulm.losses import task_losses, weighting
from mmlib.dyfulm.model import DyFuLM
from mmlib.files import RUNS
from mmlib.finetune import checkpoint, pair
from mmlib.finetune.config import Config, read_config
from mmlib.finetune.distillation import FILE
from mmlib.finetune.run import finetune
from mmlib.scores import calibration, results, stats
from mmlib.scores.two_classes import Parts
from mmlib.text import made
from mmlib.text.encoder import load as load_encoder

RUN, NOTEBOOK = "compression-hotel", "compression"
LAYERS, LENGTHS, ROUNDS, BATCH = (2, 3, 4, 5, 6), (32, 128, 384), 9, 8
READ = {"pair": 384, "5 layers": 256}  # tokens that the pair and the kept model read at most
PARTS = {  # variant -> name of its configuration; the last has neither layer fusion nor guidance
    "3 layers, DyFuLM": "compression-3",
    "3 layers, no layer fusion": "compression-3-last",
    "3 layers, no guidance": "compression-3-no-guidance",
    "3 layers, plain": "compression-3-plain",
}
AGAIN = "compression-5-full"  # the training of the kept model
PAIR, LONG = "dyfulm:teacher", "dyfulm:teacher, 384 tokens"
FEW = {f"single_a:{k} layers": f"compression-{k}" for k in (3, 6)}  # 8,000 reviews
ALL = {"single_a:3 layers": "compression-3-all", "single_a:5 layers": AGAIN}  # all reviews
DEEP = {**{f"{k} layers": f"compression-{k}" for k in (2, 3, 4, 6)},
        "6 layers, half the weights": "compression-6-half"}  # fmt: skip
CHUNK = 50  # texts that one model reads before the next one reads them
EPOCHS, RATE = 3, 3e-3  # of the word vectors
DISTILLED = "compression-sst5"  # name of the run and of its configuration
DEPTHS, SEEDS, TEACHER = (3, 2, 6, 4), 1, ("minilm", "mpnet")
TAUGHT = {"": "alone", " distilled": "taught"}  # end of a variant -> of its folder


# Cost of a reader


def readers() -> dict[str, pair.Pair]:
    """Readers under DyFuLM: the pair of the stored run `hotel`, and MiniLM's first layers alone."""
    names = {"pair": ["minilm", "carried"], **{f"{k} layers": [f"minilm:{k}"] for k in LAYERS}}
    share = {"6 layers, half the weights": 0.5}
    models = {}
    for name, encoders in (names | {name: ["minilm"] for name in share}).items():
        folders = [str(made.named(encoder, [])) for encoder in encoders]
        models[name] = pair.build(Config(folders, low_rank=share.get(name, 1.0)))[0].eval()
    return models


def batch(model: pair.Pair, b: int, t: int) -> pair.Batch:
    """A batch of b texts of t random tokens for every encoder of a model."""
    ids = torch.randint(1000, 20000, (b, t), generator=torch.Generator().manual_seed(0))
    n = len(model.encoders)
    ones = torch.ones(b, t, dtype=torch.long)
    return pair.Batch(np.arange(b), (ids,) * n, (ones,) * n, None, ones.bool())


@torch.inference_mode()
def cost() -> None:
    """Print for each reader and length: CPU ms of one review, reviews per CPU second, ratios."""
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


@torch.inference_mode()
def used() -> None:
    """A line for each reader, precision and length of a review: the pair and five layers.

    Each reads at most the tokens in `READ`. Ratios are to the pair in float32, in the same round.
    """
    models, seconds = {}, {}
    for name, model in readers().items():
        if name in READ:
            models[name, "float32"] = model
            models[name, "bfloat16"] = copy.deepcopy(model)
            models[name, "bfloat16"].encoders.to(torch.bfloat16)
    for _ in range(ROUNDS):
        for (name, precision), model in models.items():
            for t in LENGTHS:
                some = seconds.setdefault((name, precision, t), [])
                some.append(cpu_seconds(model, batch(model, 1, min(t, READ[name]))))
    lines = []
    for (name, precision, t), some in seconds.items():
        ratio = np.array(seconds["pair", "float32", t]) / some
        numbers = {"ms_median": 1000 * np.median(some), "ms_p95": 1000 * np.quantile(some, 0.95)}
        numbers |= {"times_faster": np.median(ratio), "least": ratio.min(), "most": ratio.max()}
        numbers = {key: round(float(number), 2) for key, number in numbers.items()}
        place = {"reader": name, "precision": precision, "tokens": t, "read": min(t, READ[name])}
        lines.append(place | numbers)
    frame = pd.DataFrame(lines)
    print(frame.to_string(index=False))
    results.save_table(frame, RUN, "used")


@torch.inference_mode()
def threads(t: int = 128) -> None:
    """A line a reader: how many times more reviews two threads read than one, in batches."""
    square = torch.rand(1536, 1536)
    tasks = {name: (model, batch(model, BATCH, t)) for name, model in readers().items()}
    tasks["matrix product"] = (torch.mm, square, square)
    gains = {name: [] for name in tasks}
    for _ in range(ROUNDS):
        for name, task in tasks.items():
            gains[name].append(wall_seconds(1, *task) / wall_seconds(2, *task))
    lines = [{"reader": name, "tokens": t, "gain_median": round(float(np.median(values)), 2),
              "gain_least": round(min(values), 2), "gain_most": round(max(values), 2)}
             for name, values in gains.items()]  # fmt: skip
    frame = pd.DataFrame(lines)
    print(frame.to_string(index=False))
    results.save_table(frame, RUN, "threads")


def wall_seconds(n: int, task, *given) -> float:
    """Wall time of one call on n threads, after one that does not count."""
    torch.set_num_threads(n)
    task(*given)
    start = time.perf_counter()
    task(*given)
    return time.perf_counter() - start


def cpu_seconds(model: pair.Pair, texts: pair.Batch) -> float:
    """CPU seconds of one call, after one call that is not measured."""
    model(texts)
    start = time.process_time()
    model(texts)
    return time.process_time() - start


# Scores of a reader


def frontier(folder: Path) -> None:
    """Store validation scores of all readers that were trained on the same first reviews."""
    config = read_config(folder / "compression-3" / "config.yaml")
    corpus = first(load(config.dataset), config.utterances)
    goal = targets(corpus, config.intensity)
    valid = corpus.take(corpus.rows("valid"))
    known, weights = goal.take(corpus.rows("valid")), natural(valid)
    answers, trained = {}, {}
    for variant, name in DEEP.items():
        if runs := seeds_of(folder, name):
            answers[f"single_a:{variant}"] = members(runs, "valid", list(valid.ids))
            trained |= {run.name: origin(run) for run in runs}
        else:
            print(f"{folder / name} is missing: left out")
    vectors = word_vectors(corpus, goal)["valid"]  # one seed: paired as a model without any
    answers["single_a:word vectors"] = Targets(*(x[0] for x in vectors))
    without_test = corpus.take(np.flatnonzero(corpus.split != "test"))
    rest = goal.take(np.flatnonzero(corpus.split != "test"))
    answers["tfidf:full"] = bag_of_words.learn(without_test, rest).predict(valid)
    plain, usual = constants(corpus, goal, len(valid))
    answers["constant:full"] = plain
    place = ("frontier", "valid", valid.groups, corpus.checksums)
    store(*place, answers, against_all(answers), known, weights, usual, trained=trained)


def parts(folder: Path) -> None:
    """Rows of the validation split: three layers, with and without DyFuLM's parts, and seeds."""
    names = {f"single_a:{variant}": name for variant, name in PARTS.items()}
    whole, *others = names
    store_valid("parts", folder, names, [(whole, other) for other in others])


def taught(folder: Path) -> None:
    """Rows of the validation split: students with and without their teacher, and the teacher."""
    helped = [f"{name} distilled" for name in FEW]
    pairs = [*zip(helped, FEW, strict=True), *((name, PAIR) for name in helped)]
    store_valid("taught", folder, with_taught(FEW) | {PAIR: "compression-teacher"}, pairs)


def pupils(folder: Path) -> None:
    """The same for students of all reviews, and every student against each teacher."""
    names = with_taught(ALL) | {PAIR: "compression-teacher", LONG: "dyfulm0"}
    pairs = [(f"{name} distilled", name) for name in ALL]
    pairs += [(name, teacher) for teacher in (PAIR, LONG) for name in with_taught(ALL)]
    store_valid("pupils", folder, names, pairs)


def with_taught(students: Mapping[str, str]) -> dict[str, str]:
    """Configurations of students, and of the same students with a teacher."""
    return {**students, **{f"{name} distilled": f"{x}-taught" for name, x in students.items()}}


def store_valid(kind: str, folder: Path, names: Mapping[str, str], pairs: list) -> None:
    """Store what the finished runs of some configurations predict of all validation reviews."""
    corpus = load("hotel")
    rows = corpus.rows("valid")
    valid, known = corpus.take(rows), targets(corpus).take(rows)
    runs = {variant: seeds_of(folder, name) for variant, name in names.items()}
    runs = {variant: some for variant, some in runs.items() if some}
    pairs = [pair for pair in pairs if set(pair) <= set(runs)]
    answers = {variant: members(some, "valid", list(valid.ids)) for variant, some in runs.items()}
    for variant, some in runs.items():
        if len(some) == 1:  # paired as a model without seeds
            answers[variant] = Targets(*(x[0] for x in answers[variant]))
    trained = {run.name: origin(run) for some in runs.values() for run in some}
    store(kind, "valid", valid.groups, corpus.checksums, answers, pairs, known, natural(valid),
          trained=trained)  # fmt: skip


def seeds_of(folder: Path, name: str) -> list[Path]:
    """The finished runs of a configuration: seed 0 in `name`, seed S in `name`-S."""
    runs = [folder / name, *(folder / f"{name}-{seed}" for seed in range(1, 10))]
    runs = [run for run in runs if (run / "valid.npz").exists()]
    print(f"{name}: {len(runs)} seeds")
    return runs


def origin(run: Path) -> dict[str, object]:
    """Where a run was trained."""
    return {key: checkpoint.load_origin(run)[key] for key in ("commit", "dirty", "device")}


def word_vectors(corpus, goal: Targets) -> dict[str, Targets]:
    """Predictions for "valid" and "test" from the mean of MiniLM's word vectors.

    The vectors are trained with DyFuLM's heads; the best epoch on "valid" is taken.
    """
    torch.manual_seed(0)
    encoder, tokenizer = load_encoder(made.named("minilm", []))
    rows = [corpus.rows(split) for split in SPLITS]
    ids = [[torch.tensor(x) for x in tokenizer([corpus.text[i] for i in part], truncation=True,
            max_length=128)["input_ids"]] for part in rows]  # fmt: skip
    vectors = encoder.get_input_embeddings().weight.detach()
    bag = nn.EmbeddingBag(*vectors.shape, mode="mean", _weight=vectors.clone())
    heads = DyFuLM((384, 384), (1, 1), layer_fusion="last", gate="a")
    heads.reset([np.random.default_rng(0)])
    weigh = weighting("uncertainty")
    optimizer = torch.optim.AdamW([*bag.parameters(), *heads.parameters(), *weigh.parameters()],
                                  lr=RATE)  # fmt: skip
    known = [Tensors(*(torch.as_tensor(x[part])[None] for x in goal)) for part in rows[:2]]
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
        found = {}
        for split, some in zip(SPLITS[1:], ids[1:], strict=True):
            with torch.inference_mode():
                y = output(some)
            classes = y.coarse.argmax(-1), y.fine.argmax(-1), y.intensity
            found[split] = Targets(*(x.numpy() for x in classes))
        right = np.mean(found["valid"].coarse == known[1].coarse.numpy())
        right += np.mean(found["valid"].fine == known[1].fine.numpy())
        best = max(best, (right, found), key=lambda entry: entry[0])
    return best[1]


def constants(corpus, goal: Targets, n: int) -> list[Targets]:
    """Best constants of the training split, for n reviews: plain, and under natural shares."""
    rows = corpus.rows("train")
    weights = natural(corpus.take(rows))
    return [constant(goal.take(rows), n, w) for w in (None, weights)]


def against_all(
    answers: Mapping[str, Targets], leading: str = "single_a:3 layers"
) -> list[tuple[str, str]]:
    """Pairs to test: `leading` with every other answer except the constant."""
    return [(leading, name) for name in answers if name not in (leading, "constant:full")]


def store(
    kind: str,
    split: str,
    groups: Iterable[str],
    checksums: Mapping[str, str],
    answers: Mapping[str, Targets],
    pairs: Iterable[tuple[str, str]],
    known: Targets,
    weights: np.ndarray | None = None,
    usual: Targets | None = None,
    run: str = RUN,
    **about: object,
) -> None:
    """Store and print rows of all answers, named `model:variant`, and paired tests of `pairs`.

    usual: the best constant under natural shares, which differs from the plain one. about: facts
    for the provenance.
    """
    dataset = run.partition("-")[2]
    place = {"notebook": f"{NOTEBOOK}-{kind}", "dataset": dataset, "split": split}
    rows = []
    for name, answer in answers.items():
        model, _, variant = name.partition(":")
        best = usual if model == "constant" else None
        rows += results.rows(answer, known, groups, weights=weights, natural=best, model=model,
                             variant=variant, **place)  # fmt: skip
    named = {name.removesuffix(":full"): answer for name, answer in answers.items()}
    pairs = [tuple(name.removesuffix(":full") for name in pair) for pair in pairs]
    tests = results.comparisons(named, pairs, known, groups, weights=weights, variant="full",
                                **place)  # fmt: skip
    keep(run, kind, rows, tests, checksums, **about)
    wide = pd.DataFrame(rows).pivot(index=["model", "variant"], columns="metric", values="mean")
    print(wide[["acc_coarse", "acc_fine", "mae"]].round(4).to_string())
    print(pd.DataFrame(tests)[["a", "b", "metric", "diff", "ci_low", "ci_high", "p_holm"]])


def keep(run: str, kind: str, rows, tests, checksums: Mapping[str, str], **about: object) -> None:
    """Store rows and tests, with the command that made them: of this file, or about["command"]."""
    what = {
        "frontier": "frontier FOLDER",
        "parts": "parts FOLDER",
        "taught": "taught FOLDER",
        "again": "again FOLDER",
        "valid": "sst5 FOLDER",
        "test": "sst5 FOLDER",
    }
    command = f"python tests/benchmarks/compression.py {what.get(kind, kind)}"
    command = about.pop("command", command)
    results.save(rows, run, f"{NOTEBOOK}-{kind}", comparisons=tests,
                 parameters={"seed": 0, **about}, checksums=dict(checksums),
                 trained={"command": command})  # fmt: skip


def read_test(reviews: int) -> None:
    """Store test scores of the kept model, and its reliability with and without its temperature.

    reviews: how many of the split, drawn at random; 0: all.
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
    answers = {name_of(model): answer,
               "tfidf:full": bag_of_words.learn(seen, goal).predict(test),
               "constant:full": plain}  # fmt: skip
    place = ("kept", "test", test.groups, corpus.checksums)
    pairs = against_all(answers, name_of(model))
    store(*place, answers, pairs, known, weights, usual, reviews=len(test))
    lines, errors, gaps = [], [], []
    for head in ("coarse", "fine"):
        p, y = getattr(reading, head).astype(float), getattr(known, head)
        raw = calibration.scaled(p, 1 / model.card["temperature"][head])
        for name, values in (("as trained", raw), ("scaled", p)):
            lines.append(calibration.reliability(values, y).assign(head=head, kind=name))
        found = {"as trained": raw, "scaled": p}
        found = {kind: calibration.ece(values, y, test.groups) for kind, values in found.items()}
        errors += [error_line(head, kind, one) for kind, one in found.items()]
        gaps.append({"head": head, **found["scaled"].minus(found["as trained"])._asdict()})
    gaps = pd.DataFrame(gaps).assign(p_holm=stats.holm([gap["p"] for gap in gaps]))
    tables = {"reliability": pd.concat(lines), "calibration": pd.DataFrame(errors)}
    for name, table in {**tables, "calibration_gaps": gaps}.items():
        results.save_table(table, RUN, name)
        print(table.to_string(index=False))
    means = {name: float(getattr(reading, name).mean()) for name in ("cut", "unknown", "tokens")}
    about = pd.DataFrame([{"reviews": len(test), **means}])
    results.save_table(about, RUN, "read")
    print(about.to_string(index=False))


def error_line(head: str, kind: str, error: Parts) -> dict[str, object]:
    """A calibration error with its interval over hotels."""
    low, high = error.interval()
    bounds = {"ece": float(error.scores[0]), "ci_low": max(low, 0.0), "ci_high": high}
    return {"head": head, "kind": kind, **bounds}


def again(folder: Path) -> None:
    """Store test scores of all seeds of the kept model's training, and of the pair at 384 tokens.

    Both kinds of model are tested against each other, and the seeds against the bag of words, whose
    rows are in "compression-kept". The pair is left out if FOLDER lacks it.
    """
    corpus = load("hotel")
    goal, rows = targets(corpus), corpus.rows("test")
    test, known, runs = corpus.take(rows), goal.take(rows), seeds_of(folder, AGAIN)
    leading = f"{name_of(kept.load())}, {len(runs)} seeds"
    answers = {leading: members(runs, "test", list(test.ids))}  # (s, n) each
    teachers = seeds_of(folder, "dyfulm0")[:1]
    for run in teachers:
        answers[LONG] = Targets(*(x[0] for x in members([run], "test", list(test.ids))))
    given = {"notebook": f"{NOTEBOOK}-again", "dataset": "hotel", "split": "test",
             "weights": natural(test)}  # fmt: skip
    new = []
    for name, answer in answers.items():
        model, _, variant = name.partition(":")
        new += results.rows(answer, known, test.groups, model=model, variant=variant, **given)
    answers["tfidf"] = bag_of_words.learn(corpus, goal).predict(test)
    pairs = against_all(answers, leading)
    tests = results.comparisons(answers, pairs, known, test.groups, variant="full", **given)
    keep(RUN, "again", new, tests, corpus.checksums,
         trained={run.name: origin(run) for run in [*runs, *teachers]})  # fmt: skip
    print(pd.DataFrame(new).drop(columns=["per_seed", "notebook", "dataset"]))
    print(pd.DataFrame(tests)[["b", "metric", "diff", "ci_low", "ci_high", "p_holm"]])


def name_of(model: kept.Kept) -> str:
    """Model and variant of a kept model: "single_a:5 layers", say."""
    return f"single_a:{model.card['encoder']['num_hidden_layers']} layers"


def unknown() -> None:
    """Print in what share of readable texts more words are unknown than the kept model allows."""
    model, lines = kept.load(), []
    hotel, films, places = (load(name) for name in ("hotel", "sst5", "reviews_19lang"))
    texts = {c.name: [c.text[i] for i in c.rows("test")] for c in (hotel, films)}
    for language in np.unique(spoken := places.annotations["language"]):
        texts[language] = [places.text[i] for i in np.flatnonzero(spoken == language)]
    for name, some in texts.items():
        read = [text for text in some if not score.why_not(text)]
        encoded = model.tokenizer.encode_batch(read)
        shares = np.array([model.unknown(*pair) for pair in zip(read, encoded, strict=True)])
        over = float(np.mean(shares > score.MOST_UNKNOWN)) if read else np.nan
        counts = {"all": len(some), "readable": len(read)}
        lines.append({"texts": name, **counts, "over": round(over, 4)})
    print(pd.DataFrame(lines).to_string(index=False))


# Fewer bits


def precision(reviews: int) -> None:
    """Store one line per precision: scores, size and speed of the kept model in fewer bits."""
    model, corpus = kept.load(), load("hotel")
    test = corpus.take(corpus.rows("test")).sample(reviews)
    models = {name: model.in_precision(name) for name in kept.PRECISIONS}
    sizes = {name: {"mb": megabytes(one.student)} for name, one in models.items()}
    store_in_turn("precision", "precision", models, test, "test", sizes)


def store_in_turn(
    kind: str,
    column: str,
    models: Mapping[str, kept.Kept],
    texts: Corpus,
    split: str,
    more: Mapping[str, dict] = MappingProxyType({}),
    **about: object,
) -> None:
    """Store a line a model: scores and speed of the kept model, and its tests against "float32".

    All models read each part of the texts in turn, so that their times come from the same minutes.
    `times_faster` is the median over parts of the ratio of CPU times. column: the table's name for
    a model. more: further values of its line. about: facts for the provenance.
    """
    known = targets(texts)
    readings, seconds = ({name: [] for name in models} for _ in range(2))
    for at in range(0, len(texts), CHUNK):
        for name, one in models.items():
            start = time.process_time()
            readings[name].append(one.read(texts.text[at : at + CHUNK]))
            seconds[name].append(time.process_time() - start)
    leading = name_of(models["float32"])
    answers = {f"{leading} {name}": joined(parts) for name, parts in readings.items()}
    full, *short = answers
    place = {"notebook": f"{NOTEBOOK}-{kind}", "dataset": "hotel", "split": split}
    pairs = [(name, full) for name in short]
    tests = results.comparisons(answers, pairs, known, texts.groups, variant="full", **place)
    keep(RUN, kind, [], tests, texts.checksums, reviews=len(texts), **about)
    frame = pd.DataFrame([
        {column: name, "reviews": len(texts), **more.get(name, {}),
         "times_faster": round(float(np.median(np.array(seconds["float32"]) / seconds[name])), 2),
         **scores_of(answer, answers[full], known)}
        for name, answer in zip(models, answers.values(), strict=True)
    ])  # fmt: skip
    results.save_table(frame, RUN, kind)
    print(frame.to_string(index=False))
    print(pd.DataFrame(tests)[["a", "metric", "diff", "ci_low", "ci_high", "p_holm"]])


def joined(parts: list[kept.Reading]) -> Targets:
    """Predictions of all parts, with an axis of one seed."""
    coarse, fine, intensity = (np.concatenate(x) for x in list(zip(*parts, strict=True))[:3])
    return Targets(coarse.argmax(1)[None], fine.argmax(1)[None], intensity[None])


def megabytes(student: nn.Module) -> float:
    """Megabytes of the weights on disk, as torch saves them."""
    file = io.BytesIO()
    torch.save(student.state_dict(), file)
    return round(file.tell() / 1e6, 1)


def scores_of(answer: Targets, full: Targets, known: Targets) -> dict[str, float]:
    """Scores of an answer, and the shares of texts with the same classes as in `full`."""
    return {
        "acc_coarse": round(float(np.mean(answer.coarse == known.coarse)), 4),
        "acc_fine": round(float(np.mean(answer.fine == known.fine)), 4),
        "mae": round(float(np.abs(answer.intensity - known.intensity).mean()), 4),
        "same_coarse": round(float(np.mean(answer.coarse == full.coarse)), 4),
        "same_fine": round(float(np.mean(answer.fine == full.fine)), 4),
    }


# Distillation from a teacher


def students(folder: Path) -> None:
    """Train every depth and seed, with and without the teacher, except where that is finished."""
    base = read_config(RUNS / "finetune" / f"{DISTILLED}.yaml")
    corpus = load(base.dataset)
    for seed in range(SEEDS):
        for k in DEPTHS:
            for ending in TAUGHT.values():
                into = folder / f"{k}-{ending}-{seed}"
                if not (into / checkpoint.ORIGIN).exists():
                    teacher = str(folder / FILE) if ending == "taught" else ""
                    config = replace(base, encoders=[f"minilm:{k}"], seed=seed, teacher=teacher)
                    finetune(config, into, corpus)
                    print(into.name, [x for x in checkpoint.read_log(into) if "valid" in x][-1])


def distilled(folder: Path) -> None:
    """Store validation and test scores on SST-5, and tests of with minus without the teacher."""
    corpus = load("sst5")
    goal, variants = targets(corpus), {}
    for k in sorted(DEPTHS):
        for variant, ending in TAUGHT.items():
            runs = [folder / f"{k}-{ending}-{seed}" for seed in range(SEEDS)]
            if all((run / checkpoint.ORIGIN).exists() for run in runs):
                variants[f"single_a:{k} layers{variant}"] = runs
            else:
                print(f"{k}-{ending} is not finished: left out")
    trained = {run.name: origin(run) for runs in variants.values() for run in runs}
    others = beside(corpus, goal)
    for split in ("valid", "test"):
        rows = corpus.rows(split)
        answers = {name: members(runs, split, [corpus.ids[i] for i in rows])
                   for name, runs in variants.items()} | others[split]  # fmt: skip
        pairs = [(f"{name} distilled", name) for name in answers if f"{name} distilled" in answers]
        pairs += [(pairs[-1][0], "dyfulm:teacher"), (pairs[-1][0], "tfidf:full")]
        place = (split, split, [corpus.groups[i] for i in rows], corpus.checksums)
        store(*place, answers, pairs, goal.take(rows), run=DISTILLED, trained=trained,
              teacher=TEACHER)  # fmt: skip


def members(runs: Iterable[Path], split: str, ids: list[str]) -> Targets:
    """Predictions (s, n) of a student's seeds for a split."""
    parts = []
    for run in runs:
        with np.load(run / f"{split}.npz") as arrays:
            assert arrays["ids"].tolist() == ids
            parts.append([arrays[name] for name in Targets._fields])
    return Targets(*map(np.stack, zip(*parts, strict=True)))


def beside(corpus, goal: Targets) -> dict[str, dict[str, Targets]]:
    """Predictions of teacher, word vectors, bag of words and constant for "valid" and "test"."""
    states = frozen.states(corpus, *TEACHER, max_length=64)
    fit = frozen.fit(states, goal, tune.settings("sst5", *TEACHER), range(3))
    vectors, words = word_vectors(corpus, goal), bag_of_words.learn(corpus, goal)
    answers = {}
    for split in ("valid", "test"):
        rows = corpus.rows(split)
        said = fit.predict(states.take(rows))
        coarse, fine, intensity = (x.mean(axis=0) for x in (said.p_coarse, said.p_fine,
                                   said.intensity))  # fmt: skip
        answers[split] = {
            "dyfulm:teacher": Targets(coarse.argmax(-1), fine.argmax(-1), intensity),
            "single_a:word vectors": vectors[split],
            "tfidf:full": words.predict(corpus.take(rows)),
            "constant:full": constant(goal.take(corpus.rows("train")), len(rows)),
        }
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = (cost, used, threads, precision, read_test, again, frontier, parts, taught)
    commands += (pupils, unknown, students, distilled)
    names = {"read_test": "kept", "distilled": "sst5"}
    what = {names.get(f.__name__, f.__name__): f for f in commands}
    parser.add_argument("what", choices=what)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--reviews", type=int, default=0, help="of the test split; 0: all")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what in ("cost", "used", "threads", "unknown"):
        what[given.what]()
    elif given.what in ("precision", "kept"):
        what[given.what](given.reviews)
    else:
        what[given.what](given.folder)


if __name__ == "__main__":
    main()
