"""A training run on disk: its state, to go on from; its best weights; its log.

Every file is written under another name and renamed, so a kill at any moment leaves the one before.
Reading executes nothing: the state holds tensors, numbers and strings (`weights_only`), the weights
are safetensors, the log is a line of JSON a step.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mmlib.files import write_whole

STATE, BEST, LOG, CONFIG = "state.pt", "best.safetensors", "log.jsonl", "config.yaml"
ORIGIN = "provenance.json"
PARTS = ("config", "step", "due", "best", "sums", "model", "optimizer", "weighting")  # of a state


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    write_whole(folder / STATE, lambda part: torch.save(dict(state), part))


def load_state(folder: Path, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The state that `save_state` wrote, None if there is none.

    ValueError, one line, where it is damaged, no state of this version, or of a run with another
    configuration.
    """
    path = folder / STATE
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whatever torch, zipfile or the unpickler make of damaged bytes
        raise ValueError(f"{path} is damaged; delete it to start anew") from None
    if not isinstance(state, dict) or set(state) != set(PARTS):
        raise ValueError(f"{path} is no state of this version; use another folder")
    for name, value in config.items():
        if (there := state["config"].get(name)) != value:
            raise ValueError(
                f"{path} is of a run with {name}={there!r}, not {value!r}; "
                "go on with that, use another folder, or delete it to start anew"
            )
    return state


def save_weights(folder: Path, weights: Mapping[str, Tensor]) -> None:
    found = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    write_whole(folder / BEST, lambda part: save_file(found, part, metadata={"format": "pt"}))


def load_weights(folder: Path, model: nn.Module) -> dict[str, Tensor]:
    """The best weights of a run, for `model`.

    ValueError, one line, where they are missing, damaged, or of a model of another shape.
    """
    path = folder / BEST
    try:
        found = load_file(path)
    except FileNotFoundError:
        raise ValueError(f"{path} is missing; train first") from None
    except Exception:  # safetensors has an error of its own
        raise ValueError(f"{path} is damaged; train again") from None
    own = model.state_dict()
    for name in sorted(own.keys() | found.keys()):
        here, there = (tuple(one[name].shape) if name in one else None for one in (own, found))
        if here != there:
            raise ValueError(
                f"{path} is of another model: {name} is {there} there, {here} here; "
                "use the configuration that it was trained with"
            )
    return found


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    def write(part: Path) -> None:
        with part.open("wb") as file:
            np.savez_compressed(file, **arrays)

    write_whole(path, write)


def save_origin(folder: Path, origin: Mapping[str, Any]) -> None:
    """What `mmlib.scores.provenance.here` says of the process that finished the run."""
    content = json.dumps(origin, indent=1) + "\n"
    write_whole(folder / ORIGIN, lambda part: part.write_text(content))


def load_origin(folder: Path) -> dict[str, Any]:
    """What `save_origin` wrote; ValueError, one line, where the run is not finished."""
    path = folder / ORIGIN
    if not path.exists():
        raise ValueError(f"{path} is missing; python -m mmlib.finetune ends the run and writes it")
    return json.loads(path.read_text())


def log_line(folder: Path, line: Mapping[str, Any]) -> None:
    with (folder / LOG).open("a") as file:
        file.write(json.dumps(line) + "\n")


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; one that a kill cut short is left out."""
    path = folder / LOG
    lines = path.read_text().splitlines() if path.exists() else []
    whole = [line for line in lines if line.endswith("}")]
    return [json.loads(line) for line in whole]


def begin(folder: Path, step: int, due: bool, config: Mapping[str, Any]) -> None:
    """Note the configuration; forget what was logged and will be made again.

    That is what came after `step`, and its evaluation if that is due.
    """
    settings = yaml.safe_dump(dict(config), sort_keys=False)
    last = step - due
    lines = [one for one in read_log(folder) if one["step"] <= (last if "valid" in one else step)]
    kept = [json.dumps(line) + "\n" for line in lines]
    for name, content in ((CONFIG, settings), (LOG, "".join(kept))):
        write_whole(folder / name, lambda part, content=content: part.write_text(content))
