"""SlideTextClassifier: raw texts in, labels by name out. Its features are made in slide/text/features.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import scipy.sparse as sp

from slide.checks import require
from slide.estimator.classifier import SlideClassifier
from slide.estimator.labels import Labels, Values
from slide.estimator.scaling import Scaling
from slide.network import Network
from slide.text.features import TextFeatures, Vocabulary

if TYPE_CHECKING:
    from slide.inference.explain import Explanation


class SlideTextClassifier(SlideClassifier):
    """SlideClassifier on texts: X is a sequence of strings, or one string.

    Parameters
    ----------
    features : TextFeatures or None
        None: words and pairs of words, weighted by TF-IDF.
    **options
        Those of ``SlideClassifier``.

    Attributes
    ----------
    vocabulary_ : slide.text.features.Vocabulary
        Stored in the model's file.

    Examples
    --------
    >>> import slide
    >>> texts = ["a feline that purrs", "a dog that barks", "small feline", "a barking dog"]
    >>> clf = slide.SlideTextClassifier(epochs=20, n_threads=1).fit(texts, ["cat", "dog", "cat", "dog"])
    >>> clf.predict("what purrs?").tolist()
    ['cat']
    """

    vocabulary_: Vocabulary
    table_: dict[str, Any]

    def __init__(self, features: TextFeatures | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.features = features

    @classmethod
    def _parameter_names(cls) -> list[str]:
        return ["features", *SlideClassifier._parameter_names()]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        kinds = replace(tags.input_tags, one_d_array=True, two_d_array=False, sparse=False, string=True)
        return replace(tags, input_tags=kinds)

    def _check_feature_names(self, X: Any) -> None:
        """Texts have no columns."""

    def _adopt_feature_names(self, X: Any) -> None:
        """Texts have no columns."""

    def _learn_features(self, X: Any) -> tuple[Vocabulary, sp.csr_array]:
        features = TextFeatures() if self.features is None else self.features
        require(isinstance(features, TextFeatures), "features", self.features, "a slide.TextFeatures or None")
        return Vocabulary.learn(check_texts(X), features)

    def _learn_scaling(self, rows: sp.csr_array) -> Scaling:
        """Unit length for "auto": a text that has most of a small vocabulary is still no row of measurements."""
        return Scaling.of(rows, True if self.normalize == "auto" else self.normalize)

    def _adopt(self, network: Network, labels: Labels, scaling: Scaling, reader: Any) -> None:
        super()._adopt(network, labels, scaling, reader)
        self.vocabulary_ = reader

    def fit_blocks(self, *_: Any, **__: Any) -> SlideTextClassifier:
        """Not here: the vocabulary is made of all texts."""
        raise TypeError("fit_blocks: found texts, wanted rows of features: the vocabulary is made of all texts")

    def _read(self, X: Any) -> sp.csr_array:
        return self.vocabulary_(check_texts(X))

    def explain(self, x: Any, label: Any) -> Explanation:
        """As ``SlideClassifier.explain``, for one text; the explanation has the features' texts as `names`."""
        return replace(super().explain(x, label), names=self.vocabulary_.names or None)

    # -- files ------------------------------------------------------------------------------------------------------

    def _arrays(self) -> dict[str, Values]:
        return super()._arrays() | self.vocabulary_.arrays()

    def _config(self) -> dict[str, Any]:
        config = super()._config()
        del config["params"]["features"]
        return config | {"text": self.vocabulary_.config(), "table": getattr(self, "table_", None)}

    @classmethod
    def _restore(cls, network: Network, config: Mapping[str, Any], arrays: Mapping[str, Values]) -> SlideTextClassifier:
        clf = super()._restore(network, config, arrays)
        clf.features = clf.vocabulary_.options
        require(len(clf.vocabulary_.idf) == network.n_features, "vocabulary", len(clf.vocabulary_.idf), "the network's")
        if config.get("table"):
            clf.table_ = config["table"]
        return clf

    @classmethod
    def _restore_reader(cls, config: Mapping[str, Any], arrays: Mapping[str, Values]) -> Vocabulary:
        return Vocabulary.restored(config["text"], arrays)


def check_texts(X: Any) -> list[str]:
    """A list of strings from any sequence of them; a string is one text.

    Raises
    ------
    ValueError
        Naming the row of what is no string.
    """
    if isinstance(X, str):
        return [X]
    if sp.issparse(X) or isinstance(X, bytes) or not hasattr(X, "__iter__") or getattr(X, "ndim", 1) != 1:
        raise ValueError(f"X: found {type(X).__name__}, wanted a sequence of texts")
    texts = X.to_pylist() if hasattr(X, "to_pylist") else list(X)
    if not texts:
        raise ValueError("X: found no text, wanted at least one")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"X: found {text!r} in row {row:,}, wanted a string")
    return texts
