"""The kept model's encoder in 8 bits by four libraries and by ours: a table of notebook 12.

    pip install onnx onnxruntime openvino nncf torchao
    OMP_NUM_THREADS=1 python tests/benchmarks/static8.py --reviews 1000

Static quantisation fixes the range of each matrix product's inputs beforehand, here from 96 tokens
of those of 128 training reviews that have as many (85). ONNX Runtime does so by two rules: the
least and greatest values (`extremes`), and the 99.999th percentile. OpenVINO does so by NNCF, with
its settings for transformers. Three others find ranges at each call: torch has one a batch,
torchao (compiled) and `mmlib.text.compressed` one a token. All models read the same random
validation reviews in turn. `times_faster` is the median ratio of CPU times to torch in float32.
"""

import argparse
import copy
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import nncf
import numpy as np
import onnxruntime
import openvino
import torch
from compression import store_in_turn
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType
from onnxruntime.quantization import quantize_static as quantize
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn
from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

from mmlib.data import load
from mmlib.dyfulm import kept
from mmlib.text.compressed import to_eight_bits

Run = Callable[[dict[str, np.ndarray]], np.ndarray]  # ids and attended (b, t) -> (b, t, l, d)
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


def in_onnx(path: Path) -> Run:
    """An ONNX file in ONNX Runtime, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options)
    return lambda given: session.run(None, given)[0]


def in_openvino(model: openvino.Model) -> Run:
    """A model in OpenVINO, on one thread; what is not in 8 bits is in float32."""
    how = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(model, "CPU", how)
    return lambda given: np.array(compiled(given)[0])


class Exported(nn.Module):
    """A student whose encoder runs in another library."""

    def __init__(self, run: Run, student: kept.Student) -> None:
        super().__init__()
        self.run, self.encoder, self.fusion = run, student.encoder, student.fusion

    def forward(self, ids: Tensor, attended: Tensor, words: Tensor) -> tuple[Tensor, ...]:
        given = {"ids": ids.numpy(), "attended": attended.numpy()}
        states = torch.from_numpy(self.run(given))
        y = self.fusion(states[None], None, words[None])
        alpha = y.alpha_a if y.alpha_a.ndim == 3 else y.alpha_a.mean(dim=2)
        return y.coarse[0], y.fine[0], y.intensity[0], alpha[0]


def calibration(reader: kept.Kept, texts: list[str]) -> list[dict[str, np.ndarray]]:
    """The first tokens of each text that has as many, (1, t)."""
    rows = reader._tokens(reader.tokenizer.encode_batch(texts))[0]
    ids = [row[None, :LENGTH].astype(np.int64) for row in rows if len(row) >= LENGTH]
    return [{"ids": row, "attended": np.ones_like(row)} for row in ids]


class InTurn(CalibrationDataReader):
    """One text after the other, as ONNX Runtime asks for them."""

    def __init__(self, seen: list[dict[str, np.ndarray]]) -> None:
        self.seen: Iterator = iter(seen)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.seen, None)


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


def fixed(reader: kept.Kept, texts: list[str], folder: Path) -> dict[str, Run]:
    """Float32 and 8 bits with fixed ranges, in ONNX Runtime and in OpenVINO."""
    whole, seen = exported(reader, folder), calibration(reader, texts)
    runs = {"float32 ONNX": in_onnx(whole)}
    for rule, method in RULES.items():
        path = folder / f"{rule}.onnx"
        quantize(
            whole, path, InTurn(seen), per_channel=True, calibrate_method=method,
            op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType.QInt8,
        )  # fmt: skip
        runs[f"8 bits fixed by {rule}"] = in_onnx(path)
    plain = openvino.Core().read_model(whole)
    eight = nncf.quantize(plain, nncf.Dataset(seen), model_type=nncf.ModelType.TRANSFORMER)
    return runs | {
        "float32 OpenVINO": in_openvino(plain),
        "8 bits fixed by NNCF": in_openvino(eight),
    }


def at_each_call(student: kept.Student) -> dict[str, kept.Student]:
    """8 bits with a range for each batch, by torch, or for each token, by torchao and ours."""
    batch, theirs, ours = (copy.deepcopy(student) for _ in range(3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates this in favour of torchao
        torch.ao.quantization.quantize_dynamic(batch, {nn.Linear}, inplace=True)
    quantize_(theirs.encoder, Int8DynamicActivationInt8WeightConfig())
    theirs.encoder = torch.compile(theirs.encoder, dynamic=True)
    to_eight_bits(ours.encoder)
    of_token = {"8 bits a token, torchao": theirs, "8 bits a token, ours": ours}
    return {"8 bits at each call": batch, **of_token}


def all_models(reader: kept.Kept, texts: list[str], folder: Path) -> dict[str, kept.Kept]:
    """Float32 and all kinds of 8 bits: name -> a model that reads texts."""
    runs = fixed(reader, texts, folder)
    students = at_each_call(reader.student)
    students |= {name: Exported(run, reader.student) for name, run in runs.items()}
    models = {name: replace(reader, student=one) for name, one in students.items()}
    return {"float32": reader, **models}


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
