"""What people have copied still runs: the README's cells, and names as they were before."""

import subprocess
import sys

import pytest

SMALL = {'"synthetic")': '"synthetic", n=300)', "sample(1000)": "sample(200)", "range(3)": "[0]"}
DAF = """
from mmlib import features, train
from mmlib.data import load

data = features.build(load("synthetic"))  # any data set: frozen, pooled, standardised
fit = train.fit(data, train.Settings("daf"), range(3))  # three seeds at once
test = data.take(data.rows("test"))
found = fit.predict(test)  # .score (s, n), .weights (s, n, m), .opinions
print(abs(found.score - test.label).mean(axis=1))
"""
DYFULM = """
from mmlib import encoders, frozen
from mmlib.data import load
from mmlib.data.targets import targets
from mmlib.metrics import review_scores

corpus = load("synthetic_reviews").sample(1000)
goal = targets(corpus)  # .coarse, .fine, .intensity
second = encoders.named("small", [corpus.text[i] for i in corpus.rows("train")])
data = frozen.states(corpus, "minilm", second)  # pooled states of every layer of both encoders
bare = frozen.Settings(shape={"gate": "mean"})  # the average of both in the gate's place
rows = corpus.rows("test")
for settings in (frozen.Settings(), bare):
    said = frozen.fit(data, goal, settings, range(3)).predict(data.take(rows))  # .gate, .alpha_a
    print(review_scores(said, goal.take(rows))["acc_fine"])
"""


def run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("cell, lines", [(DAF, 1), (DYFULM, 2)], ids=["daf", "dyfulm"])
def test_the_readme_s_cells(cell, lines):
    for before, after in SMALL.items():
        cell = cell.replace(before, after)
    printed = run("-c", cell).splitlines()
    assert len(printed) == lines
    assert all(0 < float(line.strip("[]")) < 3 for line in printed)


def test_names_as_they_were():
    printed = run(
        "-c",
        "from mmlib import daf; print(daf.DAF.__name__)\n"
        "from mmlib import text; print(text.encode(['a b']).shape)\n"
        "from mmlib import encoders; print(encoders.named('minilm', []).name)\n"
        "from mmlib.metrics import review_scores; print(review_scores.__name__)\n"
        "from mmlib.train import Member, Settings, Streams, error, fit, noise, select, tensors\n"
        "from mmlib.loop import EPS, Member, Streams\n"
        "from mmlib.frozen import Learner, as_tensors, noise\n",
    )
    assert printed.splitlines()[:2] == ["DAF", "(1, 384)"]
    assert printed.splitlines()[-1] == "all_scores"


@pytest.mark.parametrize("module", ["tune", "runs", "media", "finetuned", "pretrain"])
def test_commands_as_they_were(module):
    assert "usage: python -m mmlib." in run("-m", f"mmlib.{module}", "--help")
