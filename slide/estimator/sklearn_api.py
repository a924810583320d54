"""What scikit-learn asks of an estimator, answered without importing it.

Parameters, tags, names of features, and errors that are scikit-learn's own as well where it is loaded. Why nothing is
inherited from it: docs/estimator.md.
"""

from __future__ import annotations

import copy
import difflib
import inspect
import sys
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from slide.checks import among, require, warn
from slide.errors import NotFittedError
from slide.estimator.presets import PRESETS
from slide.frames import column_names

MISMATCH = "The feature names should match those that were passed during fit.\n"
SHOWN = 5  # names in a message
#: Arguments of methods that metadata routing may pass on.
ROUTED = {"fit": ("sample_weight",), "partial_fit": ("classes", "sample_weight"), "score": ("sample_weight",)}


class _Requests(dict[str, dict[str, Any]]):
    """Arguments that were asked for by method: an attribute that scikit-learn's clone() hands on."""

    def __sklearn_clone__(self) -> _Requests:
        return copy.deepcopy(self)


class Estimator:
    """Parameters are the constructor's arguments; what is learned has a name that ends with an underscore."""

    _estimator_type = "classifier"

    @classmethod
    def _parameter_names(cls) -> list[str]:
        return [p for p in inspect.signature(cls.__init__).parameters if p != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments by name."""
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self, **params: Any) -> Self:
        """Sets constructor arguments; an unknown name is a ValueError."""
        for name, value in params.items():
            if name not in self._parameter_names():
                near = difflib.get_close_matches(name, self._parameter_names(), 1)
                meant = f" (did you mean {near[0]!r}?)" if near else ""
                raise ValueError(f"set_params: found {name!r}, wanted one of {self._parameter_names()}{meant}")
            setattr(self, name, value)
        return self

    @classmethod
    def preset(cls, name: str, **options: Any) -> Self:
        """A classifier with options for a purpose: "fast", "balanced" (the defaults) or "accurate".

        It is an ordinary one, whose options can be looked at and changed; those given here come first. Measured against
        the defaults on held-out rows (docs/tuning.md): "fast" takes about half the time and costs 0 to 0.8 points of
        P@1; "accurate" takes one and a half to twice the time, and gains mostly behind the first label.

        >>> import slide
        >>> slide.SlideClassifier.preset("fast", random_state=1).epochs
        3
        """
        require(among(name, PRESETS), "preset", name, f"one of {', '.join(PRESETS)}")
        return cls(**PRESETS[name] | options)

    def changed_params(self) -> dict[str, Any]:
        """Those of `get_params` that are not the defaults."""
        defaults = type(self)().get_params(deep=False)
        return {name: value for name, value in self.get_params(deep=False).items() if not _equal(value, defaults[name])}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.changed_params().items())})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    # -- metadata routing -------------------------------------------------------------------------------------------

    def get_metadata_routing(self) -> Any:
        """Which arguments of its methods scikit-learn should pass on to this one, where routing is switched on."""
        from sklearn.utils.metadata_routing import MetadataRequest

        request, asked = MetadataRequest(owner=self), getattr(self, "_metadata_request", {})
        for method, names in ROUTED.items():
            for name in names:
                getattr(request, method).add_request(param=name, alias=asked.get(method, {}).get(name))
        return request

    def set_fit_request(self, *, sample_weight: bool | str | None) -> Self:
        """Whether `fit` wants a sample_weight that is handed to what contains this estimator; or under which name."""
        return self._request("fit", sample_weight=sample_weight)

    def set_partial_fit_request(self, **wanted: bool | str | None) -> Self:
        """The same for `classes` and `sample_weight` of ``partial_fit``."""
        return self._request("partial_fit", **wanted)

    def set_score_request(self, *, sample_weight: bool | str | None) -> Self:
        """The same for `score`."""
        return self._request("score", sample_weight=sample_weight)

    def _request(self, method: str, **wanted: bool | str | None) -> Self:
        for name in wanted:
            require(name in ROUTED[method], f"set_{method}_request", name, f"one of {ROUTED[method]}")
        asked = getattr(self, "_metadata_request", {})
        self._metadata_request = _Requests(asked | {method: asked.get(method, {}) | wanted})
        return self

    def __sklearn_tags__(self) -> Any:
        """Asked by scikit-learn 1.6 and later, which is loaded then."""
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type=self._estimator_type,
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(multi_label=True),
            input_tags=InputTags(sparse=True),
        )

    def _check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise not_fitted(f"this {type(self).__name__} is not trained: call fit, or slide.load a saved one")


def _equal(value: Any, default: Any) -> bool:
    """Whether an option is the default; a list of widths may be a tuple's equal, True is not 1."""
    if isinstance(default, tuple) and isinstance(value, list | np.ndarray):
        value = tuple(value)
    return value is default or (isinstance(value, bool) == isinstance(default, bool) and bool(value == default))


def seed_of(random_state: Any) -> int:
    """The number that a fit's random choices follow from; see SlideClassifier.

    Raises
    ------
    ValueError
        For what is no source of one.
    """
    if random_state is None:
        return int(np.random.default_rng().integers(2**32))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**32))
    if isinstance(random_state, np.random.RandomState) or random_state is np.random:
        return int(random_state.randint(2**31))
    ok = isinstance(random_state, int | np.integer) and 0 <= int(random_state) < 2**64
    wanted = "an int, 0 to 2^64 - 1, a numpy.random.Generator or RandomState, or None"
    require(ok, "random_state", random_state, wanted)
    return int(random_state)


