# The binding of training in parts (csrc/slide.h) and of csrc/store/rows.h, included by slide/engine/_c.pyx.

cdef extern from "slide.h":
    ctypedef struct slide_batch_plan:
        pass
    ctypedef struct slide_filling:
        pass
    ctypedef struct slide_shard:
        const float *hidden
        const uint32_t *cells
        const int32_t *n_labels
        const float *others
        float share
        float *log_sum
        float *d_hidden

    slide_batch_plan *slide_batch_plan_new(slide_network *, const slide_examples *, int64_t, const float *, int,
                                           const slide_shard *) nogil
    void slide_batch_plan_free(slide_batch_plan *) nogil
    int64_t slide_batch_plan_size(const slide_batch_plan *) nogil
    slide_status slide_batch_plan_rows(slide_network *, const slide_batch_plan *, int64_t, int64_t, uint8_t *) nogil
    void slide_batch_rows_ahead(const slide_network *, const slide_examples *, int64_t, int, uint8_t *) nogil
    slide_status slide_batch_plan_train(slide_network *, const slide_batch_plan *, int64_t, int64_t,
                                        slide_train_stats *) nogil
    slide_filling *slide_rebuild_begin(slide_network *, int, int, int64_t, int64_t) nogil
    void slide_rebuild_offer(slide_network *, int, slide_filling *, float *, int64_t, int64_t) nogil
    void slide_rebuild_end(slide_network *, int, slide_filling *) nogil

cdef extern from "net/shortlist.h":
    slide_status slide_shortlist_rows(slide_network *, const slide_leaves *, const slide_examples *, int64_t, uint8_t *) nogil

cdef extern from "store/rows.h":
    ctypedef struct slide_mover:
        pass
    int SLIDE_DISK_PAGE
    slide_mover *slide_mover_new(int64_t, int) nogil
    void slide_mover_free(slide_mover *) nogil
    int slide_mover_has_queue(const slide_mover *) nogil
    int slide_rows_read(slide_mover *, int, int64_t, int64_t, const int64_t *, const int32_t *, int64_t, char *) nogil
    int slide_rows_write(slide_mover *, int, int64_t, int64_t, const int64_t *, const int32_t *, int64_t, char *) nogil


cdef class _Plan:
    """The batches of one call of `train`, and all that they point to."""

    cdef slide_batch_plan *c
    cdef _Examples examples
    cdef object engine, lr

    def __dealloc__(self):
        slide_batch_plan_free(self.c)

    @property
    def n_batches(self):
        return slide_batch_plan_size(self.c)


cdef class Mover:
    """Moves rows between files and memory; one call at a time. See csrc/store/rows.h."""

    cdef slide_mover *c

    def __cinit__(self, int64_t room, bint wants_queue):
        self.c = slide_mover_new(room, wants_queue)
        if self.c == NULL:
            raise MemoryError("could not get memory to move rows")

    def __dealloc__(self):
        slide_mover_free(self.c)

    @property
    def has_queue(self):
        """Whether many reads are under way at once; else one after the other."""
        return bool(slide_mover_has_queue(self.c))

    def move(self, bint write, int file, bint by_pages, const int64_t[::1] at, const int32_t[::1] slots, arena):
        """Writes rows of slots in arena [slots, stride] to bytes `at` of a file, ascending, or reads them. Raises OSError.

        by_pages : whole ones, as a file past the system's cache takes them; what is written begins at one, and its last
        one is filled with zeros.
        """
        cdef const uint8_t[:, ::1] a = arena.view(np.uint8)  # of rows to write, which may be read-only
        cdef int64_t n = at.shape[0], row_bytes = a.shape[1], page = SLIDE_DISK_PAGE if by_pages else 1
        cdef int error
        if n == 0:
            return
        with nogil:
            if write:
                error = slide_rows_write(self.c, file, page, row_bytes, &at[0], &slots[0], n, <char *>&a[0, 0])
            else:
                error = slide_rows_read(self.c, file, page, row_bytes, &at[0], &slots[0], n, <char *>&a[0, 0])
        if error:
            raise OSError(error, os.strerror(error), "the file of a model's rows")
