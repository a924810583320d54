#!/usr/bin/env bash
# Builds the package with GCC's coverage counters into build/coverage and runs the fast tests there: lines and branches of
# csrc/ by gcov, of slide/ by coverage.py. Code that Numba compiles is not seen by coverage.py, so slide/engine/reference/ is
# told apart. `make coverage` calls this; more arguments go to pytest.
set -euo pipefail
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
"$python" -m pip --disable-pip-version-check --quiet install coverage
out=build/coverage
rm -rf "$out"
CFLAGS="-O1 -g --coverage" LDFLAGS=--coverage SLIDE_REQUIRE_EXT=1 \
    "$python" setup.py --quiet build --build-lib "$out" --build-temp "$out/temp"
cp -R tests benchmarks pyproject.toml "$out/"
top=$PWD
cd "$out"
"$python" -m coverage run --branch --source=slide -m pytest -q -m "not slow" -p no:cacheprovider "${@:2}"
"$python" -m coverage report --skip-covered --omit='slide/engine/reference/*' | tee python.txt | tail -n 40
cd "$top"
for source in csrc/*/*.c; do
    gcov --branch-probabilities --object-directory "$out/temp/$(dirname "$source")" "$source" 2> /dev/null
done | "$python" tests/packaging/gcov_table.py | tee "$out/c.txt"
mv ./*.gcov "$out/" 2> /dev/null || true
