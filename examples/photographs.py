"""Cuts photographs of scikit-image and scikit-learn into places, and makes views of them with local descriptors.

A place is a square tile of a photograph; tiles overlap by a third. A view of a place is its tile through a random
homography (turned, nearer or farther, shifted, tilted) in another light (gamma, shading, blur, noise). The local
descriptors of a view are those of DAISY on a grid, each normalised to the sum 1 and replaced by its square root, as in
RootSIFT. Flat spots have no descriptor, so that views differ in the number of their descriptors. Nothing is downloaded,
and the same seed makes the same views.

References:
  Tola, Lepetit, Fua: DAISY: an efficient dense descriptor applied to wide-baseline stereo. PAMI 2010.
  Arandjelovic, Zisserman: Three things everyone should know to improve object retrieval. CVPR 2012. (RootSIFT)
"""

import collections
import functools
import hashlib
import math
import os
import zipfile

import joblib
import numpy as np
from loupe_examples import files
from loupe_examples.errors import UserError
from scipy.ndimage import gaussian_filter
from skimage import data, transform
from skimage.feature import daisy
from sklearn.datasets import load_sample_image

TRAIN = ["astronaut", "brick", "camera", "china", "flower", "grass", "hubble_deep_field", "immunohistochemistry"]
TRAIN += ["retina", "text"]
# The photographs of TRAIN that --validate holds out of the training and tests on.
VALIDATION = ["astronaut", "brick", "camera"]
TEST = ["chelsea", "coffee", "coins", "gravel", "page", "rocket"]
LEFT, RIGHT = "motorcycle_left", "motorcycle_right"
PHOTOGRAPHS = TRAIN + TEST + [LEFT]

SIDE = 96  # The side of a tile and of a view, in pixels.
STRIDE = 64  # Pixels from one tile to the next.
LARGEST = 640  # The longer side of a photograph; larger ones are reduced to it.
DAISY = {"step": 6, "radius": 12, "rings": 2, "histograms": 6, "orientations": 8}
MAX_DESCRIPTORS = 144  # The descriptors of a view without flat spots: 12 x 12.
WIDTH = (DAISY["rings"] * DAISY["histograms"] + 1) * DAISY["orientations"]  # The width of a descriptor: 104.
QUERIES = 3  # The number of random views of each test place.

Place = collections.namedtuple("Place", "photograph row column")
Place.__doc__ = "The tile around this row and column of the photograph of this name."


class Views(collections.namedtuple("Views", "lists lengths place number")):
    """Views as lists of descriptors.

    Attributes:
      lists: the descriptors, padded with zeros, float32 [views, MAX_DESCRIPTORS, D].
      lengths: how many descriptors each view has. [views]
      place: the place that each view shows, an index into the list of all places. [views]
      number: the number of the view among those of its place; 0 is the tile itself. [views]
    """

    @property
    def is_real(self):
        """Which descriptors are not padding. bool [views, MAX_DESCRIPTORS]"""
        return np.arange(self.lists.shape[1]) < self.lengths[:, np.newaxis]

    def where(self, kept):
        """The views where the mask `kept` [views] is true."""
        return Views(*[values[kept] for values in self])

    def rows(self):
        """All descriptors, without the padding. [T, D]"""
        return self.lists[self.is_real]

    def mapped(self, function):
        """The views with `function` applied to their descriptors, the rows [T, D]."""
        rows = function(self.rows())
        lists = np.zeros(self.lists.shape[:2] + rows.shape[1:], np.float32)
        lists[self.is_real] = rows
        return self._replace(lists=lists)


