"""The whole algorithm again in Numba: readable, parallel, with the interface of the C core.


It is the oracle of the tests, the fallback where no extension was built, and the place to try a new idea. One module
mirrors one file of csrc/; read them side by side:

    rng.py         random numbers             csrc/core/rng.h
    network.py     what a kernel is handed    csrc/net/network.h
    hash.py        SimHash, WTA, DWTA         csrc/lsh/hash.c
    tables.py      buckets, and their refill  csrc/lsh/tables.h, rebuild.c
    active.py      who takes part             csrc/lsh/active.c
    layer.py       forward and backward       csrc/net/layer.c
    loss.py        softmax, binary            csrc/net/loss.c
    optimizer.py   one row's update           csrc/net/optimizer.c
    wide.py        the sparse linear part     csrc/linear/wide.c
    train.py       one step, and its loop     csrc/net/train.c
    infer.py       top-k                      csrc/net/infer.c
    engine.py      the class that holds it    slide/engine/_c.pyx

What must be equal bit for bit is: random numbers, hash codes, tables, active sets and their order. Logits and
gradients are sums whose order differs between instruction sets, so they agree to float32's rounding.
"""
