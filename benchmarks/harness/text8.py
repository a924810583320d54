"""Skip-gram problems from any text: one-hot word in, the words around it as labels (Mikolov et al., 2013).

Builds CSR matrices and files in the extreme classification format; trains nothing. The text8 file itself
is not shipped: any plain text will do, `python -m benchmarks.harness.text8 book.txt FOLDER`.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

WORD = re.compile(r"[^\W_]+", re.UNICODE)


def words_of(lines: Iterable[str]) -> Iterable[str]:
    """Lower-case runs of letters and digits."""
    for line in lines:
        yield from WORD.findall(line.lower())


def encode(words: Iterable[str], vocabulary: int, min_count: int = 1) -> tuple[np.ndarray, list[str]]:
    """Word ids by falling frequency (ties by spelling) and the words kept; the others leave the text."""
    text = list(words)
    counts = sorted(Counter(text).items(), key=lambda item: (-item[1], item[0]))
    kept = [word for word, n in counts[:vocabulary] if n >= min_count]
    ids = {word: i for i, word in enumerate(kept)}
    return np.fromiter((ids[w] for w in text if w in ids), dtype=np.int32), kept


def skip_grams(ids: np.ndarray, vocabulary: int, window: int = 2) -> tuple[Any, Any]:
    """One row for each position: X one-hot of its word, Y the distinct words at most `window` away.

    ids int32 [n] in text order; returns CSR float32 [n, vocabulary] twice. A word is no label of itself.
    """
    import scipy.sparse as sp

    n = len(ids)
    if n and int(ids.max()) >= vocabulary:
        raise ValueError(f"ids hold {int(ids.max())}, wanted less than vocabulary={vocabulary}")
    rows, columns = [], []
    for shift in range(1, window + 1):
        here = np.arange(n - shift) if n > shift else np.arange(0)
        rows += [here, here + shift]
        columns += [ids[shift:], ids[: max(n - shift, 0)]]
    row, column = np.concatenate(rows), np.concatenate(columns)
    other = column != ids[row] if n else np.zeros(0, dtype=bool)
    ones = np.ones(int(other.sum()), dtype=np.float32)
    Y = sp.csr_matrix((ones, (row[other], column[other])), shape=(n, vocabulary))
    Y.data[:] = 1.0
    Y.sort_indices()
    X = sp.csr_matrix((np.ones(n, dtype=np.float32), ids.astype(np.int32), np.arange(n + 1)), shape=(n, vocabulary))
    return X, Y


def zipf_words(n: int, vocabulary: int, seed: int = 0, exponent: float = 1.0) -> np.ndarray:
    """A made-up text: n word ids whose frequencies fall as rank ** -exponent."""
    weights = np.arange(1, vocabulary + 1, dtype=np.float64) ** -exponent
    edges = np.cumsum(weights / weights.sum())
    found = np.searchsorted(edges, np.random.default_rng(seed).random(n))
    return np.minimum(found, vocabulary - 1).astype(np.int32)


def build(source: Path, target: Path, vocabulary: int, window: int, min_count: int, test: float) -> None:
    """Write train.txt, test.txt (the last part of the text) and vocabulary.txt to `target`."""
    from benchmarks.harness.data import write_xmc

    with open(source, encoding="utf-8", errors="replace") as lines:
        ids, kept = encode(words_of(lines), vocabulary, min_count)
    if len(ids) < 10:
        raise ValueError(f"{source}: {len(ids)} words left, wanted at least 10")
    X, Y = skip_grams(ids, len(kept), window)
    cut = int(len(ids) * (1 - test))
    target.mkdir(parents=True, exist_ok=True)
    write_xmc(target / "train.txt", X[:cut], Y[:cut])
    write_xmc(target / "test.txt", X[cut:], Y[cut:])
    (target / "vocabulary.txt").write_text("\n".join(kept) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    p = argparse.ArgumentParser(prog="python -m benchmarks.harness.text8", description=__doc__)
    p.add_argument("source", type=Path, help="any text file")
    p.add_argument("target", type=Path, help="folder for train.txt, test.txt, vocabulary.txt")
    p.add_argument("--vocabulary", type=int, default=253_855, help="most frequent words kept")
    p.add_argument("--window", type=int, default=2)
    p.add_argument("--min-count", type=int, default=1)
    p.add_argument("--test", type=float, default=0.05, help="share of the text held out at its end")
    args = p.parse_args(argv)
    build(args.source, args.target, args.vocabulary, args.window, args.min_count, args.test)
    print(f"written to {args.target}; now: python -m benchmarks.peers --data {args.target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
