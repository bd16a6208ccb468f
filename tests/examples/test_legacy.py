"""examples/legacy.py: TensorFlow 1 programs, as they are, have the numbers that they had with TensorFlow 1.15."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

ROOT = pathlib.Path(__file__).resolve().parents[2]
LEGACY = ROOT / "examples" / "legacy.py"
PROGRAMS = ROOT / "tests" / "examples" / "legacy"
GOLDENS = ROOT / "tests" / "goldens" / "legacy"
RECORDED = json.loads((GOLDENS / "programs.json").read_text())
VERSION = tuple(int(part) for part in tf.__version__.split(".")[:2])

# Names of tf.contrib whose arguments have other names or another order today, or are hidden by a decorator.
OTHER_ARGUMENTS = """data.make_batched_features_dataset framework.init_from_checkpoint framework.list_variables
framework.load_checkpoint framework.load_variable layers.scale_gradient lookup.HashTable lookup.IdTableWithHashBuckets
lookup.InitializableLookupTableBase lookup.LookupInterface lookup.MutableDenseHashTable lookup.MutableHashTable
lookup.index_table_from_tensor lookup.index_to_string_table_from_tensor rnn.DeviceWrapper rnn.DropoutWrapper
rnn.ResidualWrapper slim.python.slim.nets.inception.inception_v3 slim.scale_gradient
tensorboard.plugins.projector.visualize_embeddings""".split()

needs_keras_2 = pytest.mark.skipif(
    VERSION >= (2, 16)
    and subprocess.call(
        [sys.executable, "-c", "import importlib.util as u, sys; sys.exit(not u.find_spec('tf_keras'))"]
    ),
    reason="TensorFlow 2.16 and later have Keras 2 in tf_keras",
)


def run(*arguments, **options):
    """Runs Python with these arguments, and returns its status and what it wrote to stdout and to stderr."""
    command = [sys.executable] + [str(argument) for argument in arguments]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(map(str, options.pop("paths", []))))
    process = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, env=environment, **options
    )
    return process.returncode, process.stdout, process.stderr


def ran(*arguments, **options):
    """What a program writes to stdout when legacy.py runs it, which has to end with status 0."""
    status, output, error = run(LEGACY, *arguments, **options)
    assert status == 0, output + error
    return output


@pytest.fixture
def write(tmp_path):
    """A function that writes a program's file, and returns its path."""

    def written(name, text):
        path = tmp_path / "program" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return written


def losses_of(output):
    """The losses that each program printed, by its name; `NAME restored` for one that restored a checkpoint."""
    losses = {}
    for line in output.splitlines():
        if line.startswith("program "):
            losses[line[len("program ") :].strip()] = printed = []
        elif line.startswith("step "):
            printed.append(float(line.split()[-1]))
    return losses


def assert_variables(name, directory):
    checkpoint = tf.train.load_checkpoint(str(directory / (name + ".ckpt")))
    kinds, shapes = checkpoint.get_variable_to_dtype_map(), checkpoint.get_variable_to_shape_map()
    assert {key: [kinds[key].name] + shape for key, shape in shapes.items()} == RECORDED[name]["variables"]


@needs_keras_2
def test_programs_have_the_losses_and_the_variables_of_tensorflow_1(tmp_path, record_property):
    losses = losses_of(ran(PROGRAMS / "together.py", tmp_path, *[name + "=" for name in RECORDED]))
    for name in RECORDED:
        assert_variables(name, tmp_path)
        assert len(losses[name]) == 10
    error = max(np.abs(np.subtract(losses[name], RECORDED[name]["losses"])).max() for name in RECORDED)
    record_property("error of legacy programs' losses", float(error))
    assert error <= 1e-5


@pytest.mark.long
@needs_keras_2
def test_programs_restore_the_checkpoints_of_tensorflow_1(tmp_path):
    checkpoints = [f"{name}={GOLDENS / (name + '.ckpt')}" for name in RECORDED]
    losses = losses_of(ran(PROGRAMS / "together.py", tmp_path, *checkpoints))
    for name, recorded in RECORDED.items():
        np.testing.assert_allclose(losses[name + " restored"], recorded["restored"], rtol=0, atol=1e-5)


@pytest.mark.long
@needs_keras_2
@pytest.mark.parametrize("name", sorted(RECORDED))
def test_each_program_by_itself(name, tmp_path):
    arguments = ["--train_dir", tmp_path] if name == "flags_app" else [tmp_path]
    losses = losses_of(f"program {name}\n" + ran(PROGRAMS / (name + ".py"), *arguments))
    np.testing.assert_allclose(losses[name], RECORDED[name]["losses"], rtol=0, atol=1e-5)
    assert_variables(name, tmp_path)


