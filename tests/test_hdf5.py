"""A .csd is read from its own bytes alone, and every odd one is refused in one line."""

import json

import h5py
import numpy as np
import pytest
from test_data import csd, csd_folder

from mmlib.data import DataError, load

NAME = "CMU_MOSI_COVAREP.csd"


@pytest.fixture
def folder(tmp_path):
    """A sound folder, and a file beside it that nobody asked to be read."""
    (tmp_path / "secret.bin").write_bytes(bytes(range(256)) * 20)
    csd(tmp_path / "other" / "other.csd", "COVAREP", {"v0": (np.ones((8, 74)), np.ones((8, 2)))})
    return csd_folder(tmp_path)


def external_storage(video, root):
    del video["features"]
    storage = [(str(root / "secret.bin"), 0, h5py.h5f.UNLIMITED)]
    video.create_dataset("features", (8, 74), "u1", external=storage)


def virtual(video, root):
    del video["features"]
    layout = h5py.VirtualLayout((8, 74), "f8")
    layout[:] = h5py.VirtualSource(str(root / "other" / "other.csd"), "COVAREP/data/v0/features",
                                   shape=(8, 74))  # fmt: skip
    video.create_virtual_dataset("features", layout)


def external_link(video, root):
    del video["features"]
    target = str(root / "other" / "other.csd")
    video["features"] = h5py.ExternalLink(target, "COVAREP/data/v0/features")


def soft_link_through_an_external_one(video, root):
    del video["features"]
    video.file["elsewhere"] = h5py.ExternalLink(str(root / "other" / "other.csd"), "/COVAREP")
    video["features"] = h5py.SoftLink("/elsewhere/data/v0/features")


def video_elsewhere(video, root):
    data = video.parent
    del data["v0"]
    data["v0"] = h5py.ExternalLink(str(root / "other" / "other.csd"), "COVAREP/data/v0")


def soft_links_in_a_circle(video, root):
    del video["features"]
    video["features"], video["again"] = h5py.SoftLink("again"), h5py.SoftLink("features")


def endless(video, root):
    del video["features"]
    video.create_dataset("features", (10**9, 74), "f8", chunks=(1, 74))


def group_for_dataset(video, root):
    del video["features"]
    video.create_group("features")


def dataset_for_group(video, root):
    data = video.parent
    del data["v0"]
    data["v0"] = np.ones(3)


def no_columns(video, root):
    del video["features"]
    video["features"] = np.ones((8, 0))


def references(video, root):
    del video["features"]
    video.create_dataset("features", (8, 74), h5py.ref_dtype)


REFUSED = {
    external_storage: "external storage",
    virtual: "virtual dataset",
    external_link: "external link",
    soft_link_through_an_external_one: "external link",
    video_elsewhere: "external link",
    soft_links_in_a_circle: "many links",
    endless: "too large",
    group_for_dataset: "v0/features is a group",
    dataset_for_group: "dataset where a group is expected",
    no_columns: r"v0 has features \(8, 0\)",
    references: "expected numbers or words",
}


@pytest.mark.parametrize("change", REFUSED, ids=lambda change: change.__name__)
def test_what_is_not_in_the_file_itself_is_refused_by_name(folder, change):
    with h5py.File(folder / NAME, "r+") as file:
        change(file["COVAREP/data/v0"], folder.parent)
    with pytest.raises(DataError, match=f"{NAME}: .*{REFUSED[change]}") as error:
        load("mosi", folder.parent)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["CMU_MOSI_Opinion_Labels.csd", "CMU_MOSI_TimestampedWords.csd"])
def test_links_are_refused_in_every_file(folder, name):
    with h5py.File(folder / name, "r+") as file:
        (root,) = file
        external_link(file[root]["data"]["v0"], folder.parent)
    with pytest.raises(DataError, match=f"{name}: .*external link"):
        load("mosi", folder.parent)


