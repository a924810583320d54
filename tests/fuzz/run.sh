#!/usr/bin/env bash
# Fuzzes the parsers, the network's operations, the model loader, the readers of other formats and the server's routes
# for so many seconds each; `make fuzz` calls this.
#   run.sh PYTHON SECONDS [seed]      run.sh PYTHON seeds: every seed once, as a test does
# GCC with libasan and libubsan. Builds into build/fuzz. A crash ends the run and leaves its input in build/fuzz/crash-*.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=$1 seconds=$2 seed=${3:-1}
cc=${CC:-gcc}
out=build/fuzz
mkdir -p "$out"
rm -f "$out"/*.o
flags=(-std=gnu11 -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -Icsrc)
coverage=(-fsanitize-coverage=trace-pc)
"$cc" -std=gnu11 -g -O2 -c tests/fuzz/engine.c -o "$out/engine.o"
printf '%s\0' csrc/*/*.c | xargs -0 -P "$(getconf _NPROCESSORS_ONLN)" -I {} \
    bash -c '"${@:3}" -c "$1" -o "$2/${1//\//-}.core.o"' _ {} "$out" "$cc" "${flags[@]}" "${coverage[@]}"
for target in xmc number text network; do
    "$cc" "${flags[@]}" "tests/fuzz/$target.c" "$out/engine.o" "$out"/*.core.o -lm -o "$out/$target"
done
cd "$out"
export ASAN_OPTIONS=${ASAN_OPTIONS:-allocator_may_return_null=1} UBSAN_OPTIONS=print_stacktrace=1
for target in xmc number text network; do
    if [ "$seconds" = seeds ]; then
        "./$target" ../../tests/fuzz/seeds/"$target"/*
    else
        "./$target" "$seconds" "$seed" ../../tests/fuzz/seeds/"$target"
    fi
done
[ "$seconds" = seeds ] && exit
for target in model formats serving; do "../../$python" "../../tests/fuzz/$target.py" "$seconds" "$seed"; done
