"""Predictions of a pair for texts, and its scores on the valid split.

Axes: b batch, n text, p position, l layer, h hidden.
"""

import numpy as np
import torch
from accelerate.utils import send_to_device
from torch import Tensor, nn

from mmlib.dyfulm.losses import task_losses
from mmlib.dyfulm.model import Output, over_positions
from mmlib.finetune.pair import Pair
from mmlib.finetune.plan import Plan
from mmlib.finetune.step import Learner
from mmlib.finetune.tokens import Tokens, batches

GATE_BINS = 20  # of the histogram of gate values


@torch.inference_mode()
def predict(
    pair: Pair,
    tokens: Tokens,
    rows: np.ndarray,
    budget: int = 4096,
    process: int = 0,
    processes: int = 1,
) -> dict[str, Tensor]:
    """Predictions of a pair for the texts `rows` (n,), without noise, on the pair's device.

    coarse, fine (n,) classes; intensity (n,) in (0, 1); p_coarse (n, 3), p_fine (n, 5)
    probabilities. If the model has them: alpha_a, alpha_b (n, l), averaged over positions; gate (n,
    h), averaged over positions; gate_counts (n, 20), number of gate values in each twentieth of (0,
    1); gate_positions (n, p), the mean over units at each of `tokens.spans`, 0 after a text's last;
    guidance (n, h). Each of several processes fills in the rows that it reads; others are 0.
    """
    predictions: dict[str, Tensor] = {}
    lengths, most = tokens.lengths[rows], max(len(tokens.spans[i]) for i in rows)
    device = next(pair.parameters()).device
    pair.eval()
    for part in batches(lengths, np.arange(len(rows)), budget, process, processes):
        batch = send_to_device(tokens.batch(rows[part]), device, non_blocking=True)
        for name, values in _of_batch(pair(batch), batch.mask, most).items():
            if name not in predictions:
                predictions[name] = values.new_zeros(len(rows), *values.shape[1:])
            predictions[name][torch.from_numpy(part)] = values
    return predictions


def _of_batch(output: Output, mask: Tensor, most: int) -> dict[str, Tensor]:
    """The fields of `predict` for one batch; `most` positions in any text."""
    p_coarse, p_fine = output.coarse[0].softmax(dim=-1), output.fine[0].softmax(dim=-1)
    fields = {"coarse": p_coarse.argmax(dim=-1), "fine": p_fine.argmax(dim=-1)}
    fields |= {"intensity": output.intensity[0], "p_coarse": p_coarse, "p_fine": p_fine}
    for name in ("alpha_a", "alpha_b", "gate"):
        if (values := getattr(output, name)) is not None:
            is_mean = values.ndim == 3
            fields[name] = (values if is_mean else over_positions(values, mask[None]))[0]
    if output.gate is not None:
        fields |= _gate_fields(output.gate[0], mask, most)
    if output.guidance is not None:
        fields["guidance"] = output.guidance[0]
    return fields


def _gate_fields(gate: Tensor, mask: Tensor, most: int) -> dict[str, Tensor]:
    """gate_counts and gate_positions of a gate (b, p, h)."""
    bins = (gate * GATE_BINS).long().clamp(max=GATE_BINS - 1)
    bins = bins.masked_fill(~mask[..., None], GATE_BINS)
    counts = nn.functional.one_hot(bins, GATE_BINS + 1).sum(dim=(1, 2))[:, :GATE_BINS]
    means = gate.mean(dim=-1).masked_fill(~mask, 0)  # (b, p)
    valid_first = (~mask).long().argsort(dim=1, stable=True)  # tokens have gaps, e.g. [CLS]
    means = means.gather(1, valid_first)[:, :most]
    padded = nn.functional.pad(means, (0, most - means.shape[1]))
    return {"gate_counts": counts, "gate_positions": padded}


def predict_split(learner: Learner, plan: Plan, split: str) -> dict[str, Tensor]:
    """`predict` for a split, with its texts divided among the processes."""
    accelerator = learner.accelerator
    own = (accelerator.process_index, accelerator.num_processes)
    part = predict(learner.pair, plan.tokens, plan.rows[split], plan.config.budget, *own)
    return dict(accelerator.reduce(part))


def evaluate(learner: Learner, plan: Plan) -> dict[str, float | list[float]]:
    """Losses and accuracies on the valid split, as fields of a log line.

    valid: the loss divided by that of the best constant, mean over the tasks, as in
    `mmlib.dyfulm.frozen`; lower is better. FloatingPointError if it is not finite.
    """
    predictions, known = predict_split(learner, plan, "valid"), plan.targets_of(plan.rows["valid"])
    losses = task_losses(as_output(predictions), known, **plan.loss_options)[0]  # (3,)
    valid = float((losses / plan.constant).mean())
    if not np.isfinite(valid):
        raise FloatingPointError
    right = {
        f"acc_{name}": float(np.mean((predictions[name] == getattr(known, name)[0]).cpu().numpy()))
        for name in ("coarse", "fine")
    }
    return {"valid": valid, "losses": losses.tolist(), **right}


def as_output(predictions: dict[str, Tensor]) -> Output:
    """The fields of the model's output that the losses need."""
    coarse, fine = (predictions[n].clamp(min=1e-9).log()[None] for n in ("p_coarse", "p_fine"))
    return Output(coarse, predictions["intensity"][None], fine, None, None, None, None)


def prediction_file(learner: Learner, plan: Plan, split: str) -> dict[str, np.ndarray]:
    """Content of `<split>.npz`: predictions, targets, ids, groups, and which texts were cut."""
    rows = plan.rows[split]
    arrays = {n: x.cpu().numpy() for n, x in predict_split(learner, plan, split).items()}
    arrays |= {f"true_{n}": x.cpu().numpy()[rows] for n, x in plan.targets._asdict().items()}
    arrays |= {n: np.array(getattr(plan.corpus, n))[rows] for n in ("ids", "groups")}
    arrays["cut"] = plan.tokens.cut[rows]
    return arrays | _at_positions(plan.tokens, rows, arrays.pop("gate_positions", None))


def _at_positions(
    tokens: Tokens, rows: np.ndarray, gate: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Mean gate at the positions of all texts, concatenated, and the characters of each position.

    positions (n,): number per text; position_gate, position_spans (sum of positions, ...).
    """
    if gate is None:
        return {}
    spans = [tokens.spans[i] for i in rows]
    counts = np.array(list(map(len, spans)))
    values = gate[np.arange(gate.shape[1]) < counts[:, None]].astype(np.float16)
    return {"positions": counts, "position_gate": values, "position_spans": np.concatenate(spans)}