def load(directory, seed, train_views, stride=STRIDE, workers=None, progress=None):
    """Returns all places and views, from a cache in `directory`. The first call makes it, which takes half a minute.

    Args:
      directory: the directory of the cache; it is created if it does not exist.
      seed: the seed of the homographies and the light.
      train_views: how many random views each place of a photograph for training has.
      stride: pixels from one tile to the next.
      workers: how many processes make views. Default None: one for each core.
      progress: a bar of tqdm, which is updated for each photograph, or None.

    Returns:
      The list of all places; and the `Views` of the photographs TRAIN, of the photographs TEST, and of the stereo pair.
      In the stereo pair, the views from number 1 on are those of the right photograph, and number 1 is its tile.
    """
    directory = files.expanded(directory)
    settings = [PHOTOGRAPHS, SIDE, LARGEST, DAISY, QUERIES, seed, train_views, stride]
    path = os.path.join(directory, f"views-{hashlib.sha256(repr(settings).encode()).hexdigest()[:8]}.npz")
    try:
        os.makedirs(directory, exist_ok=True)
        if not os.path.exists(path):
            made = _made(seed, train_views, stride, workers, progress)
            with files.whole(path) as partial, open(partial, "wb") as file:
                np.savez(file, **made)
        kept = _read(path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error

    all_places = [Place(PHOTOGRAPHS[photograph], row, column) for photograph, row, column in kept["places"].tolist()]
    lists = np.zeros((len(kept["lengths"]), MAX_DESCRIPTORS, WIDTH), np.float32)
    views = Views(lists, kept["lengths"], kept["place"], kept["number"])
    lists[views.is_real] = kept["rows"]
    photograph = kept["places"][views.place, 0]
    ends = [0, len(TRAIN), len(TRAIN) + len(TEST), len(PHOTOGRAPHS)]
    return [all_places] + [views.where((photograph >= ends[i]) & (photograph < ends[i + 1])) for i in range(3)]


def _read(path):
    """The arrays of the cache, from its file."""
    try:
        with np.load(path) as cached:
            return {name: cached[name] for name in ("places", "rows", "lengths", "place", "number")}
    except (ValueError, EOFError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: expected a cache of views, got a file that cannot be read. Delete it") from error


def _made(seed, train_views, stride, workers, progress):
    """The arrays of the cache."""
    jobs = [joblib.delayed(_of_photograph)(name, seed, train_views, stride) for name in PHOTOGRAPHS]
    results = []
    for result in joblib.Parallel(workers or -1, return_as="generator")(jobs):
        results.append(result)
        if progress is not None:
            progress.update()
    found, seen = [], []
    for photograph, (own_places, own_views) in enumerate(results):
        seen += [(rows, len(found) + place, number) for rows, place, number in own_views]
        found += [(photograph, place.row, place.column) for place in own_places]
    rows, place, number = zip(*seen)
    return {
        "places": np.array(found),
        "rows": np.concatenate(rows),
        "lengths": np.array([len(one) for one in rows]),
        "place": np.array(place),
        "number": np.array(number),
    }


def _of_photograph(name, seed, train_views, stride):
    """The places of a photograph, and a list of each view's descriptors, its place and its number."""
    pixels = photograph(name)
    own = places(name, pixels, stride)
    counts = range(1 + (train_views if name in TRAIN else QUERIES))
    if name == LEFT:
        own = [place for place in own if counterpart(place) is not None]
        counts = range(2 + QUERIES)
    return own, [
        (descriptors(image(own[place], number, seed)).astype(np.float16), place, number)
        for place in range(len(own))
        for number in counts
    ]


def image(place, number, seed):
    """View `number` of a place: 0 is its tile, the others are random. For a place in the left photograph of the stereo
    pair, the views from 1 on are those of the right photograph, and 1 is its tile."""
    if place.photograph == LEFT and number > 0:
        place, number = counterpart(place), number - 1
    pixels = photograph(place.photograph)
    if number == 0:
        return tile(pixels, place)
    index = (PHOTOGRAPHS + [RIGHT]).index(place.photograph)
    return view(pixels, place, np.random.RandomState([seed, index, place.row, place.column, number]))


@functools.lru_cache(maxsize=4)
def photograph(name):
    """A photograph by its name in skimage.data or sklearn.datasets, in grey, float32 from 0 to 1. [height, width]"""
    if name in ("china", "flower"):
        pixels = load_sample_image(name + ".jpg")
    elif name in (LEFT, RIGHT):
        pixels = data.stereo_motorcycle()[name == RIGHT]
    else:
        pixels = getattr(data, name)()
    pixels = pixels.astype(np.float32) / 255
    if pixels.ndim == 3:
        pixels = pixels @ np.array([0.2125, 0.7154, 0.0721], np.float32)
    scale = min(LARGEST / max(pixels.shape), 1)
    if scale < 1:
        size = [round(scale * side) for side in pixels.shape]
        pixels = transform.resize(pixels, size, order=1, anti_aliasing=True)
    return pixels.astype(np.float32)


def places(name, pixels, stride=STRIDE):
    """The places of a photograph, row by row, without those whose tiles are flat."""
    found = [
        Place(name, row, column)
        for row in range(SIDE // 2, pixels.shape[0] - SIDE // 2 + 1, stride)
        for column in range(SIDE // 2, pixels.shape[1] - SIDE // 2 + 1, stride)
    ]
    return [place for place in found if np.abs(np.diff(tile(pixels, place), axis=1)).mean() > 0.01]


def tile(pixels, place):
    """The tile of the place. [SIDE, SIDE]"""
    half = SIDE // 2
    return pixels[place.row - half : place.row + half, place.column - half : place.column + half]


def counterpart(place):
    """The place in the stereo pair's right photograph that corresponds to a place in the left one, found by the median
    disparity around it; None if it is not completely inside the photograph."""
    disparity, scale = _disparity()
    row, column = int(place.row / scale), int(place.column / scale)
    half = int(SIDE / 2 / scale)
    around = disparity[max(row - half, 0) : row + half, max(column - half, 0) : column + half]
    found = place.column - round(scale * float(np.median(around[np.isfinite(around)])))
    return Place(RIGHT, place.row, found) if found >= SIDE // 2 else None


@functools.lru_cache(maxsize=1)
def _disparity():
    """The disparity in pixels of the full photograph, and the factor by which the photograph is reduced."""
    disparity = data.stereo_motorcycle()[2]
    return disparity, min(LARGEST / max(disparity.shape), 1)


def view(pixels, place, rng):
    """The place through a random homography and in another light, float32 from 0 to 1. [SIDE, SIDE]"""

    def about(largest):
        return rng.uniform(-largest, largest)

    centered = np.array([[1, 0, 0.5 - SIDE / 2], [0, 1, 0.5 - SIDE / 2], [0, 0, 1]])
    tilted = np.array([[1, 0, 0], [0, 1, 0], [about(0.003), about(0.003), 1]])
    scale, stretch, angle = math.exp(about(0.25)), math.exp(about(0.1)), about(math.radians(20))
    cosine, sine = math.cos(angle), math.sin(angle)
    turned = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    turned = turned @ np.diag([scale * stretch, scale / stretch, 1])
    row, column = place.row - 0.5 + about(0.12 * SIDE), place.column - 0.5 + about(0.12 * SIDE)
    moved = np.array([[1, 0, column], [0, 1, row], [0, 0, 1]])
    homography = moved @ turned @ tilted @ centered  # (column, row, 1) in the view -> in the photograph
    seen = transform.warp(pixels, homography, output_shape=(SIDE, SIDE), order=1, mode="reflect")

    seen = np.clip(gaussian_filter(seen, rng.uniform(0, 1.2)), 0, 1) ** math.exp(about(0.6))
    slope = np.linspace(-1, 1, SIDE)
    shading = math.exp(about(0.3)) * (1 + about(0.4) * slope + about(0.4) * slope[:, np.newaxis])
    return np.clip(seen * shading + 0.02 * rng.standard_normal((SIDE, SIDE)), 0, 1).astype(np.float32)


def descriptors(image):
    """The local descriptors of a view, each of length 1. float32 [from 1 to MAX_DESCRIPTORS, WIDTH]"""
    histograms = daisy(image, normalization="off", **DAISY).reshape(-1, WIDTH)
    energy = np.linalg.norm(histograms, axis=1)
    histograms = histograms[energy >= 0.3 * np.percentile(energy, 90)]
    return np.sqrt(histograms / np.maximum(histograms.sum(axis=1, keepdims=True), 1e-12)).astype(np.float32)
