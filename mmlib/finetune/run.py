"""Fine-tune two encoders with DyFuLM, or one alone: `python -m mmlib.finetune CONFIG.yaml`.

The encoders compute in bfloat16 if the device supports it, DyFuLM and the losses in float32. All
random numbers are determined by the seed and the number of the step, so an interrupted run
continues from its last saved state with the same results.
"""

import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from mmlib import files
from mmlib.data import Corpus, load
from mmlib.data.corpus import first
from mmlib.finetune import checkpoint, deberta_sdpa, evaluation, machine, pair, plan, step
from mmlib.finetune.config import Config
from mmlib.scores import provenance
from mmlib.text import compressed, made

log = logging.getLogger(__name__)


def finetune(config: Config, folder: Path, corpus: Corpus | None = None) -> Path:
    """Train the run in `folder`, or resume it; returns the folder.

    The folder will hold `best.safetensors`, the weights of the best evaluation (see
    `mmlib.finetune.evaluation.evaluate`), `valid.npz` and `test.npz` (see `prediction_file` there),
    `log.jsonl`, `config.yaml` and `provenance.json`, whose `seconds` are those of the steps and
    evaluations of all starts. ValueError, one line, if the configuration cannot be trained;
    FloatingPointError if a loss is not finite; KeyboardInterrupt after Ctrl-C or SIGTERM, when the
    current step has finished and its state is saved.
    """
    corpus = first(load(config.dataset) if corpus is None else corpus, config.utterances)
    if corpus.text is None:
        raise ValueError(f"{corpus.name} has no text; fine-tuning reads nothing else")
    words = [corpus.text[i] for i in corpus.rows("train")]
    config = replace(config, encoders=[str(made.named(name, words)) for name in config.encoders])
    with torch.random.fork_rng():
        run = Run(config, folder, corpus)
        before = run.progress.step
        run.train()
        run.write_predictions()
        if run.is_main:
            origin = provenance.here(asdict(config), corpus.checksums)
            if run.progress.step == before and (folder / checkpoint.ORIGIN).exists():
                origin = checkpoint.load_origin(folder)  # of the process that trained it
            spent = sum(line.get("seconds", 0) for line in checkpoint.read_log(folder))
            checkpoint.save_origin(folder, origin | {"seconds": round(spent, 1)})
    return folder


