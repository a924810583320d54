# Layers and the sparse part as the core takes them, and what training tells; included by slide/engine/_c.pyx.

cdef _stats_of(const slide_train_stats *stats, slide_status status):
    if status == SLIDE_NO_MEMORY:
        raise MemoryError("could not grow the threads' scratch memory for the longest example")
    seconds = tuple([1e-9 * stats.phase_ns[p] for p in range(SLIDE_PHASES)])
    return TrainStats(stats.loss, stats.n_loss, stats.n_active, stats.bad_step, stats.bad_layer, stats.wide_loss,
                      stats.n_wide_active, bool(stats.bad_update), seconds if any(seconds) else ())


cdef int _describe(slide_layer *c, layer) except -1:
    """Copies a LayerState's numbers and the addresses of its arrays."""
    cdef int32_t[:, :, ::1] buckets
    cdef float[::1] directions
    cdef int32_t[::1] positions, label_cell
    cdef uint32_t[:, ::1] codes
    cdef uint64_t[::1] row_digests
    cdef float[::1] centre, norms
    memset(c, 0, sizeof(slide_layer))
    c.kind, c.activation = KINDS[layer.kind], KINDS[layer.activation]
    c.n, c.fan_in = layer.n, layer.fan_in
    cdef const int8_t[:, ::1] qweights
    cdef const float[::1] scales, biases
    if layer.is_compressed:
        qweights, scales, biases = layer.qweights, layer.scales, layer.bias_values
        if qweights.shape[0]:
            c.qweights, c.scales, c.biases = &qweights[0, 0], &scales[0], &biases[0]
        c.n_rows, c.stride = layer.qweights.shape
    else:
        rows = layer.rows.view(np.float32)
        c.rows, c.is_bf16 = _floats(rows), layer.is_bf16
        c.n_rows, c.stride = rows.shape
    cdef const int32_t[::1] slots = layer.slots
    if slots.shape[0]:
        c.slots = &slots[0]
    c.width, c.padded = layer.width, layer.padded
    c.has_bias, c.dropout = layer.bias, layer.dropout
    c.n_active, c.n_random, c.asks_label = layer.n_active, layer.n_random, layer.asks_label
    if layer.lsh is None:
        return 0
    h = layer.lsh
    c.lsh.kind = KINDS[h.kind]
    c.lsh.K, c.lsh.L, c.lsh.window, c.lsh.dim, c.lsh.permutations = h.K, h.L, h.window, h.dim, h.permutations
    c.lsh.log2_window, c.lsh.code_bits = int(h.window).bit_length() - 1, h.code_bits
    c.lsh.table_bits, c.lsh.capacity, c.lsh.policy = h.table_bits, h.capacity, KINDS[h.policy]
    c.lsh.probes, c.lsh.selection, c.lsh.min_count = h.probes, KINDS[h.selection], h.min_count
    if h.directions.size:
        directions = h.directions.reshape(-1)
        c.lsh.directions = &directions[0]
    if h.positions.size:
        positions = h.positions.reshape(-1)
        c.lsh.positions = &positions[0]
    if h.centre.size:
        centre = h.centre
        c.lsh.frame = &centre[0]
    c.lsh.transform, c.lsh.n_norms, c.lsh.width = KINDS[h.transform], h.n_norms, h.width
    if h.n_norms:
        norms = h.norms
        c.lsh.norms = &norms[0]
    if h.custom is not None:
        c.lsh.hash, c.lsh.context = <slide_custom_hash><uintptr_t>h.custom.address, <void *><uintptr_t>h.custom.context
    buckets = h.buckets
    c.lsh.buckets = &buckets[0, 0, 0]
    c.lsh.bucket_stride = buckets.shape[2]
    if h.label_cells.size:
        label_cell = h.label_cells
        c.lsh.label_cell = &label_cell[0]
    if h.codes.size:
        codes, row_digests = h.codes, h.row_digests
        c.lsh.codes, c.lsh.row_digests = &codes[0, 0], &row_digests[0]
    return 0


cdef int _describe_wide(slide_wide *c, wide) except -1:
    """Copies a WideState's numbers and the addresses of its arrays."""
    cdef const int64_t[::1] indptr = wide.indptr
    cdef const int32_t[::1] labels
    cdef const uint16_t[::1] narrow
    cdef const int8_t[::1] qweights
    cdef const float[::1] scales
    cdef float[::1] weights, bias = wide.bias
    memset(c, 0, sizeof(slide_wide))
    c.indptr, c.bias, c.n_labels = &indptr[0], &bias[0], bias.shape[0]
    if wide.labels.dtype == np.uint16:
        narrow = wide.labels
        c.narrow = &narrow[0] if narrow.shape[0] else NULL
    elif wide.labels.shape[0]:
        labels = wide.labels
        c.labels = &labels[0]
    if hasattr(wide, "qweights"):
        qweights, scales = wide.qweights, wide.scales
        c.scales = &scales[0]
        c.qweights = &qweights[0] if qweights.shape[0] else NULL
    elif wide.labels.shape[0]:
        weights = wide.weights
        c.weights = &weights[0]
    c.lr_ratio, c.bias_ratio, c.deep_share = wide.lr_ratio, wide.bias_ratio, wide.deep_share
    return 0
