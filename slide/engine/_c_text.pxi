# The binding of csrc/text/text.h, included by slide/engine/_c.pyx: strings become pointers, one C call runs without the GIL.
# Which texts are cut by Python, and weights, are slide/text/compiled.py's.

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object)
    const char *PyUnicode_AsUTF8AndSize(object, Py_ssize_t *) except NULL
    char *PyBytes_AS_STRING(object)
    Py_ssize_t PyBytes_GET_SIZE(object)


cdef extern from "text/text.h":
    ctypedef struct slide_text:
        const char *bytes
        int64_t length
        int32_t is_cut

    ctypedef struct slide_text_options:
        int32_t words, shortest, longest, lowercase
        const uint64_t *stop
        int64_t n_stop, n_buckets
        const uint64_t *codes
        int64_t n_codes
        const int32_t *starts
        int32_t bits

    ctypedef struct slide_text_run:
        uint64_t *keys
        float *counts
        int64_t n, room

    ctypedef struct slide_text_names:
        char *bytes
        int64_t n, room, n_named
        int64_t *at
        int64_t *lengths

    ctypedef struct slide_text_reader:
        pass

    slide_text_reader *slide_text_reader_new(const slide_text_options *, int) nogil
    void slide_text_reader_free(slide_text_reader *) nogil

    void slide_text_index(const uint64_t *, int64_t, int32_t, int32_t *) nogil
    void slide_text_columns(const slide_text_options *, const uint64_t *, int64_t, int, int32_t *) nogil
    slide_status slide_text_count(const slide_text_options *, const slide_text *, int64_t, int64_t, int, slide_text_run *,
                                  int64_t *) nogil
    slide_status slide_text_count_one(slide_text_reader *, const slide_text *, slide_text_run *) nogil
    void slide_text_gather(const slide_text_run *, int64_t, int32_t *, uint64_t *, float *) nogil
    void slide_text_free(slide_text_run *, int64_t) nogil
    slide_status slide_text_name(const slide_text_options *, const slide_text *, int64_t, slide_text_names *) nogil


cdef enum:
    TEXTS_A_RUN = 64


cdef class _Texts:
    """Pointers into strings, held alive for one call; cut turns those that are not ASCII into bytes, or all."""

    cdef slide_text *c
    cdef Py_ssize_t n
    cdef object held

    def __cinit__(self, list texts, cut, bint cut_all):
        cdef Py_ssize_t i, length
        self.n = len(texts)
        self.c = <slide_text *>malloc((self.n + 1) * sizeof(slide_text))
        if self.c == NULL:
            raise MemoryError(f"could not hold {self.n:,} texts")
        self.held = [texts]
        for i in range(self.n):
            text = texts[i]
            if not cut_all and PyUnicode_IS_ASCII(text):
                self.c[i].bytes, self.c[i].is_cut = PyUnicode_AsUTF8AndSize(text, &length), False
            else:
                words = cut(text)
                self.held.append(words)
                self.c[i].bytes, self.c[i].is_cut, length = PyBytes_AS_STRING(words), True, PyBytes_GET_SIZE(words)
            self.c[i].length = length

    def __dealloc__(self):
        free(self.c)


