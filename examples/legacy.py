"""Runs a TensorFlow 1 program unchanged, on TensorFlow 2.12 to 2.21, and on 1.15::

    python legacy.py [--loupe NAME] [--python3] program.py ARGUMENTS...

The program's files are all modules that are neither installed nor Python's own. For them, ``import tensorflow`` is
TensorFlow 1's API with v2 behaviour off and Keras 2 (from 2.16 on, tf_keras); tf.contrib is rebuilt from tf-slim's and
TensorFlow's functions; ``import loupe`` is the program's own copy if it has one, or the module that ``--loupe`` names.
As in Python 2, ``/`` of integers rounds down, ranges are lists, and names such as xrange exist. ``--python3`` or a main
file that Python 2 could not run turns this off for all files. Any other such file keeps Python 3's rules.
A program may also start with ``import legacy``, but its own file then keeps Python 3's division, lists and methods.
"""

import argparse
import ast
import builtins
import collections.abc
import contextlib
import functools
import importlib.machinery
import importlib.util
import itertools
import multiprocessing.spawn
import operator
import os
import pickle
import re
import sys
import time
import types

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
FORKS = os.path.join(HERE, "forks")
COMMAND = "LOUPE_LEGACY_COMMAND"  # the environment variable that tells spawned processes what to run
OPTIONS = argparse.Namespace(loupe=None, python3=False, program=None)
PYTHON_IMPORT, ARRAYS = builtins.__import__, (np.ndarray, np.generic)

# The modules that have the names of tf.contrib's packages today; the first module that has a name counts.
CONTRIB = {
    "data": ["tensorflow.data.experimental", "tensorflow.data"],
    "eager": ["tensorflow.contrib.eager.python.tfe", "tensorflow"],
    "framework": ["tf_slim.ops.arg_scope", "tf_slim.ops.variables", "tf_slim.ops.framework_ops", "tensorflow.train"]
    + ["tensorflow.python.framework.smart_cond", "tensorflow.python.util.deprecation", "tensorflow"],
    "framework.nest": ["tensorflow.python.util.nest"],
    "layers": ["tf_slim.layers"],
    "lookup": ["tensorflow.python.ops.lookup_ops"],
    "losses": ["tf_slim.losses"],
    "metrics": ["tf_slim.metrics", "tensorflow.sets", "tensorflow.math"],
    "rnn": ["tensorflow.nn.rnn_cell", "tensorflow.nn", "tensorflow.python.ops.rnn"],
    "slim": ["tf_slim"],
    "summary": ["tensorflow.python.ops.summary_ops_v2"],
    "tensorboard.plugins.projector": ["tensorboard.plugins.projector"],
    "training": ["tf_slim.training.training", "tf_slim.training.evaluation", "tensorflow.train"],
}
INSTEAD = {
    **dict.fromkeys(["estimator", "learn"], "tf.train.MonitoredTrainingSession around the model_fn"),
    "layers": "tf.feature_column for columns, and tf.nn.embedding_lookup for embed_sequence",
    "opt": "the optimizers of tf.train and tf.keras.optimizers",
    "rnn": "tf.nn.rnn_cell and tf.nn.bidirectional_dynamic_rnn, or a subclass of tf.nn.rnn_cell.RNNCell",
    "seq2seq": "tensorflow_addons.seq2seq, on TensorFlow 2.15 and earlier",
    "training": "a class of your own for HParams, and tf.data for batches of sequences",
}
# Names that have changed, or that would be found in a module where they mean another function.
RENAMED = {"framework.py_func": [], "lookup.HashTable": [("tensorflow.lookup", "StaticHashTable")]}
RENAMED["lookup.MutableDenseHashTable"] = [("tensorflow.python.ops.lookup_ops", "DenseHashTable")]
# Modules that programs import by inner paths, such as tensorflow.contrib.layers.python.layers.initializers.
INNER = """layers initializers regularizers optimizers normalization utils summaries variables checkpoint_utils rnn
rnn_cell core_rnn core_rnn_cell core_rnn_cell_impl metric_ops loss_ops training evaluation hparam lookup_ops""".split()
# Modules of tensorflow.python in which tf-slim and programs look up names of TensorFlow 1 that are no longer there.
MOVED = """framework.graph_util framework.ops ops.array_ops ops.control_flow_ops ops.functional_ops ops.math_ops
ops.nn_ops ops.rnn_cell_impl ops.variable_scope pywrap_tensorflow""".split()
KERAS = "the program needs Keras 2, which TensorFlow {0} has in tf_keras: python -m pip install tf_keras~={0}.0"


