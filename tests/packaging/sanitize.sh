#!/usr/bin/env bash
# Builds the package with GCC's address and undefined-behaviour sanitizers into build/sanitize and runs the fast tests
# on that copy; the first fault ends the run with its stack. `make sanitize` calls this.
set -euo pipefail
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
export CC=${CC:-gcc}
libasan=$("$CC" -print-file-name=libasan.so)
libubsan=$("$CC" -print-file-name=libubsan.so)
if [ ! -e "$libasan" ] || [ ! -e "$libubsan" ]; then
    echo "sanitize needs GCC with libasan and libubsan; '$CC' does not have them. Name another: CC=gcc make sanitize" >&2
    exit 1
fi

out=build/sanitize
rm -rf "$out"
flags="-g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
CFLAGS=$flags LDFLAGS=$flags SLIDE_REQUIRE_EXT=1 \
    "$python" setup.py --quiet build --build-lib "$out" --build-temp "$out/temp"
cp -R tests benchmarks pyproject.toml "$out/"
cd "$out"

# The interpreter is not ours to check for leaks. Numba's compiled code is not instrumented, and harmless here.
export ASAN_OPTIONS=detect_leaks=0:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1
export LD_PRELOAD="$libasan $libubsan"
"$python" -c 'import slide.engine._c; print("testing", slide.engine._c.__file__)'
"$python" -m pytest -q -m "not slow" -p no:cacheprovider --capture=sys "${@:2}"  # fd capture would eat the report
