"""Small pickles that ask for much: one line within seconds, in a process with little memory."""

import json
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from test_data import mmsa_pickle

from mmlib.data import DataError, load
from mmlib.data.readers.unpickle import load_pickle
from mmlib.files import ROOT

CASES = ROOT.parent / "shared" / "cases" / "hostile" / "make_pickles.py"


def array(shape: str, dtype: bytes) -> bytes:
    """A pickled array of that shape, a tuple in pickle's own words, without data."""
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR(K\x01"
        + shape.encode("latin1")
        + b"cnumpy\ndtype\n(X\x02\x00\x00\x00"
        + dtype
        + b"K\x00K\x01tR(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + b"\x89C\x00tb"
    )


MILLIONS = "J" + struct.pack("<i", 10**8).decode("latin1")
SHARED = b"](" + b"K\x01" * 10 + b"eq\x00" + b"".join(
    b"0](" + bytes([0x68, k]) * 10 + b"eq" + bytes([k + 1]) for k in range(9)
)  # fmt: skip
WORD = b"X" + struct.pack("<I", 10**5) + b"a" * 10**5 + b"q\x00"
HOSTILE = {
    "copies of one string": (
        WORD + b"0](" + b"c_codecs\nencode\n(h\x00X\x06\x00\x00\x00latin1tR" * 999 + b"e",
        "too large",
    ),
    "copies of one array": (
        WORD.replace(b"X", b"B", 1)
        + b"0]("
        + array("(J\xa0\x86\x01\x00t", b"i1").replace(b"C\x00tb", b"h\x00tb") * 999
        + b"e",
        "too large",
    ),
    "nested tuples as a key": (b"})" + b"\x85" * 200_000 + b"K\x01s", "keys"),
    "nested tuples in a set": (b"\x8f()" + b"\x85" * 200_000 + b"\x90", "keys"),
    "nested tuples in a frozenset": (b"()" + b"\x85" * 200_000 + b"\x91", "keys"),
    "nested lists": (b"]" * 10**5 + b"a" * (10**5 - 1), "deep"),
    "rows without frames": (array(f"({MILLIONS}K\x00K\x4at", b"f4"), "without data"),
    "strings of no width": (array(f"({MILLIONS}t", b"S0"), "without data"),
    "wide strings": (b"cnumpy\ndtype\n(X\x07\x00\x00\x00U999999tR", "dtype"),
    "shared lists": (SHARED, "elements"),
    "an attribute of a stand-in": (b"cnumpy\ndtype\n}(X\x01\x00\x00\x00aK\x01ub", "state of"),
    "an attribute by slots": (b"cnumpy\ndtype\nN}(X\x01\x00\x00\x00aK\x01u\x86b", "state of"),
    "an object": (b"cnumpy\ndtype\n)\x81", "an object"),
    "an extension": (b"\x82\x01", "an extension"),
    "bytes that are not there": (b"\x8e" + struct.pack("<Q", 2**40) + b"abc", "EOF"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_small_file_cannot_ask_for_much(tmp_path, case):
    blob, words = HOSTILE[case]
    path = tmp_path / "aligned_50.pkl"
    path.write_bytes(b"\x80\x04" + blob + b".")
    with pytest.raises(DataError, match=words) as error:
        load_pickle(path)
    assert "\n" not in str(error.value)


def test_a_place_of_the_memo_costs_nothing(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x04K\x01r" + struct.pack("<I", 2**31 - 1) + b".")
    assert load_pickle(path) == 1


def test_ordered_and_default_dicts_are_plain(tmp_path):
    from collections import OrderedDict, defaultdict

    mmsa_pickle(
        tmp_path, lambda data: OrderedDict((s, defaultdict(list, p)) for s, p in data.items())
    )
    assert len(load("mosi", tmp_path)) == 12


def test_a_page_and_a_copy_in_text_mode_are_named(tmp_path):
    path = mmsa_pickle(tmp_path, protocol=0)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    with pytest.raises(DataError, match="text mode; fetch it again in binary"):
        load("mosi", tmp_path)
    path.write_text("<!DOCTYPE html><html>Too large to scan for viruses</html>")
    with pytest.raises(DataError, match="web page"):
        load("mosi", tmp_path)


LIMITED = """
import json, os, resource, sys
from pathlib import Path
from mmlib.data import DataError, load
resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
for case in sorted(Path(sys.argv[1]).iterdir()):
    if not os.fork():
        resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
        try:
            said = len(load("mosei", case.parent / case.name))
        except DataError as error:
            said = str(error)
        except BaseException as error:
            said = repr(error), "crash"
        print(json.dumps([case.name, said]), flush=True)
        os._exit(0)
    if os.wait()[1]:
        print(json.dumps([case.name, ["died", "crash"]]), flush=True)
"""


@pytest.mark.skipif(not CASES.exists(), reason="no cases")
def test_every_hostile_case_is_read_or_refused_in_one_line(tmp_path):
    folder = tmp_path / "cases"
    subprocess.run([sys.executable, CASES, folder], check=True, capture_output=True, cwd=tmp_path)
    command = [sys.executable, "-W", "ignore", "-c", LIMITED, folder]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    lines = dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))
    assert set(lines) == {path.name for path in folder.iterdir()}
    assert lines["ok"] == 6 and not (tmp_path / "PWNED").exists()
    for case, said in lines.items():
        assert isinstance(said, int) or (isinstance(said, str) and "\n" not in said), (case, said)
    assert not np.any([isinstance(said, int) for case, said in lines.items() if "huge" in case])
