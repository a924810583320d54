#!/usr/bin/env bash
# Installs the wheel in dist/ into an empty environment and runs the fast tests on it, both in a temporary folder: the
# checkout's slide/ cannot be imported there, so a file that the wheel lacks is missed. `make test-wheel` calls this.
set -euo pipefail
python=$1
wheels=(dist/*.whl)
if [ "${#wheels[@]}" != 1 ] || [ ! -e "${wheels[0]}" ]; then
    echo "expected one wheel in dist/, found: ${wheels[*]}" >&2
    exit 1
fi

room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
"$python" -m venv "$room/venv"
"$room/venv/bin/python" -m pip --disable-pip-version-check --quiet install "$PWD/${wheels[0]}[test]"

mkdir "$room/run"
cp -R tests benchmarks pyproject.toml "$room/run/"
cd "$room/run"
"$room/venv/bin/python" -c 'import slide; print("testing", slide.__file__)'
"$room/venv/bin/python" -m pytest -q -m "not slow"
