# The binding of csrc/linear/linear.h, included by slide/engine/_c.pyx: hold the arrays, make one C call, hand out arrays.
# Arguments are checked in slide/model/sparse_rows.py.

cdef extern from "linear/linear.h":
    ctypedef struct slide_linear_rows:
        const int64_t *indptr
        const int32_t *features
        const float *weights
        const float *bias
        const int8_t *qweights
        const float *scales
        const uint16_t *narrow
        int64_t n_labels, n_features

    ctypedef struct slide_linear_data:
        const int64_t *x_indptr
        const int32_t *x_indices
        const float *x_data
        int64_t n_rows, n_features
        const int64_t *positive_indptr
        const int64_t *negative_indptr
        const int32_t *positives
        const int32_t *negatives
        const float *row_weights
        int64_t first_label, n_labels
        const slide_linear_rows *warm

    ctypedef struct slide_linear_options:
        float C, positive_weight, negative_weight, eps, prune
        int32_t max_passes, shrinks
        uint64_t seed
        int32_t n_threads

    ctypedef struct slide_linear_shortlists:
        const int32_t *shortlists
        int64_t n, m
        const int64_t *y_indptr
        const int32_t *y_indices
        int64_t first_label, n_labels
        int32_t n_threads

    ctypedef struct slide_linear_solution:
        pass

    ctypedef struct slide_rank:
        slide_linear_rows rows
        int64_t n
        const float *curve
        int32_t n_knots
        float first, step, logit_share, sum_share

    slide_status slide_linear_negatives(const slide_linear_shortlists *, int64_t *, int32_t *) nogil
    slide_linear_solution *slide_linear_train(const slide_linear_data *, const slide_linear_options *, int64_t *, float *,
                                              int64_t *) nogil
    void slide_linear_take(const slide_linear_solution *, const int64_t *, int32_t *, float *) nogil
    void slide_linear_free(slide_linear_solution *) nogil
    slide_status slide_linear_scores(const slide_linear_rows *, const slide_examples *, const int32_t *, int64_t, int,
                                     float *) nogil

cdef extern from "net/network.h":
    void slide_network_rank(slide_network *, const slide_rank *) nogil


cdef const int32_t *_ints(const int32_t[::1] array):
    return &array[0] if array.shape[0] else NULL


cdef const float *_values(const float[::1] array):
    return &array[0] if array.shape[0] else NULL


cdef int _describe_rows(slide_linear_rows *c, rows) except -1:
    """Copies the addresses of the arrays of sparse rows (slide.model.sparse_rows.SparseRows)."""
    cdef const int64_t[::1] indptr = rows.indptr
    cdef const float[::1] bias = rows.bias
    cdef const int8_t[::1] qweights
    cdef const uint16_t[::1] narrow
    memset(c, 0, sizeof(slide_linear_rows))
    c.indptr, c.bias = &indptr[0], _values(rows.bias)
    if rows.features.dtype == np.uint16:
        narrow = rows.features
        c.narrow = &narrow[0] if narrow.shape[0] else NULL
    else:
        c.features = _ints(rows.features)
    c.n_labels, c.n_features = bias.shape[0], rows.n_features
    if rows.weights is not None:
        c.weights = _values(rows.weights)
    else:
        qweights = rows.qweights
        c.qweights, c.scales = &qweights[0] if qweights.shape[0] else NULL, _values(rows.scales)
    return 0


cdef int _describe_rank(slide_rank *c, ranker) except -1:
    """Copies the numbers of a slide.model.ranker.Ranker and the addresses of its arrays."""
    memset(c, 0, sizeof(slide_rank))
    _describe_rows(&c.rows, ranker.rows)
    c.n, c.n_knots, c.curve = ranker.n, ranker.curve.shape[0], _values(ranker.curve)
    c.first, c.step, c.logit_share, c.sum_share = ranker.first, ranker.step, ranker.logit_share, ranker.sum_share
    return 0


