# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""The one binding to the C core: hold the arrays, release the GIL, make one C call, turn its status into an exception.

Arguments are checked in slide/network.py; this module trusts them and is not public.
"""
from cpython.bytes cimport PyBytes_AsString
from libc.stdint cimport int8_t, uint8_t, uint16_t, int32_t, int64_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

import os
import threading

import numpy as np

from slide.engine.layout import KINDS
from slide.engine.protocol import Examples, TrainStats


include "_c_extern.pxi"


cdef class _Block:
    """Owns one block of the core's memory; NumPy arrays made from it keep it alive."""

    cdef void *p
    cdef int64_t bytes
    cdef Py_ssize_t shape[1]

    def __cinit__(self, int64_t n_bytes):
        self.bytes = n_bytes
        self.p = slide_alloc(n_bytes)
        if self.p == NULL:
            raise MemoryError(f"could not get {n_bytes:,} bytes for parameters or tables")

    def __dealloc__(self):
        slide_free(self.p, self.bytes)

    def __getbuffer__(self, Py_buffer *view, int flags):
        self.shape[0] = self.bytes
        view.buf = self.p
        view.obj = self
        view.len = self.bytes
        view.itemsize = 1
        view.readonly = 0
        view.ndim = 1
        view.format = b"B"
        view.shape = self.shape
        view.strides = NULL
        view.suboffsets = NULL
        view.internal = NULL


def allocate(shape, dtype):
    """Zeroed array on 2 MiB-aligned memory with huge pages advised (64-byte aligned when small)."""
    dtype = np.dtype(dtype)
    n_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    return np.frombuffer(_Block(max(n_bytes, 1)), np.uint8)[:n_bytes].view(dtype).reshape(shape)


def isa_available():
    """Names of the instruction sets this processor runs, best first."""
    cdef const char *const *names = slide_isa_available()
    found = []
    while names[0] != NULL:
        found.append(names[0].decode())
        names += 1
    return found


def openmp_threads():
    """OpenMP's own default number of threads; 0 when built without OpenMP."""
    return slide_openmp_threads()


cdef float *_floats(array):
    cdef float[:, ::1] view = array
    return &view[0, 0] if view.shape[0] and view.shape[1] else NULL


cdef class _Examples:
    """Pointers into CSR arrays, held alive for one call."""

    cdef slide_examples c
    cdef object held

    def __cinit__(self, X, Y=None, order=None):
        cdef const int64_t[::1] xp = X.indptr, yp, visit
        cdef const int32_t[::1] xi = X.indices, yi
        cdef const float[::1] xd = X.data, weights
        memset(&self.c, 0, sizeof(self.c))
        self.c.x_indptr = &xp[0]
        if xi.shape[0]:
            self.c.x_indices = &xi[0]
            self.c.x_data = &xd[0]
        self.c.n = xp.shape[0] - 1
        if Y is not None:
            yp, yi = Y.indptr, Y.indices
            self.c.y_indptr = &yp[0]
            if yi.shape[0]:
                self.c.y_indices = &yi[0]
        if order is not None:
            visit, weights = order, X.weights
            self.c.n = visit.shape[0]
            if self.c.n:
                self.c.order = &visit[0]
            if weights.shape[0]:
                self.c.weights = &weights[0]
        self.held = (X, Y, order)


