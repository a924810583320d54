# What the core declares (csrc/slide.h), included by slide/engine/_c.pyx.

cdef extern from "slide.h":
    ctypedef void (*slide_custom_hash)(void *, const float *, int64_t, int64_t, uint32_t *)

    ctypedef struct slide_lsh:
        int32_t kind, K, L, window, log2_window
        int32_t dim, permutations, code_bits
        const float *directions
        const int32_t *positions
        const float *frame
        int32_t transform, n_norms
        const float *norms
        double width
        slide_custom_hash hash
        void *context
        int32_t table_bits, capacity, bucket_stride, policy, probes, selection, min_count
        int32_t *buckets
        int32_t *label_cell
        uint32_t *codes
        uint64_t *row_digests

    ctypedef struct slide_layer:
        int32_t kind, activation
        int64_t n, fan_in
        float *rows
        int64_t n_rows, width, padded, stride
        int32_t has_bias
        float dropout
        int64_t n_active, n_random
        int32_t asks_label
        slide_lsh lsh
        const int8_t *qweights
        const float *scales
        const float *biases
        int32_t is_bf16
        const int32_t *slots

    ctypedef struct slide_optimizer:
        int32_t kind
        float beta1, beta2, eps, weight_decay

    ctypedef struct slide_wide:
        const int64_t *indptr
        const int32_t *labels
        float *weights
        float *bias
        const uint16_t *narrow
        const int8_t *qweights
        const float *scales
        int64_t n_labels
        float lr_ratio, bias_ratio, deep_share

    ctypedef struct slide_examples:
        const int64_t *x_indptr
        const int64_t *y_indptr
        const int32_t *x_indices
        const int32_t *y_indices
        const float *x_data
        const int64_t *order
        int64_t n
        const float *weights

    ctypedef struct slide_train_stats:
        double loss, wide_loss
        int64_t n_loss, n_active, n_wide_active, bad_step, bad_layer, bad_update
        int64_t *phase_ns

    enum:
        SLIDE_PHASES

    ctypedef struct slide_network:
        pass

    ctypedef enum slide_status:
        SLIDE_OK
        SLIDE_NO_MEMORY
        SLIDE_NOT_FINITE

    void *slide_alloc(int64_t bytes) nogil
    void slide_free(void *p, int64_t bytes) nogil
    const char *const *slide_isa_available() nogil
    int slide_openmp_threads() nogil
    slide_network *slide_network_new(const slide_layer *, int, const slide_wide *, const slide_optimizer *, int, uint64_t,
                                     int, const char *) nogil
    void slide_network_free(slide_network *) nogil
    const char *slide_network_isa(const slide_network *) nogil
    void slide_network_handed_out(slide_network *) nogil
    void slide_network_time(slide_network *, int) nogil
    int slide_batch_possible(const slide_network *) nogil
    slide_status slide_train(slide_network *, const slide_examples *, int64_t, const float *, int,
                             slide_train_stats *) nogil
    slide_status slide_rebuild(slide_network *, int, uint64_t, int) nogil
    slide_status slide_predict(slide_network *, const slide_examples *, int, int64_t, int, int32_t *, float *) nogil
    slide_status slide_hidden(slide_network *, const slide_examples *, int, float *, int64_t) nogil
    slide_status slide_hash_codes(slide_network *, int, const float *, int64_t, int64_t, uint32_t *) nogil
    slide_status slide_retrieve(slide_network *, int, const float *, int64_t, int64_t, int64_t, int32_t *) nogil
    int64_t slide_active_inspect(slide_network *, int, const float *, const slide_examples *, uint64_t, int32_t *,
                                 float *) nogil
