"""TF-IDF with linear models: what a pair of encoders has to beat.

Words and pairs of words weighted by how rare they are; logistic regression for the classes, ridge
for the intensity. Sees the same training split as the encoders, and one strength of the penalty is
chosen for each target on the validation split.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

from mmlib.data import Corpus, DataError
from mmlib.data.targets import Targets

STRENGTHS = (0.25, 1.0, 4.0)  # C of the logistic regressions, 1 / alpha of the ridge


@dataclass(frozen=True)
class TfIdf:
    """The vocabulary and one fitted model a target."""

    words: TfidfVectorizer
    coarse: LogisticRegression
    fine: LogisticRegression
    intensity: Ridge

    def predict(self, corpus: Corpus) -> Targets:
        """Predictions for every review, (n,) each: it has no randomness, so no seeds."""
        x = self.words.transform(corpus.text)
        intensity = self.intensity.predict(x).clip(0, 1)
        return Targets(self.coarse.predict(x), self.fine.predict(x), intensity)


def learn(corpus: Corpus, targets: Targets) -> TfIdf:
    """Train on the split "train", choose on "valid" by accuracy and R2; "test" is never read.

    targets: of all n reviews, as `mmlib.data.targets` makes them. About two minutes for 31,000
    reviews. DataError where the corpus has no text.
    """
    if corpus.text is None:
        raise DataError(f"{corpus.name} has no text for TF-IDF")
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=3, sublinear_tf=True, dtype=np.float32)
    rows = [corpus.rows(split) for split in ("train", "valid")]
    texts = [[corpus.text[i] for i in of_split] for of_split in rows]
    x = words.fit_transform(texts[0]), words.transform(texts[1])

    def best(models, target: np.ndarray):
        fitted = [model.fit(x[0], target[rows[0]]) for model in models]
        return max(fitted, key=lambda model: model.score(x[1], target[rows[1]]))

    def logistic():
        return (LogisticRegression(C=c, max_iter=300, tol=1e-3) for c in STRENGTHS)

    ridge = (Ridge(1 / c, solver="sparse_cg") for c in STRENGTHS)
    return TfIdf(
        words,
        coarse=best(logistic(), targets.coarse),
        fine=best(logistic(), targets.fine),
        intensity=best(ridge, targets.intensity),
    )
