# The binding of csrc/net/shard.c, included by slide/engine/_c.pyx: the parts of a step of processes that share a network.

cdef extern from "slide.h":
    slide_status slide_shard_sums(slide_network *, const slide_examples *, int64_t, float *, int64_t) nogil
    slide_status slide_shard_log_sums(slide_network *, const slide_batch_plan *, slide_train_stats *) nogil
    slide_status slide_shard_step(slide_network *, const slide_examples *, int64_t, const float *, float *, int64_t,
                                  slide_train_stats *) nogil


def shard_sums(Engine engine, X, const int64_t[::1] order, int64_t first_step, float[:, ::1] out):
    """Fills the first rows of out float32 [len(order) or more, H padded to 16]: of each row of X, the sum of the input
    rows of its features."""
    cdef _Examples ex = _Examples(X, None, order)
    cdef slide_status status
    if out.shape[0] < order.shape[0] or out.shape[1] != engine.layers[0].padded:
        raise ValueError(f"out: found {out.shape[0]} x {out.shape[1]}, wanted {order.shape[0]} x {engine.layers[0].padded}")
    if not order.shape[0]:
        return
    with engine.lock:
        with nogil:
            status = slide_shard_sums(engine.net, &ex.c, first_step, &out[0, 0], out.shape[1])
    if status == SLIDE_NO_MEMORY:
        raise MemoryError("could not grow the threads' scratch memory for the longest example")


def shard_step(Engine engine, X, const int64_t[::1] order, int64_t first_step, const float[::1] lr, float[:, ::1] d_sums):
    """A step of the input rows with the gradients of what `shard_sums` found. Returns TrainStats."""
    cdef _Examples ex = _Examples(X, None, order)
    cdef slide_train_stats stats
    cdef slide_status status
    with engine.lock:
        with nogil:
            status = slide_shard_step(engine.net, &ex.c, first_step, &lr[0], &d_sums[0, 0], d_sums.shape[1], &stats)
    return _stats_of(&stats, status)


cdef class ShardPlan(_Plan):
    """The step of a block of samples through the labels that are here.

    order : int64 [n] rows of Y; hidden : float32 [n, H padded to 16]; n_labels : int32 [n] labels of each, everywhere
    cells : uint32 [n] of query cells; empty where the layer has none
    share : of the log-sum in the losses that are summed here
    d_hidden : float32 as hidden, gets this part of the gradients; zeros
    """

    cdef slide_shard shard
    cdef object arrays
    cdef readonly object log_sums

    def __init__(self, Engine engine, X, Y, order, int64_t first_step, lr, int batch_size, hidden, cells, n_labels,
                 float share, d_hidden):
        cdef const float[:, ::1] h = hidden
        cdef const uint32_t[::1] c = cells
        cdef const int32_t[::1] n = n_labels
        cdef const float[::1] rate = lr
        self.log_sums = np.empty(len(order), np.float32)
        cdef float[::1] own = self.log_sums
        cdef float[:, ::1] d = d_hidden
        self.shard.hidden, self.shard.n_labels, self.shard.share = &h[0, 0], &n[0], share
        self.shard.cells = &c[0] if c.shape[0] else NULL
        self.shard.log_sum, self.shard.d_hidden, self.shard.others = &own[0], &d[0, 0], NULL
        self.arrays = hidden, cells, n_labels, d_hidden
        self.examples, self.lr, self.engine = _Examples(X, Y, order), lr, engine
        with engine.lock:
            with nogil:
                self.c = slide_batch_plan_new(engine.net, &self.examples.c, first_step, &rate[0], batch_size, &self.shard)
        if self.c == NULL:
            raise MemoryError("could not get memory to plan the batches")

    def find_log_sums(self):
        """Fills log_sums float32 [n]: log of the sum of the exponentials of a sample's active labels here."""
        cdef Engine engine = self.engine
        cdef slide_train_stats stats
        cdef slide_status status
        with engine.lock:
            with nogil:
                status = slide_shard_log_sums(engine.net, self.c, &stats)
        _stats_of(&stats, status)
        return self.log_sums

    def train(self, const float[::1] others):
        """The step. others : float32 [n], the same sums of all others, -infinity where there are none.

        Fills d_hidden, and log_sums of a softmax as they are at each step. Returns TrainStats.
        """
        cdef Engine engine = self.engine
        self.shard.others = &others[0]
        return engine.train_plan(self, 0, self.n_batches)