def namespace(name, attribute):
    module = types.ModuleType(name)
    module.__getattr__ = attribute
    return module


def contrib(path):
    """The module that stands for tensorflow.contrib.PATH."""
    home = re.sub(r"\.python\.\w+", "", path)  # layers.python.layers.utils is layers.utils
    package, _, inner = home.partition(".")
    places = CONTRIB.get(home) or CONTRIB.get(package) or ["tensorflow." + package]
    if inner and home not in CONTRIB:
        places = [place + "." + inner for place in places if place.startswith("tf_slim")] + places

    def attribute(name):
        if name.startswith("__"):
            raise AttributeError(name)
        child = (path + "." + name).lstrip(".")
        is_inner = name == "python" or path.endswith(".python") or ".python." in path and name in INNER
        if not path or is_inner or any((key + ".").startswith(child + ".") for key in CONTRIB):
            return contrib(child)
        own = [("tensorflow.contrib." + path, name)]  # TensorFlow 1.15's
        found = own + RENAMED[child] if child in RENAMED else [(place, name) for place in places] + own
        for place, present in found:
            with contextlib.suppress(AttributeError, ImportError):
                find = PYTHON_IMPORT if place.startswith("tensorflow.contrib") else program_import
                return getattr(find(place, fromlist=[present]), present)
        instead = f"; use {INSTEAD[package]}" if package in INSTEAD else ""
        raise AttributeError(f"neither TensorFlow nor tf-slim has tf.contrib.{child} any more{instead}")

    return namespace("tensorflow.contrib." + path, attribute)


@functools.lru_cache(maxsize=None)
def tensorflow():
    """The module that the program imports as tensorflow: TensorFlow 1's API, with v2 behaviour off, and tf.contrib."""
    tf = importlib.import_module("tensorflow")
    sys.modules["absl.logging"].FLAGS["log_dir"].allow_override = True  # Many programs have a flag of this name.
    version = tuple(int(part) for part in tf.__version__.split(".")[:2])
    has_keras_2 = version < (2, 16) or importlib.util.find_spec("tf_keras") is not None

    def attribute(name):
        if name == "contrib":
            return contrib("")
        if name in ("python", "core", "pywrap_tensorflow"):
            return importlib.import_module("tensorflow." + name.replace("pywrap", "python.pywrap"))
        if name in ("keras", "layers") and not has_keras_2:
            raise RuntimeError(KERAS.format("{}.{}".format(*version)))
        if name in INSTEAD and not hasattr(tf, name):
            raise AttributeError(f"TensorFlow has no tf.{name} any more; use {INSTEAD[name]}")
        return getattr(tf, name)

    def old_attribute(name):
        for place in [tf, tf.nn, tf.train, tf.graph_util] + [tf.nn.rnn_cell] * has_keras_2:
            if not name.startswith("__") and hasattr(place, name):
                return getattr(place, name)
        raise AttributeError(f"TensorFlow no longer has {name}, which was in tensorflow.python")

    if version > (2,):
        tf = tf.compat.v1
        tf.disable_v2_behavior()
        # AutoGraph would compile the program's functions again from their source, with Python 3's division.
        config = importlib.import_module("tensorflow.python.autograph.core.config")
        config.CONVERSION_RULES = [types.SimpleNamespace(get_action=lambda module: config.Action.DO_NOT_CONVERT)]
        for name in MOVED:
            vars(importlib.import_module("tensorflow.python." + name)).setdefault("__getattr__", old_attribute)
        importlib.import_module("tensorflow.python.ops.variable_scope").variable = tf.Variable
        tf.lookup.StaticHashTable.init = property(lambda table: table.initializer)
        slim = importlib.import_module("tf_slim.layers.layers")
        if has_keras_2:
            # tf-slim looks for the class in a module that tf_keras does not have.
            slim.normalization_layers.BatchNormalization = tf.layers.BatchNormalization
        else:
            tf.nn.rnn_cell = namespace("tensorflow.nn.rnn_cell", lambda name: attribute("layers"))
            # slim.batch_norm compares UPDATE_OPS by `is`, and does not need Keras for a copy of it.
            keys = type("GraphKeys", (tf.GraphKeys,), {"UPDATE_OPS": "".join(tf.GraphKeys.UPDATE_OPS)})
            slim.ops = types.SimpleNamespace(**dict(vars(slim.ops), Tensor=tf.Tensor, GraphKeys=keys))
    return namespace("tensorflow", attribute)


