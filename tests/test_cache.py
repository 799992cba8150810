import logging
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mmlib.text.cache import Store

SETTINGS = {"encoder": "tiny", "pooling": "mean"}


def arrays(items):
    values = [[len(item), float(ord(item[0]))] for item in items]
    return {"states": np.array(values, np.float32), "tokens": np.arange(len(items))}


def filled(root):
    store = Store(SETTINGS, root)
    for items in (["a", "bb"], ["ccc"]):
        store.put(items, arrays(items))
    return store


def test_round_trip_and_what_a_key_depends_on(tmp_path):
    found = filled(tmp_path).get(["ccc", "a", "new"])
    assert set(found) == {"ccc", "a"}
    assert found["ccc"]["states"].tolist() == [3, ord("c")]
    assert found["a"]["states"].dtype == np.float32 and found["a"]["tokens"] == 0
    assert Store({**SETTINGS, "pooling": "cls"}, tmp_path).get(["a"]) == {}
    assert set(Store(dict(reversed(SETTINGS.items())), tmp_path).get(["a"])) == {"a"}


DAMAGE = {
    "bit": lambda blob, other: blob[:-1] + bytes([blob[-1] ^ 1]),
    "cut": lambda blob, other: blob[: len(blob) // 2],
    "empty": lambda blob, other: b"",
    "swapped": lambda blob, other: other,
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_noted_dropped_and_never_trusted(tmp_path, caplog, kind):
    store = filled(tmp_path)
    first, second = store.folder.glob("*.safetensors")
    first.write_bytes(DAMAGE[kind](first.read_bytes(), second.read_bytes()))
    found = store.get(["a", "bb", "ccc"])
    assert set(found) in ({"a", "bb"}, {"ccc"})
    assert [record.getMessage().count(first.name) for record in caplog.records] == [1]
    caplog.clear()
    store.put(["a", "bb", "ccc"], arrays(["a", "bb", "ccc"]))
    assert len(store.get(["a", "bb", "ccc"])) == 3 and not caplog.records


WRITER = """
import sys, numpy as np
from pathlib import Path
from mmlib.cache import Store
store = Store({}, Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for start in range(0, 300, 3):
    items = [str(i) for i in range(start, start + 5)]  # overlaps the next batch
    store.put(items, {"x": np.array([[float(i)] * 50 for i in items])})
    print(start, flush=True)
"""


def writer(root):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_processes_write_at_once(tmp_path):
    writers = [writer(tmp_path), writer(tmp_path)]
    for process in writers:
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate()[0].count("\n") for process in writers] == [100, 100]
    found = Store({}, tmp_path).get([str(i) for i in range(302)])
    assert all((found[str(i)]["x"] == i).all() for i in range(302))
    assert not list(tmp_path.rglob("*.tmp"))


def test_who_lacks_the_same_items_waits_for_them(tmp_path):
    def late() -> set[str]:
        store = Store(SETTINGS, tmp_path)
        with store.turn(["a", "bb"]):
            return set(store.get(["a", "bb"]))

    with ThreadPoolExecutor() as pool:
        with Store(SETTINGS, tmp_path).turn(["a", "bb"]):
            other = pool.submit(late)
            with Store(SETTINGS, tmp_path).turn(["a", "ccc"]):  # other items: no waiting
                filled(tmp_path)
            assert not other.done()
        assert other.result(60) == {"a", "bb"}


def test_killed_writer_leaves_whole_batches(tmp_path, caplog):
    process = writer(tmp_path)
    process.stdin.write("\n")
    process.stdin.flush()
    for _ in range(10):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    found = Store({}, tmp_path).get([str(i) for i in range(302)])
    assert len(found) >= 30 and not caplog.records
    assert all((row["x"] == float(item)).all() for item, row in found.items())


TURN = """
import sys
from pathlib import Path
from mmlib.text.cache import Store
with Store({}, Path(sys.argv[1])).turn(["a"]):
    print("ready", flush=True)
    sys.stdin.readline()
"""


def test_what_a_killed_process_left_is_removed_when_nobody_is_at_work(tmp_path):
    store = Store({}, tmp_path)
    store.folder.mkdir(parents=True)
    part = store.folder / ".x.safetensors.0123.part"
    other = subprocess.Popen(
        [sys.executable, "-c", TURN, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert other.stdout.readline() == "ready\n"
    part.write_text("half")
    with store.turn(["b"]):
        store.put(["b"], {"x": np.zeros((1, 2))})
    assert part.exists()  # the other one may be writing it
    other.kill()
    other.communicate()
    with store.turn(["b"]):
        assert not part.exists()
        (lock,) = store.folder.glob("*.lock")  # our own; the killed one's is gone
        part.write_text("half")
        with Store({}, tmp_path).turn(["c"]):
            assert part.exists() and lock.exists()
    assert set(store.get(["b"])) == {"b"}


@pytest.fixture
def full_disk():
    """Files of more than 100 bytes cannot be written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_is_noted_once_and_leaves_nothing(tmp_path, caplog, full_disk):
    with caplog.at_level(logging.WARNING):
        filled(tmp_path)
    (line,) = [record.getMessage() for record in caplog.records]
    assert str(tmp_path) in line and "File too large" in line and "None" not in line
    assert "cannot write" in line and "\n" not in line and "MMLIB_CACHE" in line
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_place_that_cannot_be_a_folder_is_noted(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    store = filled(tmp_path / "file")
    assert store.get(["a"]) == {}
    assert len(caplog.records) == 1 and "MMLIB_CACHE" in caplog.text