def linear_negatives(const int32_t[:, ::1] shortlists, Y, int64_t first_label, int64_t n_labels, int n_threads):
    """By label of [first_label, first_label + n_labels): rows whose shortlist has it wrongly; indptr int64, rows int32."""
    cdef slide_linear_shortlists lists
    cdef const int64_t[::1] y_indptr = Y.indptr
    cdef slide_status status
    memset(&lists, 0, sizeof(lists))
    lists.n, lists.m = shortlists.shape[0], shortlists.shape[1]
    if lists.n and lists.m:
        lists.shortlists = &shortlists[0, 0]
    else:
        lists.n = 0
    lists.y_indptr, lists.y_indices = &y_indptr[0], _ints(Y.indices)
    lists.first_label, lists.n_labels, lists.n_threads = first_label, n_labels, n_threads
    cdef int64_t[::1] indptr = np.zeros(n_labels + 1, np.int64)
    with nogil:
        status = slide_linear_negatives(&lists, &indptr[0], NULL)
    cdef int32_t[::1] rows = np.empty(indptr[n_labels] + 1, np.int32)
    if status == SLIDE_OK:
        with nogil:
            status = slide_linear_negatives(&lists, &indptr[0], &rows[0])
    if status != SLIDE_OK:
        raise MemoryError("could not get memory for the labels' negative rows")
    return np.asarray(indptr), np.asarray(rows)[:indptr[n_labels]]


def linear_train(X, positives, negatives, options, int64_t first_label=0, row_weights=None, warm=None):
    """Sparse rows of some labels. positives, negatives: pairs (indptr, rows) by label; options: slide.model.sparse_rows.SolverOptions.

    Returns indptr int64 [L + 1], features int32, weights float32, bias float32 [L] and the number of passes.
    """
    cdef slide_linear_data data
    cdef slide_linear_options o
    cdef slide_linear_rows start
    cdef const int64_t[::1] x_indptr = X.indptr, p_indptr = positives[0], n_indptr = negatives[0]
    cdef int64_t n_passes = 0
    cdef slide_linear_solution *solution
    memset(&data, 0, sizeof(data))
    memset(&o, 0, sizeof(o))
    data.x_indptr, data.x_indices, data.x_data = &x_indptr[0], _ints(X.indices), _values(X.data)
    data.n_rows, data.n_features = x_indptr.shape[0] - 1, options.n_features
    data.positive_indptr, data.negative_indptr = &p_indptr[0], &n_indptr[0]
    data.positives, data.negatives = _ints(positives[1]), _ints(negatives[1])
    data.first_label, data.n_labels = first_label, p_indptr.shape[0] - 1
    if row_weights is not None:
        data.row_weights = _values(row_weights)
    if warm is not None:
        _describe_rows(&start, warm)
        data.warm = &start
    o.C, o.positive_weight, o.negative_weight = options.C, options.positive_weight, options.negative_weight
    o.eps, o.prune, o.max_passes, o.shrinks = options.eps, options.prune, options.max_passes, options.shrinks
    o.seed, o.n_threads = options.seed, options.n_threads
    cdef int64_t[::1] indptr = np.zeros(data.n_labels + 1, np.int64)
    cdef float[::1] bias = np.zeros(data.n_labels + 1, np.float32)
    with nogil:
        solution = slide_linear_train(&data, &o, &indptr[0], &bias[0], &n_passes)
    if solution == NULL:
        raise MemoryError("could not get memory to solve for the labels' sparse rows")
    cdef int32_t[::1] features
    cdef float[::1] weights
    try:
        features = np.empty(indptr[data.n_labels] + 1, np.int32)
        weights = np.empty(indptr[data.n_labels] + 1, np.float32)
        with nogil:
            slide_linear_take(solution, &indptr[0], &features[0], &weights[0])
    finally:
        slide_linear_free(solution)
    n = indptr[data.n_labels]
    return np.asarray(indptr), np.asarray(features)[:n], np.asarray(weights)[:n], np.asarray(bias)[:data.n_labels], n_passes


def linear_scores(rows, X, const int32_t[:, ::1] ids, int n_threads):
    """float32 [n, m]: w . x + bias of the labels ids [n, m] of each row; -infinity where an id is -1."""
    cdef _Examples ex = _Examples(X)
    cdef slide_linear_rows c
    cdef slide_status status
    z = np.empty((ids.shape[0], ids.shape[1]), np.float32)
    if z.size == 0:
        return z
    cdef float[:, ::1] out = z
    _describe_rows(&c, rows)
    with nogil:
        status = slide_linear_scores(&c, &ex.c, &ids[0, 0], ids.shape[1], n_threads, &out[0, 0])
    if status != SLIDE_OK:
        raise MemoryError("could not get scratch memory for sparse rows")
    return z
