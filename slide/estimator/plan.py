"""What `fit` chooses by itself from the data: which sparse part goes with the network, and why.

The walk over an inverted index (slide.Wide) scores every label that shares a feature with a row. Where features are
rare that is exact, fast and as accurate as anything measured; where they are common a row meets hundreds of thousands
of pairs, and cutting the lists loses just those that matter. There the network retrieves, and sparse rows rank
(slide.Rank).

In a dense table every feature meets every label, so that neither part is sparse: each costs a multiple of the network
and adds little to it (docs/estimator.md). There is none, unless it is asked for.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from slide.checks import require
from slide.model.pairs import Wide
from slide.training.ranking import Rank, RankingFacts

SAMPLE = 128  # entries of X whose features' lists are counted
#: A walk may be cut to its limit of pairs a row (`Wide.row_pairs`) if that leaves at least one in so many. Measured:
#: the walk is ahead where it keeps all (WordNet, 2,900 pairs a row) and two in five (Debian's dependencies, 100,000),
#: and 15 to 20 points behind where it keeps one in eight (Debian's sources, 332,000) or less.
CUT_AT_MOST = 5
#: With so few labels it may be cut to anything: what is cut are lists that nearly all labels are in. 598 tags of texts,
#: by pieces of three to five characters, 8,000 rows of 190,000 pairs: P@1 85.2 in 32 s of processor time cut to 40,000,
#: 84.9 in 54 s uncut; to solve a row for each label takes ten times as long and more.
FEW_LABELS = 1_000


@dataclass
class FitPlan:
    """What the last fit chose, and why: print it.

    Attributes
    ----------
    wide : Wide or None
        Of the network: pairs that are trained with it.
    rank : Rank or None
        How the network's best labels are ranked.
    pairs_a_row : float or None
        (feature, label) pairs that a training row meets, estimated; None where nothing was to be chosen.
    ranking : RankingFacts or None
        What learning to rank found, after a fit with `rank`.
    is_table : bool
        Whether there is no sparse part because X is a dense table.
    """

    wide: Wide | None
    rank: Rank | None
    pairs_a_row: float | None = None
    ranking: RankingFacts | None = None
    is_table: bool = False

    @classmethod
    def of(
        cls, wide: Any, rows: sp.csr_array | None = None, Y: sp.csr_array | None = None, *, is_table: bool = False
    ) -> FitPlan:
        """From the option of a classifier, and for True from the rows to be trained on if they are all there.

        is_table : whether more than half of the entries of X are not 0

        Raises
        ------
        ValueError
            For an option that makes no sense, or a Rank without all rows.
        """
        require(isinstance(wide, bool | Wide | Rank), "wide", wide, "a slide.Rank, a slide.Wide, True or False")
        all_there = rows is not None and Y is not None
        require(all_there or not isinstance(wide, Rank), "wide", wide, "a slide.Wide, True or False: only fit ranks")
        if isinstance(wide, Rank):
            return cls(None, wide)
        if wide is True and is_table:
            return cls(None, None, is_table=True)
        if wide is not True or rows is None or Y is None:
            return cls(Wide() if wide is True else wide or None, None)
        pairs = pairs_a_row(rows, Y)
        few = pairs <= CUT_AT_MOST * Wide().row_pairs or Y.shape[1] <= FEW_LABELS
        return cls(Wide() if few else None, None if few else Rank(), pairs)

    def config(self) -> dict[str, Any]:
        """As JSON values, for a model file."""
        return asdict(self)

    @classmethod
    def restored(cls, stored: Any) -> FitPlan:
        """The inverse of `config`; TypeError or ValueError for what no plan says."""
        given = dict(stored)
        ranking = given["ranking"]
        if ranking is not None:
            ranking = RankingFacts(
                **ranking | {"held_losses": {float(C): v for C, v in ranking["held_losses"].items()}}
            )
        wide, rank = given["wide"], given["rank"]
        parts = wide and Wide(**wide), rank and Rank(**rank)
        plan = cls(*parts, given["pairs_a_row"], ranking, bool(given.get("is_table", False)))
        str(plan)  # what could not be printed is refused here
        return plan

    def __str__(self) -> str:
        lines = []
        if self.pairs_a_row is not None:
            limit = CUT_AT_MOST * Wide().row_pairs
            found = f"a row meets about {self.pairs_a_row:,.0f} (feature, label) pairs, "
            over = bool(self.wide) and self.pairs_a_row > limit
            why = found + (f"of no more than {FEW_LABELS:,} labels" if over else f"{limit:,} is the limit of the walk")
            lines.append(f"sparse part: {'walk over pairs' if self.wide else 'retrieve and rank'}: {why}")
        elif self.is_table:
            lines.append("sparse part: none: X is dense, more than half of its entries are not 0")
        elif self.wide == Wide():
            lines.append("sparse part: walk over pairs, with the defaults")
        elif self.wide or self.rank:
            lines.append(f"sparse part: {self.wide or self.rank}, as given")
        else:
            lines.append("sparse part: none, as given")
        return "\n".join(lines + ([str(self.ranking)] if self.ranking else []))


def pairs_a_row(X: sp.csr_array, Y: sp.csr_array, seed: int = 0) -> float:
    """Labels that share each feature of a row, summed over its features, mean over rows: estimated from some entries.

    X float32 CSR [n, n_features], Y indicator CSR [n, n_labels].
    """
    if not X.nnz:
        return 0.0
    entries = np.random.default_rng(seed).integers(0, X.nnz, SAMPLE)
    drawn, times = np.unique(X.indices[entries], return_counts=True)
    columns = sp.csc_array(X[:, drawn])
    met = np.zeros(Y.shape[1], np.bool_)
    lengths = np.empty(len(drawn))
    for i in range(len(drawn)):
        rows = columns.indices[columns.indptr[i] : columns.indptr[i + 1]]
        labels = Y[rows].indices
        met[labels] = True
        lengths[i] = np.count_nonzero(met) if len(labels) > len(met) else len(np.unique(labels))
        met[labels] = False
    return float(X.nnz / X.shape[0] * (lengths @ times) / SAMPLE)
