"""An encoder that five packages carry in parts of one zip: whole, checked, and nothing else."""

import zipfile
from hashlib import sha256

import pytest

from mmlib.files import NotWrittenError
from mmlib.text import encoder, packaged

CONTENT = {"model.safetensors": b"numbers" * 3000, "config.json": b"{}", "vocab.txt": b"a\nb\n"}


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """The parts of a small zip, installed as it were; a function that changes its content."""
    monkeypatch.setenv("MMLIB_CACHE", str(tmp_path / "cache"))
    digests = {name: sha256(data).hexdigest() for name, data in CONTENT.items()}
    monkeypatch.setattr(packaged, "FILES", digests)

    def install(content: dict[str, bytes], missing: int = 0) -> None:
        whole = tmp_path / "all.zip"
        with zipfile.ZipFile(whole, "w") as archive:
            for name, data in content.items():
                archive.writestr(f"{packaged.MODEL}/{name}", data)
            archive.writestr("../outside.txt", "no")
            archive.writestr(f"{packaged.MODEL}/evil.py", "raise SystemExit")
        raw, paths = whole.read_bytes(), {}
        size = -(-len(raw) // len(packaged.PARTS))
        for k, name in enumerate(packaged.PARTS):
            paths[name] = tmp_path / f"{name}.zip.{k}"
            paths[name].write_bytes(raw[k * size : (k + 1) * size])
        for name in packaged.PARTS[:missing]:
            paths[name] = None
        monkeypatch.setattr(packaged, "_part", paths.__getitem__)

    install(CONTENT)
    return install


def test_it_is_unpacked_once_and_holds_only_what_is_known(parts, monkeypatch, tmp_path):
    folder = packaged.mpnet()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert not (tmp_path / "outside.txt").exists() and not (tmp_path / "cache/outside.txt").exists()
    monkeypatch.setattr(packaged, "_unpack", None)  # not called again
    assert packaged.mpnet() == folder == encoder.locate("mpnet")


def test_what_a_killed_run_left_is_made_anew(parts):
    folder = packaged.mpnet()
    folder.rename(left := folder.with_name(f".{folder.name}.part"))
    (left / "vocab.txt").write_bytes(b"half")
    assert (packaged.mpnet() / "vocab.txt").read_bytes() == CONTENT["vocab.txt"]
    assert not left.exists()


@pytest.mark.parametrize("change", [{"vocab.txt": b"other"}, {"config.json": None}])
def test_other_content_is_refused_and_leaves_nothing(parts, change, tmp_path):
    parts({k: v for k, v in {**CONTENT, **change}.items() if v is not None})
    with pytest.raises(ValueError, match=r"do not hold all-mpnet-base-v2 .*install the extra"):
        packaged.mpnet()
    assert list((tmp_path / "cache" / "encoders").iterdir()) == []


def test_without_a_part_the_hub_is_asked(parts, monkeypatch):
    parts(CONTENT, missing=1)
    assert packaged.mpnet() is None
    monkeypatch.setattr(encoder, "_from_hub", lambda repo: repo)
    assert encoder.locate("mpnet") == encoder.MPNET


def test_a_full_disk_names_the_folder(parts, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packaged, "copyfileobj", full)
    with pytest.raises(NotWrittenError, match=r"mpnet-.*No space left.*MMLIB_CACHE"):
        packaged.mpnet()
