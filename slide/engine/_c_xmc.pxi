# The binding of csrc/parse/xmc.h, included by slide/engine/_c.pyx: two C calls without the GIL, the arrays between them.
# Files and messages are slide/io/xmc.py's. Raises slide.engine.xmc_fault.Fault, which holds the numbers of slide_xmc_error.

cdef extern from "parse/xmc.h":
    ctypedef enum slide_xmc_status:
        SLIDE_XMC_OK
        SLIDE_XMC_NO_MEMORY

    ctypedef struct slide_xmc_error:
        slide_xmc_status status
        int64_t line, column, offset, length, found, wanted

    ctypedef struct slide_xmc_chunk:
        int64_t n_features, n_labels

    ctypedef struct slide_xmc_plan:
        const char *buffer
        int64_t size
        int32_t n_threads
        int64_t n_features, n_labels
        slide_xmc_chunk *chunks
        int64_t n_chunks, n_rows, feature_room, label_room

    ctypedef struct slide_xmc_csr:
        int64_t *indptr
        int64_t *label_indptr
        int32_t *indices
        int32_t *label_indices
        float *data

    slide_xmc_status slide_xmc_scan(slide_xmc_plan *, slide_xmc_error *) nogil
    slide_xmc_status slide_xmc_fill(slide_xmc_plan *, const slide_xmc_csr *, slide_xmc_error *) nogil


def parse_xmc(const unsigned char[::1] buffer, int n_threads=1, int64_t n_features=-1, int64_t n_labels=-1,
              int64_t chunk_bytes=1 << 18):
    """Parse a whole file held in a buffer; chunk_bytes is the least a thread takes at a time.

    Returns (indptr int64, indices int32, data float32, label_indptr int64, label_indices int32, n_rows, n_features,
    n_labels), exactly as slide.engine.reference.xmc.parse_xmc does.
    """
    from slide.engine.memory import require_memory
    from slide.engine.xmc_fault import IN_BLOCKS

    cdef slide_xmc_plan plan
    cdef slide_xmc_csr out
    cdef slide_xmc_error error
    cdef slide_xmc_status status
    memset(&plan, 0, sizeof(plan))
    memset(&error, 0, sizeof(error))
    plan.size, plan.n_threads, plan.n_features, plan.n_labels = buffer.shape[0], n_threads, n_features, n_labels
    if plan.size:
        plan.buffer = <const char *>&buffer[0]
    else:
        plan.buffer = ""
    plan.n_chunks = max(1, min(plan.size // chunk_bytes, 16 * n_threads))
    chunks = np.zeros(plan.n_chunks * sizeof(slide_xmc_chunk), np.uint8)
    cdef unsigned char[::1] chunk_view = chunks
    plan.chunks = <slide_xmc_chunk *>&chunk_view[0]
    with nogil:
        status = slide_xmc_scan(&plan, &error)
    if status != SLIDE_XMC_OK:
        raise xmc_fault(error)

    needed = 16 * (plan.n_rows + 1) + 8 * (plan.feature_room + 1) + 4 * (plan.label_room + 1)
    require_memory(needed, "the rows need", IN_BLOCKS)
    # One entry more than needed, so that each array has an address; the caller gets the part in use.
    cdef int64_t[::1] indptr = np.zeros(plan.n_rows + 1, np.int64), label_indptr = np.zeros(plan.n_rows + 1, np.int64)
    cdef int32_t[::1] indices = np.empty(plan.feature_room + 1, np.int32)
    cdef int32_t[::1] label_indices = np.empty(plan.label_room + 1, np.int32)
    cdef float[::1] data = np.empty(plan.feature_room + 1, np.float32)
    out.indptr, out.label_indptr = &indptr[0], &label_indptr[0]
    out.indices, out.label_indices, out.data = &indices[0], &label_indices[0], &data[0]
    with nogil:
        status = slide_xmc_fill(&plan, &out, &error)
    if status != SLIDE_XMC_OK:
        raise xmc_fault(error)
    nnz, label_nnz = indptr[plan.n_rows], label_indptr[plan.n_rows]
    return (np.asarray(indptr), exact(indices, nnz), exact(data, nnz), np.asarray(label_indptr),
            exact(label_indices, label_nnz), plan.n_rows, plan.n_features, plan.n_labels)


cdef exact(array, int64_t n):
    """The first n entries: a view where little is wasted, else a copy that frees the rest."""
    whole = np.asarray(array)
    return whole[:n] if n >= 0.9 * whole.shape[0] else whole[:n].copy()


cdef xmc_fault(slide_xmc_error error):
    from slide.engine.xmc_fault import Fault

    if error.status == SLIDE_XMC_NO_MEMORY:
        return MemoryError(f"line {error.line}: no memory to sort the row")
    return Fault(error.status, error.line, error.column, error.offset, error.length, error.found, error.wanted)
