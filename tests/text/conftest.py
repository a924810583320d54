"""A fixture that several files here share."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from small_texts import BODIES, ROWS, TAGS, TITLES


@pytest.fixture
def table(tmp_path: Path) -> Any:
    """Writes ROWS as a file of any kind."""
    frame = pd.DataFrame({"title": TITLES, "body": BODIES, "tags": [" ; ".join(row) for row in TAGS]})

    def write(kind: str) -> Path:
        path = tmp_path / f"rows{kind}"
        if kind.startswith((".csv", ".tsv")):
            frame.to_csv(path, sep="\t" if kind.startswith(".tsv") else ",", index=False)
        elif kind.startswith(".jsonl"):
            lines = [json.dumps({"title": t, "body": b, "tags": tags}) for t, b, tags in ROWS]
            text = ("\n".join(lines) + "\n").encode()
            path.write_bytes(gzip.compress(text) if kind.endswith(".gz") else text)
        else:
            columns = pa.table({"title": TITLES, "body": BODIES, "tags": TAGS})
            if kind == ".parquet":
                pa.parquet.write_table(columns, path)
            elif kind == ".feather":
                pa.feather.write_feather(columns, path)
            else:
                with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, columns.schema) as stream:
                    stream.write_table(columns)
        return path

    return write
