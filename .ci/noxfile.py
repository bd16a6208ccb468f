"""Runs the tests on five versions of TensorFlow: python -m nox -f .ci/noxfile.py

Each version runs on a Python of its own, from the PATH or from pyenv. The last lines of the output name the Pythons
that were not found. `--list` shows the other sessions: the long tests, training runs whose processes die, the README's
commands, and lint.
"""

import glob
import os
import re
import shutil
import subprocess
import tempfile

import nox

# The TensorFlow that each Python gets, for all sessions.
VERSIONS = {
    "3.7": "tensorflow==1.15.5",
    "3.9": "tensorflow==2.12.*",
    "3.11": "tensorflow==2.15.*",
    "3.12": "tensorflow==2.18.*",
    "3.13": "tensorflow==2.21.*",
}
OLDEST_AND_NEWEST = [list(VERSIONS)[0], list(VERSIONS)[-1]]
RUFF = "ruff==0.17.*"

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PYENV = os.environ.get("PYENV_ROOT") or os.path.join(os.path.expanduser("~"), ".pyenv")
# These directories come first, because pyenv's own executables on the PATH run only the version that the user chose.
os.environ["PATH"] = os.pathsep.join(
    glob.glob(os.path.join(PYENV, "versions", "*", "bin")) + [os.environ.get("PATH", os.defpath)]
)

nox.needs_version = ">=2022.1.7"
nox.options.error_on_missing_interpreters = False
nox.options.envdir = os.path.join(ROOT, ".nox")
nox.options.sessions = ["tests", "interpreters"]


# The sessions use venv, because virtualenv no longer supports Python 3.7.
@nox.session(python=list(VERSIONS), venv_backend="venv")
def tests(session):
    """The tests on each TensorFlow. pytest gets the arguments after --."""
    run_pytest(session)


@nox.session(python=OLDEST_AND_NEWEST, venv_backend="venv")
def long(session):
    """The tests marked long, on the oldest and the newest TensorFlow."""
    run_pytest(session, "-m", "long")


@nox.session(python=OLDEST_AND_NEWEST, venv_backend="venv")
def faults(session):
    """Training runs whose processes die, on the oldest and the newest TensorFlow."""
    # The tests run one at a time, because each has up to five processes.
    run_pytest(session, "-m", "faults", "-n", "0")


@nox.session(python=OLDEST_AND_NEWEST, venv_backend="venv")
def readme(session):
    """The README's commands and places.py, in a fresh copy, on the oldest and the newest TensorFlow."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        commands = re.findall(r"^<!-- \.ci/run: \w+ -->\n```sh\n(.+)\n```$", file.read(), re.MULTILINE)
    if not commands:
        session.error("README.md has no command below <!-- .ci/run: NAME -->")
    with tempfile.TemporaryDirectory() as directory:
        copy = os.path.join(directory, "copy")
        copy_project(copy)
        session.chdir(copy)
        # The commands do not name a version of TensorFlow, so a constraint tells pip which one to install.
        constraints = os.path.join(directory, "constraints")
        with open(constraints, "w", encoding="utf-8") as file:
            file.write(VERSIONS[session.python] + "\n")
        for command in commands:
            session.run("sh", "-c", command, external=True, env={"PIP_CONSTRAINT": constraints, "PIP_QUIET": "1"})
        session.run("sh", "-c", ".venv/bin/python examples/places.py --quick", external=True)


@nox.session(venv_backend="venv")
def lint(session):
    """Checks the style with ruff."""
    session.chdir(ROOT)
    session.install(RUFF)
    session.run("ruff", "check", "--no-cache", ".")
    session.run("ruff", "format", "--no-cache", "--check", ".")


@nox.session(python=False)
def interpreters(session):
    """Names the Pythons that were not found."""
    missing = [version for version in VERSIONS if not shutil.which("python" + version)]
    for version in missing:
        session.warn(
            f"Python {version} was not found: its sessions were skipped, and nothing ran on {VERSIONS[version]}"
        )
    if not missing:
        session.log("every Python was found")


def run_pytest(session, *arguments):
    session.chdir(ROOT)
    session.install(VERSIONS[session.python], "-e", ".[test]")
    session.run("python", "-m", "pytest", "-n", "auto", *arguments, *session.posargs)


def copy_project(target):
    """Copies the files that a clone would have, with changes that are not committed."""
    listed = subprocess.check_output(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT)
    for name in filter(None, listed.decode("utf-8").split("\0")):
        source, copy = os.path.join(ROOT, name), os.path.join(target, name)
        if os.path.exists(source):
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            shutil.copy2(source, copy)
