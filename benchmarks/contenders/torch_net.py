"""PyTorch contenders: an EmbeddingBag input, then a full softmax or a sampled one with negatives shared by the batch.

The sampled softmax keeps a row's own labels (probability 1) and `negatives` uniform draws (probability n / L),
subtracts log q from each logit, and hides draws that are labels of the row. Its gradients are sparse, for SparseAdam.
The full softmax updates every row with Adam, as it must. Target: uniform over a row's labels.
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


class Net(nn.Module):
    """D sparse features -> H -> L logits. The output is two embeddings, so that single rows can be looked up."""

    def __init__(self, D: int, H: int, L: int, *, sampled: bool, activation: str) -> None:
        super().__init__()
        self.inner = nn.EmbeddingBag(D, H, mode="sum", sparse=True)
        self.inner_bias = nn.Parameter(torch.zeros(H))
        self.outer = nn.Embedding(L, H, sparse=sampled)
        self.outer_bias = nn.Embedding(L, 1, sparse=sampled)
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
    log_p = torch.log_softmax(net.logits(h).float(), dim=1)
    own = log_p.gather(1, labels).masked_fill(~real, 0.0)
    return -(own.sum(1) / real.sum(1).clamp(min=1)).mean()


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
    mask = torch.zeros(labels.shape[0], len(drawn), dtype=torch.bool, device=labels.device)
    rows = torch.arange(labels.shape[0], device=labels.device)[:, None].expand_as(place)
    mask[rows[hit], place[hit]] = True
    return mask


def draw(n: int, L: int, generator: np.random.Generator) -> torch.Tensor:
    """n distinct labels, uniform, sorted."""
    return torch.from_numpy(np.sort(generator.choice(L, size=min(n, L), replace=False, shuffle=False)))


def batch_x(X: Any, device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    parts = (X.indices.astype(np.int64), X.indptr[:-1].astype(np.int64), X.data.astype(np.float32))
    ids, offsets, values = (torch.from_numpy(part).to(device) for part in parts)
    return ids, offsets, values


def batch_y(Y: Any, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels padded to the longest row of the batch, and which entries are real."""
    counts = np.diff(Y.indptr)
    labels = np.zeros((Y.shape[0], max(1, counts.max(initial=1))), dtype=np.int64)
    real = np.arange(labels.shape[1])[None, :] < counts[:, None]
    labels[real] = Y.indices
    return torch.from_numpy(labels).to(device), torch.from_numpy(real).to(device)


def batches(session: Session, epoch: int) -> Iterator[tuple[Any, Any]]:
    order = np.random.default_rng([session.seed, epoch]).permutation(session.X.shape[0])
    for start in range(0, len(order), session.batch):
        rows = order[start : start + session.batch]
        yield session.X[rows], session.Y[rows]


def optimizers(net: Net, sampled: bool, lr: float) -> list[torch.optim.Optimizer]:
    sparse, dense = [net.inner.weight], [net.inner_bias]
    (sparse if sampled else dense).extend([net.outer.weight, net.outer_bias.weight])
    return [torch.optim.SparseAdam(sparse, lr=lr), torch.optim.Adam(dense, lr=lr)]


@torch.no_grad()
def top_one(net: Net, X: Any, device: str, rows: int = 256) -> np.ndarray:
    """Exact best label of each row, [n, 1]."""
    found = []
    for start in range(0, X.shape[0], rows):
        best = net.logits(net.hidden(batch_x(X[start : start + rows], device))).argmax(1)
        found.append(best.cpu().numpy())
    return np.concatenate(found)[:, None]


def train(session: Session, net: Net, device: str, kind: str) -> int:
    """Train until the session says Over or the epochs end; returns the last epoch's number."""
    L, seen = session.Y.shape[1], 0
    negatives = session.options.get("negatives") or max(LEAST, round(SHARE * L))
    steps = optimizers(net, kind == "sampled", session.options.get("lr", RATE))
    rng = np.random.default_rng([session.seed, 1])
    for epoch in range(1, session.epochs + 1):
        session.epoch_start(epoch)
        try:
            for X, Y in batches(session, epoch):
                h = net.hidden(batch_x(X, device))
                labels, real = batch_y(Y, device)
                if kind == "sampled":
                    loss = sampled_loss(net, h, labels, real, draw(negatives, L, rng).to(device), L)
                else:
                    loss = full_loss(net, h, labels, real)
                for step in steps:
                    step.zero_grad(set_to_none=True)
                loss.backward()
                for step in steps:
                    step.step()
                seen += X.shape[0]
                if device == "cuda":
                    torch.cuda.synchronize()
                session.step(seen)
            session.epoch_stop(epoch, lambda X: top_one(net, X, device))
        except Over:
            return epoch
    return session.epochs


def run(session: Session) -> None:
    kind, device = session.options["kind"], session.options["device"]
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no CUDA device here")
    torch.set_num_threads(session.threads)
    torch.manual_seed(session.seed)
    sizes = session.X.shape[1], session.hidden, session.Y.shape[1]
    net = Net(*sizes, sampled=kind == "sampled", activation=session.activation).to(device)
    where = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    precision = "float32"
    if device == "cuda":
        precision += f" (matmul: {torch.get_float32_matmul_precision()})"
    session.ready(
        device=where,
        precision=precision,
        version=torch.__version__,
        model=f"{net}, Adam {session.options.get('lr', RATE):g}",
    )
    epoch = train(session, net, device, kind)
    facts = {"device_peak_bytes": torch.cuda.max_memory_allocated()} if device == "cuda" else {}
    judged = session.evaluate_epochs
    session.finish(epoch, None if judged else lambda X: top_one(net, X, device), **facts)


if __name__ == "__main__":
    main(run)
