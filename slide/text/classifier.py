"""SlideTextClassifier: raw texts in, labels by name out. Its features are made in slide/text/features.py."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Self

import scipy.sparse as sp

from slide.checks import require
from slide.estimator.classifier import SlideClassifier
from slide.labels.forms import Values
from slide.network import Network
from slide.text.features import TextFeatures, Vocabulary
from slide.text.reader import TextReader, check_texts

if TYPE_CHECKING:
    from slide.inference.explain import Explanation

PREFIX = "features__"  # of the options of a classifier's features, as scikit-learn names what is within


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

    table_: dict[str, Any]

    def __init__(self, features: TextFeatures | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.features = features

    @property
    def vocabulary_(self) -> Vocabulary:
        """The features that the model knows."""
        reader = self._encoding.reader
        assert isinstance(reader, TextReader)
        assert reader.vocabulary is not None
        return reader.vocabulary

    def explain(self, x: Any, label: Any) -> Explanation:
        """What each word of one text added to a label's score; see SlideClassifier.explain.

        `parts` of the result has words and pairs of words, each with the character pieces that it is the sum of.
        """
        from slide.text.spoken import explained

        texts = check_texts(x)
        found = super().explain(texts, label)
        names, parts = explained(found, self.vocabulary_, texts[0])
        return replace(found, names=found.names or names, parts=parts)

    def transform(self, X: Any) -> sp.csr_array:
        """The features of texts as the network gets them: CSR float32 [n, n_features_in_], rows of unit length.

        Columns are named by ``vocabulary_.names``. For other models on the same features, and to look at them.
        """
        return self._rows(X)

    def fit_blocks(self, *_: Any, **__: Any) -> SlideTextClassifier:
        """Not here: the vocabulary is made of all texts."""
        raise TypeError("fit_blocks: found texts, wanted rows of features: the vocabulary is made of all texts")

    # -- scikit-learn ----------------------------------------------------------------------------------------------

    @classmethod
    def _parameter_names(cls) -> list[str]:
        return ["features", *SlideClassifier._parameter_names()]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments by name; deep: those of `features` too, as ``features__words``."""
        params = super().get_params(deep)
        if deep:
            options = self.features or TextFeatures()
            params |= {f"{PREFIX}{one.name}": getattr(options, one.name) for one in fields(options)}
        return params

    def set_params(self, **params: Any) -> Self:
        """Sets constructor arguments, and those of `features` by names such as ``features__words``: for grid search."""
        inner = {name.removeprefix(PREFIX): v for name, v in params.items() if name.startswith(PREFIX)}
        super().set_params(**{name: v for name, v in params.items() if not name.startswith(PREFIX)})
        known = [one.name for one in fields(TextFeatures)]
        for name in inner:
            require(name in known, "set_params", f"{PREFIX}{name}", f"one of {', '.join(PREFIX + n for n in known)}")
        if inner:
            self.features = replace(self.features or TextFeatures(), **inner)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        kinds = replace(tags.input_tags, one_d_array=True, two_d_array=False, sparse=False, string=True)
        return replace(tags, input_tags=kinds)

    # -- what X is, and files ---------------------------------------------------------------------------------------

    def _metadata(self) -> dict[str, str]:
        from slide.text.recipe import recipe

        found = super()._metadata()
        if self.vocabulary_.options.tokenizer is not None:  # which no file describes
            return found
        return found | {"features": json.dumps(recipe(self.vocabulary_))}

    def _new_reader(self) -> TextReader:
        return TextReader(self.features)

    @classmethod
    def _restored_reader(cls, config: Mapping[str, Any], arrays: Mapping[str, Values], n_features: int) -> TextReader:
        return TextReader.restored(config, arrays, n_features)

    def _config(self) -> dict[str, Any]:
        """As that of every classifier, and which columns of a table the texts came from (slide/cli)."""
        config = super()._config()
        if self.features is not None:
            del config["params"]["features"]  # the reader's
        return config | {"table": getattr(self, "table_", None)}

    @classmethod
    def _restore(cls, network: Network, config: Mapping[str, Any], arrays: Mapping[str, Values]) -> Self:
        clf = super()._restore(network, config, arrays)
        options = clf.vocabulary_.options
        given = "features" not in config["params"] and options != TextFeatures()
        clf.features = options if given else None
        if config.get("table"):
            clf.table_ = config["table"]
        return clf
