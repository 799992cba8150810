"""Fine-tuning two encoders under DyFuLM, or one alone: `python -m mmlib.finetune CONFIG.yaml`.

The encoders compute in bfloat16 where the device has it, DyFuLM and the losses in float32. Losses
are weighed by examples, so batches of any size and any number of processes
(`torchrun --nproc_per_node N -m mmlib.finetune CONFIG.yaml`) add up to the same. All random numbers
follow from the seed and the number of the step, so a run that was killed goes on from its last
state as if nothing had happened.
"""

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from mmlib import files
from mmlib.data import SPLITS, Corpus, load
from mmlib.data.corpus import first, rows_of
from mmlib.data.targets import targets
from mmlib.dyfulm.losses import (
    TASKS,
    ClassWeights,
    Targets,
    constant_losses,
    task_losses,
    weighting,
)
from mmlib.dyfulm.model import Noise
from mmlib.files import cache_root
from mmlib.finetune import checkpoint, deberta_sdpa, machine, pair
from mmlib.finetune.config import ELSEWHERE, Config, read_config
from mmlib.finetune.precision import Masters
from mmlib.finetune.tokens import share, steps, tokenize
from mmlib.scores import provenance
from mmlib.stack.layers import Masks
from mmlib.text import made
from mmlib.text.encoder import quiet

log = logging.getLogger(__name__)


def finetune(config: Config, folder: Path, corpus: Corpus | None = None) -> Path:
    """Train, or go on training, the run in `folder`, and return it.

    It will hold `best.safetensors`, the weights of the best evaluation (see `Run.evaluate`),
    `valid.npz` and `test.npz` (what those say, see `mmlib.finetune.pair.say`, with ids, groups and
    targets), `log.jsonl`, `config.yaml` and `provenance.json`. ValueError, one line, for what
    cannot be trained so; FloatingPointError where a loss is not finite; KeyboardInterrupt after
    Ctrl-C or SIGTERM, when the step under way has ended and its state is saved.
    """
    corpus = first(corpus or load(config.dataset), config.utterances)
    if corpus.text is None:
        raise ValueError(f"{corpus.name} has no text; fine-tuning reads nothing else")
    words = [corpus.text[i] for i in corpus.rows("train")]
    folders = [str(made.named(name, words)) for name in config.encoders]
    config = replace(config, encoders=folders)
    with torch.random.fork_rng():
        run = Run(config, folder, corpus)
        run.train()
        run.write_predictions()
        if run.is_main:
            checkpoint.save_origin(folder, provenance.here(asdict(config), corpus.checksums))
    return folder