@pytest.mark.long
@needs_keras_2
def test_contrib_has_the_arguments_and_defaults_of_tensorflow_1(tmp_path):
    recorded = json.loads((GOLDENS / "contrib.json").read_text())
    ran(PROGRAMS / "signatures.py", tmp_path / "names.json", GOLDENS / "contrib.json")
    present = json.loads((tmp_path / "names.json").read_text())
    changed = [name for name in present if recorded[name] and present[name][: len(recorded[name])] != recorded[name]]
    assert set(changed) <= set(OTHER_ARGUMENTS)
    for package in ("losses", "metrics", "slim.python.slim.learning", "slim.python.slim.nets.resnet_v1"):
        assert {name for name in recorded if name.rpartition(".")[0] == package} <= set(present)
    assert len(present) >= 500


IDIOMS = """
from __future__ import print_function
import itertools, random, sys, time
import cPickle as pickle
import Queue
import numpy as np
from itertools import izip
from urlparse import urlparse
reload(sys)
sys.setdefaultencoding("utf-8")
class Vector(object):
    def __div__(self, other): return "divided by %r" % other
    def __iter__(self): return self
    count = 0
    def next(self):
        self.count += 1
        if self.count == 3: raise StopIteration
        return self.count
values, halves = np.arange(3), np.array([3.0, 5.0])
alias = halves
halves /= 2
values /= 2
count = 7
count /= 2
counts = {"a": 9}
counts["a"] /= 2
order = range(4)
random.shuffle(order)
print(7 / 2, -7 / 2, 7 / 2.0, count, counts, (values / 2).dtype.kind, values, alias[0], Vector() / 3, True / 2)
print([k for k, v in counts.iteritems()], counts.has_key("a"), counts.keys()[0], sorted(order))
print(Vector().next(), list(Vector()))
print(map(str, [1, 2])[0], zip("ab", "cd")[1], len(filter(None, [0, 1])), next(map(str, itertools.count())))
print(xrange(3)[1], unicode("x"), isinstance("x", basestring), long(3), reduce(max, [1, 2]), cmp(1, 2))
print(pickle.loads(pickle.dumps({"a": 1})), urlparse("http://x/y").netloc, Queue.Queue().empty(), time.clock() >= 0)
print(np.asscalar(np.array([7])), np.float)
print(np.zeros(2, np.bool).tostring() == b"\\0\\0", np.fromstring(b"\\1\\2", np.uint8), list(izip("a", "b")))
print(pickle.load(open(sys.argv[1], "rb")))
np.savez(sys.argv[2], a=1)
print(np.load(sys.argv[2]).keys()[0])
"""


def test_idioms_of_python_2(write, tmp_path):
    # What Python 2 writes for {"name": "caf\xe9"}.
    (tmp_path / "old.pkl").write_bytes(b"\x80\x02}q\x01U\x04nameq\x02U\x04caf\xe9q\x03s.")
    assert ran(write("idioms.py", IDIOMS), tmp_path / "old.pkl", tmp_path / "a.npz").splitlines() == [
        "3 -4 3.5 3 {'a': 4} i [0 0 1] 1.5 divided by 3 0",
        "['a'] True a [0, 1, 2, 3]",
        "1 [1, 2]",
        "1 ('b', 'd') 1 0",
        "1 x True 3 2 -1",
        "{'a': 1} x True True",
        "7 <class 'float'>",
        "True [1 2] [('a', 'b')]",
        "{'name': 'caf\xe9'}",
        "a",
    ]


LOG_DIR = """
import tensorflow as tf
tf.app.flags.DEFINE_string("log_dir", "/tmp", "a flag that absl has too, which TensorFlow did not import before 1.14")
tf.app.run(lambda argv: print(tf.app.flags.FLAGS.log_dir))
"""


def test_a_flag_that_absl_has_too(write):
    assert ran(write("flags.py", LOG_DIR), "--log_dir=there") == "there\n"


def test_division_of_python_3(write):
    write("two.py", "half = 7 / 2\n")
    future = write(
        "future.py", "from __future__ import division\nimport two\nprint(7 / 2, two.half, {1: 2}.keys()[0])\n"
    )
    assert ran(future) == "3.5 3 1\n"
    assert (
        ran("--python3", write("plain.py", "import two\nprint(7 / 2, two.half, range(2))\n")) == "3.5 3.5 range(0, 2)\n"
    )
    assert ran(write("modern.py", "import two\nprint(f'{7 / 2} {two.half}')\n")) == "3.5 3.5\n"


