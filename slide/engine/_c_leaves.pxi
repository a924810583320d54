# The binding of csrc/net/shortlist.h, included by slide/engine/_c.pyx, whose Engine makes the calls.

cdef extern from "net/shortlist.h":
    ctypedef struct slide_leaves:
        const float *cells
        const float *leaves
        const int32_t *blocks
        const uint16_t *places
        const int32_t *labels
        const int64_t *first_label
        int64_t n_cells, n_leaves, dim, stride

    slide_status slide_leaf_codes(slide_network *, const slide_leaves *, const float *, int64_t, int64_t,
                                  const int32_t *, int32_t *) nogil
    slide_status slide_fill_leaves(slide_network *, const slide_leaves *, const int64_t *, const int32_t *,
                                   int32_t *) nogil
    slide_status slide_shortlist(slide_network *, const slide_leaves *, const slide_examples *, int, int64_t, int,
                                 int32_t *, float *) nogil


cdef int _describe_leaves(slide_leaves *c, leaves) except -1:
    """Copies the addresses of the arrays of slide.engine.leaves.Leaves."""
    cdef const float[:, :, ::1] cells = leaves.cells, centres = leaves.centres
    cdef const int32_t[:, ::1] blocks = leaves.blocks
    cdef const uint16_t[:, ::1] places = leaves.places
    cdef const int64_t[::1] first_label = leaves.first_label
    c.cells, c.leaves, c.blocks, c.places = &cells[0, 0, 0], &centres[0, 0, 0], &blocks[0, 0], &places[0, 0]
    c.labels, c.first_label = _ints(leaves.labels), &first_label[0]
    c.n_cells, c.n_leaves = blocks.shape[0], places.shape[0]
    c.dim, c.stride = cells.shape[1], places.shape[1]
    return 0