def import_tensorflow(name, fromlist):
    """Imports TensorFlow or one of its modules for the program."""
    module, path = tensorflow(), "tensorflow"
    if fromlist and name.startswith(("tensorflow.python", "tensorflow.core")):
        return PYTHON_IMPORT(name, fromlist=fromlist)
    for part in name.split(".")[1:]:
        path += "." + part
        if path.startswith("tensorflow.contrib."):
            module = contrib(path[len("tensorflow.contrib.") :])
        else:
            module = getattr(module, part, None) or importlib.import_module(path)
    for part in fromlist if path.startswith("tensorflow.contrib") else ():
        try:
            getattr(module, part)
        except AttributeError as error:
            raise ImportError(str(error)) from None
    return module if fromlist else tensorflow()


def divide(a, b, **out):
    """Returns a / b as in Python 2, written into the array `out` if that is given."""
    for method, x, y in [("__div__", a, b), ("__rdiv__", b, a)]:
        quotient = getattr(type(x), method)(x, y) if hasattr(type(x), method) else NotImplemented
        if quotient is not NotImplemented:
            return quotient
    is_floor = all(isinstance(x, int) or isinstance(x, ARRAYS) and x.dtype.kind in "iub" for x in (a, b))
    floor, true = (np.floor_divide, np.true_divide) if out else (operator.floordiv, operator.truediv)
    return (floor if is_floor else true)(a, b, **out)


def old_method(owner, name):
    """Returns Python 2's method `name` of a dict, an iterator or an array, or the attribute `name` of other objects."""
    method = re.sub("^(iter|view)", "", name)
    if owner is np and name == "fromstring":  # new NumPy refuses to read numbers from bytes
        return lambda s, dtype=None, sep="": np.fromstring(s, dtype, sep=sep) if sep else np.frombuffer(s, dtype).copy()
    if hasattr(owner, name) and not (isinstance(owner, collections.abc.Mapping) and name == method):
        return getattr(owner, name)
    if name in NEW_METHODS:
        return getattr(owner, NEW_METHODS[name])
    return lambda: (iter if name.startswith("iter") else list)(getattr(owner, method)())


def list_of(function, *arguments):
    """The list that filter, map, range or zip returns in Python 2, or Python 3's iterator if it may be very long."""
    result = function(*arguments)
    sized = [result] if function is range else arguments[function is not zip :]
    return list(result) if all(hasattr(x, "__len__") and len(x) < 10**7 for x in sized) else result


