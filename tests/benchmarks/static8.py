"""8 bits with ranges fixed beforehand, beside ranges found at each call: a table of notebook 12.

    pip install onnx onnxruntime
    OMP_NUM_THREADS=1 python tests/benchmarks/static8.py --reviews 1000

Static quantisation fixes the range of each matrix product's inputs beforehand, here from 96 tokens
of those of 128 training reviews that have as many (85). ONNX Runtime does so for the kept model's
encoder by two rules: the least and greatest values (`extremes`), and the 99.999th percentile. All
models read the same random validation reviews in turn. `times_faster` is the median ratio of CPU
times to torch in float32.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from compression import store_in_turn
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType
from onnxruntime.quantization import quantize_static as quantize
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from mmlib.data import load
from mmlib.dyfulm import kept

INPUTS = ["ids", "attended"]
COMMAND = "python tests/benchmarks/static8.py"
LENGTH = 96  # tokens of each calibration text: the percentile needs texts of one length
RULES = {
    "extremes": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
}


class States(nn.Module):
    """All hidden states of a student's encoder, (b, t, l, d)."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: Tensor, attended: Tensor) -> Tensor:
        out = self.encoder(input_ids=ids, attention_mask=attended, output_hidden_states=True)
        return torch.stack(out.hidden_states, dim=2)


class Exported(nn.Module):
    """A student whose encoder runs in ONNX Runtime, on one thread."""

    def __init__(self, path: Path, student: kept.Student) -> None:
        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(path), options)
        self.encoder, self.fusion = student.encoder, student.fusion

    def forward(self, ids: Tensor, attended: Tensor, words: Tensor) -> tuple[Tensor, ...]:
        given = {"ids": ids.numpy(), "attended": attended.numpy()}
        states = torch.from_numpy(self.session.run(None, given)[0])
        y = self.fusion(states[None], None, words[None])
        alpha = y.alpha_a if y.alpha_a.ndim == 3 else y.alpha_a.mean(dim=2)
        return y.coarse[0], y.fine[0], y.intensity[0], alpha[0]


class Calibration(CalibrationDataReader):
    """The token ids of each text in turn."""

    def __init__(self, reader: kept.Kept, texts: list[str]) -> None:
        rows = reader._tokens(reader.tokenizer.encode_batch(texts))[0]
        self.rows: Iterator = iter([row[:LENGTH] for row in rows if len(row) >= LENGTH])

    def get_next(self) -> dict[str, np.ndarray] | None:
        row = next(self.rows, None)
        if row is None:
            return None
        ids = row[None].astype(np.int64)
        return {"ids": ids, "attended": np.ones_like(ids)}


def exported(reader: kept.Kept, folder: Path) -> Path:
    """The encoder as an ONNX file that is ready to be quantised."""
    raw, path = folder / "raw.onnx", folder / "float32.onnx"
    axes = {name: {0: "b", 1: "t"} for name in [*INPUTS, "states"]}
    ids = torch.randint(1000, 2000, (2, 16))
    torch.onnx.export(
        States(reader.student.encoder).eval(), (ids, torch.ones_like(ids)), raw,
        input_names=INPUTS, output_names=["states"], dynamic_axes=axes, dynamo=False,
    )  # fmt: skip
    quant_pre_process(str(raw), str(path), skip_symbolic_shape=True)
    return path


def all_models(reader: kept.Kept, texts: list[str], folder: Path) -> dict[str, kept.Kept]:
    """Float32 and both kinds of 8 bits: name -> a model that reads texts."""
    whole = exported(reader, folder)
    paths = {"float32 ONNX": whole}
    for rule, method in RULES.items():
        paths[f"8 bits fixed by {rule}"] = path = folder / f"{rule}.onnx"
        quantize(
            whole, path, Calibration(reader, texts), per_channel=True, calibrate_method=method,
            op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType.QInt8,
        )  # fmt: skip
    students = {name: Exported(path, reader.student) for name, path in paths.items()}
    models = {name: replace(reader, student=one) for name, one in students.items()}
    return {"float32": reader, "8 bits at each call": reader.in_precision("int8"), **models}


def main(reviews: int) -> None:
    """Store one line per model, and paired tests of each against float32."""
    torch.set_num_threads(1)
    corpus, reader = load("hotel"), kept.load()
    train = corpus.take(corpus.rows("train")).sample(128)
    valid = corpus.take(corpus.rows("valid")).sample(reviews)
    with tempfile.TemporaryDirectory() as folder:
        models = all_models(reader, list(train.text), Path(folder))
        store_in_turn("static", "model", models, valid, "valid", command=COMMAND)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--reviews", type=int, default=1000)
    main(parser.parse_args().reviews)