def test_soft_links_inside_the_file_are_followed(folder):
    expected = load("mosi", folder.parent)
    with h5py.File(folder / NAME, "r+") as file:
        file.move("COVAREP/data/v0/features", "kept/values")
        file["COVAREP/data/v0/features"] = h5py.SoftLink("/kept/values")
        file.move("COVAREP/data/v1", "kept/v1")
        file["COVAREP/data/v1"] = h5py.SoftLink("/kept/v1")
    linked = load("mosi", folder.parent).sequences["audio"]
    np.testing.assert_array_equal(linked.values, expected.sequences["audio"].values)


def test_a_frame_that_only_touches_an_interval_is_not_in_it(folder):
    """Times such as .1 + .2 pass an edge by rounding alone."""
    with h5py.File(folder / NAME, "r+") as file:
        file["COVAREP/data/v0/intervals"][3] = 1.5, 2 + 4e-6
    lengths = load("mosi", folder.parent).sequences["audio"].lengths
    assert lengths[:2].tolist() == [4, 4]


def test_videos_with_another_number_of_columns_are_named(folder):
    with h5py.File(folder / NAME, "r+") as file:
        del file["COVAREP/data/v3/features"]
        file["COVAREP/data/v3/features"] = np.ones((8, 43))
    with pytest.raises(DataError, match=r"43 in v3 .*folds"):
        load("mosi", folder.parent)


def aligned(folder, pieces):
    """The folder's files under the keys that the SDK's align writes; pieces: (start, end)."""
    for path in folder.glob("*.csd"):
        with h5py.File(path, "r+") as file:
            data = file[next(iter(file))]["data"]
            for video in list(data):
                at, features = data[video]["intervals"][()], data[video]["features"][()]
                for i, (start, end) in enumerate(pieces):
                    rows = (at[:, 0] < end) & (at[:, 1] > start)
                    data[f"{video}[{i}]/features"] = features[rows]
                    data[f"{video}[{i}]/intervals"] = at[rows].clip(start, end)
                del data[video]


def test_files_aligned_to_the_labels_are_read(folder):
    expected = load("mosi", folder.parent)
    aligned(folder, [(0, 2), (2, 4)])
    found = load("mosi", folder.parent)
    assert found.ids == expected.ids and found.groups == expected.groups
    assert found.split.tolist() == expected.split.tolist()
    lengths = found.sequences["audio"].lengths
    assert lengths.tolist() == expected.sequences["audio"].lengths.tolist()


def test_files_aligned_to_words_are_refused(folder):
    aligned(folder, [(0.1, 0.5), (2.5, 3)])
    with pytest.raises(DataError, match="aligned to single words"):
        load("mosi", folder.parent)


def test_words_of_any_length_are_read_and_numbers_are_none(folder):
    expected = load("mosi", folder.parent).text
    path = folder / "CMU_MOSI_TimestampedWords.csd"
    for kind in (h5py.string_dtype(), "f4"):
        with h5py.File(path, "r+") as file:
            for video in file["words/data"].values():
                words = video["features"][()]
                del video["features"]
                new = video.create_dataset("features", (4, 1), kind)
                new[...] = np.ones((4, 1)) if kind == "f4" else words.astype("U").astype(object)
        if kind != "f4":
            assert load("mosi", folder.parent).text == expected
    with pytest.raises(DataError, match=f"{path.name}: numbers in v0; expected words"):
        load("mosi", folder.parent)


def test_no_segment_with_words_names_the_labels(folder):
    with h5py.File(folder / "CMU_MOSI_Opinion_Labels.csd", "r+") as file:
        for video in file["Opinion Segment Labels/data"].values():
            video["intervals"][...] += 1000
    with pytest.raises(DataError, match=r"Labels\.csd: no segment with words is left .12 labelled"):
        load("mosi", folder.parent)


def test_folds_may_have_a_mark_at_the_start(folder):
    path = folder / "folds.json"
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert len(load("mosi", folder.parent)) == 12


def test_folds_may_be_json_of_anything(folder):
    for content in (3, [1], {"train": 1, "valid": 2, "test": 3}):
        (folder / "folds.json").write_text(json.dumps(content))
        with pytest.raises(DataError, match=r"folds\.json: .*expected lists"):
            load("mosi", folder.parent)
