"""Tests run offline, on one thread, without a display."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "agg")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.stem.endswith("_real"):
            item.add_marker("real")
