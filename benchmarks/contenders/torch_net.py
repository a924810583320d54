"""PyTorch contenders: an EmbeddingBag input, then a full softmax or a sampled one with negatives shared by the batch.

The sampled softmax keeps a row's own labels (probability 1) and `negatives` uniform draws (probability n / L),
subtracts log q from each logit, and hides draws that are labels of the row. Its gradients are sparse, for SparseAdam.
The full softmax updates every row with Adam, as it must. Target: uniform over a row's labels.

On a GPU, as somebody who pays for it would have it: all rows lie in its memory, batches and draws are made there,
products of matrices are in bfloat16 (`precision`: "float32" or "tf32" instead), batches are larger (`batch`), the loss
of the full softmax is compiled, and Adam goes over all weights in one kernel, which is faster there than to sort out
those that were used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.contenders.session import Over, Session, main

SHARE, LEAST = 0.005, 2048  # negatives: a share of the labels (3,350 at Amazon-670K), but no fewer than that
RATE = 3e-3  # learns faster here than 1e-3 and 1e-2
LOOKS = 8  # batches of a GPU between two looks at the clock, for which it has to be waited for


class Net(nn.Module):
    """D sparse features -> H -> L logits. The output is two embeddings, so that single rows can be looked up."""

    def __init__(self, D: int, H: int, L: int, *, sampled: bool, activation: str, sparse: bool = True) -> None:
        super().__init__()
        self.inner = nn.EmbeddingBag(D, H, mode="sum", sparse=sparse)
        self.inner_bias = nn.Parameter(torch.zeros(H))
        self.outer = nn.Embedding(L, H, sparse=sparse and sampled)
        self.outer_bias = nn.Embedding(L, 1, sparse=sparse and sampled)
        self.activation = {"identity": nn.Identity(), "relu": nn.ReLU(), "tanh": nn.Tanh()}[activation]
        for table in (self.inner, self.outer):
            nn.init.normal_(table.weight, std=1 / math.sqrt(H))
        nn.init.zeros_(self.outer_bias.weight)

    def hidden(self, x: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> torch.Tensor:
        ids, offsets, values = x
        return self.activation(self.inner(ids, offsets, per_sample_weights=values) + self.inner_bias)

    def logits(self, h: torch.Tensor) -> torch.Tensor:
        return h @ self.outer.weight.T + self.outer_bias.weight.T

    def logits_of(self, h: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Logits [B, n] of ids [n], the same for the whole batch."""
        return h @ self.outer(ids).T + self.outer_bias(ids).T

    def logits_own(self, h: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Logits [B, P] of ids [B, P], each row its own."""
        return torch.einsum("bh,bph->bp", h, self.outer(ids)) + self.outer_bias(ids).squeeze(-1)


def full_loss(net: Net, h: torch.Tensor, labels: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Cross-entropy over all labels; labels [B, P] are padded, `real` tells which are."""
    logits = net.logits(h)
    log_z = torch.logsumexp(logits.float(), dim=1)
    own = logits.gather(1, labels).float().masked_fill(~real, 0.0)
    return (log_z * real.any(1) - own.sum(1) / real.sum(1).clamp(min=1)).mean()


def sampled_loss(
    net: Net, h: torch.Tensor, labels: torch.Tensor, real: torch.Tensor, drawn: torch.Tensor, L: int
) -> torch.Tensor:
    """Cross-entropy over a row's own labels and the draws, each logit less its log q."""
    own = net.logits_own(h, labels).float().masked_fill(~real, -math.inf)
    others = net.logits_of(h, drawn).float() - math.log(len(drawn) / L)
    others = others.masked_fill(accidental(labels, real, drawn, L), -math.inf)
    log_z = torch.logsumexp(torch.cat([own, others], dim=1), dim=1)
    own = own.masked_fill(~real, 0.0)
    return (log_z - own.sum(1) / real.sum(1).clamp(min=1)).mean()


def accidental(labels: torch.Tensor, real: torch.Tensor, drawn: torch.Tensor, L: int) -> torch.Tensor:
    """Which draws [B, n] are labels of the row: through positions in the sorted draws, not B x P x n comparisons."""
    place = torch.searchsorted(drawn, labels).clamp(max=len(drawn) - 1)
    hit = (drawn[place] == labels) & real
    times = torch.zeros(labels.shape[0], len(drawn), dtype=torch.uint8, device=labels.device)
    return times.scatter_add_(1, place, hit.to(torch.uint8)) > 0


def draw(n: int, L: int, generator: torch.Generator) -> torch.Tensor:
    """n labels, uniform, sorted, each once. On a GPU by a permutation of all, without a look at the host."""
    if n >= L:
        return torch.arange(L, device=generator.device)
    if generator.device.type == "cuda":
        return torch.randperm(L, generator=generator, device=generator.device)[:n].sort().values
    found = torch.randint(L, (n + n // 8 + 8,), generator=generator).unique()
    while len(found) < n:
        found = torch.cat([found, torch.randint(L, (n,), generator=generator)]).unique()
    return found[torch.randperm(len(found), generator=generator)[:n]].sort().values


class Rows:
    """Features and labels as tensors of a device, of which batches are taken without the host."""

    def __init__(self, X: Any, Y: Any, device: str) -> None:
        as_ids = lambda array: torch.from_numpy(array.astype(np.int64)).to(device)  # noqa: E731
        self.n, self.device = X.shape[0], device
        self.x_starts, self.x_ids = as_ids(X.indptr), as_ids(X.indices)
        self.values = torch.from_numpy(X.data.astype(np.float32)).to(device)
        self.y_starts, self.y_ids = as_ids(Y.indptr), as_ids(Y.indices)

    def x(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Ids, where each row begins among them, and values."""
        begin, count = self.x_starts[rows], self.x_starts[rows + 1] - self.x_starts[rows]
        offsets = torch.cumsum(count, 0) - count
        entries = torch.repeat_interleave(begin - offsets, count)
        entries += torch.arange(len(entries), device=self.device)
        return self.x_ids[entries], offsets, self.values[entries]

    def y(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Labels padded to the longest row of the batch, and which entries are real."""
        begin, count = self.y_starts[rows, None], self.y_starts[rows + 1] - self.y_starts[rows]
        places = torch.arange(max(1, int(count.max())), device=self.device)
        real = places < count[:, None]
        return self.y_ids[torch.where(real, begin + places, 0)] * real, real


def batches(rows: Rows, size: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    order = torch.randperm(rows.n, generator=generator, device=rows.device)
    yield from order.split(size)


def optimizers(net: Net, lr: float) -> list[torch.optim.Optimizer]:
    tables = [net.inner, net.outer, net.outer_bias]
    sparse = [table.weight for table in tables if table.sparse]
    dense = [net.inner_bias, *(table.weight for table in tables if not table.sparse)]
    adam = torch.optim.Adam(dense, lr=lr, fused=net.inner_bias.is_cuda)
    return [torch.optim.SparseAdam(sparse, lr=lr), adam] if sparse else [adam]


@torch.no_grad()
def top_one(net: Net, X: Any, device: str, size: int = 256) -> np.ndarray:
    """Exact best label of each row, [n, 1]."""
    rows = Rows(X, X, device)
    found = [net.logits(net.hidden(rows.x(part))).argmax(1) for part in torch.arange(rows.n, device=device).split(size)]
    return torch.cat(found).cpu().numpy()[:, None]


def train(session: Session, net: Net, device: str, kind: str) -> int:
    """Train until the session says Over or the epochs end; returns the last epoch's number."""
    L, seen, cuda = session.Y.shape[1], 0, device == "cuda"
    negatives = session.options.get("negatives") or max(LEAST, round(SHARE * L))
    steps = optimizers(net, session.options.get("lr", RATE))
    # The sampled loss does not compile: Triton knows no atomic additions of bytes, and it is not what takes the time.
    full = torch.compile(full_loss, dynamic=True) if cuda else full_loss
    generator = torch.Generator(device).manual_seed(session.seed)
    rows = Rows(session.X, session.Y, device)
    halves = torch.autocast(device, torch.bfloat16, enabled=cuda and precision(session) == "bfloat16")
    for epoch in range(1, session.epochs + 1):
        session.epoch_start(epoch)
        try:
            for number, batch in enumerate(batches(rows, batch_size(session), generator), 1):
                with halves:
                    h = net.hidden(rows.x(batch))
                    labels, real = rows.y(batch)
                    if kind == "sampled":
                        loss = sampled_loss(net, h, labels, real, draw(negatives, L, generator), L)
                    else:
                        loss = full(net, h, labels, real)
                for step in steps:
                    step.zero_grad(set_to_none=True)
                loss.backward()
                for step in steps:
                    step.step()
                seen += len(batch)
                if cuda and number % LOOKS:
                    continue
                if cuda:
                    torch.cuda.synchronize()
                session.step(seen)
            session.epoch_stop(epoch, lambda X: top_one(net, X, device))
        except Over:
            return epoch
    return session.epochs


def precision(session: Session) -> str:
    return str(session.options.get("precision", "bfloat16" if session.options["device"] == "cuda" else "float32"))


def batch_size(session: Session) -> int:
    return int(session.options.get("batch", session.batch))


def run(session: Session) -> None:
    kind, device = session.options["kind"], session.options["device"]
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no CUDA device here")
    torch.set_num_threads(session.threads)
    torch.manual_seed(session.seed)
    if precision(session) == "tf32":
        torch.set_float32_matmul_precision("high")
    sizes = session.X.shape[1], session.hidden, session.Y.shape[1]
    shape = {"sampled": kind == "sampled", "activation": session.activation, "sparse": device == "cpu"}
    net = Net(*sizes, **shape).to(device)
    session.ready(
        device=torch.cuda.get_device_name() if device == "cuda" else "cpu",
        precision=precision(session),
        version=torch.__version__,
        model=f"{net}, Adam {session.options.get('lr', RATE):g}, batch {batch_size(session)}",
    )
    epoch = train(session, net, device, kind)
    facts = {"device_peak_bytes": torch.cuda.max_memory_allocated()} if device == "cuda" else {}
    judged = session.evaluate_epochs
    session.finish(epoch, None if judged else lambda X: top_one(net, X, device), **facts)


if __name__ == "__main__":
    main(run)
