"""Scikit-learn's 1,797 handwritten digits of 8x8 pixels, and their patches of 3x3 pixels."""

import numpy as np
from sklearn.datasets import load_digits

# The row and column of the top left pixel of each patch.
PLACES = [(row, column) for row in range(6) for column in range(6)]


def digits():
    """The images, numbers from 0 to 16 [digits, 8, 8], and the digit that each shows [digits]."""
    data = load_digits()
    return data.images, data.target


def patches(images):
    """The patches of each image: [..., 8, 8] -> [..., 36, 3, 3]."""
    return np.stack([images[..., row : row + 3, column : column + 3] for row, column in PLACES], axis=-3)
