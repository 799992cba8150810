"""Executable companion to DAF (arXiv 2509.22729) and DyFuLM (arXiv 2512.01410).

Rooms, from the ground up: `files`; `covarep`, `data`; `scores`, `figures`; `text`, `stack`; `daf`,
`dyfulm`; `finetune`; `recordings`, `batch`. The table below keeps the names that modules had
before: cells that people have copied, and commands in stored provenance, still run.
"""

import os
import platform
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec, spec_from_loader
from types import ModuleType

__version__ = "0.1.0"

# Name before, name now; `module:name` is one name of a module.
_TABLE = """
align finetune.alignment
attention text.attention
batches finetune.tokens
browser figures.stepper
cache text.cache
checkpoints finetune.checkpoint
config finetune.config
cost dyfulm.cost
covarep.extract covarep.stages:extract
covarep.spoken recordings.demo
data.cells data.readers.cells
data.csd data.readers.csd
data.files files
data.frames data.readers.frames
data.grammar data.embedded.grammar
data.mmsa data.readers.mmsa
data.passport scores.passport:passport
data.recordings data.readers.recordings
data.reviews data.readers.reviews
data.synthetic data.embedded.synthetic
data.synthetic_reviews data.embedded.synthetic_reviews
data.tables data.readers.tables
data.unpickle data.readers.unpickle
disentangled finetune.deberta_sdpa
encoders text.made
features daf.features
finetuned finetune.rows
frozen dyfulm.frozen
interpret daf.interpret
interpret_dyfulm dyfulm.interpret
ledger scores.ledger
loop stack.loop
machine finetune.machine
media recordings
media.align recordings.clip
media.audio recordings.audio
media.clip recordings.clip
media.decode recordings.decode
media.demo recordings.demo
media.exports recordings.faces
media.faces recordings.faces
media.folder recordings.folder
media.pieces recordings.transcript
media.subtitles recordings.transcript
media.transcript recordings.transcript
media.words recordings.transcript
metrics scores.metrics
multitask dyfulm.losses
pair finetune.pair
paths files
plots figures.plots
precision finetune.precision
pretrain daf.pretrain
provenance scores.provenance
results scores.results
runs batch
runs.engine batch.engine
runs.execute batch.execute
runs.grid batch.grid
runs.kernel batch.kernel
runs.notebook batch.parameters
runs.plan batch.parameters
runs.progress batch.progress
runs.sources batch.sources
runs.table scores.runs
runs.verify batch.verify
saved daf.saved
stats scores.stats
tfidf dyfulm.bag_of_words
train daf.train
tune daf.tune
verdict daf.apply
"""
MOVED: dict[str, str] = {
    f"{__name__}.{old}": f"{__name__}.{new}"
    for old, new in map(str.split, _TABLE.split("\n")[1:-1])
}


class _Forwards:
    """Finds a module by the name it had before; it is the same module under two names."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        return spec_from_loader(name, self) if name in MOVED else None

    def create_module(self, spec: object) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        now, _, name = MOVED[module.__name__].partition(":")
        found = import_module(now)
        sys.modules[module.__name__] = getattr(found, name) if name else found

    def get_code(self, name: str) -> object:
        """For `python -m`: the code of the module, or of the room's command, by its name now."""
        spec = find_spec(MOVED[name])
        if spec.submodule_search_locations:
            spec = find_spec(f"{MOVED[name]}.__main__")
        return spec.loader.get_code(spec.name)


def lazily(room: str, names: Mapping[str, str]) -> Callable[[str], object]:
    """A room's `__getattr__`: name -> the module of the room that holds it, loaded when asked."""

    def find(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        return getattr(import_module(f"{room}.{names[name]}"), name)

    find.modules = names  # for whoever wants to know what a name depends on
    return find


def _is_intel_with_avx2_only() -> bool:
    try:
        with open("/proc/cpuinfo") as file:
            about = file.read(8192)  # of the first core
    except OSError:
        about = platform.processor()
    widest = "AVX512" if "avx512f" in about else "AVX2"
    return "GenuineIntel" in about and os.environ.get("MKL_ENABLE_INSTRUCTIONS", widest) == "AVX2"


# There the library MKL sums a row of a matrix product in an order that depends on the number of
# rows and threads, unless it is told otherwise before the first product.
if _is_intel_with_avx2_only():
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

if not any(isinstance(finder, _Forwards) for finder in sys.meta_path):
    sys.meta_path.insert(0, _Forwards())


def _told(kind: type[BaseException], error: BaseException, trace: object) -> None:
    """Ctrl-C where no command catches it, as while modules load, is told in one line."""
    if issubclass(kind, KeyboardInterrupt):
        print("stopped", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if sys.argv[:1] == ["-m"]:  # python -m mmlib...: this is the first of our code that runs
    sys.excepthook = _told
