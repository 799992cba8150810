"""Configuration of a fine-tuning run: a YAML file of names and values, checked before the start."""

from dataclasses import asdict, dataclass, fields
from math import isfinite
from pathlib import Path
from typing import Any

from mmlib.data.readers.documents import Document, named
from mmlib.data.targets import INTENSITIES
from mmlib.dyfulm import model
from mmlib.dyfulm.losses import WEIGHTINGS
from mmlib.files import refuse_unknown

CHOICES = {
    "truncation": ("end", "middle"), "intensity": INTENSITIES,
    **{name: model.CHOICES[name] for name in ("layer_fusion", "gate", "scope")},
    "weighting": tuple(WEIGHTINGS), "regression": ("l2", "huber"),
    "device": ("auto", "cpu", "cuda"), "precision": ("auto", "float32", "bfloat16"),
    "attention": ("auto", "sdpa", "eager"),
}  # fmt: skip
LEAST = {
    0: ("budget", "evaluate_every", "utterances", "seed", "weight_decay"),
    1: ("epochs", "batch", "save_every", "processes", "patience"),
    3: ("max_length",),  # one word between two special tokens
    4: ("width",),
}
# Settings that may change when a run is resumed. Dropout masks depend on them; otherwise results
# change only by rounding.
FREE_ON_RESUME = (
    "device", "processes", "budget", "save_every", "attention", "checkpointing", "compile"
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """One run. A YAML file holds the same names; `encoders` has no default."""

    encoders: list[str]  # one or two: minilm, mpnet, minilm:3, carried, small, folder or hub id
    dataset: str = "hotel"
    utterances: int = 0  # use only the first ones of each split; 0: all
    max_length: int = 128
    truncation: str = "end"  # where longer texts are cut: at the end or in the middle
    intensity: str = "label"
    # DyFuLM's switches
    layer_fusion: str = "bilstm"
    gate: str = "gate"
    guidance: bool = True
    scope: str = "utterance"
    width: int = 64  # h
    # compression
    low_rank: float = 1.0  # share of the weights that each linear layer of an encoder keeps
    # losses
    weighting: str = "uncertainty"
    regression: str = "l2"  # or "huber"; of the intensity
    class_weights: bool = False  # weigh a class by n / (k n_k)
    # distillation: see `mmlib.finetune.distillation`
    teacher: str = ""  # file of soft targets, or folder with `teacher.npz`; "": labels only
    teacher_weight: float = 0.5  # of the loss against the teacher; the rest is for the labels
    temperature: float = 2.0  # softens the probabilities of teacher and student
    # training
    epochs: int = 1
    batch: int = 32  # examples per step, over all processes
    lr: float = 1e-4  # of the encoders
    head_lr: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.06  # share of the steps
    clip: float = 1.0  # largest norm of the gradients of a step
    dropout: float = 0.1  # of DyFuLM
    encoder_dropout: float = 0.0
    patience: int = 2  # evaluations without a lower validation loss, then the run stops
    evaluate_every: int = 0  # steps; 0: at the end of each epoch only
    save_every: int = 200  # steps
    seed: int = 0
    # hardware and precision
    device: str = "auto"  # auto, cpu or cuda
    precision: str = "auto"  # auto, float32 or bfloat16
    processes: int = 1
    budget: int = 0  # tokens of one batch in memory, padding included; 0: by device
    attention: str = "auto"  # auto, sdpa or eager
    checkpointing: bool = False  # recompute activations in the backward pass, to save memory
    compile: bool = False  # torch.compile of the encoders

    def __post_init__(self) -> None:
        names = self.encoders
        are_names = isinstance(names, list) and all(isinstance(x, str) and x.strip() for x in names)
        if not are_names or len(names) not in (1, 2):
            raise ValueError(f"encoders={names!r} must name one or two, in a list")
        for name, choices in CHOICES.items():
            refuse_unknown(name, [getattr(self, name)], choices)
        for name, value in asdict(self).items():
            if isinstance(value, float) and not isfinite(value):
                raise ValueError(f"{name}={value!r} must be a finite number")
        for least, names in LEAST.items():
            for name in names:
                if (value := getattr(self, name)) < least:
                    raise ValueError(f"{name}={value!r} must be at least {least}")
        self._check_fractions()

    def _check_fractions(self) -> None:
        for name in ("lr", "head_lr", "clip", "temperature"):
            if not (value := getattr(self, name)) > 0:
                raise ValueError(f"{name}={value!r} must be above 0")
        for name in ("warmup", "dropout", "encoder_dropout"):
            if not 0 <= (value := getattr(self, name)) < 1:
                raise ValueError(f"{name}={value!r} must be at least 0 and below 1")
        if not 0 < self.low_rank <= 1:
            raise ValueError(f"low_rank={self.low_rank!r} must be above 0 and at most 1")
        if not 0 <= self.teacher_weight <= 1:
            raise ValueError(f"teacher_weight={self.teacher_weight!r} must be between 0 and 1")
        if self.dropout > 0.99:
            raise ValueError(f"dropout={self.dropout!r} must be at most 0.99")
        if self.width % 4:
            raise ValueError(f"width={self.width} must be a multiple of 4, for the BiLSTM")


def defining(config: Config) -> dict[str, Any]:
    """The settings that must not change when a run is resumed."""
    return {name: x for name, x in asdict(config).items() if name not in FREE_ON_RESUME}


def read_config(path: Path, **changes: Any) -> Config:
    """Read a configuration file, with some values replaced; ValueError, one line, with the file."""
    document = Document(path)
    with document:
        given = named(document.content)
        if "encoders" not in given:
            raise ValueError("write `encoders: [minilm]` at least")
        kinds = {field.name: field.type for field in fields(Config)}
        for name, value in given.items():
            document.at(name)
            refuse_unknown("name", [name], kinds)
            kind = {float: (float, int), list[str]: list}.get(kinds[name], kinds[name])
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                hint = f": write [{value}]" if kind is list else " (1e-4 is text: write 0.0001)"
                raise ValueError(f"{name} cannot be {value!r}{hint * isinstance(value, str)}")
    try:
        return Config(**{**given, **changes})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
