#!/usr/bin/env bash
# Runs tests/cluster on real engines, which it starts and ends itself: gloo processes, torchrun, MPICH, Ray, and network
# namespaces. All listen on the loopback, or on addresses of namespaces of their own. `make test-cluster` calls this; the
# environment (.venvs/cluster) is made when first needed, with a network, and when its pins change.
set -euo pipefail
python=$1
cd "$(dirname "$0")/../.."
cluster=$("$python" - <<'PY'
import sys
from benchmarks.harness import venvs

pins = (
    "torch==2.13.0",
    "ray==2.60.0",
    "mpi4py==4.1.2",
    "mpich==5.0.2",
    "numpy>=1.26",
    "scipy>=1.11",
    "numba>=0.60",
    "tqdm>=4.66",
    "pytest>=8",
    "hypothesis>=6.100",
)
print(venvs.ensure("cluster", pins, say=lambda line: print(line, file=sys.stderr)))
PY
)
export PYTHONPATH="$PWD:$PWD/tests/support" OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
"$cluster" -m pytest -q -p no:cacheprovider --durations 10 "${@:2}" tests/cluster