cdef class TextCounter:
    """Counts the features of texts: see csrc/text/text.h. codes uint64, ascending: a vocabulary; without it, keys are hashes,
    or with n_buckets their remainders."""

    cdef slide_text_options o
    cdef object cut, held
    cdef bint cut_all
    cdef slide_text_reader *reader  # of single texts; whoever holds the GIL has it
    cdef slide_text_run run

    def __cinit__(self, int words, int shortest, int longest, bint lowercase, stop, cut, codes=None, int64_t n_buckets=0,
                  bint cut_all=False):
        cdef const uint64_t[::1] stop_view = stop, code_view
        cdef int32_t[::1] start_view
        memset(&self.o, 0, sizeof(self.o))
        memset(&self.run, 0, sizeof(self.run))
        self.reader = NULL
        self.o.words, self.o.shortest, self.o.longest, self.o.lowercase = words, shortest, longest, lowercase
        self.o.n_buckets, self.o.n_stop = n_buckets, stop_view.shape[0]
        if self.o.n_stop:
            self.o.stop = &stop_view[0]
        self.cut, self.held, self.cut_all = cut, [stop], cut_all
        if codes is None or not len(codes):
            return
        code_view = codes
        self.o.codes, self.o.n_codes = &code_view[0], code_view.shape[0]
        self.o.bits = max(1, int(code_view.shape[0]).bit_length() - 1)
        starts = np.empty((1 << self.o.bits) + 1, np.int32)
        start_view = starts
        self.o.starts = &start_view[0]
        with nogil:
            slide_text_index(self.o.codes, self.o.n_codes, self.o.bits, &start_view[0])
        self.held += [codes, starts]

    def __dealloc__(self):
        slide_text_reader_free(self.reader)
        slide_text_free(&self.run, 1)

    def count_one(self, text):
        """(columns int32, counts float32) of one text, of a vocabulary or with buckets."""
        cdef slide_text c
        cdef slide_text_run run
        cdef Py_ssize_t length
        cdef int32_t[::1] ids
        cdef float[::1] amounts
        c.is_cut = self.cut_all or not PyUnicode_IS_ASCII(text)
        if c.is_cut:
            text = self.cut(text)
            c.bytes, length = PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)
        else:
            c.bytes = PyUnicode_AsUTF8AndSize(text, &length)
        c.length = length
        if self.reader == NULL:
            self.reader = slide_text_reader_new(&self.o, True)
        run = self.run  # another thread may come in while arrays are made, and finds none
        memset(&self.run, 0, sizeof(self.run))
        run.n = 0
        try:
            if self.reader == NULL or slide_text_count_one(self.reader, &c, &run) == SLIDE_NO_MEMORY:
                raise MemoryError("could not hold the features of a text")
            keys, counts = np.empty(run.n, np.int32), np.empty(run.n, np.float32)
            if run.n:
                ids, amounts = keys, counts
                slide_text_gather(&run, 1, &ids[0], NULL, &amounts[0])
        finally:
            slide_text_free(&self.run, 1)
            self.run = run
        return keys, counts

    def count(self, list texts, int n_threads=1):
        """(indptr int64 [n + 1], keys, counts float32): keys are int32 columns, or uint64 hashes without vocabulary."""
        cdef _Texts t = _Texts(texts, self.cut, self.cut_all)
        cdef int64_t n_runs = (t.n + TEXTS_A_RUN - 1) // TEXTS_A_RUN, total = 0, i
        cdef slide_text_run one
        cdef slide_text_run *runs = &one
        cdef slide_status status
        cdef int32_t[::1] ids
        cdef uint64_t[::1] codes
        cdef float[::1] amounts
        cdef int64_t[::1] lengths
        indptr = np.empty(t.n + 1, np.int64)
        lengths = indptr
        lengths[0] = 0
        memset(&one, 0, sizeof(one))
        if n_runs > 1:
            runs = <slide_text_run *>calloc(n_runs, sizeof(slide_text_run))
            if runs == NULL:
                raise MemoryError(f"could not hold the features of {t.n:,} texts")
        try:
            with nogil:
                status = slide_text_count(&self.o, t.c, t.n, TEXTS_A_RUN, n_threads, runs, &lengths[0] + 1)
            if status == SLIDE_NO_MEMORY:
                raise MemoryError(f"could not hold the features of {t.n:,} texts")
            for i in range(t.n):
                lengths[i + 1] += lengths[i]
            total = lengths[t.n]
            counts = np.empty(total, np.float32)
            keys = np.empty(total, np.int32 if self.o.codes != NULL or self.o.n_buckets else np.uint64)
            if total:
                amounts = counts
                if self.o.codes != NULL or self.o.n_buckets:
                    ids = keys
                    slide_text_gather(runs, n_runs, &ids[0], NULL, &amounts[0])
                else:
                    codes = keys
                    slide_text_gather(runs, n_runs, NULL, &codes[0], &amounts[0])
        finally:
            slide_text_free(runs, n_runs)
            if runs != &one:
                free(runs)
        return indptr, keys, counts

    def columns(self, const uint64_t[::1] codes, int n_threads=1):
        """int32: where hashes are in the vocabulary, -1 for those that are not."""
        found = np.full(codes.shape[0], -1, np.int32)
        cdef int32_t[::1] view = found
        if codes.shape[0] and self.o.codes != NULL:
            with nogil:
                slide_text_columns(&self.o, &codes[0], codes.shape[0], n_threads, &view[0])
        return found

    def names(self, blocks):
        """Names of the vocabulary's features in the texts of blocks, lists of strings: a line each, in order."""
        cdef slide_text_names found
        cdef int64_t[::1] at = np.full(self.o.n_codes + 1, -1, np.int64)
        cdef int64_t[::1] lengths = np.zeros(self.o.n_codes + 1, np.int64)
        cdef slide_status status
        cdef _Texts t
        cdef int64_t i
        if self.o.codes == NULL:
            return b""
        memset(&found, 0, sizeof(found))
        found.at, found.lengths = &at[0], &lengths[0]
        try:
            for texts in blocks:
                t = _Texts(texts, self.cut, self.cut_all)
                with nogil:
                    status = slide_text_name(&self.o, t.c, t.n, &found)
                if status == SLIDE_NO_MEMORY:
                    raise MemoryError("could not hold the features' names")
            lines = [found.bytes[at[i] : at[i] + lengths[i]] if lengths[i] else b"" for i in range(self.o.n_codes)]
        finally:
            free(found.bytes)
        return b"\n".join(lines)
