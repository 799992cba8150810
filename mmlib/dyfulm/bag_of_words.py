"""TF-IDF with linear models: the baseline that a pair of encoders has to beat.

TF-IDF of unigrams and bigrams, then the models of `mmlib.dyfulm.linear`. They are trained on the
same split as the encoders.
"""

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from mmlib.data import Corpus, DataError
from mmlib.data.targets import Targets
from mmlib.dyfulm import linear

STRENGTHS = (0.25, 1.0, 4.0)  # C of the logistic regressions, 1 / alpha of the ridge


def learn(corpus: Corpus, targets: Targets) -> linear.Linear:
    """Train on the split "train", choose on "valid" by accuracy and R2; "test" is never read.

    targets: of all n reviews, from `mmlib.data.targets`. Takes about two minutes for 31,000
    reviews. DataError if the corpus has no text.
    """
    if corpus.text is None:
        raise DataError(f"{corpus.name} has no text for TF-IDF")
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=3, sublinear_tf=True, dtype=np.float32)
    rows = [corpus.rows(split) for split in ("train", "valid")]
    texts = [[corpus.text[i] for i in of_split] for of_split in rows]
    x = words.fit_transform(texts[0]), words.transform(texts[1])
    known = [targets.take(of_split) for of_split in rows]
    return linear.choose(lambda c: words.transform(c.text), x, known, STRENGTHS, "sparse_cg")