NEW_METHODS = {"has_key": "__contains__", "next": "__next__", "tostring": "tobytes"}
OLD_METHODS = [*NEW_METHODS, "fromstring"] + [a + b for a in ("", "iter", "view") for b in ("keys", "values", "items")]
OLD_BUILTINS = {"cmp": lambda a, b: (a > b) - (a < b), "reduce": functools.reduce, "reload": importlib.reload}
OLD_BUILTINS.update(basestring=str, file=open, long=int, raw_input=input, unichr=chr, unicode=str, xrange=range)
PYTHON_2 = {function.__name__: functools.partial(list_of, function) for function in (filter, map, range, zip)}
PYTHON_2.update(_divide=divide, _old_method=old_method)
PYTHON_2["_divided"] = lambda a, b: divide(a, b, out=a) if isinstance(a, np.ndarray) else divide(a, b)
OLD_MODULES = {"ConfigParser": "configparser", "Queue": "queue", "StringIO": "io", "cStringIO": "io"}
OLD_MODULES.update(urllib2="urllib.request", urlparse="urllib.parse", httplib="http.client", commands="subprocess")
OLD_NAMES = {
    "collections": {name: getattr(collections.abc, name) for name in collections.abc.__all__},
    "itertools": {"izip": zip, "imap": map, "ifilter": filter, "izip_longest": itertools.zip_longest},
    "numpy": {kind.__name__: kind for kind in (bool, complex, float, int, object, str)},
    "sys": {"maxint": sys.maxsize, "setdefaultencoding": lambda name: None},
    "time": {"clock": time.perf_counter},
}
OLD_NAMES["numpy"].update(float_=np.float64, Inf=np.inf, NaN=np.nan, NAN=np.nan, product=np.prod)
OLD_NAMES["numpy"]["asscalar"] = operator.methodcaller("item")
OLD_PICKLE = types.ModuleType("pickle")
vars(OLD_PICKLE).update(vars(pickle), load=functools.partial(pickle.load, encoding="latin1"))
OLD_PICKLE.loads = functools.partial(pickle.loads, encoding="latin1")


class Python2(ast.NodeTransformer):
    """Gives a file Python 2's division and methods, by calls to the functions above."""

    def visit(self, node):
        node = self.generic_visit(node)
        if isinstance(node, ast.FunctionDef) and node.name == "next" and node.args.args:
            node.name = "__next__"  # `_old_method` finds it under its old name, too
        if isinstance(node, ast.Attribute) and node.attr in OLD_METHODS and isinstance(node.ctx, ast.Load):
            function, arguments = "_old_method", [node.value, ast.Constant(node.attr)]
        elif not isinstance(getattr(node, "op", None), ast.Div):
            return node
        elif isinstance(node, ast.BinOp):
            function, arguments = "_divide", [node.left, node.right]
        else:  # a /= b
            old = type(node.target)(**dict(vars(node.target), ctx=ast.Load()))
            function, arguments = "_divided", [old, node.value]
        new = ast.Call(ast.Name(function, ast.Load()), arguments, [])
        new = ast.Assign([node.target], new) if isinstance(node, ast.AugAssign) else new
        return ast.fix_missing_locations(ast.copy_location(new, node))


