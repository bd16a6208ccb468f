"""The wheel has the one module, the sdist all files of the tests, and an editable install finds the module.

The tests build them without the network.
"""

import email
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile

import pytest

import loupe

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONTENT = ["LICENSE", "README.md", "loupe.py", "setup.py", ".pytest.ini", ".ruff.toml", ".pre-commit-config.yaml"]
CONTENT += [".ci", ".github", "examples", "tests"]

# The functions that pip and build call for a project without pyproject.toml.
BUILD = """
from setuptools.build_meta import __legacy__ as backend
backend.build_sdist("dist")
backend.build_wheel("dist")
if hasattr(backend, "build_editable"):
    backend.build_editable("editable")
"""


def is_there(module):
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


pytestmark = pytest.mark.skipif(
    not is_there("setuptools") or not (is_there("wheel") or is_there("setuptools.command.bdist_wheel")),
    reason="needs setuptools and wheel, which build the packages",
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the project, with its sdist and wheel in dist, and the wheel of an editable install in editable."""
    tree = tmp_path_factory.mktemp("packaging") / "tree"
    tree.mkdir()
    for name in CONTENT:
        if (ROOT / name).is_dir():
            shutil.copytree(str(ROOT / name), str(tree / name), ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        else:
            shutil.copy(str(ROOT / name), str(tree / name))
    with (tree / "loupe.py").open("a") as module:
        module.write('raise ImportError("setup.py may not import loupe, which needs TensorFlow")\n')
    built = subprocess.run(
        [sys.executable, "-c", BUILD], cwd=str(tree), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300
    )
    assert built.returncode == 0, built.stdout.decode()
    return tree


@pytest.fixture
def wheel(tree):
    with zipfile.ZipFile(str(only(tree, "*.whl"))) as wheel:
        yield wheel


def only(tree, pattern):
    (found,) = (tree / "dist").glob(pattern)
    return found


def test_wheel_has_the_one_module(wheel):
    names = wheel.namelist()
    assert [name for name in names if ".dist-info/" not in name] == ["loupe.py"]
    assert any(name.endswith("/LICENSE") for name in names)


def test_metadata(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = email.message_from_bytes(wheel.read(name))
    assert metadata["Name"] == "loupe-tf"
    assert metadata["Version"] == loupe.__version__
    assert metadata["Requires-Python"] == ">=3.7"
    assert set(metadata.get_all("Provides-Extra")) == {"test", "examples", "legacy"}
    assert metadata["Author"] and metadata["Home-page"]
    assert all(
        f"Programming Language :: Python :: 3.{minor}" in metadata.get_all("Classifier") for minor in range(7, 14)
    )
    required = {text.split(";")[0].replace("(", "").replace(")", "").replace(" ", "") for text in needed(metadata)}
    assert required == {"tensorflow>=1.15", "tf-slim>=1.1", "numpy", "protobuf<3.21"}


def needed(metadata):
    return [text for text in metadata.get_all("Requires-Dist") if "extra ==" not in text]


def test_metadata_names_all_packages_that_the_examples_import(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = email.message_from_bytes(wheel.read(name))
    named = set(re.findall(r"^[\w-]+", "\n".join(metadata.get_all("Requires-Dist")), re.M)) | {"loupe"}
    own = {path.stem for path in (ROOT / "examples").rglob("*.py")} | {"loupe_examples", "yt8m"}
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "examples").rglob("*.py"))
    imported = set(re.findall(r"^ *(?:import|from) (\w+)", code, re.M))
    distributions = {"sklearn": "scikit-learn", "skimage": "scikit-image", "tf_slim": "tf-slim"}
    others = {distributions.get(name, name) for name in imported - own if not is_standard(name)}
    assert "scikit-learn" in others and others <= named


def is_standard(module):
    """Whether the module belongs to Python's standard library."""
    if module in sys.builtin_module_names:
        return True
    origin = importlib.util.find_spec(module).origin
    return origin == "frozen" or (origin.startswith(sysconfig.get_path("stdlib")) and "site-packages" not in origin)


def test_sdist_has_all_files_of_the_tests(tree):
    with tarfile.open(str(only(tree, "*.tar.gz"))) as archive:
        files_of_sdist = {member.name.split("/", 1)[1] for member in archive.getmembers() if member.isfile()}
    files = [path for name in CONTENT for path in [tree / name] + list((tree / name).rglob("*")) if path.is_file()]
    expected = {path.relative_to(tree).as_posix() for path in files}
    assert any(name.startswith("tests/goldens/") for name in expected)
    generated = {name for name in files_of_sdist if name.startswith("loupe_tf.egg-info/")} | {"PKG-INFO", "setup.cfg"}
    assert files_of_sdist - generated == expected


def test_editable_install_beside_a_clone(tree, tmp_path):
    """In a directory with a clone called loupe, Python finds the installed module, not the clone as a package."""
    if not (tree / "editable").exists():
        pytest.skip("with this setuptools, pip calls setup.py develop, which always puts the directory on the path")
    (editable,) = (tree / "editable").glob("*.whl")
    site = tmp_path / "site-packages"
    with zipfile.ZipFile(str(editable)) as wheel:
        wheel.extractall(str(site))
    (tmp_path / "loupe").mkdir()
    program = "import importlib.util, site, sys; site.addsitedir(sys.argv[1])\n"
    program += "print(importlib.util.find_spec('loupe').origin)"
    found = subprocess.run(
        # Without the environment's own packages, which may have the module too.
        [sys.executable, "-S", "-c", program, str(site)],
        cwd=str(tmp_path),
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        timeout=60,
    )
    assert found.returncode == 0 and found.stdout.strip() == str(tree / "loupe.py"), found.stdout
