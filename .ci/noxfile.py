"""The tests on each TensorFlow that is supported: python -m nox -f .ci/noxfile.py

Pythons are looked for on the PATH and among pyenv's. The last lines say which were not found.
"""

import glob
import os
import shutil

import nox

# TensorFlow by the Python that runs it.
VERSIONS = {
    "3.7": "tensorflow==1.15.5",
    "3.9": "tensorflow==2.12.*",
    "3.11": "tensorflow==2.15.*",
    "3.12": "tensorflow==2.18.*",
    "3.13": "tensorflow==2.21.*",
}

PYENV = os.environ.get("PYENV_ROOT") or os.path.join(os.path.expanduser("~"), ".pyenv")
# Before the PATH, where pyenv has an executable for every version that runs only for the chosen one.
os.environ["PATH"] = os.pathsep.join(
    glob.glob(os.path.join(PYENV, "versions", "*", "bin")) + [os.environ.get("PATH", os.defpath)]
)

nox.needs_version = ">=2022.1.7"
nox.options.error_on_missing_interpreters = False
nox.options.envdir = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, ".nox")


# The module venv, because virtualenv no longer makes environments for Python 3.7.
@nox.session(python=list(VERSIONS), venv_backend="venv")
def tests(session):
    """All tests, or those that the arguments after -- say."""
    session.chdir(os.pardir)
    session.install(VERSIONS[session.python], "-e", ".[test]")
    session.run("python", "-m", "pytest", "-n", "auto", *session.posargs)


@nox.session(python=False)
def interpreters(session):
    """Which Pythons there are."""
    missing = [version for version in VERSIONS if not shutil.which("python" + version)]
    for version in missing:
        session.warn(f"Python {version} was not found: the tests did not run on {VERSIONS[version]}")
    if not missing:
        session.log("every Python was found")
