#!/usr/bin/env bash
# Installs the wheel in dist/ into an empty environment and tries it there, both in a temporary folder: the checkout's
# slide/ cannot be imported there, so a file that the wheel lacks is missed. `make test-wheel` calls this.
#
# First with what the wheel itself asks for and pytest alone: the essential path of every room. Then with the extra
# `test`: what an installed package can get wrong, its public names, data files, old models, command. That each part
# does what it should is tested in the checkout, from the same sources; all fast tests here: test_wheel.sh PYTHON all.
set -euo pipefail
python=$1 what=${2:-installed}
wheels=(dist/*.whl)
if [ "${#wheels[@]}" != 1 ] || [ ! -e "${wheels[0]}" ]; then
    echo "expected one wheel in dist/, found: ${wheels[*]}" >&2
    exit 1
fi

room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
"$python" -m venv "$room/venv"
pip=("$room/venv/bin/python" -m pip --disable-pip-version-check --quiet)
"${pip[@]}" install "$PWD/${wheels[0]}" pytest

mkdir "$room/run"
cp -R tests benchmarks pyproject.toml "$room/run/"
cd "$room/run"
"$room/venv/bin/python" -c 'import slide; print("testing", slide.__file__)'
# conftest.py asks for hypothesis, which is no part of what is tried first.
"$room/venv/bin/python" -m pytest -q --noconftest tests/test_smoke.py
cd - > /dev/null
"${pip[@]}" install "$PWD/${wheels[0]}[test]"
cd "$room/run"
tests=(tests/contracts/test_{import,public_api,constants,errors}.py tests/{cli,datasets} tests/io/test_golden_models.py)
[ "$what" = installed ] || tests=(tests)
"$room/venv/bin/python" -m pytest -q -m "not slow" "${tests[@]}"
