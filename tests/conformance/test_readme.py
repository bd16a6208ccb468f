"""README.md: each snippet runs as it stands, and its commands are those that .ci/run runs."""

import pathlib
import re
import textwrap

import pytest
import tensorflow.compat.v1 as tf
from support import programs

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = [
    pytest.param(textwrap.dedent(code), id="line {}".format(README.count("\n", 0, place) + 2))
    for code, place in (
        (found.group(2), found.start()) for found in re.finditer(r"^( *)```python\n(.*?)^\1```$", README, re.M | re.S)
    )
]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippet_runs_when_pasted(snippet):
    if "from tf2 import" in snippet:
        if tf.__version__.startswith("1."):
            pytest.skip("examples/tf2.py needs TensorFlow 2")
        # As if copied beside the program.
        snippet = "import sys\nsys.path.append({!r})\n".format(str(ROOT / "examples")) + snippet
    programs.run(snippet)


def test_every_snippet_is_found():
    assert len(SNIPPETS) == README.count("```python") > 0


def test_commands_are_those_of_ci():
    marked = re.findall(r"^<!-- \.ci/run: (\w+) -->\n```sh\n(.+)\n```$", README, re.M)
    names = [name for name, _ in marked]
    assert names == ["example", "tests"]
    noxfile = (ROOT / ".ci" / "noxfile.py").read_text(encoding="utf-8")
    assert r"^<!-- \.ci/run: \w+ -->\n```sh\n(.+)\n```$" in noxfile
    assert "--session lint readme" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for _, command in marked:
        assert re.match(r'python -m venv \.venv && \.venv/bin/python -m pip install -e "\.\[\w+\]" && ', command)
