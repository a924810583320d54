#!/usr/bin/env bash
# Runs the fast tests with the oldest releases of the dependencies that pyproject.toml allows and this Python has, in
# .venvs/oldest. `make test-oldest` calls this; the newest are what `make test` has when its environment is fresh.
set -euo pipefail
python=$1
venv=.venvs/oldest
"$python" -m venv --clear "$venv"
mapfile -t oldest < <("$python" -c '
import tomllib
for name in tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]:
    print(name.split(",")[0].replace(">=", "=="))')
pip=("$venv/bin/python" -m pip --disable-pip-version-check --quiet)
"${pip[@]}" install --only-binary :all: "setuptools>=77" "Cython>=3.0" "${oldest[@]/%/.*}"
SLIDE_REQUIRE_EXT=1 "${pip[@]}" install --no-build-isolation --target "$venv/site" --no-deps .
"${pip[@]}" install --only-binary :all: pytest pytest-benchmark hypothesis scikit-learn "pandas<3" polars "pyarrow<18" "${oldest[@]/%/.*}"
run=$(mktemp -d)
trap 'rm -rf "$run"' EXIT
cp -R tests benchmarks pyproject.toml "$run/"
top=$PWD
cd "$run"
export PYTHONPATH="$top/$venv/site"
"$top/$venv/bin/python" -c 'import slide; slide.show_config()'
"$top/$venv/bin/python" -m pytest -q -m "not slow" -p no:cacheprovider "${@:2}"
