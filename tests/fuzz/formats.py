"""Fuzzes the readers of npz and Parquet files: whatever the bytes, a named error or two matrices of equal length.

    python tests/fuzz/formats.py SECONDS [SEED]

Small files with up to three bytes changed, a tenth of them cut short. The readers are of other hands (NumPy, SciPy,
pyarrow); what is tried is that slide.io.formats gives every error of theirs a name.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

import slide
from slide.io import formats


def main() -> int:
    seconds, seed = float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    rng, tried, refused = random.Random(seed), 0, 0
    X, Y = slide.datasets.synthetic(20, 9, 5, nnz=4, labels_per_row=2)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"a.{kind}" for kind in ("npz", "parquet")]
        for path in paths:
            formats.write(path, X, Y)
        whole = {path: path.read_bytes() for path in paths}
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            path = rng.choice(paths)
            changed = bytearray(whole[path])
            for _ in range(rng.randint(1, 3)):
                changed[rng.randrange(len(changed))] ^= rng.randint(1, 255)
            path.write_bytes(changed[: rng.randrange(len(changed))] if rng.random() < 0.1 else changed)
            tried += 1
            try:
                found = formats.read(path)
            except (slide.DataFormatError, MemoryError):
                refused += 1
                continue
            except BaseException:
                Path(f"crash-{path.name}").write_bytes(path.read_bytes())
                raise
            assert found[0].shape[0] == found[1].shape[0]
    print(f"formats: {tried:,} files, {refused:,} refused by name")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