def execute(module, path):
    """Executes one of the program's files in a module, with the builtins of Python 3 and Python 2."""
    source = ProgramLoader(module.__name__, path).get_data(path)
    families = [name for name, mark in FAMILIES if re.search(mark, source)]
    if os.path.basename(path) in ("loupe.py", "loupe_keras.py") and families and not OPTIONS.loupe:
        print(f"legacy: {path}: --loupe {families[0]} imports a faster module", file=sys.stderr)
    tree = ast.parse(source, path)
    nodes = (ast.JoinedStr, ast.AnnAssign, ast.AsyncFunctionDef, ast.MatMult, ast.Nonlocal, ast.YieldFrom)
    parts = ("annotation", "returns", "kwonlyargs", "cause")
    futures = {alias.name for x in tree.body if getattr(x, "module", None) == "__future__" for alias in x.names}
    prints = [x for x in ast.walk(tree) if getattr(getattr(x, "func", None), "id", None) == "print" and x.keywords]
    is_new = any(isinstance(x, nodes) or any(getattr(x, part, None) for part in parts) for x in ast.walk(tree))
    new = rb"\bsuper\(\)|\b(exist_ok|flush|metaclass)=|^(import|from) (asyncio|queue|urllib\.(parse|request))\b"
    new += rb"|^[ \t]*(\w+, ?)*\*\w+(, ?\w+)* = |\A(?!\xef\xbb\xbf|(.*\n)?.*coding[:=])[\x00-\x7f]*[\x80-\xff]"
    is_new = is_new or bool(re.search(new, source, re.MULTILINE) or prints and "print_function" not in futures)
    OPTIONS.python3 = OPTIONS.python3 or is_new and path == OPTIONS.program
    module.__builtins__ = names = dict(vars(builtins), __import__=program_import, **OLD_BUILTINS)
    if not OPTIONS.python3 and not is_new:
        names.update(PYTHON_2)
        if "division" in futures:
            names.update(_divide=operator.truediv, _divided=operator.itruediv)
        tree = Python2().visit(tree)
    exec(compile(tree, path, "exec", dont_inherit=True), vars(module))


OTHERS = tuple(os.path.realpath(path) + os.sep for path in (os.path.dirname(os.__file__), FORKS))
# Each changed copy of the toolbox, and the text by which its source is recognised.
FAMILIES = [("loupe_keras", b"kernel_W1"), ("epcnet", b"class G_VLAD"), ("cvmnet", b"do_dim_reduction")]
FAMILIES += [("soccernet_multimodal", b"suffix_tensor_name"), ("ficlnet", rb"batch_normalization\([^)]*name=.bn.")]
FAMILIES += [("pointnetvlad", b"scope=.bn."), ("loupe", b"class NetFV")]


def is_program(path):
    """Whether a file is the program's: neither installed, nor Python's own, nor this project's."""
    path = os.path.realpath(path)
    return not {"site-packages", "dist-packages"} & set(path.split(os.sep)) and not path.startswith(OTHERS)


def program_import(name, globals=None, locals=None, fromlist=(), level=0):
    """Does what the import statement does in the program's files."""
    top = name.partition(".")[0]
    if level == 0 and top == "tensorflow":
        return import_tensorflow(name, fromlist or ())
    if level == 0 and top in ("cPickle", "pickle"):
        return OLD_PICKLE
    if level == 0 and top not in sys.modules and importlib.util.find_spec(top) is None:
        if name in OLD_MODULES:
            return importlib.import_module(OLD_MODULES[name])
        package = (globals or {}).get("__package__")  # Python 2 also looks into the file's own package
        level = int(bool(package) and importlib.util.find_spec("." + top, package) is not None)
    module = PYTHON_IMPORT(name, globals, locals, fromlist, level)
    for old, value in OLD_NAMES.get(top, {}).items() if level == 0 else ():
        vars(sys.modules[top]).setdefault(old, value)
    return module


