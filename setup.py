"""Installs the module loupe as the distribution loupe-tf (loupe on PyPI is another project)."""

import io
import os
import re

from setuptools import setup
from setuptools.command.sdist import sdist

# This file runs on any Python that pip may try, so that an old one gets pip's message about python_requires.
HERE = os.path.dirname(os.path.abspath(__file__))


def read(name):
    with io.open(os.path.join(HERE, name), encoding="utf-8") as file:
        return file.read()


class SourceDistribution(sdist):
    """An sdist with the files that the tests need, listed in the syntax of a MANIFEST.in."""

    def make_distribution(self):
        for line in [
            "include README.md LICENSE .pytest.ini .ruff.toml .pre-commit-config.yaml",
            "graft .ci",
            "graft .github",
            "graft examples",
            "graft tests",
            "global-exclude *.py[cod]",
        ]:
            self.filelist.process_template_line(line)
        self.filelist.sort()
        self.filelist.remove_duplicates()
        sdist.make_distribution(self)


# TensorFlow 2.21 no longer installs TensorBoard, which shows the progress of training in examples/youtube8m.
EXAMPLES = ["scikit-learn", "scikit-image", "scipy", "joblib", "matplotlib", "tqdm", "tensorboard"]
# examples/legacy.py takes tf.layers, tf.nn.rnn_cell and tf.keras from tf_keras, unless TensorFlow is older than 2.16.
LEGACY = ['tf_keras; python_version >= "3.9"']

setup(
    name="loupe-tf",
    version=re.search(r'^__version__ = "(.+)"$', read("loupe.py"), re.MULTILINE).group(1),
    description="Learnable pooling layers (NetVLAD, NetRVLAD, NetFV, Soft-DBoW) and Context Gating for TensorFlow",
    long_description=read("README.md"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    author="the LOUPE authors and contributors",
    # This implementation has no home page, so these links lead to the origin of the layers.
    url="https://arxiv.org/abs/1706.06905",
    project_urls={
        "Paper": "https://arxiv.org/abs/1706.06905",
        "Original toolbox": "https://github.com/antoine77340/LOUPE",
    },
    keywords="pooling NetVLAD NetRVLAD NetFV Soft-DBoW context-gating video TensorFlow YouTube-8M",
    # No classifier names the licence, because new versions of setuptools accept it in one place only.
    classifiers=[
        "Development Status :: 5 - Production/Stable",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
    ]
    + ["Programming Language :: Python :: 3.{}".format(minor) for minor in range(7, 14)]
    + [
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
    py_modules=["loupe"],
    # With this line, an editable install puts this directory on the path. Without it, a clone called loupe hides the
    # module from programs beside it.
    package_dir={"": "."},
    python_requires=">=3.7",
    install_requires=[
        "tensorflow>=1.15",
        "tf-slim>=1.1",
        "numpy",
        # TensorFlow 1.15 accepts any protobuf, but fails to import with 3.21 or later.
        'protobuf<3.21; python_version < "3.8"',
    ],
    extras_require={
        "examples": EXAMPLES,
        "legacy": LEGACY,
        # setuptools and wheel build the distributions that the packaging tests check.
        "test": EXAMPLES
        + LEGACY
        + ["pytest", "pytest-xdist", "hypothesis", "setuptools", "wheel", "tf2onnx", "onnxruntime"]
        # These run examples/places.ipynb.
        + ["nbclient", "nbformat", "ipykernel"]
        # onnx 1.19.0 accepts any ml_dtypes, but fails to import with the one of TensorFlow 2.15.
        + ["onnx!=1.19.0"],
    },
    cmdclass={"sdist": SourceDistribution},
)
