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
            "include README.md LICENSE .pytest.ini .ruff.toml",
            "graft .ci",
            "graft examples",
            "graft tests",
            "global-exclude *.py[cod]",
        ]:
            self.filelist.process_template_line(line)
        self.filelist.sort()
        self.filelist.remove_duplicates()
        sdist.make_distribution(self)


EXAMPLES = ["scikit-learn", "matplotlib", "tqdm"]

setup(
    name="loupe-tf",
    version=re.search(r'^__version__ = "(.+)"$', read("loupe.py"), re.MULTILINE).group(1),
    description="Learnable pooling layers (NetVLAD, NetRVLAD, NetFV, Soft-DBoW) and Context Gating for TensorFlow",
    long_description=read("README.md"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
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
        # setuptools and wheel build what the packaging tests look into.
        "test": EXAMPLES
        + ["pytest", "pytest-xdist", "hypothesis", "setuptools", "wheel", "tf2onnx", "onnxruntime"]
        # onnx 1.19.0 asks for any ml_dtypes, and fails to import with TensorFlow 2.15's.
        + ["onnx!=1.19.0"],
    },
    cmdclass={"sdist": SourceDistribution},
)