cdef class Engine:
    """A network of the C core over arrays that Python owns (slide.engine.state.LayerState)."""

    cdef slide_network *net
    cdef object layers, arrays, wide, lock, tables, ranker
    cdef int readers
    cdef bint filling
    cdef readonly int n_threads

    def __cinit__(self, layers, wide, optimizer, loss, seed, n_threads, isa=None):
        cdef int n = len(layers)
        cdef slide_layer *c = <slide_layer *>malloc((n + 1) * sizeof(slide_layer))
        cdef slide_optimizer o
        cdef slide_wide w
        cdef bytes name = isa.encode() if isa else b""
        if c == NULL:
            raise MemoryError("could not describe the layers to the C core")
        try:
            for i in range(n):
                _describe(&c[i], layers[i])
            o.kind = KINDS[optimizer.kind]
            o.beta1, o.beta2, o.eps = optimizer.beta1, optimizer.beta2, optimizer.eps
            o.weight_decay = optimizer.weight_decay
            if wide is not None:
                _describe_wide(&w, wide)
            self.net = slide_network_new(c, n, &w if wide is not None else NULL, &o, KINDS[loss], seed, n_threads,
                                         PyBytes_AsString(name) if isa else NULL)
        finally:
            free(c)
        if self.net == NULL:
            if isa and isa not in isa_available():
                raise ValueError(f"instruction set {isa!r} is not usable here; found: {', '.join(isa_available())}")
            raise MemoryError("could not allocate the threads' scratch memory")
        self.layers = layers
        # a call in another thread may outlive the arrays that a new engine replaces
        self.arrays = [(s.held, s.lsh and s.lsh.arrays) for s in layers]
        self.wide = wide and wide.arrays
        self.lock = threading.Lock()
        self.tables = threading.Condition()  # held by many that read tables or by one that fills them
        self.readers, self.filling = 0, False
        self.n_threads = n_threads

    def __dealloc__(self):
        slide_network_free(self.net)

    def rank_by(self, ranker):
        """From now on `predict` ranks the network's labels by a slide.model.ranker.Ranker; None: by their logits again."""
        cdef slide_rank rank
        if ranker is None:
            slide_network_rank(self.net, NULL)
        else:
            _describe_rank(&rank, ranker)
            slide_network_rank(self.net, &rank)
        self.ranker = ranker  # its arrays live as long as they are read

    @property
    def isa(self):
        return slide_network_isa(self.net).decode()

    def handed_out(self):
        """The output layer's weights may be written to from now on, so predictions read them as they are."""
        slide_network_handed_out(self.net)

    def train(self, X, Y, order, int64_t first_step, const float[::1] lr, int batch_size=1):
        """Visits the rows in order once. Returns TrainStats; bad_step >= 0 tells where a loss was not finite."""
        cdef _Examples ex = _Examples(X, Y, order)
        cdef slide_train_stats stats
        cdef slide_status status
        with self.lock:
            with nogil:
                status = slide_train(self.net, &ex.c, first_step, &lr[0], batch_size, &stats)
        return _stats_of(&stats, status)

    def plan(self, X, Y, order, int64_t first_step, const float[::1] lr, int batch_size):
        """The batches of a call of `train`, to be trained in parts where the last layer's rows are not all in memory."""
        cdef _Plan plan = _Plan()
        plan.examples, plan.lr, plan.engine = _Examples(X, Y, order), lr, self
        with self.lock:
            with nogil:
                plan.c = slide_batch_plan_new(self.net, &plan.examples.c, first_step, &lr[0], batch_size, NULL)
        if plan.c == NULL:
            raise MemoryError("could not get memory to plan the batches")
        return plan

    def mark_plan(self, _Plan plan, int64_t first, int64_t n, uint8_t[::1] marks):
        """Sets marks [N] of the last layer's rows that the batches first to first + n take: see SLIDE_ROW_ in slide.h."""
        cdef slide_status status
        with self.lock:
            with nogil:
                status = slide_batch_plan_rows(self.net, plan.c, first, n, &marks[0])
        if status == SLIDE_NO_MEMORY:
            raise MemoryError("could not get memory for the active sets")

    def mark_ahead(self, X, Y, order, int64_t first_step, int batch_size, uint8_t[::1] marks):
        """Sets marks [N] of what a plan of these will take for certain, and of nearly all that it will draw."""
        cdef _Examples ex = _Examples(X, Y, order)
        with nogil:
            slide_batch_rows_ahead(self.net, &ex.c, first_step, batch_size, &marks[0])

    def train_plan(self, _Plan plan, int64_t first, int64_t n):
        """Trains these batches, whose rows are in memory. Returns TrainStats."""
        cdef slide_train_stats stats
        cdef slide_status status
        with self.lock:
            with nogil:
                status = slide_batch_plan_train(self.net, plan.c, first, n, &stats)
        return _stats_of(&stats, status)

    def time(self, bint on):
        """Whether `train` takes down what the threads' time goes into (slide.engine.layout.PHASES)."""
        slide_network_time(self.net, on)

    @property
    def trains_batches(self):
        """Whether a batch_size over 1 has an effect: samples can share the last layer's active set."""
        return bool(slide_batch_possible(self.net))

    def rebuild(self, int layer, uint64_t generation, bint refresh=False):
        """Empties and refills the tables of a sampled layer. refresh: only from neurons that can have risen."""
        cdef slide_status status = SLIDE_OK
        with self.lock:
            self.keep_readers_out()
            with nogil:
                status = slide_rebuild(self.net, layer, generation, refresh)
            self.let_readers_in()
        if status == SLIDE_NO_MEMORY:
            raise MemoryError("could not get memory for hash codes while rebuilding tables")

    def rebuild_from(self, int layer, bint refresh, int64_t first_block, int64_t n_blocks, parts):
        """Refills the lists of some blocks of 64 query cells from rows float32 [n, stride] in pairs (first, rows)."""
        cdef slide_filling *filling
        cdef float *p
        cdef int64_t begin, n
        with self.lock:
            with nogil:
                filling = slide_rebuild_begin(self.net, layer, refresh, first_block, n_blocks)
            if filling == NULL:
                raise MemoryError("could not get memory for the lists while rebuilding tables")
            try:
                for first, rows in parts:
                    p, begin, n = _floats(rows), first, len(rows)
                    with nogil:
                        slide_rebuild_offer(self.net, layer, filling, p, begin, n)
            finally:
                self.keep_readers_out()
                slide_rebuild_end(self.net, layer, filling)
                self.let_readers_in()

    def change_tables(self, change):
        """Calls change(), which writes into tables, while nobody trains or reads them."""
        with self.lock:
            self.keep_readers_out()
            try:
                change()
            finally:
                self.let_readers_in()

    cdef keep_readers_out(self):
        """Waits for those who read tables."""
        with self.tables:
            self.filling = True
            while self.readers:
                self.tables.wait()

    cdef let_readers_in(self):
        with self.tables:
            self.filling = False
            self.tables.notify_all()

    def predict(self, X, int k, int64_t n_candidates, bint ranked=True):
        """ids int32 [n, k], scores float32 [n, k], best first; n_candidates 0 scores all neurons.

        ranked: by the ranker, if there is one (rank_by); else by the network's own scores.
        """
        cdef _Examples ex = _Examples(X)
        ids = np.empty((ex.c.n, k), np.int32)
        scores = np.empty((ex.c.n, k), np.float32)
        if ex.c.n == 0:
            return ids, scores
        cdef int32_t[:, ::1] i = ids
        cdef float[:, ::1] s = scores
        cdef slide_status status
        if n_candidates:
            with self.tables:
                while self.filling:
                    self.tables.wait()
                self.readers += 1
        with nogil:
            status = slide_predict(self.net, &ex.c, k, n_candidates, ranked, &i[0, 0], &s[0, 0])
        if n_candidates:
            with self.tables:
                self.readers -= 1
                self.tables.notify_all()
        if status == SLIDE_NO_MEMORY:
            raise MemoryError("could not get scratch memory for prediction")
        return ids, scores

    def hidden(self, X, int layer):
        """float32 [n, fan_in of the layer]: the vectors that enter it."""
        cdef _Examples ex = _Examples(X)
        out = np.zeros((ex.c.n, self.layers[layer].fan_in), np.float32)
        cdef float *p = _floats(out)
        cdef int64_t stride = out.shape[1]
        cdef slide_status status
        if ex.c.n == 0:
            return out
        with nogil:
            status = slide_hidden(self.net, &ex.c, layer, p, stride)
        if status == SLIDE_NO_MEMORY:
            raise MemoryError("could not get scratch memory for the hidden vectors")
        return out

    def hash_codes(self, int layer, vectors):
        """uint32 [n, L] codes of vectors float32 [n, dim] as they are hashed: see slide_lsh in csrc/slide.h."""
        cdef float[:, ::1] v = vectors
        codes = np.empty((v.shape[0], self.layers[layer].lsh.L), np.uint32)
        cdef uint32_t[:, ::1] c = codes
        if v.shape[0] == 0:
            return codes
        with self.lock:
            with nogil:
                slide_hash_codes(self.net, layer, &v[0, 0], v.shape[0], v.shape[1], &c[0, 0])
        return codes

    def retrieve(self, int layer, queries, int64_t n_candidates):
        """int32 [n, n_candidates]: neurons the tables return for each query float32 [n, fan_in], padded with -1."""
        cdef float[:, ::1] q = queries
        ids = np.empty((q.shape[0], n_candidates), np.int32)
        cdef int32_t[:, ::1] i = ids
        if q.shape[0] == 0:
            return ids
        with self.lock:
            with nogil:
                slide_retrieve(self.net, layer, &q[0, 0], q.shape[0], q.shape[1], n_candidates, &i[0, 0])
        return ids

    def leaf_codes(self, leaves, vectors, const int32_t[::1] cells):
        """int32 [n]: the nearest leaf of each vector float32 [n, H], of those of its cell."""
        cdef slide_leaves t
        cdef float[:, ::1] v = vectors
        codes = np.empty(v.shape[0], np.int32)
        cdef int32_t[::1] c = codes
        cdef slide_status status
        if v.shape[0] == 0:
            return codes
        _describe_leaves(&t, leaves)
        with nogil:
            status = slide_leaf_codes(self.net, &t, &v[0, 0], v.shape[0], v.shape[1], &cells[0], &c[0])
        if status == SLIDE_NO_MEMORY:
            raise MemoryError("could not get scratch memory for the leaves")
        return codes

    def fill_leaves(self, leaves, const int64_t[::1] indptr, const int32_t[::1] ids):
        """int32 [n_leaves, capacity + 1]: leaves' lists from the last layer's rows, of block b from ids[indptr[b]:indptr[b + 1]]."""
        cdef slide_leaves t
        cdef slide_status status
        lists = np.zeros((leaves.places.shape[0], leaves.places.shape[1]), np.int32)
        cdef int32_t[:, ::1] out = lists
        _describe_leaves(&t, leaves)
        with self.lock:
            with nogil:
                status = slide_fill_leaves(self.net, &t, &indptr[0], &ids[0] if ids.shape[0] else NULL, &out[0, 0])
        if status == SLIDE_NO_MEMORY:
            raise MemoryError("could not get memory for the leaves' lists")
        return lists

    def shortlist(self, leaves, X, int k, int64_t n_candidates, bint ranked=False):
        """ids int32 [n, k], scores float32 [n, k], best first, of n_candidates labels from the leaves' lists.

        Scores are logits; ranked: the ranker's, if there is one, of those that are best by logit.
        """
        cdef _Examples ex = _Examples(X)
        cdef slide_leaves t
        ids, scores = np.empty((ex.c.n, k), np.int32), np.empty((ex.c.n, k), np.float32)
        if ex.c.n == 0:
            return ids, scores
        cdef int32_t[:, ::1] i = ids
        cdef float[:, ::1] s = scores
        cdef slide_status status
        _describe_leaves(&t, leaves)
        with nogil:
            status = slide_shortlist(self.net, &t, &ex.c, k, n_candidates, ranked, &i[0, 0], &s[0, 0])
        if status == SLIDE_NO_MEMORY:
            raise MemoryError("could not get scratch memory for shortlists")
        return ids, scores

    def mark_shortlist(self, leaves, X, int64_t n_candidates, uint8_t[::1] marks):
        """Sets marks [N] of the last layer's rows that `shortlist` scores for these."""
        cdef _Examples ex = _Examples(X)
        cdef slide_leaves t
        cdef slide_status status
        _describe_leaves(&t, leaves)
        with nogil:
            status = slide_shortlist_rows(self.net, &t, &ex.c, n_candidates, &marks[0])
        if status == SLIDE_NO_MEMORY:
            raise MemoryError("could not get scratch memory for shortlists")

    def active_set(self, int layer, query, labels, uint64_t step):
        """For inspection: ids int32 [A] that this step would choose, and their neg_log_q float32 [A] (-log q)."""
        state = self.layers[layer]
        most = state.n_active + state.n_random + len(labels)
        ids, neg_log_q = np.empty(most, np.int32), np.empty(most, np.float32)
        nothing = np.empty(0, np.float32)
        X = Examples(np.zeros(2, np.int64), np.empty(0, np.int32), nothing)
        Y = Examples(np.array([0, len(labels)], np.int64), labels, nothing)
        cdef _Examples example = _Examples(X, Y)
        cdef float[::1] q = query, c = neg_log_q
        cdef int32_t[::1] i = ids
        cdef int64_t n
        with self.lock:
            with nogil:
                n = slide_active_inspect(self.net, layer, &q[0], &example.c, step, &i[0], &c[0])
        if n < 0:
            raise MemoryError("could not grow the threads' scratch memory for these labels")
        return ids[:n], neg_log_q[:n]


include "_c_network.pxi"
include "_c_xmc.pxi"
include "_c_linear.pxi"
include "_c_leaves.pxi"
include "_c_store.pxi"
include "_c_shard.pxi"
include "_c_text.pxi"
include "_c_row.pxi"
