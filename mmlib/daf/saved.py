"""A trained stack on disk: its arrays as safetensors, everything else as JSON in a second file.

`daf.safetensors` holds the parameters and the scaler. `daf.json` describes them and holds their
SHA-256, so a damaged file, or two files that do not belong together, is detected. No pickle.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import torch
from safetensors.torch import load as tensors_of
from safetensors.torch import save as bytes_of

from mmlib.daf import features, fusion
from mmlib.daf.fusion import Fusion
from mmlib.daf.train import Fit
from mmlib.data import Corpus, DataError
from mmlib.files import write_whole
from mmlib.stack.vectors import Features, Scaler
from mmlib.text import encoder


@dataclass(frozen=True)
class Saved:
    """A trained stack, with the scaler and encoder that make its input from a corpus."""

    model: Fusion
    scaler: Scaler
    about: Mapping[str, object]  # the JSON file: rule, shape, dims, encoder, members, data

    def features(self, corpus: Corpus) -> Features:
        """Features of a corpus, made as in training.

        DataError if it lacks a modality, or if the encoder's files are no longer those of training.
        """
        options, known = self.about["encoder"], self.about.get("weights") or {}
        now = _files(options) if known and "text" in self.model.modalities else known
        if any(now.get(file) != digest for file, digest in known.items()):
            raise DataError(
                f"encoder {options['encoder']} is not the one of training (other SHA-256); put its "
                "files back, or train again"
            )
        return features.build(corpus, self.model.modalities, self.scaler, **self.about["encoder"])


def save(fit: Fit, data: Features, path: Path | str) -> Path:
    """Write a trained stack to `path`, name.safetensors, and name.json beside it.

    data: the features of training; `Saved.features` makes new ones the same way. Each file is
    replaced whole. ValueError for another file ending, or features of other dimensions.
    """
    path = _checked(path)
    scaled = {m: len(mean) for m, mean in fit.scaler.mean.items()}
    if not data.dims == scaled == fit.model.dims:
        raise ValueError(
            f"the model was trained on features {fit.model.dims}, the scaler is of {scaled} and "
            f"data of {data.dims}; pass features made by mmlib.daf.features.build, as trained on "
            "(a gated model, which reads a constant, cannot be saved)"
        )
    state = {name: value.cpu() for name, value in fit.model.state_dict().items()}
    for part, arrays in asdict(fit.scaler).items():  # mean, scale
        state |= {f"scaler.{part}.{m}": torch.from_numpy(v) for m, v in arrays.items()}
    numbers = bytes_of(state)
    about = _about(fit, data) | {"sha256": sha256(numbers).hexdigest()}
    text = json.dumps(about, indent=1, default=lambda x: x.item() if hasattr(x, "item") else str(x))
    write_whole(path, numbers)
    write_whole(path.with_suffix(".json"), text + "\n")
    return path


def _about(fit: Fit, data: Features) -> dict:
    settings = fit.members[0].settings
    members = zip(fit.members, fit.valid_loss, fit.best_epoch, strict=True)
    return {
        "rule": settings.rule,
        "shape": dict(settings.shape),
        "dims": fit.model.dims,
        "encoder": (options := data.origin.get("encoder", {})),
        "weights": _files(options) if "text" in data.x else {},
        "data": {"name": data.name, **{k: v for k, v in data.origin.items() if k != "encoder"}},
        "members": [
            {"seed": int(member.seed), "settings": asdict(member.settings),
             "valid_mae": float(mae), "best_epoch": int(epoch)}
            for member, mae, epoch in members
        ],
    }  # fmt: skip


def _files(options: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 of the encoder's files; none for those of a known name, which have a known one."""
    name = options.get("encoder", "minilm")
    known = (*encoder.WEIGHTS, "use")
    kinds = {} if name in known else encoder.identity(encoder.locate(name), name)
    return {file: digest for kind in kinds.values() for file, digest in kind.items()}


def load(path: Path | str, device: str = "cpu") -> Saved:
    """The stack that `save` wrote to `path`.

    ValueError, one line, if a file is missing or damaged, or the two do not belong together; for a
    device that is not there, torch's own error.
    """
    path = _checked(path)
    torch.empty(0, device=device)  # torch's own words, since an unknown device is no damaged file
    try:
        numbers, about = path.read_bytes(), json.loads(path.with_suffix(".json").read_bytes())
    except FileNotFoundError as error:
        raise ValueError(f"no saved model: {error.filename} is missing; save one first") from None
    except ValueError:
        raise ValueError(f"{path.with_suffix('.json')} is damaged; save the model again") from None
    rule = about.get("rule", "daf") if isinstance(about, dict) else "daf"
    if isinstance(rule, str) and rule not in fusion.RULES:
        raise ValueError(
            f"{path} is of the fusion rule {rule!r}, which mmlib does not have; register it first: "
            f"daf.register({rule!r}, its class)"
        )
    try:
        if about["sha256"] != sha256(numbers).hexdigest():
            raise ValueError("other SHA-256")
        return _restored(tensors_of(numbers), about, device)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # a file edited by hand
        if str(error).startswith("rule "):
            raise
        raise ValueError(f"{path} is damaged, or not what its .json says; save it again") from None


def _restored(tensors: dict[str, torch.Tensor], about: dict, device: str) -> Saved:
    mean, scale = (
        {m: tensors.pop(f"scaler.{part}.{m}").numpy() for m in about["dims"]}
        for part in ("mean", "scale")
    )
    model = fusion.create(about["rule"], about["dims"], len(about["members"]), **about["shape"])
    model.load_state_dict(tensors)
    return Saved(model.to(device), Scaler(mean, scale), about)


def _checked(path: Path | str) -> Path:
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"{path}: a saved model is named NAME.safetensors")
    return path