class Run:
    """A run: its plan, its learner and its progress."""

    def __init__(self, config: Config, folder: Path, corpus: Corpus) -> None:
        accelerator = machine.accelerator(config)
        self.device, self.is_main = accelerator.device, accelerator.is_main_process
        self.folder = folder
        config = replace(config, budget=machine.budget(config.budget, self.device))
        bfloat16 = machine.uses_bfloat16(config.precision, self.device)
        attention = machine.attention(config.attention, bfloat16, self.device)
        model, tokenizers = pair.build(config, attention)
        if attention == "sdpa" and self.device.type == "cuda":  # not faster on a CPU
            deberta_sdpa.use_sdpa(model)
        self.plan = plan.make(config, corpus, tokenizers, self.device)
        largest = self.plan.largest_batch()
        self.needed = pair.needed_memory(model, *largest, bfloat16, config.checkpointing)
        if self.needed > (free := machine.free(self.device)):
            raise ValueError(self._too_large(f"{free / 2**30:.1f} GiB are free"))
        self.learner = step.learner(config, model, accelerator, bfloat16)
        with self._saved_where_it_fails("the state", is_whole=False):
            self.progress = checkpoint.restore(folder, self.plan.settings, self._parts())
        accelerator.wait_for_everyone()
        if self.is_main:
            checkpoint.begin(folder, self.progress, asdict(config))

    def train(self) -> None:
        """Do the remaining steps, until the last one or early stopping."""
        self._announce()
        now, config, total = self.progress, self.plan.config, self.plan.steps
        coming = self.plan.rows_from(now.step)
        with self._bar() as bar, machine.asked_to_stop() as stop:
            while not self._is_asked(stop):
                if now.due:
                    self._evaluate()
                elif now.step < total and now.best["waited"] < config.patience:
                    self._advance(next(coming), bar)
                else:
                    return
        self._save()
        raise KeyboardInterrupt(
            f"stopped after step {now.step} of {total}; the same command goes on"
        )

    def _advance(self, rows: np.ndarray, bar: tqdm) -> None:
        """Do one step, and save the state if it is due."""
        loss = self.update(rows)
        bar.update(len(rows))
        bar.set_postfix(loss=f"{loss:.3f}")
        now, config = self.progress, self.plan.config
        if ends_epoch := now.step % self.plan.steps_per_epoch == 0:
            means = [[total / len(self.plan.rows["train"]) for total in now.sums]]
            self.learner.weighting.epoch_ends(torch.tensor(means, device=self.device))
            now.sums = [0.0, 0.0, 0.0]
        every = config.evaluate_every
        now.due = ends_epoch or bool(every and now.step % every == 0)
        if now.due or now.step % config.save_every == 0:
            self._save()

    def update(self, rows: np.ndarray) -> float:
        """Do one step on the texts `rows`, update progress and log; returns the loss."""
        began, now = time.perf_counter(), self.progress
        what = f"the loss of step {now.step + 1}"
        with self._saved_where_it_fails(what):
            losses, loss, norm = step.gradients(self.learner, self.plan, rows, now.step)
        with self._saved_where_it_fails(what, is_whole=False):  # a failure may leave mixed weights
            rates = step.update(self.learner, self.plan, now.step)
        now.step += 1
        now.sums = [a + len(rows) * b for a, b in zip(now.sums, losses, strict=True)]
        line = {"loss": loss, "losses": losses, "norm": norm, "lr": rates, "examples": len(rows)}
        weights = self.learner.weighting.weights[0].tolist()
        self._log(**line, weights=weights, seconds=round(time.perf_counter() - began, 4))
        return loss

    def _evaluate(self) -> None:
        """Evaluate on the valid split; save the weights if they are the best so far."""
        began, now = time.perf_counter(), self.progress
        with self._saved_where_it_fails(f"the validation loss after step {now.step}"):
            scores = evaluation.evaluate(self.learner, self.plan)
        if scores["valid"] < now.best["loss"]:
            now.best = {"loss": scores["valid"], "step": now.step, "waited": 0}
            if self.is_main:
                checkpoint.save_weights(self.folder, self.learner.weights.state_dict())
        else:
            now.best = {**now.best, "waited": now.best["waited"] + 1}
        self._log(**scores, seconds=round(time.perf_counter() - began, 4))
        log.info("step %d: valid loss %.4f, fine accuracy %.3f",
                 now.step, scores["valid"], scores["acc_fine"])  # fmt: skip
        now.due = False
        self._save()

    def write_predictions(self) -> None:
        """Write valid.npz and test.npz with the best weights."""
        learner = self.learner
        learner.accelerator.wait_for_everyone()
        learner.weights.load_state_dict(checkpoint.load_weights(self.folder, learner.pair))
        for split in ("valid", "test"):
            arrays = evaluation.prediction_file(learner, self.plan, split)
            if self.is_main:
                checkpoint.save_arrays(self.folder / f"{split}.npz", arrays)

    # On disk

    def _parts(self) -> dict[str, Any]:
        """The parts of a run whose state is saved."""
        learner = self.learner
        return {
            "model": learner.weights, "optimizer": learner.optimizer, "weighting": learner.weighting
        }  # fmt: skip

    def _save(self) -> None:
        """Save the state; random states are not needed, as they follow from seed and step."""
        if self.is_main:
            checkpoint.save_state(self.folder, self.plan.settings, self.progress, self._parts())

    def _log(self, **fields: object) -> None:
        if self.is_main:
            checkpoint.log_line(self.folder, {"step": self.progress.step, **fields})

    # Failure and interruption

    @contextmanager
    def _saved_where_it_fails(self, what: str, is_whole: bool = True) -> Iterator[None]:
        """If `what` fails, save the state before it, and raise an error with a remedy.

        is_whole: whether weights and moments still belong to one step; otherwise nothing is saved.
        """
        try:
            yield
        except FloatingPointError:
            reason = FloatingPointError(
                f"{what} is not finite; the state before it is kept in {self.folder}: start "
                "another run with a lower lr, or look at the texts"
            )
        except RuntimeError as error:
            if not (isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)):
                raise
            reason = ValueError(self._too_large("more than there is"))
        else:
            return
        self.learner.optimizer.zero_grad()
        if is_whole:
            self._save()
        raise reason

    def _too_large(self, what: str) -> str:
        return (
            f"a batch of {self.plan.config.budget} tokens needs about {self.needed / 2**30:.2g} "
            f"GiB, {what}; set budget lower, or checkpointing: true"
        )

    def _is_asked(self, stop: threading.Event) -> bool:
        """Whether any process was asked to stop."""
        accelerator = self.learner.accelerator
        if accelerator.num_processes == 1:  # avoids waiting for a GPU
            return stop.is_set()
        return bool(accelerator.reduce(torch.tensor(float(stop.is_set()), device=self.device)))

    # Messages

    def _announce(self) -> None:
        """Log device, precision, processes, and how many texts are cut."""
        is_gpu, config, cut = self.device.type == "cuda", self.plan.config, self.plan.tokens.cut
        device = (torch.cuda.get_device_name(self.device) if is_gpu
                  else f"CPU, {torch.get_num_threads()} thread(s) each")  # fmt: skip
        precision = "bfloat16" if self.learner.weights.copies else "float32"
        step, steps = self.progress.step, self.plan.steps
        log.info("%s, %s, %d process(es); step %d of %d",
                 device, precision, config.processes, step, steps)  # fmt: skip
        if cut.any():
            log.warning("%d of %d texts cut at %d tokens", cut.sum(), len(cut), config.max_length)

    def _bar(self) -> tqdm:
        config = self.plan.config
        total = len(self.plan.rows["train"]) * config.epochs
        done = min(self.progress.step * config.batch, total)
        hidden = not (self.is_main and files.is_watched())
        return tqdm(total=total, initial=done, unit="text", disable=hidden)


def export(folder: Path, into: Path) -> list[Path]:
    """Save the encoders of a finished run as folders that `mmlib.text.encoding` reads.

    One encoder: in `into` itself; two: in `into`/a and `into`/b. ValueError if it is not finished.
    """
    model, tokenizers = pair.build(checkpoint.finished(folder))
    model.load_state_dict(checkpoint.load_weights(folder, model))
    compressed.multiply(model)  # a saved encoder has its architecture's own layers
    names = [""] if len(tokenizers) == 1 else ["a", "b"]
    part = into.with_name(f".{into.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    for name, encoder, tokenizer in zip(names, model.encoders, tokenizers, strict=True):
        made.save(part / name, encoder, tokenizer)
    os.replace(part, into)
    return [into / name for name in names]