@pytest.mark.parametrize(
    "text, half",
    [
        ("print('', end='')", 3.5),
        ("from __future__ import print_function\nprint('', end='')", 3),
        ("if 0: print('start=%d, end=%d' % (1, 2))", 3),
        ("import queue", 3.5),
        ("try:\n    import queue\nexcept ImportError:\n    import Queue", 3),
        ("first, *others = 'abc'", 3.5),
        ("class A(metaclass=type): pass", 3.5),
        ("# na\u00efve", 3.5),
        ("# coding: utf-8\n# na\u00efve", 3),
        ("from __future__ import (\n    print_function,\n    division)", 3.5),
        ("from __future__ import print_function, \\\n    division", 3.5),
        ("text = '''\nfrom __future__ import division\n'''", 3),
    ],
)
def test_files_that_python_2_could_not_run_have_the_division_of_python_3(text, half, write):
    assert ran(write("main.py", text + "\nprint(7 / 2)\n")) == f"{half}\n"


def test_what_python_3_cannot_parse_takes_one_line(write):
    print_2 = write("print_2.py", "import os\nprint 'a'\n")
    for program in (print_2, write("importing.py", "import print_2\n")):
        status, output, error = run(LEGACY, program)
        assert (status, output, error.count("\n")) == (1, "", 1)
        assert f"{print_2}:2: " in error


