"""A network whose parts are at workers: what a classifier asks for labels, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from slide.checks import check_X, require
from slide.distributed.prediction.session import Session
from slide.distributed.training.answers import Found
from slide.engine.protocol import Examples
from slide.engine.select import resolve_backend
from slide.engine.threads import resolve_threads
from slide.errors import ModelFormatError
from slide.io.shards import ShardFolder
from slide.loading import classifier_class
from slide.model.pairs import make_state
from slide.model.shortlists import at_most_all
from slide.model.snapshot import Snapshot, layer_from, optimizer_from, wide_from
from slide.network import Network
from slide.optim import Rebuild

Run = Callable[[Any], Any]


class SharedNetwork(Network):
    """Predicts by workers; every label is scored. It holds no weights: what needs them says so.

    ``close()`` ends the workers, which else end with this process.
    """

    _session: Session

    @classmethod
    def over(cls, shards: ShardFolder, session: Session, n_threads: int | None) -> SharedNetwork:
        """Of the model in a folder, which the session's workers read."""
        config = shards.config["network"]
        net = cls.__new__(cls)
        first, last = config["layers"]
        net.layers = (layer_from(first, None), layer_from({**last, "lsh": None}, None))
        net.optimizer, net.rebuild = optimizer_from(config["optimizer"]), Rebuild(**config["rebuild"])
        net.wide, net.wide_state = wide_from(config["wide"]), None
        if net.wide is not None:
            net.wide_state = make_state(net.wide, 0, 0, net.optimizer.lr, {})
        net.states, net.ranker, net.leaves, net.memory = [], None, None, None
        net.loss, net.seed, net.storage = config["loss"], config["seed"], config.get("storage", "float32")
        net.backend = resolve_backend(None)
        net.n_threads, net.lock, net.history = resolve_threads(n_threads), threading.RLock(), []
        net.step, net.epoch = config["progress"]["step"], config["progress"]["epoch"]
        net.n_rebuilds, net.samples_resumed = config["progress"]["generation"], 0
        net._session = session
        return net

    def top_labels(self, rows: Examples, k: int = 5, n_candidates: int | None = None, **more: Any) -> Found:
        """As Network.predict_topk of rows that were checked."""
        require(n_candidates is None, "n_candidates", n_candidates, "None: workers score every label")
        return self._session.ask(rows, at_most_all(k, self.n_labels))

    def predict_topk(self, X: Any, k: int = 5, *, n_candidates: int | None = None, index: str | None = None) -> Found:
        """As Network.predict_topk; every label is scored."""
        require(index is None, "index", index, "None: the weights are at the workers")
        return self.top_labels(Examples.of(check_X(X, self.n_features)), k, n_candidates)

    def close(self) -> None:
        """Ends the workers, and waits for them."""
        self._session.close()

    def __del__(self) -> None:
        session = vars(self).get("_session")
        if session is not None:
            session.hang_up()

    def __repr__(self) -> str:
        return f"SharedNetwork({self.n_features:,} features, {self.n_labels:,} labels)"

    def snapshot(self, tables: bool = False, last_rows: bool = True) -> Snapshot:
        """There is none here."""
        raise self._elsewhere("save")

    def check_trains(self) -> None:
        """It does not."""
        raise self._elsewhere("training")

    def refuse_compressed(self, what: str) -> None:
        """Raises ValueError: this network only predicts."""
        raise self._elsewhere(what)

    def __reduce__(self) -> tuple[Any, ...]:
        raise self._elsewhere("pickle")

    def _elsewhere(self, what: str) -> ValueError:
        return ValueError(f"{what}: found a model whose parts are at workers, wanted slide.load(folder), the whole")

    def __getattr__(self, name: str) -> Any:
        """What is not here is at the workers."""
        raise AttributeError(f"{name}: the network's parts are at workers; slide.load(folder) puts them together")


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
