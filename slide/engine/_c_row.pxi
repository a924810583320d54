# One row, checked and scaled in a loop: NumPy's calls would take longer. Included by slide/engine/_c.pyx; what it is for is
# said in slide/engine/one_row.py.

from libc.math cimport fabs, isfinite, sqrt


def is_sound_row(const int32_t[::1] columns, const float[::1] values, int64_t n_features):
    """Whether columns ascend within 0 to n_features - 1, one for each value, and values are finite and not 0."""
    cdef Py_ssize_t i, n = columns.shape[0]
    cdef int64_t before = -1
    if values.shape[0] != n:
        return False
    for i in range(n):
        if columns[i] <= before or columns[i] >= n_features or not isfinite(values[i]) or values[i] == 0:
            return False
        before = columns[i]
    return True


def unit_row(values):
    """float32: the values scaled to length 1; as they are where that is their length, nearly, or 0."""
    cdef const float[::1] v = values
    cdef Py_ssize_t i, n = v.shape[0]
    cdef double total = 0, norm, factor
    for i in range(n):
        total += <double>v[i] * v[i]
    norm = sqrt(total)
    if norm == 0 or fabs(norm - 1) < 1e-4:
        return values
    factor = 1 / norm
    scaled = np.empty(n, np.float32)
    cdef float[::1] s = scaled
    for i in range(n):
        s[i] = <float>(v[i] * factor)
    return scaled
