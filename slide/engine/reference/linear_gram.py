"""A label's problem in the space of its rows, where they are few. Mirrors csrc/linear/gram.c, bit for bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from slide.engine.reference.jit import kernel
from slide.engine.reference.linear_weights import ONE, ZERO, add_rows, clear, margin

GRAM_ROWS = 128
MOST_PASSES, EVERY = 300, 3
WAITS = np.float32(0.25)


@kernel
def descend_gram(w: Any, X: Any, p: Any, eps: Any) -> None:
    """Solves the problem from its multipliers on; w holds their weights on entry and on return."""
    n = len(p.rows)
    gradient = np.empty(n, np.float32)
    for i in range(n):
        gradient[i] = p.sign[i] * margin(w, X, p.rows[i]) - ONE
    clear(w, X, p.rows)
    products, known = np.empty((n, n), np.float32), np.zeros(n, np.bool_)
    most = ZERO
    for done in range(MOST_PASSES if n else 0):
        limit, most = most * WAITS, ZERO
        for i in range(n):
            slope = gradient[i] + p.alpha[i] * p.slack[i]
            away = abs(slope) if p.alpha[i] > 0 else -slope
            most = max(most, away)
            if away > limit:
                old = p.alpha[i]
                p.alpha[i] = max(old - slope / p.curvature[i], ZERO)
                make_products(w, X, p, i, products, known)
                gradient += (p.alpha[i] - old) * products[i]
        if np.float32(2) * most <= eps:
            break
        if done % EVERY == EVERY - 1:
            move_free(w, X, p, gradient, products, known)
    add_rows(w, X, p.rows, p.sign, p.alpha)


@kernel
def make_products(w: Any, X: Any, p: Any, i: Any, products: Any, known: Any) -> None:
    """Row i of y_i y_j (x_i . x_j + 1), once; w is 0 before and after."""
    if known[i]:
        return
    known[i] = True
    for q in range(X.indptr[p.rows[i]], X.indptr[p.rows[i] + 1]):
        w[X.indices[q]] = X.data[q]
    for j in range(len(p.rows)):
        total = ONE
        for q in range(X.indptr[p.rows[j]], X.indptr[p.rows[j] + 1]):
            total += w[X.indices[q]] * X.data[q]
        products[i, j] = total * (p.sign[i] * p.sign[j])
    for q in range(X.indptr[p.rows[i]], X.indptr[p.rows[i] + 1]):
        w[X.indices[q]] = 0


@kernel
def move_free(w: Any, X: Any, p: Any, gradient: Any, products: Any, known: Any) -> None:
    """Newton's step for the multipliers over 0, as far as all stay so."""
    free = np.flatnonzero(p.alpha > 0)
    n = len(free)
    system, step = np.empty((n, n)), np.empty(n)
    for a in range(n):
        i = free[a]
        make_products(w, X, p, i, products, known)
        for b in range(a, n):
            system[a, b] = products[i, free[b]]
        system[a, a] += np.float64(p.slack[i])
        step[a] = -(np.float64(gradient[i]) + np.float64(p.alpha[i]) * np.float64(p.slack[i]))
    if not solve_system(system, step):
        return
    share = 1.0
    for a in range(n):
        alpha = np.float64(p.alpha[free[a]])
        if alpha + share * step[a] < 0:
            share = -alpha / step[a]
    for a in range(n):
        i = free[a]
        old = p.alpha[i]
        p.alpha[i] = max(np.float32(np.float64(old) + share * step[a]), ZERO)
        gradient += (p.alpha[i] - old) * products[i]


@kernel
def solve_system(system: Any, step: Any) -> Any:
    """Solves system . x = step by Cholesky's factors, in place; False where rounding leaves it no positive one."""
    n = len(step)
    for k in range(n):
        root = math.sqrt(system[k, k])
        if not root > 0:
            return False
        for j in range(k, n):
            system[k, j] /= root
        for i in range(k + 1, n):
            for j in range(i, n):
                system[i, j] -= system[k, i] * system[k, j]
    for k in range(n):
        step[k] /= system[k, k]
        for j in range(k + 1, n):
            step[j] -= system[k, j] * step[k]
    for k in range(n - 1, -1, -1):
        for j in range(k + 1, n):
            step[k] -= system[k, j] * step[j]
        step[k] /= system[k, k]
    return True
