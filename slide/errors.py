"""Every exception the package defines. Each also derives from the built-in a caller would expect."""

__all__ = ["DataFormatError", "ModelFormatError", "NonFiniteError", "NotFittedError", "SlideError", "StoreInUseError"]


class SlideError(Exception):
    """Base of all errors raised on purpose by this package."""


class DataFormatError(SlideError, ValueError):
    """A data file is malformed; the message names file, line and column."""


class ModelFormatError(SlideError, ValueError):
    """A model file is truncated, altered, of a newer version, or no model at all."""


class NonFiniteError(SlideError, ArithmeticError):
    """Training met a NaN or an infinity; the message names the step and the layer."""


class NotFittedError(SlideError, ValueError, AttributeError):
    """A prediction was asked of a model that has not been trained or loaded."""


class StoreInUseError(SlideError, OSError):
    """Another fit writes the rows of the same checkpoint; the message names its process."""
