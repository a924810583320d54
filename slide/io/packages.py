"""Third parties that only some files need, each imported in one place: here."""

from __future__ import annotations

from typing import Any


def pyarrow(wanting: str) -> Any:
    """pyarrow with its readers; `wanting` begins the sentence of the ImportError: what needs it."""
    try:
        import pyarrow
        import pyarrow.feather
        import pyarrow.parquet
    except ImportError as e:
        raise ImportError(f"{wanting} need pyarrow: pip install 'slide-xmc[text]'") from e
    return pyarrow


def svmlight() -> Any:
    """scikit-learn's reader of SVMlight text."""
    try:
        from sklearn import datasets
    except ImportError as e:
        raise ImportError("SVMlight files need scikit-learn: pip install 'slide-xmc[svmlight]'") from e
    return datasets.load_svmlight_file
