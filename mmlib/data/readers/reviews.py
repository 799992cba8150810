"""Hotel reviews with stars, from any table whose columns can be recognised; and SST-5."""

from pathlib import Path

import numpy as np
import pandas as pd

from mmlib.data.corpus import Corpus, DataError, Scale
from mmlib.data.readers.cells import corpus_of, numbers, table, with_points
from mmlib.data.readers.texts import cleaned, columns_of, with_split

# Possible names of each column, case ignored; the first one found is used.
NAMES = {
    "text": ("text", "review", "review_text", "reviews.text"),
    "stars": ("rating", "stars", "star", "reviews.rating"),
    "hotel": ("hotel_id", "hotel_name", "hotel"),
    "id": ("review_id",),
    "split": ("split",),
}
# Booking.com's table of 515,000 reviews: praise and complaint in two columns, a score, no stars
BOOKING = ("Positive_Review", "Negative_Review", "Reviewer_Score")
NOTHING = ("", "no positive", "no negative")

# Shares of 1 to 5 stars among the 240,739 reviews from which BALANCED took 8,000 per star.
BALANCED = "hotel_40k"  # file name without suffix
NATURAL = np.array([0.036, 0.042, 0.109, 0.300, 0.512])


def read_reviews(
    path: Path,
    *,
    text: str | None = None,
    stars: str | None = None,
    hotel: str | None = None,
    seed: int = 0,
) -> Corpus:
    """Reviews with 1 to 5 stars from a csv, tsv or parquet table.

    Columns are found by their names (`NAMES`, `BOOKING`) unless `text`, `stars` and `hotel` name
    them. HTML is removed and rows with an empty cell in these columns are left out; notes count
    both. The split is the file's column `split`, else made from `seed`: 80 % train, 10 % valid,
    10 % test, by whole hotels if known (hotels of one name count as one). Groups are hotels, else
    single reviews. DataError if columns are not found, or, with the row, for stars not in 1..5.
    """
    rows, origin = _booking(path, table(path))
    columns = columns_of(path, rows, {"text": text, "stars": stars, "hotel": hotel}, NAMES)
    rows, notes = cleaned(path, rows, columns)
    rows["label"] = _stars(path, rows)
    rows = rows.rename(columns={"hotel": "group"})
    units = ("hotels", "reviews (no hotel is named)")
    return corpus_of(
        [path],
        with_split(path, rows, units, seed, notes),
        name="hotel",
        variant=", ".join((path.name, *(f"{role} {name}" for role, name in columns.items()))),
        scale=Scale("stars", 1, 5, origin),
        notes=tuple(notes),
    )


def read_sst5(path: Path) -> Corpus:
    """SST-5 as one csv (split, label5 in 0..4, text); each sentence is its own group.

    Two sentences are in both train and test, as published; the passport counts them.
    """
    rows = table(path, ["split", "label5", "text"])
    ids = [f"sst5-{i:05d}" for i in range(len(rows))]
    rows = rows.assign(id=ids, label=numbers(path, rows, ["label5"]))
    return corpus_of(
        [path], rows, name="sst5", variant=path.name, scale=Scale("five classes", 0, 4)
    )


def natural(corpus: Corpus) -> np.ndarray | None:
    """`natural_weights` of reviews that were drawn balanced (BALANCED); None for other files.

    For other files only their own shares are known. Also None if a star value does not occur.
    """
    is_balanced = any(name.partition(".")[0] == BALANCED for name in corpus.checksums)
    is_whole = len(np.unique(np.round(corpus.label))) == len(NATURAL)
    return natural_weights(corpus.label) if is_balanced and is_whole else None


def natural_weights(stars: np.ndarray) -> np.ndarray:
    """Weights (n,), mean 1, under which stars (n,) occur with their NATURAL shares.

    DataError if a star value does not occur, because no weight can compensate for that.
    """
    star = np.round(np.asarray(stars)).astype(int) - 1
    count = np.bincount(star, minlength=5)
    if not count.all():
        raise DataError(f"no review of {int(count.argmin()) + 1} stars to weigh; use more reviews")
    weights = (NATURAL / count)[star]
    return weights / weights.mean()


def _booking(path: Path, rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """A Booking.com table with `text` and `stars`, and how stars were made; others unchanged."""
    there = {name.lower(): name for name in reversed(rows.columns)}
    if not {name.lower() for name in BOOKING} <= set(there):
        return rows, ""
    columns = [name if name in rows.columns else there[name.lower()] for name in BOOKING]
    parts = (rows[name].str.strip() for name in columns[:2])
    praise, complaint = (part.mask(part.str.lower().isin(NOTHING), "") for part in parts)
    both = (praise != "") & (complaint != "")
    score = pd.Series(numbers(path, rows, columns[2:])[:, 0], index=rows.index)
    if len(bad := np.flatnonzero(score.notna() & ~score.between(2.5, 10))):
        raise DataError(
            f"{path.name}: {columns[2]} {score.iloc[bad[0]]:g} in row {bad[0] + 1} "
            f"is not in 2.5..10 ({len(bad)} such rows); correct or delete them"
        )
    stars = (1 + 4 * (score - 2.5) / 7.5).astype(object).where(score.notna(), "").astype(str)
    text = praise + np.where(both, ". ", "") + complaint
    return rows.assign(text=text, stars=stars), "1 + 4 (score - 2.5) / 7.5 of a score in 2.5..10"


def _stars(path: Path, rows: pd.DataFrame) -> np.ndarray:
    stars = pd.to_numeric(with_points(rows["stars"]), errors="coerce")
    bad = rows["stars"][~stars.between(1, 5)]
    if len(bad):
        raise DataError(
            f"{path.name}: stars {bad.iloc[0]!r} in {bad.index[0]} are no number in 1..5 "
            f"({len(bad)} such rows); correct or delete them"
        )
    return stars.to_numpy(np.float32)
