"""Training by several workers: features and labels are shared out among them, over torch, MPI or Ray.

``SlideClassifier.fit(X, y, cluster=slide.distributed.Torch(workers=2))``. docs/distributed.md has a picture.
"""

from __future__ import annotations

from slide.distributed.engines import MPI, Local, Ray, Torch

__all__ = ["MPI", "Local", "Ray", "Torch"]
