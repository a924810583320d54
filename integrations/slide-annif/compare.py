"""slide beside Annif's omikuji backend, through Annif's own commands: F1@5 and NDCG@5 on WordNet's glosses.

    make test-annif                   # in the checkout: makes the environment, runs the tests, then this
    python compare.py --more          # in an environment that has annif[omikuji], slide and slide-annif

A gloss is a document, the synsets above it are its subjects. --more: slide over the words of Annif's analyzer too, and
slide that is trained on one half and learns the other. Exits with 1 where slide is not ahead in both metrics.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import slide

METRICS = ("F1@5", "NDCG@5")
#: Projects by name: the backend, and its options.
PROJECTS = {"slide": ("slide", ""), "omikuji": ("omikuji", "")}
MORE = {"analyzed": ("slide", "analyzed=true"), "learned": ("slide", "allow_learn=true\nbuckets=262144")}
BASE = "http://example.org/wordnet/"
PROJECT = """\
[{name}]
language=en
backend={backend}
analyzer=snowball(english)
vocab=wordnet
{options}

"""


def write_tokenizer(folder: Path) -> Path:
    """NLTK's data for sentences, of a language without abbreviations: its tokenizer runs without a download."""
    english = folder / "tokenizers" / "punkt_tab" / "english"
    english.mkdir(parents=True, exist_ok=True)
    for name in ("collocations.tab", "sent_starters.txt", "abbrev_types.txt", "ortho_context.tab"):
        (english / name).touch()
    return folder


def write_corpus(folder: Path, n_train: int, n_test: int, seed: int) -> None:
    """vocab.tsv, train.tsv, test.tsv and projects.cfg: glosses drawn from the training part, and from the test part."""
    data = slide.datasets.load_text("wordnet-hypernym")
    names = sorted({name for labels in (*data.train_labels, *data.test_labels) for name in labels})
    (folder / "vocab.tsv").write_text("".join(f"<{_uri(name)}>\t{name.partition(':')[2]}\n" for name in names))
    rng = np.random.default_rng(seed)
    parts = (
        ("train", data.train_texts, data.train_labels, n_train),
        ("test", data.test_texts, data.test_labels, n_test),
    )
    for part, texts, labels, n in parts:
        rows = rng.permutation(len(texts))[:n]
        lines = [f"{texts[i]}\t{' '.join(f'<{_uri(name)}>' for name in labels[i])}\n" for i in rows]
        (folder / f"{part}.tsv").write_text("".join(lines))
        for half, some in (("first", lines[: n // 2]), ("second", lines[n // 2 :])):
            (folder / f"{part}-{half}.tsv").write_text("".join(some))
    projects = ((name, *told) for name, told in (PROJECTS | MORE).items())
    text = "".join(PROJECT.format(name=name, backend=backend, options=options) for name, backend, options in projects)
    (folder / "projects.cfg").write_text(text)


def _uri(name: str) -> str:
    return BASE + name.partition(":")[0]


def annif(folder: Path, *arguments: str) -> tuple[float, float]:
    """Runs one of Annif's commands; seconds by the clock, and of the processors."""
    command = Path(sys.executable).with_name("annif")
    environment = os.environ | {"ANNIF_CONFIG": "slide_annif.Config", "ANNIF_PROJECTS": str(folder / "projects.cfg")}
    environment |= {"ANNIF_DATADIR": str(folder / "data"), "NLTK_DATA": str(write_tokenizer(folder / "nltk"))}
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [command, *arguments], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"annif {' '.join(arguments)}:\n{done.stderr[-2000:]}{done.stdout[-2000:]}")
    return time.perf_counter() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measured(folder: Path, project: str) -> dict[str, Any]:
    """Trained and scored by Annif."""
    if project == "learned":
        annif(folder, "train", project, "train-first.tsv")
        train = annif(folder, "learn", project, "train-second.tsv")
    else:
        train = annif(folder, "train", project, "train.tsv")
    wanted = [option for metric in METRICS for option in ("-m", metric)]
    evaluate = annif(folder, "eval", project, "test.tsv", *wanted, "-M", f"{project}.json")
    scores = json.loads((folder / f"{project}.json").read_text())
    size = sum(path.stat().st_size for path in (folder / "data" / "projects" / project).rglob("*") if path.is_file())
    found = {"project": project, **{metric: scores[metric] for metric in METRICS}}
    return found | {"train": train, "eval": evaluate, "bytes": size}


def main() -> int:
    """Prints a table, and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--train", type=int, default=20_000, metavar="N", help="glosses to train on (%(default)s)")
    parser.add_argument("--test", type=int, default=5_000, metavar="N", help="glosses to score (%(default)s)")
    parser.add_argument("--more", action="store_true", help="the projects 'analyzed' and 'learned' too")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (%(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="slide-annif-") as name:
        folder = Path(name)
        write_corpus(folder, args.train, args.test, args.seed)
        annif(folder, "load-vocab", "wordnet", "vocab.tsv", "--language", "en")
        rows = [measured(folder, project) for project in (*PROJECTS, *(MORE if args.more else ()))]
    versions = {name: version(name) for name in ("annif", "omikuji")} | {"slide": slide.__version__}
    print(f"{args.train:,} glosses to train on, {args.test:,} to score; {versions}")
    print(f"{'project':9}{'F1@5':>8}{'NDCG@5':>8}{'train s':>8}{'of CPU':>8}{'eval s':>8}{'of CPU':>8}{'MB':>7}")
    for row in rows:
        times = "".join(f"{second:8.1f}" for second in (*row["train"], *row["eval"]))
        print(f"{row['project']:9}{row['F1@5']:8.4f}{row['NDCG@5']:8.4f}{times}{row['bytes'] / 1e6:7.0f}")
    print(json.dumps({"versions": versions, "rows": rows}))
    ours, other = rows[:2]
    return 0 if all(ours[metric] > other[metric] for metric in METRICS) else 1


if __name__ == "__main__":
    sys.exit(main())
