"""Small files that stand for gigabytes: one line before anything is built; honest ones are read."""

import gzip
import io
import re
import zipfile

import h5py
import numpy as np
import pandas as pd
import pytest
from test_data import RNG, csd, csd_folder, mmmo_npz, mmsa_pickle, mosi_csv
from test_reviews import reviews, written

from mmlib.data import DataError, load
from mmlib.data.readers import border


def gzip_of_200_mb(root):
    path = written(root, reviews(), "a.csv.gz")
    path.write_bytes(path.read_bytes() + 200 * gzip.compress(b"h,5,a,a\n" * 2**17))
    return path


def many_columns_and_many_short_lines(root):
    path = written(root, reviews(), "a.csv")
    path.write_text("text,stars," + ",".join(map(str, range(20_000))) + "\n" + "1\n" * 20_000)
    return path


def one_word_in_all_rows_of_a_parquet(root):
    return written(root, reviews().assign(text="word " * 500_000), "a.parquet")


def many_equal_rows_of_a_parquet(root):
    rows = pd.DataFrame({"text": 1, "stars": np.zeros(5 * 10**6, np.int8)})
    return written(root, rows, "a.parquet")


def npz_of_zeros(root):
    path = mmmo_npz(root)
    np.savez_compressed(path, audio=np.zeros((3, 100_000, 74), "f4"), label=np.ones(3))
    return path


def csd_without_its_chunks(root):
    """Six videos of a dataset below the limit, which together are above it."""
    path = csd_folder(root) / "CMU_MOSI_COVAREP.csd"
    with h5py.File(path, "w") as file:
        packed = {"chunks": (99, 2), "compression": "gzip"}
        frames = file.create_dataset("frames", (40_000, 74), "f8", **packed)
        times = file.create_dataset("times", (40_000, 2), "f8", **packed)
        for i in range(6):
            file[f"a/data/v{i}/features"], file[f"a/data/v{i}/intervals"] = frames, times
    return path


def csd_of_segments_that_share_their_frames(root):
    folder, n = csd_folder(root), 20_000
    segments = np.stack([np.zeros(n), np.full(n, 4.0)], axis=1)
    csd(folder / "CMU_MOSI_Opinion_Labels.csd", "labels", {"v0": (np.ones((n, 1)), segments)})
    return folder / "CMU_MOSI_COVAREP.csd"


BOMBS = [
    gzip_of_200_mb,
    many_columns_and_many_short_lines,
    one_word_in_all_rows_of_a_parquet,
    many_equal_rows_of_a_parquet,
    npz_of_zeros,
    csd_without_its_chunks,
    csd_of_segments_that_share_their_frames,
]


@pytest.mark.parametrize("make", BOMBS, ids=lambda make: make.__name__)
def test_a_small_file_that_stands_for_much_is_refused(tmp_path, make):
    path = make(tmp_path)
    words = rf"\A{re.escape(path.name)}: too large, .* or save it without compression\Z"
    with pytest.raises(DataError, match=words):
        load(path.parent.name, tmp_path)


def test_an_npz_that_declares_more_than_it_holds(tmp_path):
    path, header = mmmo_npz(tmp_path), io.BytesIO()
    about = {"descr": "<f4", "fortran_order": False, "shape": (10**9, 20, 74)}
    np.lib.format.write_array_header_1_0(header, about)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("audio.npy", header.getvalue() + b"\0" * 999)
    with pytest.raises(DataError, match=r"\Atrain\.npz: not a readable npz .*; fetch it again\Z"):
        load("mmmo", tmp_path)


def test_pickled_objects_in_an_npz_are_refused(tmp_path):
    path = mmmo_npz(tmp_path, lambda split, part: {**part, "audio": np.array([{}, {}, {}])})
    with pytest.raises(DataError, match=rf"\A{path.name}: .*allow_pickle"):
        load("mmmo", tmp_path)


def test_ragged_lists_are_not_padded_to_the_longest(tmp_path, monkeypatch):
    def change(data):
        for part in data.values():
            part["audio"] = [np.ones((1, 1))] * 3 + [np.ones((2 * 10**5, 1))]
        return data

    mmsa_pickle(tmp_path, change)
    monkeypatch.setattr(np, "pad", lambda *_: pytest.fail("padded"))
    monkeypatch.setattr(np, "stack", lambda rows, *_, **__: np.array(rows))
    audio = load("mosi", tmp_path, dims=(1, 35)).sequences["audio"]
    assert audio.lengths[:4].tolist() == [1, 1, 1, 2 * 10**5]


@pytest.mark.parametrize("make", [mosi_csv, mmmo_npz, mmsa_pickle, csd_folder])
def test_what_is_not_packed_is_read_however_large(tmp_path, make, monkeypatch):
    make(tmp_path)
    monkeypatch.setattr(border, "ALWAYS", 0)  # so that a small file stands for a large one
    assert len(load("mmmo" if make is mmmo_npz else "mosi", tmp_path)) > 8


def test_a_packed_table_of_much_the_same_is_read(tmp_path):
    rows = pd.concat([reviews()] * 2000).assign(review_id=range(120_000), text="Kind staff. " * 9)
    path = written(tmp_path, rows, "a.csv.gz")
    assert path.stat().st_size * 25 < len(rows.to_csv(index=False))
    assert len(load("hotel", tmp_path)) == 120_000


@pytest.mark.parametrize("kind", [".csv", ".csv.gz", ".parquet"])
def test_numbers_of_a_table_are_the_same_however_it_is_packed(tmp_path, kind):
    rows = reviews(note=RNG.normal(size=60), empty=None, when=pd.Timestamp("2020-01-01"))
    written(tmp_path, rows.rename(columns={"text": "reviews.text"}), f"a{kind}")
    corpus = load("hotel", tmp_path)
    assert corpus.text == tuple(reviews()["text"]) and corpus.label[:3].tolist() == [1, 2, 3]
