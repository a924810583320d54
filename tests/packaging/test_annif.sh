#!/usr/bin/env bash
# Tries integrations/slide-annif in an unmodified Annif, in .venvs/annif, and beside its omikuji backend on WordNet.
# `make test-annif` calls this; the environment is made when first needed, with a network, and when its pins change.
set -euo pipefail
python=$1
cd "$(dirname "$0")/../.."
top=$PWD
annif=$("$python" - <<'PY'
import sys
from benchmarks.harness import venvs

pins = ("annif[omikuji]>=1.4,<1.5", "numba>=0.60", "tqdm>=4.66", "pytest>=8")
print(venvs.ensure("annif", pins, say=lambda line: print(line, file=sys.stderr)))
PY
)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp -R integrations/slide-annif "$folder/slide-annif"
"$annif" -m pip --disable-pip-version-check --quiet install --no-deps --target "$folder/site" "$folder/slide-annif"
export PYTHONPATH="$folder/site:$top"
cd "$folder/slide-annif"
rm -rf src
"$annif" -m pytest -q -p no:cacheprovider
"$annif" compare.py "${@:2}"
