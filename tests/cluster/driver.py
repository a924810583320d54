"""A program of its own, for the tests beside: `driver.py FOLDER` runs two processes until it is killed, `driver.py fit
FOLDER` a fit; `driver.py torch` and `driver.py mpi` are started by torchrun and mpirun, `driver.py mpi-fails` raises at
rank 1; `driver.py dies FOLDER` is a fit under torchrun whose second worker kills itself once.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import numpy as np
from distributed_work import check_group

import slide
from slide.distributed.engines import MPI, Torch
from slide.distributed.training.loop import SharedTraining


@dataclass
class RunsUntilTheDriverIsLost:
    folder: Path

    def __call__(self, member: Any) -> None:
        (self.folder / f"started-{member.name}").write_text(str(os.getpid()))
        while not member.wants_change().driver_lost:
            member.group.all_reduce(np.zeros(1))
        (self.folder / f"saved-{member.name}").write_text("")


def fails(member: Any) -> None:
    if member.group.rank == 1:
        raise KeyError("mine")
    member.group.all_reduce(np.zeros(1))


def fit(folder: Path) -> None:
    """Notes who the workers are, once they train."""
    X, Y = slide.datasets.synthetic(4000, 500, 400, nnz=10, labels_per_row=2)

    def note(progress: Any) -> None:
        for child in multiprocessing.active_children() if progress.done > 2000 else ():
            (folder / f"started-{child.name}").write_text(str(child.pid))

    clf = slide.SlideClassifier(hidden=32, epochs=1000, random_state=1, n_threads=2)
    clf.fit(X, Y, cluster=Torch(2, patience=1), checkpoint=slide.Checkpoint(folder / "run"), callback=note)


def dies_once(folder: Path) -> None:
    """Leaves the model in the folder."""
    real = SharedTraining.train_block

    def block(self: SharedTraining, fit: Any) -> Any:
        if self.step > 3000 and os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, fit)

    SharedTraining.train_block = block  # type: ignore[method-assign]
    X, Y = slide.datasets.synthetic(2000, 500, 400, nnz=10, labels_per_row=2)
    clf = slide.SlideClassifier(hidden=32, epochs=4, random_state=1, n_threads=1, wide=False)
    checkpoint = slide.Checkpoint(folder / "run", samples=1000, minutes=None)
    clf.fit(X, Y, cluster=Torch(threads=1, recovery="exact"), checkpoint=checkpoint)
    if os.environ["RANK"] == "0":
        clf.save(folder / "m.slide")
        (folder / "restarts").write_text(os.environ["TORCHELASTIC_RESTART_COUNT"])


if __name__ == "__main__":
    if sys.argv[1] in ("torch", "mpi"):
        found = (Torch() if sys.argv[1] == "torch" else MPI()).run(check_group)
        print(None if found is None else len(found), flush=True)
    elif sys.argv[1] == "mpi-fails":
        MPI().run(fails)
    elif sys.argv[1] == "fit":
        fit(Path(sys.argv[2]))
    elif sys.argv[1] == "dies":
        dies_once(Path(sys.argv[2]))
    else:
        Torch(2, patience=1).run(RunsUntilTheDriverIsLost(Path(sys.argv[1])))
