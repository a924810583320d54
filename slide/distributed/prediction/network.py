"""A network whose parts are at workers: what a classifier asks for labels, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from slide.checks import check_X, require
from slide.distributed.prediction.part import FIRST, LAST
from slide.distributed.prediction.session import Session
from slide.distributed.training.answers import Found as FoundLabels
from slide.distributed.training.work import Found
from slide.engine.protocol import Examples
from slide.engine.state import LayerState
from slide.engine.threads import resolve_threads
from slide.errors import ModelFormatError
from slide.io.shard_writing import publish, saved_again
from slide.io.shards import ShardFolder
from slide.layers import Layer
from slide.loading import classifier_class
from slide.model.pairs import make_state
from slide.model.ranker import NO_ROWS, Ranker
from slide.model.shortlists import at_most_all
from slide.model.snapshot import Snapshot, layer_from, optimizer_from, wide_from
from slide.network import Network
from slide.optim import Rebuild

Run = Callable[[Any], Any]
Array = npt.NDArray[Any]
WITHOUT_ROWS = "curve", "numbers"  # of a ranker's arrays
NOBODY = "no workers to ask: slide.load(folder, cluster=...) starts some"


class SharedNetwork(Network):
    """Predicts by workers; every label is scored. It holds no weights: what needs them says so.

    ``close()`` ends the workers, which else end with this process. Before a fit, the options of a network that workers
    will train.
    """

    _session: Session | None = None
    _parts: ShardFolder | None = None  # where the workers read
    _first: Ranker | None = None  # that whose rows are read by `read_first`

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        backend: str | None = None,
        memory: Any = None,
        arrays: Any = None,
        **options: Any,
    ) -> None:
        """options : the others of slide.Network, each of them; arrays are none here, and memory is the workers'"""
        self.take_options(layers, backend=backend, **options)
        require(memory is None, "memory", memory, "None with cluster=: each worker holds its part")
        self.wide_state = None if self.wide is None else make_state(self.wide, 0, 0, self.optimizer.lr, {})
        self.states, self.ranker, self.leaves, self.memory = AtWorkers(), None, None, None
        self.lock = threading.RLock()

    @classmethod
    def over(cls, shards: ShardFolder, session: Session, n_threads: int | None) -> SharedNetwork:
        """Of the model in a folder, which the session's workers read."""
        config = shards.config["network"]
        first, last = config["layers"]
        net = cls(
            [layer_from(first, None), layer_from({**last, "lsh": None}, None)],
            wide=wide_from(config["wide"]),
            optimizer=optimizer_from(config["optimizer"]),
            loss=config["loss"],
            rebuild=Rebuild(**config["rebuild"]),
            batch_size=config.get("batch_size"),
            storage=config.get("storage", "float32"),
            n_threads=n_threads,
            seed=config["seed"],
        )
        progress = config["progress"]
        net.step, net.epoch, net.n_rebuilds = (progress[name] for name in ("step", "epoch", "generation"))
        net.ranker = without_rows(shards.whole())
        net._parts, net._session = shards, session
        return net

    def left_in_parts(self, found: Found) -> None:
        """Becomes what workers have trained and written, which from now on is the model in its folder."""
        assert found.written is not None
        self.layers = self.layers[0], found.layer
        self.step, self.epoch, self.n_rebuilds = found.step, found.epoch, found.n_rebuilds
        self.tables_built_at = self.followed_at = self.step  # whoever loads the whole fills them
        self.samples_resumed, self.ranker = found.first_step, found.ranker
        self._first = found.first_ranker if found.written.has_first else None
        arrays = dict(found.arrays or {})
        if found.ranker is not None:
            arrays |= {f"rank.{name}": found.ranker.arrays[name] for name in WITHOUT_ROWS}
        into = found.written.into
        publish(into, found.written.shards, {"network": self.config()}, arrays, calibrates=self._first is not None)
        self._parts = ShardFolder.at(into.parent)

    def connect(self, session: Session) -> None:
        """From now on its workers are asked, who read the folder."""
        self._session = session

    @property
    def is_ready(self) -> bool:
        """Whether there are workers to ask."""
        return self._session is not None

    def rank_by(self, ranker: Ranker | None) -> None:
        """By which of the rankers that the parts hold labels are ranked."""
        self.ranker = ranker

    def set_threads(self, n_threads: int) -> None:
        """Of this process, which reads rows."""
        self.n_threads = resolve_threads(n_threads)

    @property
    def isa(self) -> str:
        """Each worker has its own."""
        return "of each worker"

    @property
    def traffic(self) -> None:
        """None: no rows are in a file here."""
        return None

    def save_shards(self, folder: Any, shards: int | None = None, default: int = 2, **more: Any) -> None:
        """The parts as they are, however many that is; more: what a classifier adds."""
        if self._parts is None:
            raise elsewhere("save_shards")
        wanted = f"None, or {self._parts.shards}, as there are: slide.load(folder) makes others"
        require(shards in (None, self._parts.shards), "shards", shards, wanted)
        self._parts = saved_again(self._parts, folder, **more)
        self._first = None

    def top_labels(self, rows: Examples, k: int = 5, n_candidates: int | None = None, **more: Any) -> FoundLabels:
        """As Network.predict_topk of rows that were checked."""
        require(n_candidates is None, "n_candidates", n_candidates, "None: workers score every label")
        if self._session is None:
            raise RuntimeError(NOBODY)
        ranks = None if self.ranker is None else FIRST if self.ranker is self._first else LAST
        return self._session.ask(rows, at_most_all(k, self.n_labels), ranks)

    def predict_topk(
        self, X: Any, k: int = 5, *, n_candidates: int | None = None, index: str | None = None
    ) -> FoundLabels:
        """As Network.predict_topk; every label is scored."""
        require(index is None, "index", index, "None: the weights are at the workers")
        return self.top_labels(Examples.of(check_X(X, self.n_features)), k, n_candidates)

    def close(self) -> None:
        """Ends the workers, and waits for them."""
        if self._session is not None:
            self._session.close()

    def __del__(self) -> None:
        session = vars(self).get("_session")
        if session is not None:
            session.hang_up()

    def __repr__(self) -> str:
        return f"SharedNetwork({self.n_features:,} features, {self.n_labels:,} labels)"

    def snapshot(self, tables: bool = False, last_rows: bool = True) -> Snapshot:
        """There is none here."""
        raise elsewhere("save")

    def check_trains(self) -> None:
        """Workers train it, once."""
        if self._parts is not None:
            raise elsewhere("training")

    def refuse_compressed(self, what: str) -> None:
        """Raises ValueError: this network only predicts."""
        raise elsewhere(what)

    def __reduce__(self) -> tuple[Any, ...]:
        raise elsewhere("pickle")

    def __getattr__(self, name: str) -> Any:
        """What is not here is at the workers."""
        raise AttributeError(f"{name}: the network's parts are at workers; slide.load(folder) puts them together")