class ProgramLoader(importlib.machinery.SourceFileLoader):
    """Finds and loads the program's modules, always from their source."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        # The program's own loupe is taken, even if this project's, which has a __version__, comes first on the path.
        for entries in [[entry] for entry in sys.path] if name == "loupe" else [path]:
            spec = importlib.machinery.PathFinder.find_spec(name, entries)
            if spec and type(spec.loader) is importlib.machinery.SourceFileLoader and is_program(spec.origin):
                if name != "loupe" or "__version__" not in spec.loader.get_source(name):
                    spec.loader = ProgramLoader(name, spec.origin)
                    return spec
        return importlib.machinery.PathFinder.find_spec(name, [os.path.dirname(HERE)]) if name == "loupe" else None

    def exec_module(self, module):
        execute(module, self.path)


def report(kind, error, trace):
    """Writes an error as Python does, but without this file's lines, and in one line if that is enough."""

    def without_own_lines(trace):
        if trace is None:
            return None
        trace.tb_next = without_own_lines(trace.tb_next)
        path = trace.tb_frame.f_code.co_filename
        return trace.tb_next if path == report.__code__.co_filename or "importlib" in path else trace

    if isinstance(error, SyntaxError) and os.path.isfile(error.filename or "") and is_program(error.filename):
        print(f"legacy: {error.filename}:{error.lineno}: {error.msg} (use Python 3.12's 2to3)", file=sys.stderr)
    elif "pip install tf_keras" in str(error):
        print(f"legacy: {error}", file=sys.stderr)
    else:
        error.__traceback__ = without_own_lines(trace)
        sys.__excepthook__(kind, error, error.__traceback__)


def install():
    """Makes Python find and execute the program's modules by `ProgramLoader`, and chooses its loupe and Keras."""
    if importlib.util.find_spec("tf_keras"):
        os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # TensorFlow reads this when it is imported
    if OPTIONS.loupe not in (None, "own"):
        sys.path[:0] = [os.path.dirname(HERE), HERE, FORKS]
        importlib.import_module("loupe")  # the modules of examples/forks import it, too
        sys.modules["loupe"] = sys.modules["loupe_keras"] = importlib.import_module(OPTIONS.loupe)
        del sys.path[:3]
    sys.meta_path.insert(sys.meta_path.index(importlib.machinery.PathFinder), ProgramLoader)
    sys.excepthook = report


def run(name):
    """Runs the program as a module of this name, and returns the module's dict."""
    install()
    prepared, path = multiprocessing.spawn.get_preparation_data, os.path.abspath(__file__)
    multiprocessing.spawn.get_preparation_data = lambda name: dict(prepared(name), init_main_from_path=path)
    module = types.ModuleType(name)
    module.__file__, module.__package__ = OPTIONS.program, None
    sys.modules[name] = module
    execute(module, OPTIONS.program)
    return vars(module)


def main():
    loupes = ["own", "loupe"] + sorted(name[:-3] for name in os.listdir(FORKS) if name.endswith(".py"))
    parser = argparse.ArgumentParser(description=__doc__.split("::")[0] + ".", allow_abbrev=False)
    parser.add_argument("--loupe", metavar="NAME", choices=loupes, help="the loupe to import: " + ", ".join(loupes))
    parser.add_argument("--python3", action="store_true", help="the program is written in Python 3")
    parser.add_argument("program")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    parser.parse_args(namespace=OPTIONS)
    sys.argv = [OPTIONS.program] + OPTIONS.arguments
    OPTIONS.program = os.path.abspath(OPTIONS.program)
    if not os.path.isfile(OPTIONS.program):
        parser.exit(2, f"{sys.executable}: can't open file {OPTIONS.program!r}: [Errno 2] No such file or directory\n")
    os.environ[COMMAND] = repr(vars(OPTIONS))
    sys.modules["legacy"] = sys.modules["__main__"]
    sys.path[0] = os.path.dirname(os.path.realpath(OPTIONS.program))
    run("__main__")


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":
    # A process that multiprocessing spawns needs another module, because the program's names replace this module's.
    spec = importlib.util.spec_from_file_location("_legacy", __file__)
    sys.modules["legacy"] = legacy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(legacy)
    vars(legacy.OPTIONS).update(ast.literal_eval(os.environ[COMMAND]))
    globals().update(legacy.run(__name__))
elif __name__ != "_legacy":
    importer = vars(sys.modules["__main__"])
    install()
    builtins.__import__ = lambda name, globals=None, *arguments, **keywords: (
        program_import if globals is importer else PYTHON_IMPORT
    )(name, globals, *arguments, **keywords)
    importer.update((name, value) for name, value in OLD_BUILTINS.items() if name not in importer)
