"""Installs the module loupe as the distribution loupe-tf (loupe on PyPI is another project)."""

import io
import os
import re

from setuptools import setup
from setuptools.command.sdist import sdist

# Written for any Python that pip may try it with, so that an old one gets pip's message on python_requires.
HERE = os.path.dirname(os.path.abspath(__file__))


def read(name):
    with io.open(os.path.join(HERE, name), encoding="utf-8") as file:
        return file.read()


class SourceDistribution(sdist):
    """An sdist that holds what the tests need, in the lines that a MANIFEST.in would have."""

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


# TensorFlow 2.21 no longer brings TensorBoard, which shows how a training of examples/youtube8m goes.
EXAMPLES = ["scikit-learn", "scikit-image", "scipy", "joblib", "matplotlib", "tqdm", "tensorboard"]
# What examples/legacy.py takes tf.layers, tf.nn.rnn_cell and tf.keras from; TensorFlow 2.15 and earlier bring it.
LEGACY = ['tf_keras; python_version >= "3.9"']

setup(
    name="loupe-tf",
    version=re.search(r'^__version__ = "(.+)"$', read("loupe.py"), re.MULTILINE).group(1),
    description="Learnable pooling layers (NetVLAD, NetRVLAD, NetFV, Soft-DBoW) and Context Gating for TensorFlow",
    long_description=read("README.md"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    author="the LOUPE authors and contributors",
    # This implementation has no home of its own, so that these lead to where the layers are from.
    url="https://arxiv.org/abs/1706.06905",
    project_urls={
        "Paper": "https://arxiv.org/abs/1706.06905",
        "Original toolbox": "https://github.com/antoine77340/LOUPE",
    },
    keywords="pooling NetVLAD NetRVLAD NetFV Soft-DBoW context-gating video TensorFlow YouTube-8M",
    # None on the licence, which new versions of setuptools want to have in one place only.
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
    # Said, an editable install puts this directory on the path. Otherwise, a clone called loupe hides the module from
    # programs beside it.
    package_dir={"": "."},
    python_requires=">=3.7",
    install_requires=[
        "tensorflow>=1.15",
        "tf-slim>=1.1",
        "numpy",
        # TensorFlow 1.15 asks for any protobuf, and fails to import with one of 3.21 or later.
        'protobuf<3.21; python_version < "3.8"',
    ],
    extras_require={
        "examples": EXAMPLES,
        "legacy": LEGACY,
        # setuptools and wheel build what the packaging tests look into.
        "test": EXAMPLES
        + LEGACY
        + ["pytest", "pytest-xdist", "hypothesis", "setuptools", "wheel", "tf2onnx", "onnxruntime"]
        # These run examples/places.ipynb.
        + ["nbclient", "nbformat", "ipykernel"]
        # onnx 1.19.0 asks for any ml_dtypes, and fails to import with TensorFlow 2.15's.
        + ["onnx!=1.19.0"],
    },
    cmdclass={"sdist": SourceDistribution},
)