class AtWorkers(list[LayerState]):
    """Layers of which none is here: who asks for one is told."""

    def __getitem__(self, which: Any) -> Any:
        raise elsewhere("weights")


def elsewhere(what: str) -> ValueError:
    """What is said to who asks for what is not here."""
    return ValueError(f"{what}: found a model whose parts are at workers, wanted slide.load(folder), the whole")


def without_rows(arrays: Mapping[str, Array]) -> Ranker | None:
    """The ranker of a model in parts, whose rows are at the workers; None where there is none."""
    if "rank.curve" not in arrays:
        return None
    own = {name: arrays[f"rank.{name}"] for name in WITHOUT_ROWS}
    return Ranker.stored(
        {name: getattr(NO_ROWS, name) for name in ("indptr", "features", "weights", "bias")} | own, 0, 0
    )


def load(run: Run, folder: Any, host: str, n_threads: int, threads_here: int | None) -> Any:
    """The classifier in a folder, or the network, whose labels workers find. See slide.load.

    n_threads : of each worker; threads_here : of this process, which reads rows
    """
    shards = ShardFolder.at(folder)
    session = Session(run, str(folder), host, n_threads)
    net = SharedNetwork.over(shards, session, threads_here)
    config = shards.config.get("classifier")
    if config is None:
        return net
    try:
        return classifier_class(config)._restore(net, config, shards.whole())
    except (LookupError, TypeError, ValueError) as e:
        net.close()
        raise ModelFormatError(f"{folder}: the manifest does not describe a model ({type(e).__name__}: {e})") from e