class Run:
    """A run: its data, its model, its optimizer, and where it stands."""

    def __init__(self, config: Config, folder: Path, corpus: Corpus) -> None:
        self.accelerator = machine.accelerator(config)
        self.device = self.accelerator.device
        config = replace(config, budget=machine.budget(config.budget, self.device))
        self.config, self.folder, self.corpus = config, folder, corpus
        self.is_main = self.accelerator.is_main_process
        is_short = machine.is_short(config.precision, self.device)
        attention = machine.attention(config.attention, is_short, self.device)
        self.pair, tokenizers = pair.build(config, attention)
        if attention == "sdpa" and self.device.type == "cuda":  # on a CPU it is no faster
            deberta_sdpa.use_sdpa(self.pair)
        self.rows = dict(zip(SPLITS, rows_of(corpus, SPLITS), strict=True))
        if (fewest := min(map(len, self.rows.values()))) < config.processes:
            raise ValueError(
                f"{config.processes} processes share {fewest} texts of a split; use fewer processes"
            )
        how = (config.max_length, config.truncation)
        self.tokens = tokenize(corpus.text, tokenizers, *how)
        self._check_memory(is_short)
        self.masters = self._placed(is_short)
        self._set_targets()
        self.optimizer = self._optimizer()
        self.step, self.sums = 0, np.zeros(3)  # of the epoch's losses, by example
        self.due = False  # whether this step's evaluation is still to come
        self.whole = True  # whether weights and moments are of one step
        self.plan: list[np.ndarray] | None = None  # rows of each step of the epoch
        self.best = {"loss": float("inf"), "step": 0, "waited": 0}
        self._begin()

    def _check_memory(self, is_short: bool) -> None:
        """ValueError where the largest batch cannot fit."""
        config, longest = self.config, int(self.tokens.lengths.max())
        share = -(-config.batch // config.processes)
        rows = min(share, max(1, config.budget // longest))
        self.estimate = pair.needs(self.pair, rows, longest, is_short, config.checkpointing)
        if self.estimate > (free := machine.free(self.device)):
            raise ValueError(self._too_large(f"{free / 2**30:.1f} GiB are free"))

    def _too_large(self, what: str) -> str:
        return (
            f"a batch of {self.config.budget} tokens needs about {self.estimate / 2**30:.2g} GiB, "
            f"{what}; set budget lower, or checkpointing: true"
        )

    def _placed(self, is_short: bool) -> Masters:
        """The model on its device, in its precision."""
        self.pair.to(self.device)
        short = self.pair.encoders if is_short else []
        masters = Masters(self.pair, short, [encoder.get_input_embeddings() for encoder in short])
        for encoder in self.pair.encoders:
            if self.config.checkpointing:
                encoder.gradient_checkpointing_enable()
            if self.config.compile:
                encoder.compile(dynamic=True)
        return masters

    def _set_targets(self) -> None:
        """Targets and losses of the corpus; those of the test split are not looked at."""
        made = targets(self.corpus, self.config.intensity)
        self.targets = Targets(*(torch.as_tensor(v, device=self.device) for v in made))
        known = Targets(*(values[self.rows["train"]] for values in self.targets))
        weights = ClassWeights.balanced(*known[:2]) if self.config.class_weights else None
        self.options = {"regression": self.config.regression, "class_weights": weights}
        self.constant = constant_losses(known, **self.options)  # (3,)
        for task, loss in zip(TASKS, self.constant.tolist(), strict=True):
            if not loss:
                raise ValueError(f"{task} is the same for all training texts; use more of them")
        self.weighting = weighting(self.config.weighting).to(self.device)

    def _optimizer(self) -> torch.optim.AdamW:
        """Two rates; biases, normalisations and the weighting are not decayed."""
        config, groups = self.config, {}
        named = self.masters.parameters()
        named |= {f"weighting.{n}": p for n, p in self.weighting.named_parameters()}
        for name, parameter in named.items():
            is_encoder = name.startswith("encoders.")
            is_decayed = not name.startswith("weighting.") and parameter.squeeze().ndim > 1
            groups.setdefault((is_encoder, is_decayed), []).append(parameter)
        self.parameters = list(named.values())
        return torch.optim.AdamW(
            [
                {"params": some, "lr": rate, "rate": rate, "weight_decay": decay}
                for (is_encoder, is_decayed), some in groups.items()
                for rate in [config.lr if is_encoder else config.head_lr]
                for decay in [config.weight_decay if is_decayed else 0.0]
            ],
            fused=True,
        )

    # Where it stands

    def _begin(self) -> None:
        """Go on from the state in the folder, if there is one."""
        self.about = {n: v for n, v in asdict(self.config).items() if n not in ELSEWHERE}
        if state := checkpoint.load_state(self.folder, self.about):
            try:
                for name, part in self._parts().items():
                    part.load_state_dict(state[name])
            except torch.OutOfMemoryError:
                raise ValueError(self._too_large("more than there is")) from None
            except (KeyError, RuntimeError, TypeError, ValueError):  # as each part has it
                path = self.folder / checkpoint.STATE
                raise ValueError(
                    f"{path} is of another model, though the configuration is the same: an "
                    "encoder's files have changed; use another folder, or delete it to start anew"
                ) from None
            self.step, self.due, self.best = state["step"], state["due"], state["best"]
            self.sums = np.array(state["sums"])
        self.accelerator.wait_for_everyone()
        if self.is_main:
            checkpoint.begin(self.folder, self.step, self.due, asdict(self.config))

    def _parts(self) -> dict[str, Any]:
        """What has a state of its own."""
        return {"model": self.masters, "optimizer": self.optimizer, "weighting": self.weighting}

    def save(self) -> None:
        """Write what `_begin` reads; no random state, since they follow from seed and step."""
        if self.is_main:
            state = {"config": self.about, "step": self.step, "due": self.due, "best": self.best}
            state["sums"] = self.sums.tolist()
            state |= {name: part.state_dict() for name, part in self._parts().items()}
            checkpoint.save_state(self.folder, state)

    def _log(self, **line: object) -> None:
        if self.is_main:
            checkpoint.log_line(self.folder, {"step": self.step, **line})

    # Training

    def train(self) -> None:
        """The steps that are left, until the last one or until patience is out."""
        config, lengths = self.config, self.tokens.lengths[self.rows["train"]]
        self.per_epoch = -(-len(lengths) // config.batch)
        self.total = self.per_epoch * config.epochs
        self._tell()
        done = self.step * config.batch
        with self._bar(len(lengths) * config.epochs, done) as bar, machine.asked_to_stop() as stop:
            while not self._is_asked(stop):
                if self.due:
                    with self._guard(f"the validation loss after step {self.step}"):
                        self.evaluate()
                    self.due = False
                    self.save()
                elif self.step < self.total and self.best["waited"] < config.patience:
                    self._advance(bar, lengths)
                else:
                    return
        self.save()
        raise KeyboardInterrupt(
            f"stopped after step {self.step} of {self.total}; the same command goes on"
        )

    def _is_asked(self, stop: threading.Event) -> bool:
        """Whether any process was asked to stop."""
        if self.accelerator.num_processes == 1:  # a GPU need not be waited for
            return stop.is_set()
        return bool(self.accelerator.reduce(torch.tensor(float(stop.is_set()), device=self.device)))

    def _advance(self, bar: tqdm, lengths: np.ndarray) -> None:
        """One step, and the state where it is time for it."""
        epoch, k = divmod(self.step, self.per_epoch)
        if k == 0 or self.plan is None:
            self.plan = steps(lengths, self.config.batch, self.config.seed, epoch)
        with self._guard(f"the loss of step {self.step + 1}"):
            loss = self.update(self.rows["train"][self.plan[k]])
        bar.update(len(self.plan[k]))
        bar.set_postfix(loss=f"{loss:.3f}")
        if is_over := k + 1 == self.per_epoch:
            means = torch.tensor(self.sums[None] / len(lengths), dtype=torch.float32)
            self.weighting.epoch_ends(means.to(self.device))
            self.sums = np.zeros(3)
        every = self.config.evaluate_every
        self.due = is_over or bool(every and self.step % every == 0)
        if self.due or self.step % self.config.save_every == 0:
            self.save()

    @contextmanager
    def _guard(self, what: str) -> Iterator[None]:
        """Where `what` goes wrong: the state before it is saved, and the error says what to do."""
        try:
            yield
        except FloatingPointError:
            self._keep()
            raise FloatingPointError(
                f"{what} is not finite; the state before it is kept in {self.folder}: start "
                "another run with a lower lr, or look at the texts"
            ) from None
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
                self._keep()
                raise ValueError(self._too_large("more than there is")) from None
            raise

    def _keep(self) -> None:
        """The state before a step that failed, unless it failed halfway through the weights."""
        self.optimizer.zero_grad()
        if self.whole:
            self.save()

    def update(self, rows: np.ndarray) -> float:
        """One step on the examples `rows`; their mean loss."""
        began = time.perf_counter()
        sums = torch.zeros(4, device=self.device)  # the tasks' mean losses, and as weighed
        self.pair.train()
        for k, part in enumerate(self._share(rows, self.config.budget)):
            share = len(part) / len(rows)
            losses = self._losses(part, k)  # (1, 3)
            loss = self.weighting(losses)  # (1,)
            (share * loss.sum()).backward()
            self.masters.gather()
            sums += share * torch.cat([losses[0], loss]).detach()
        norm = self._reduced_gradients()
        *losses, loss, norm = torch.cat([self.accelerator.reduce(sums), norm[None]]).tolist()
        if not np.isfinite(loss + norm):
            raise FloatingPointError
        rates, self.whole = self._schedule(), False
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.masters.publish()
        self.step += 1
        self.sums += len(rows) * np.array(losses)
        self.whole = True
        now = {"loss": loss, "losses": losses, "norm": norm, "lr": rates, "examples": len(rows)}
        now["weights"] = self.weighting.weights[0].tolist()
        self._log(**now, seconds=round(time.perf_counter() - began, 4))
        return loss

    def _share(self, rows: np.ndarray, budget: int) -> Iterator[np.ndarray]:
        process, processes = self.accelerator.process_index, self.accelerator.num_processes
        return share(self.tokens.lengths, rows, budget, process, processes)

    def _losses(self, rows: np.ndarray, k: int) -> Tensor:
        """Mean losses (1, 3) of the texts `rows`, the k-th batch of this step and process."""
        said = self.pair(self.tokens.batch(rows).to(self.device), self._noise(k))
        return task_losses(said, self._known(rows), **self.options)

    def _known(self, rows: np.ndarray) -> Targets:
        at = torch.as_tensor(rows, device=self.device)
        return Targets(*(values[at][None] for values in self.targets))

    def _noise(self, k: int) -> Noise:
        """The random numbers of the k-th batch of this step and process."""
        place = [self.config.seed, self.step, self.accelerator.process_index, k]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))
        stream = [np.random.default_rng(place)]
        return Noise(Masks(stream, [0.0]), Masks(stream, [self.config.dropout]))

    def _reduced_gradients(self) -> Tensor:
        """Sum the gradients over processes, clip them; their norm before."""
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if self.accelerator.num_processes > 1:
            summed = self.accelerator.reduce([parameter.grad for parameter in self.parameters])
            for parameter, grad in zip(self.parameters, summed, strict=True):
                parameter.grad = grad
        return torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip)

    def _schedule(self) -> list[float]:
        """Set the rates of this step: a linear rise, then a linear fall to 0."""
        warm = max(1, round(self.config.warmup * self.total))
        left = (self.total - self.step) / max(1, self.total - warm)
        factor = min((self.step + 1) / warm, left)
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * factor
        return sorted({group["lr"] for group in self.optimizer.param_groups})

    # Looking at it

    def evaluate(self) -> None:
        """Losses on the valid split; the best weights so far are kept.

        Best is the lowest mean over the tasks of the loss divided by that of the best constant, as
        in `mmlib.dyfulm.frozen`.
        """
        said, known = self.predict("valid"), self._known(self.rows["valid"])
        output = pair.as_output(said, self.device)
        losses = task_losses(output, known, **self.options)[0]  # (3,)
        loss = float((losses / self.constant).mean())
        if not np.isfinite(loss):
            raise FloatingPointError
        right = {f"acc_{n}": float(np.mean(said[n] == getattr(known, n)[0].cpu().numpy()))
                 for n in ("coarse", "fine")}  # fmt: skip
        self.best = {**self.best, "waited": self.best["waited"] + 1}
        if loss < self.best["loss"]:
            self.best = {"loss": loss, "step": self.step, "waited": 0}
            if self.is_main:
                checkpoint.save_weights(self.folder, self.masters.state_dict())
        self._log(valid=loss, losses=losses.tolist(), **right)
        log.info("step %d: valid loss %.4f, fine accuracy %.3f", self.step, loss, right["acc_fine"])

    def predict(self, split: str) -> dict[str, np.ndarray]:
        """What the model says of a split, see `mmlib.finetune.pair.say`."""
        share = (self.accelerator.process_index, self.accelerator.num_processes)
        said = pair.say(self.pair, self.tokens, self.rows[split], self.config.budget, *share)
        return {name: x.cpu().numpy() for name, x in self.accelerator.reduce(said).items()}

    def write_predictions(self) -> None:
        """valid.npz and test.npz by the best weights."""
        self.accelerator.wait_for_everyone()
        self.masters.load_state_dict(checkpoint.load_weights(self.folder, self.pair))
        for split in ("valid", "test"):
            rows, said = self.rows[split], self.predict(split)
            known = {f"true_{n}": x.cpu().numpy() for n, x in self.targets._asdict().items()}
            said |= {name: values[rows] for name, values in known.items()}
            said |= {n: np.array(getattr(self.corpus, n))[rows] for n in ("ids", "groups")}
            said["cut"] = self.tokens.cut[rows]
            said |= self._at_positions(rows, said.pop("gate_positions", None))
            if self.is_main:
                checkpoint.save_arrays(self.folder / f"{split}.npz", said)

    def _at_positions(self, rows: np.ndarray, gate: np.ndarray | None) -> dict[str, np.ndarray]:
        """Mean gate (n, p) of the texts' positions, end to end, and which characters those are.

        positions (n,), how many a text has; position_gate, position_spans (sum of them, ...).
        """
        if gate is None:
            return {}
        spans = [self.tokens.spans[i] for i in rows]
        counts = np.array(list(map(len, spans)))
        mine = gate[np.arange(gate.shape[1]) < counts[:, None]].astype(np.float16)
        return {
            "positions": counts, "position_gate": mine, "position_spans": np.concatenate(spans)
        }  # fmt: skip

    def _tell(self) -> None:
        """What it runs on, before it does."""
        precision = "bfloat16" if self.masters.copies else "float32"
        is_gpu = self.device.type == "cuda"
        threads = f"CPU, {torch.get_num_threads()} thread(s) each"
        where = torch.cuda.get_device_name(self.device) if is_gpu else threads
        cut, n = int(self.tokens.cut.sum()), len(self.tokens.cut)
        log.info("%s, %s, %d process(es); step %d of %d",
                 where, precision, self.config.processes, self.step, self.total)  # fmt: skip
        if cut:
            log.warning("%d of %d texts cut at %d tokens", cut, n, self.config.max_length)

    def _bar(self, total: int, done: int) -> tqdm:
        hidden = not (self.is_main and files.is_watched())
        return tqdm(total=total, initial=min(done, total), unit="text", disable=hidden)


def export(folder: Path, into: Path) -> list[Path]:
    """The encoders of a finished run as folders that `mmlib.text.encoding` reads.

    One encoder: `into` itself; two: `into`/a and `into`/b.
    """
    model, tokenizers = pair.build(read_config(folder / checkpoint.CONFIG))
    model.load_state_dict(checkpoint.load_weights(folder, model))
    names = [""] if len(tokenizers) == 1 else ["a", "b"]
    part = into.with_name(f".{into.name}.part")
    for name, encoder, tokenizer in zip(names, model.encoders, tokenizers, strict=True):
        with quiet():
            encoder.save_pretrained(part / name)
            tokenizer.save_pretrained(part / name)
    os.replace(part, into)
    return [into / name for name in names]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mmlib.finetune", description=__doc__)
    parser.add_argument("config", type=Path, help="YAML file of names and values")
    parser.add_argument("--out", type=Path, help="folder of the run")
    parser.add_argument("--export", type=Path, help="folder for the fine-tuned encoders")
    parser.add_argument("--seed", type=int, help="in place of the one in the file")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    machine.keep_memory()
    try:
        config = read_config(given.config)
        if given.seed is not None:
            config = replace(config, seed=given.seed)
        if given.export and given.export.exists():
            raise ValueError(f"{given.export} exists; choose another folder")
        folder = finetune(config, given.out or cache_root() / "finetuned" / given.config.stem)
        if given.export and int(os.environ.get("RANK", 0)) == 0:
            export(folder, given.export)
    except (ValueError, FloatingPointError, OSError) as problem:
        raise SystemExit(f"mmlib.finetune: {problem}") from None
    except KeyboardInterrupt as stop:
        print("mmlib.finetune:", str(stop) or "interrupted", file=sys.stderr)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)  # so that a shell ends the loop this stands in