def feature_names(X: Any) -> npt.NDArray[np.object_] | None:
    """The columns' names of a data frame or an Arrow table if they are strings, None of anything else."""
    columns = column_names(X)
    if columns is None:
        return None
    kinds = sorted({type(c).__name__ for c in columns})
    if not all(isinstance(c, str) for c in columns):
        if "str" in kinds:
            raise TypeError(f"X: found column names of types {', '.join(kinds)}, wanted all strings or none")
        return None
    return np.array([str.__str__(c) for c in columns], dtype=object)  # not of an enumeration, which no file holds


def check_feature_names(X: Any, known: npt.NDArray[np.object_] | None, owner: str) -> None:
    """Refuses columns that are named otherwise than in fit, and warns where only one of the two has names.

    known : the names in fit, None if there were none; owner : the class that a message names
    """
    given = feature_names(X)
    if given is None and known is not None:
        warn(f"X does not have valid feature names, but {owner} was fitted with feature names")
    elif given is not None and known is None:
        warn(f"X has feature names, but {owner} was fitted without feature names")
    elif given is not None and known is not None and not np.array_equal(given, known):
        raise ValueError(MISMATCH + _difference(set(given), set(known)))


def _difference(given: set[str], known: set[str]) -> str:
    """In scikit-learn's words."""
    unseen, missing = sorted(given - known), sorted(known - given)
    text = _listed("Feature names unseen at fit time:\n", unseen)
    text += _listed("Feature names seen at fit time, yet now missing:\n", missing)
    return text or "Feature names must be in the same order as they were in fit.\n"


def _listed(heading: str, names: list[str]) -> str:
    if not names:
        return ""
    shown = [f"- {name}\n" for name in names[:SHOWN]] + ["- ...\n"] * (len(names) > SHOWN)
    return heading + "".join(shown)


def not_fitted(message: str) -> NotFittedError:
    """The error of a model without training: scikit-learn's too where it is loaded, so that either is caught."""
    theirs = getattr(sys.modules.get("sklearn.exceptions"), "NotFittedError", None)
    if theirs is None:
        return NotFittedError(message)
    both = type("NotFittedError", (NotFittedError, theirs), {"__module__": "slide.errors"})
    error: NotFittedError = both(message)
    return error
