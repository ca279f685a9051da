"""How hard one image pulls at the network's outputs z, in closed form: a confidently wrong one.

Of ten classes a wrong one has the output `gap`; the true one and all others have 0. p = softmax(z).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

CLASSES = 10
Array = NDArray[np.float64]


def cross_entropy(gap: Array) -> Array:
    """2-norm of p − y: towards √2 as the gap grows."""
    return np.linalg.norm(_probabilities(gap) - TRUE, axis=-1)


def mse(gap: Array) -> Array:
    """2-norm of (diag p − p pᵀ)(p − y), the gradient of ½‖p − y‖²: towards 0 as the gap grows."""
    p = _probabilities(gap)
    pulled = p * (p - TRUE)
    return np.linalg.norm(pulled - p * pulled.sum(axis=-1, keepdims=True), axis=-1)


def mse_logits(gap: Array) -> Array:
    """2-norm of z − y, the gradient of ½‖z − y‖²: as large as the gap."""
    return np.linalg.norm(_outputs(gap) - TRUE, axis=-1)


GRADIENT_NORMS: dict[str, Callable[[Array], Array]] = {
    "cross_entropy": cross_entropy,
    "mse": mse,
    "mse_logits": mse_logits,
}

WRONG, TRUE = np.eye(CLASSES)[:2]


def _outputs(gap: Array) -> Array:
    """[..., classes]"""
    return np.asarray(gap, dtype=float)[..., None] * WRONG


def _probabilities(gap: Array) -> Array:
    outputs = _outputs(gap)
    weights = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)
