"""A training run on disk: the state from which it resumes, its best weights, and its log.

Every file is written under a temporary name and renamed, so a kill leaves the previous version.
Reading runs no code: the state holds tensors, numbers and strings (`weights_only`), the weights are
safetensors, and the log has one line of JSON per step.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import load_file, save
from torch import Tensor, nn

from mmlib.files import write_whole
from mmlib.finetune.config import Config, defining, read_config

STATE, BEST, LOG, CONFIG = "state.pt", "best.safetensors", "log.jsonl", "config.yaml"
ORIGIN = "provenance.json"
RESULTS = (ORIGIN, BEST, "valid.npz", "test.npz")
RETRAIN = f"delete {STATE} beside it, if it is there, and train"
END = "python -m mmlib.finetune ends the run and writes it"


@dataclass
class Progress:
    """The progress of a run."""

    step: int = 0  # steps done
    due: bool = False  # whether the evaluation of this step is still to be done
    # lowest validation loss, its step, and the number of evaluations since then
    best: dict[str, float] = field(default_factory=lambda: dict(loss=np.inf, step=0, waited=0))
    sums: list[float] = field(default_factory=lambda: [0.0] * 3)  # of the epoch's losses over texts


PARTS = ("model", "optimizer", "weighting")  # of a state, besides configuration and progress


def save_state(folder: Path, settings: dict, progress: Progress, parts: Mapping[str, Any]) -> None:
    """Write the state that `restore` reads; parts: PARTS, each with a `state_dict`."""
    state = {"config": settings, **asdict(progress)}
    state |= {name: part.state_dict() for name, part in parts.items()}
    write_whole(folder / STATE, lambda part: torch.save(state, part))


def load_state(folder: Path) -> dict[str, Any] | None:
    """The state that `save_state` wrote, None if there is none.

    ValueError, one line, if it is damaged or from another version.
    """
    path = folder / STATE
    if not path.exists():
        return None
    how = {"map_location": "cpu", "weights_only": True}
    state = read_file(path, lambda: torch.load(path, **how), "delete the file to start anew")
    names = {"config", *PARTS, *(f.name for f in fields(Progress))}
    if not isinstance(state, dict) or set(state) != names:
        raise ValueError(
            f"{path} was written by another version of this project; use another folder, or "
            "delete the file to start anew"
        )
    return state


def read_file(path: Path, how: Callable[[], Any], remedy: str) -> Any:
    """What `how` returns; ValueError for a missing or damaged file, OSError without rights."""
    if not path.exists():
        raise ValueError(f"{path} is missing; {remedy}")
    path.open("rb").close()
    try:
        return how()
    except Exception as error:  # torch, zipfile or safetensors may raise anything for damaged bytes
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise ValueError(f"{path} needs more memory than is free; end other programs") from None
        raise ValueError(f"{path} is damaged; {remedy}") from None


def restore(folder: Path, settings: dict, parts: Mapping[str, Any]) -> Progress:
    """Load the state of a run into its parts, if there is one; returns the progress.

    ValueError, one line, as in `load_state`, or if the state is of other settings or another model.
    """
    path, state = folder / STATE, load_state(folder)
    if state is None:
        return Progress()
    usual = {**settings, **defining(Config(settings["encoders"]))}  # of what the file lacks
    for name, value in settings.items():
        if (there := state["config"].get(name, usual[name])) != value:
            raise ValueError(
                f"{path} belongs to a run with {name}={there!r}, and this one has {value!r}; use "
                "the first value, another folder, or delete the file to start anew"
            )
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
    except torch.OutOfMemoryError:
        raise
    except (KeyError, RuntimeError, TypeError, ValueError):  # each part raises its own errors
        raise ValueError(
            f"{path} belongs to another model, though the configuration is the same: an encoder's "
            "files have changed; use another folder, or delete the file to start anew"
        ) from None
    return Progress(**{f.name: state[f.name] for f in fields(Progress)})


def save_weights(folder: Path, weights: Mapping[str, Tensor]) -> None:
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    write_whole(folder / BEST, save(tensors, metadata={"format": "pt"}))


def load_weights(folder: Path, model: nn.Module) -> dict[str, Tensor]:
    """The best weights of a run, for `model`.

    ValueError, one line, if they are missing, damaged, or of a model of another shape.
    """
    path = folder / BEST
    weights = read_file(path, lambda: load_file(path), RETRAIN)
    both = model.state_dict(), weights
    here, there = ({name: tuple(x.shape) for name, x in of.items()} for of in both)
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) != there.get(name):
            raise ValueError(
                f"{path} belongs to another model: the shape of {name} is {there.get(name)} in the "
                f"file, {here.get(name)} in this model; use the configuration of its training"
            )
    return weights


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_whole(path, buffer.getvalue())


def save_origin(folder: Path, origin: Mapping[str, Any]) -> None:
    """Write `mmlib.scores.provenance.here` of the process that finished the run."""
    write_whole(folder / ORIGIN, json.dumps(origin, indent=1) + "\n")


def load_origin(folder: Path) -> dict[str, Any]:
    """Read what `save_origin` wrote; ValueError, one line, if the run is not finished."""
    path = folder / ORIGIN
    return read_file(path, lambda: json.loads(path.read_text()), END)


def finished(folder: Path, **changes: Any) -> Config:
    """The configuration of a finished run, with `changes`; ValueError if its encoders are gone."""
    load_origin(folder)
    config = read_config(folder / CONFIG, **changes)
    for encoder in map(Path, config.encoders):
        if encoder.is_absolute() and not encoder.exists():
            raise ValueError(f"{encoder} is missing; put it back, or name it in {folder / CONFIG}")
    return config


def log_line(folder: Path, line: Mapping[str, Any]) -> None:
    with (folder / LOG).open("a") as file:
        file.write(json.dumps(line) + "\n")


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; an incomplete last line is left out."""
    path = folder / LOG
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def begin(folder: Path, progress: Progress, config: Mapping[str, Any]) -> None:
    """Write the configuration, and remove log lines of steps that will be repeated.

    These are the lines after the last saved step, and its evaluation if that is due. Results of an
    earlier run, if this one begins anew, are deleted. ValueError if they are not a training's.
    """
    old = [folder / name for name in RESULTS] if progress.step == 0 else []
    if old and not (folder / LOG).exists() and any(map(Path.exists, [*old, folder / CONFIG])):
        raise ValueError(f"{folder} holds files of no training; name a new folder by --out")
    for path in filter(Path.exists, old):
        path.unlink()
    step, evaluated = progress.step, progress.step - progress.due
    lines = [x for x in read_log(folder) if x["step"] <= (evaluated if "valid" in x else step)]
    write_whole(folder / LOG, "".join(json.dumps(line) + "\n" for line in lines))
    write_whole(folder / CONFIG, yaml.safe_dump(dict(config), sort_keys=False))