def test_arguments_statuses_and_tracebacks_are_those_of_python(write, tmp_path):
    program = write("main.py", "import sys, helper\nprint(__name__, __file__, sys.argv, sys.path[0])\nhelper.fail()\n")
    helper = write("helper.py", "import os\n\ndef fail():\n    os.environ['TEST'] / 2\n")
    environment = dict(os.environ, TEST="x")
    results = [
        subprocess.run(
            [sys.executable] + command + [str(program), "--loupe", "a b", "-m", "-h"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=str(tmp_path),
            universal_newlines=True,
        )
        for command in ([], [str(LEGACY)])
    ]
    assert results[0].stdout == results[1].stdout and results[0].returncode == results[1].returncode == 1
    lines = [re.findall('File "(.*)", line (.*)', result.stderr) for result in results]
    assert lines[0] == lines[1] == [(str(program), "3, in <module>"), (str(helper), "4, in fail")]
    assert run(LEGACY, write("exits.py", "import sys\nsys.exit(7)\n"))[0] == 7
    assert run(LEGACY, tmp_path / "none.py")[0] == run(tmp_path / "none.py")[0] == 2
    assert "none.py': [Errno 2] No such file or directory" in run(LEGACY, tmp_path / "none.py")[2]
    status, _, error = run(LEGACY, "--loupe", "netvlad", program)
    assert status == 2 and "--loupe: invalid choice: 'netvlad'" in error


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for another process")
def test_an_interrupt_ends_a_program_as_python_does(write):
    program = write(
        "slow.py",
        "import signal, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "print('started', flush=True)\ntime.sleep(60)\n",
    )
    statuses = []
    for command in ([sys.executable], [sys.executable, str(LEGACY)]):
        with subprocess.Popen(command + [str(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert b"KeyboardInterrupt" in process.communicate(timeout=60)[1]
        statuses.append(process.returncode)
    assert statuses[0] == statuses[1] != 0


PARALLEL = """
import multiprocessing, pickle, sys
HALF = 7 / 2
class Task(object):
    def __init__(self, n): self.n = n
divide = max  # the name of a function of legacy.py, too
def work(task): return task.n / 2, HALF, __name__, sys.argv[1:]
if __name__ == "__main__":
    pool = multiprocessing.get_context("spawn").Pool(1)
    print(pool.map(work, [Task(3)]))
    pool.close()
    pool.join()
    print(pickle.loads(pickle.dumps(work)) is work, pickle.loads(pickle.dumps(Task(4))).n)
"""


def test_multiprocessing_and_pickle(write):
    assert ran(write("parallel.py", PARALLEL), "x").splitlines() == ["[(1, 3, '__mp_main__', ['x'])]", "True 4"]


def test_packages_with_relative_imports(write):
    write("package/__init__.py", "")
    write(
        "package/one.py",
        "import two\nfrom . import two as same\nfrom .two import half\nresult = two is same, half(7)\n",
    )
    write("package/two.py", "def half(x): return x / 2\n")
    assert ran(write("main.py", "from package.one import result\nprint(result)\n")) == "(True, 3)\n"


COPY = "class NetVLAD: scope='bn'\nclass NetFV: pass\nHALF = 7 / 2\n"


def test_the_programs_own_loupe(write):
    own = write("models/loupe.py", COPY)
    program = write(
        "main.py", "import sys\nsys.path.append(sys.path[0] + '/models')\nimport loupe\nprint(loupe.HALF)\n"
    )
    status, output, error = run(LEGACY, program, paths=[ROOT])
    assert (status, output) == (0, "3\n") and f"{own}: --loupe pointnetvlad" in error and error.count("\n") == 1
    assert run(LEGACY, "--loupe", "own", program, paths=[ROOT]) == (0, "3\n", "")


@pytest.mark.long
@pytest.mark.parametrize("name", ["loupe", "pointnetvlad"])
def test_another_loupe(name, write):
    write("loupe.py", COPY)
    program = write(
        "main.py", "import loupe as lp\nprint(lp.__name__, lp.__file__, lp.NetVLAD(8, 4, 2, 3).cluster_size)\n"
    )
    path = LEGACY.parent / "forks" / "pointnetvlad.py" if name == "pointnetvlad" else ROOT / "loupe.py"
    assert ran("--loupe", name, program) == f"{name} {path} 2\n"


IMPORTED = """
import legacy
import tensorflow as tf
import tensorflow.contrib.slim as slim
from tensorflow.contrib import learn, slim as same
from tensorflow.contrib.framework.python.ops.arg_scope import arg_scope
import installed, module
assert slim.arg_scope is same.arg_scope is arg_scope is tf.contrib.framework.arg_scope
assert not hasattr(installed.tf, "contrib") or tf.__version__ < "2"
assert module.tf is tf and module.HALF == 3 and not tf.executing_eagerly()
print(xrange(2), tf.placeholder(tf.float32, [None, 3]).shape[1].value, sorted(tf.contrib.layers.__name__.split("."))[0])
from tensorflow.python import pywrap_tensorflow
from tensorflow.python.framework.graph_util import convert_variables_to_constants
pywrap_tensorflow.NewCheckpointReader, tf.pywrap_tensorflow.NewCheckpointReader
tf.contrib.training.evaluate_once, tf.contrib.training.get_or_create_eval_step
for path in ("seq2seq.AttentionWrapper", "crf.crf_log_likelihood", "layers.no_such_layer"):
    package, name = path.split(".")
    try:
        getattr(getattr(tf.contrib, package), name)
    except AttributeError as error:
        print(error)
try:
    from tensorflow.contrib.image import no_such_function
except ImportError as error:
    print(error)
"""


def test_import_legacy(write, tmp_path):
    write("module.py", "import tensorflow as tf\nHALF = 7 / 2\n")
    packages = tmp_path / "site-packages"
    packages.mkdir()
    (packages / "installed.py").write_text("import tensorflow as tf\nassert 7 / 2 == 3.5\n")
    status, output, error = run(write("main.py", IMPORTED), paths=[LEGACY.parent, packages])
    assert status == 0, error
    expected = ["range(0, 2) 3 contrib"]
    if VERSION > (2,):
        expected.append("tf.contrib.seq2seq.AttentionWrapper any more; use tensorflow_addons")
        expected.append("tf.contrib.crf.crf_log_likelihood any more")
    expected += ["tf.contrib.layers.no_such_layer any more", "tf.contrib.image.no_such_function any more"]
    lines = output.splitlines()
    assert len(lines) == len(expected) and all(text in line for text, line in zip(expected, lines))


@pytest.mark.long
@pytest.mark.skipif(VERSION < (2, 16), reason="TensorFlow brings Keras 2 itself")
@pytest.mark.parametrize(
    "use",
    [
        "tf.layers.dense(x, 2)",
        "tf.keras.layers.Dense(2)",
        "tf.contrib.rnn.GRUCell(2)",
        "tf.nn.rnn_cell.GRUCell(2)",
    ],
)
def test_a_missing_tf_keras_takes_one_line_where_it_is_needed(use, write, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['tf_keras'] = None\n")
    text = "import tensorflow as tf\nfrom tensorflow.contrib import slim\nx = tf.placeholder(tf.float32, [None, 3])\n"
    text += "slim.batch_norm(slim.fully_connected(x, 2), fused=False)\nprint('no need')\n"
    status, output, error = run(LEGACY, write("main.py", text + use + "\n"), paths=[tmp_path])
    assert (status, output) == (1, "no need\n")
    assert error.splitlines()[-1].startswith("legacy: the program needs Keras 2") and "Traceback" not in error
