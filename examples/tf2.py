"""The layers of loupe for TensorFlow 2: `PoolingLayer` for Keras, `PoolingModule` for other code. Import or copy it.

    from tf2 import PoolingLayer

    model = keras.Sequential([
        keras.Input([100, 1024]),
        PoolingLayer("NetVLAD", feature_size=1024, max_samples=100, cluster_size=64, output_dim=512),
        keras.layers.Dense(10),
    ])

loupe builds TensorFlow 1 graphs and creates variables with ``tf.compat.v1.get_variable``, which TensorFlow 2 does not
keep. Here the layer or module owns the variables: it creates them once, with loupe's own initialisers, and a custom
getter of the variable scope returns them whenever ``forward`` asks. They are trained and saved like all other variables
of TensorFlow 2, and ``forward`` is the same as in a session. This needs TensorFlow 2.12 or later.
"""

import collections
import contextlib
import glob
import inspect
import numbers
import os
import re
import sys
import tempfile

import loupe
import numpy as np
import tensorflow as tf
import tf_slim as slim

if tf.__version__.startswith("1."):
    raise ImportError(
        f"tf2: expected TensorFlow 2.12 or later, got {tf.__version__}. On TensorFlow 1, build the layers of loupe in "
        "a graph and run them in a session."
    )

keras = tf.keras
IS_KERAS_2 = not hasattr(keras, "version") or keras.version().startswith("2.")

METHODS = {method.__name__: method for method in (loupe.NetVLAD, loupe.NetRVLAD, loupe.NetFV, loupe.SoftDBoW)}

Wanted = collections.namedtuple("Wanted", "shape dtype initializer trainable")


class Pooling:
    """The part that `PoolingLayer` and `PoolingModule` share: a layer of loupe whose variables they own.

    Args: those of `PoolingLayer`; `own` is a dict of the method's own arguments.
    """

    def __init__(self, method, feature_size, max_samples, cluster_size, output_dim, gating, add_batch_norm, decay, own):
        self.method = method
        if not isinstance(decay, numbers.Real) or not 0 <= decay < 1:
            raise ValueError(f"decay: expected a number from 0 to below 1, got {decay!r}")
        self.decay = float(decay)
        arguments = {
            "feature_size": feature_size,
            "max_samples": 1 if max_samples is None else max_samples,
            "cluster_size": cluster_size,
            "output_dim": output_dim,
            "gating": gating,
            "add_batch_norm": add_batch_norm,
        }
        layer = self.method(**arguments, **own, is_training=False)
        # The layer has checked the arguments, and holds sizes as ints and flags as bools.
        self.arguments = {name: getattr(layer, name) for name in arguments}
        self.arguments.update((name, v.item() if isinstance(v, np.generic) else v) for name, v in own.items())
        if max_samples is None:
            self.arguments["max_samples"] = None
        self.wanted, self.width = self._read_off_a_graph()

    def _read_off_a_graph(self):
        """The variables that ``forward`` asks for, an ordered dict of `Wanted` by name; and the width of its output."""
        wanted = collections.OrderedDict()

        def note(getter, name, *args, **kwargs):
            variable = getter(name, *args, **kwargs)
            initializer = kwargs.get("initializer")
            wanted[name] = Wanted(tuple(variable.shape), variable.dtype.base_dtype, initializer, variable.trainable)
            return variable

        with tf.Graph().as_default():
            samples = self.arguments["max_samples"] or 1
            lists = tf.compat.v1.placeholder(tf.float32, [None, samples, self.arguments["feature_size"]])
            y = self._forward(note, lists, None, False)
        return wanted, y.shape[-1]

    def check(self, shape):
        """Raises the error of ``forward`` if inputs of this shape do not fit."""
        with tf.Graph().as_default():
            x = tf.compat.v1.placeholder(tf.float32, shape)
            self._forward(lambda getter, *args, **kwargs: getter(*args, **kwargs), x, None, False)

    def config(self):
        """The arguments of the constructor, from which `PoolingLayer.from_config` makes the layer again."""
        return dict(self.arguments, method=name_of(self.method), decay=self.decay)

    def variables(self, create):
        """The variables that ``forward`` asks for, a dict by name, each from ``create(name, initial, wanted)``.

        ``initial(shape, dtype)`` returns the initial value.
        """
        # A function that is being traced would create the variables again at each tracing.
        with tf.init_scope():
            return {name: create(name, initial_value(wanted), wanted) for name, wanted in self.wanted.items()}

    @tf.autograph.experimental.do_not_convert
    def pool(self, variables, x, num_samples, training):
        """The output [B, O] of ``forward`` with `variables`, a dict by name. Training updates the moving averages."""
        return self._forward(lambda getter, name, *args, **kwargs: variables[name], x, num_samples, training)

    def _forward(self, getter, x, num_samples, training):
        arguments = dict(self.arguments, is_training=training)
        if isinstance(x, tf.RaggedTensor):
            x, num_samples = padded(x, num_samples, arguments["max_samples"])
        x = x if tf.is_tensor(x) else tf.convert_to_tensor(x)
        if arguments["max_samples"] is None:
            if x.shape.rank == 2:
                raise ValueError(f"x: expected lists or maps where max_samples is None, got rows of shape {x.shape}")
            counted = x.shape[1:-1].num_elements()
            arguments["max_samples"] = tf.reduce_prod(tf.shape(x)[1:-1]) if counted is None else counted
        lengths = {} if num_samples is None else {"num_samples": num_samples}
        # The root scope, even if the caller is in another scope, because the dict has names without a scope.
        scope = tf.compat.v1.VariableScope(reuse=tf.compat.v1.AUTO_REUSE, name="", use_resource=True)
        with tf.compat.v1.variable_scope(scope, custom_getter=getter, auxiliary_name_scope=False):
            # With updates_collections=None, batch norm updates its moving averages itself when it runs.
            with slim.arg_scope([slim.batch_norm], decay=self.decay, updates_collections=None):
                return self.method(**arguments).forward(x, **lengths)

    def load(self, variables, path, scope):
        """Assigns the values of a TensorFlow 1 checkpoint to all variables, or raises an error and assigns nothing."""
        prefix = scope.rstrip("/") + "/" if scope else ""
        with checkpoint_reader(path) as reader:
            shapes = reader.get_variable_to_shape_map()
            problems = []
            for name in variables:
                expected, got = list(self.wanted[name].shape), shapes.get(prefix + name, "none")
                if got != expected:
                    problems.append(f"{prefix}{name}: expected shape {expected}, got {got}")
            values = {} if problems else {name: reader.get_tensor(prefix + name) for name in variables}
        if problems:
            raise ValueError(f"{path}: " + "; ".join(problems))
        for name, variable in variables.items():
            variable.assign(values[name])


def initial_value(wanted):
    """Returns get_variable's initialiser as a function of shape and dtype, which is what Keras expects."""
    initializer = wanted.initializer
    if initializer is None:
        initializer = tf.compat.v1.glorot_uniform_initializer()
    elif not callable(initializer):
        values = tf.get_static_value(initializer) if tf.is_tensor(initializer) else initializer
        initializer = tf.compat.v1.constant_initializer(values)
    return lambda shape=wanted.shape, dtype=None, **_: initializer(shape, wanted.dtype)


def padded(x, num_samples, max_samples):
    """Returns ragged lists [B, None, D] as lists [B, N, D], padded with zeros, and their lengths [B]."""
    if num_samples is not None:
        raise ValueError("num_samples: expected None with a ragged x, which has the lengths, got both")
    if x.ragged_rank != 1 or x.shape.rank != 3:
        raise ValueError(
            f"x: expected ragged lists [B, None, D] of ragged_rank 1, got shape {x.shape}, ragged_rank {x.ragged_rank}"
        )
    if max_samples is None:
        # One more sample of padding keeps N above 0 even if all lists are empty.
        lists = tf.pad(x.to_tensor(), [[0, 0], [0, 1], [0, 0]])
    else:
        # This shortens lists that are too long, but then ``forward`` rejects their lengths.
        lists = x.to_tensor(shape=[None, max_samples, None])
    return lists, x.row_lengths()


def real_first(x, mask):
    """Returns lists [B, N, D] with the real samples first, in their old order, and the number of real samples [B]."""
    lists = tf.reshape(x, tf.stack([tf.shape(x)[0], -1, x.shape[-1]]))
    mask = tf.reshape(tf.cast(mask, tf.int32), tf.shape(lists)[:2])
    order = tf.argsort(mask, axis=1, direction="DESCENDING", stable=True)
    return tf.gather(lists, order, batch_dims=1), tf.reduce_sum(mask, axis=1)


def method_of(method):
    """The class of a pooling method, given the class or a name such as "NetVLAD" or "pointnetvlad.NetVLAD"."""
    if inspect.isclass(method) and issubclass(method, loupe.PoolingBaseModel):
        return method
    own, found = own_methods(), []
    if isinstance(method, str):
        if method in METHODS:
            return METHODS[method]
        # load_model may have got the class in custom_objects, with or without the name of the module.
        for name in (method, method.rpartition(".")[2]):
            custom = keras.utils.get_registered_object(name)
            if inspect.isclass(custom) and issubclass(custom, loupe.PoolingBaseModel):
                return custom
        found = [own[name] for name in own if method in (name, own[name].__name__)]
    if len(found) != 1:
        raise ValueError(
            "method: expected a subclass of loupe.PoolingBaseModel or the name of one "
            f"({', '.join(list(METHODS) + sorted(own))}), got {method!r}. First import the module that defines the "
            "method, such as methods for GhostVLAD; load_model also takes the class in custom_objects"
        )
    return found[0]


def name_of(method):
    """The name by which `method_of` finds the class. Only the methods of loupe have names without a module."""
    if method in METHODS.values():
        return method.__name__
    name = f"{method.__module__}.{method.__qualname__}"
    if own_methods().get(name) is not method:
        raise ValueError(
            f"method: expected a class at the top level of a module, so that it is found when the layer is loaded or "
            f"cloned, got {name}, which is inside a function or was replaced by a later definition"
        )
    return name


def own_methods():
    """The subclasses of `loupe.PoolingBaseModel` at the top level of modules other than loupe, a dict by the names of
    module and class."""
    classes = [loupe.PoolingBaseModel]
    for base in classes:
        classes += base.__subclasses__()
    return {
        f"{c.__module__}.{c.__name__}": c
        for c in classes[1:]
        if c not in METHODS.values() and getattr(sys.modules.get(c.__module__), c.__name__, None) is c
    }


def own_arguments(method):
    """The names of the arguments that the method's constructor takes beyond those of `loupe.PoolingBaseModel`."""
    names = set()
    for c in method.__mro__:
        if "__init__" in vars(c):
            parameters = inspect.signature(c.__init__).parameters.values()
            names.update(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
            if not any(p.kind == p.VAR_KEYWORD for p in parameters):
                break  # A constructor with **kwargs passes them to a base class.
    return names - set(inspect.signature(loupe.PoolingBaseModel.__init__).parameters)


@contextlib.contextmanager
def checkpoint_reader(path):
    """A context with the reader of a checkpoint, which is given by its name, one of its files, or its directory.

    Raises a ValueError if there is no such checkpoint, or its files are damaged.
    """
    with tempfile.TemporaryDirectory() as directory:
        try:
            name = checkpoint_name(os.fsdecode(path))
            try:
                reader = tf.compat.v1.train.NewCheckpointReader(name)
            except tf.errors.NotFoundError:
                if not os.path.exists(name + ".index"):
                    raise
                # TensorFlow treats the name as a pattern that does not match itself if it has brackets or backslashes.
                for file in glob.glob(glob.escape(name) + ".*"):
                    os.symlink(os.path.abspath(file), os.path.join(directory, "model" + file[len(name) :]))
                reader = tf.compat.v1.train.NewCheckpointReader(os.path.join(directory, "model"))
            yield reader
        # The reader raises an IndexError for a file that is cut.
        except (tf.errors.OpError, IndexError, OSError, RuntimeError, ValueError) as error:
            raise ValueError(f"path: expected a checkpoint, got {path!r} ({error})") from error


def checkpoint_name(path):
    """The name of a checkpoint without the extensions of its files."""
    exists = tf.io.gfile.exists
    if not exists(path) and not exists(path + ".index"):
        path = os.path.expanduser(path)
    if exists(path + ".index"):
        return path
    if tf.io.gfile.isdir(path):
        state = tf.train.get_checkpoint_state(path)
        if state is None:
            names = sorted(name[: -len(".index")] for name in tf.io.gfile.listdir(path) if name.endswith(".index"))
            raise ValueError(f"the directory has no usable checkpoint file; it has: {', '.join(names) or 'none'}")
        latest = state.model_checkpoint_path
        # The directory may have been copied or moved since.
        moved = os.path.join(path, os.path.basename(latest))
        return moved if exists(moved + ".index") else latest
    name = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path.rstrip("/"))
    return name if exists(name + ".index") else path


class PoolingModule(tf.Module):
    """A layer of loupe as a ``tf.Module``, for eager code and ``tf.function``.

    ``module(x, num_samples=None, training=False)`` has the inputs and the output of the layer's ``forward``; x may also
    be a ragged tensor ``[B, None, D]``, which has the lengths of its lists. If `training`, a bool or a scalar bool
    tensor, is true, batch norm uses the statistics of the batch and updates its moving averages. Take gradients with a
    ``tf.GradientTape`` and save the variables with ``tf.train.Checkpoint``. To export the module, give it a function
    with a signature; the loaded module has this function too::

        module.serve = tf.function(module, input_signature=[tf.TensorSpec([None, 100, 1024])])
        tf.saved_model.save(module, path)

    Args: those of `PoolingLayer`.
    """

    def __init__(
        self,
        method,
        feature_size,
        max_samples,
        cluster_size,
        output_dim,
        gating=True,
        add_batch_norm=True,
        decay=0.999,
        name=None,
        **kwargs,
    ):
        super().__init__(name=name)
        method = method_of(method)
        unknown = sorted(set(kwargs) - own_arguments(method))
        if unknown:
            raise TypeError(f"PoolingModule: expected arguments of its own or of {method}, got {', '.join(unknown)}")
        self._pooling = Pooling(
            method, feature_size, max_samples, cluster_size, output_dim, gating, add_batch_norm, decay, kwargs
        )
        self.variables_by_name = self._pooling.variables(
            lambda name, initial, wanted: tf.Variable(
                initial, trainable=wanted.trainable, name=name, shape=wanted.shape, dtype=wanted.dtype
            )
        )

    def __call__(self, x, num_samples=None, training=False):
        return self._pooling.pool(self.variables_by_name, x, num_samples, training)

    def load_tf1_checkpoint(self, path, scope=""):
        """Assigns the values of a TensorFlow 1 checkpoint to the variables.

        Args:
          path: the checkpoint, such as ``train/model.ckpt-3000``; one of its files; or a directory, whose latest
            checkpoint is taken.
          scope: the variable scope in which the layer was built, such as ``"tower/video"``. Default none.

        Raises:
          ValueError: if there is no such checkpoint, or if variables are missing or have another shape; the message
            lists them all. The module stays as it was.
        """
        self._pooling.load(self.variables_by_name, path, scope)


@keras.utils.register_keras_serializable("loupe")
class PoolingLayer(keras.layers.Layer):
    """A layer of loupe as a Keras layer.

    ``layer(x, num_samples=None)`` takes lists ``[B, N, D]`` or maps ``[B, H, W, D]`` and returns ``[B, O]``. For padded
    lists, pass their lengths as `num_samples`, integers ``[B]`` or ``[B, 1]``. Without `num_samples`, a Keras mask,
    ``[B, N]`` or ``[B, H, W]``, tells the layer which samples are real, and a ragged tensor ``[B, None, D]`` has the
    lengths of its lists.

    With ``training=True``, which ``fit`` sets, batch norm uses the statistics of the batch and updates its moving
    averages, unless the layer has ``trainable = False``, as in Keras's own batch norm. XLA cannot train lists of
    different lengths with batch norm, and Keras 3 turns XLA on where there is a GPU: compile such a model with
    ``jit_compile=False``.

    Args:
      method: ``"NetVLAD"``, ``"NetRVLAD"``, ``"NetFV"`` or ``"SoftDBoW"``; or a subclass of
        `loupe.PoolingBaseModel`, or its name. To save or clone the layer, define the class at the top level of a
        module. To load the layer, import that module first.
      feature_size: D, the width of a sample, a positive integer.
      max_samples: N, the number of samples in each list, a positive integer; None takes it from each input.
      cluster_size: K, the number of clusters, a positive integer.
      output_dim: O, the width of the output, a positive integer; None for the descriptor without projection.
      gating: whether to apply Context Gating to the output. Default True.
      add_batch_norm: whether clusters and gates have batch norm (True, the default) or biases.
      decay: the decay of batch norm's moving averages, from 0 to below 1. Default 0.999, for thousands of steps; 0.9
        suits short runs.
      kwargs: other arguments of the method's constructor, such as `groups`, and of a Keras layer, such as `name`. The
        layer computes in float32 under every policy.

    Raises:
      RuntimeError: if Keras 3 runs on another backend than TensorFlow.
      TypeError, ValueError: if an argument or an input is wrong, as for the layers of loupe.
    """

    def __init__(
        self,
        method,
        feature_size,
        max_samples,
        cluster_size,
        output_dim,
        gating=True,
        add_batch_norm=True,
        decay=0.999,
        **kwargs,
    ):
        if not IS_KERAS_2 and keras.backend.backend() != "tensorflow":
            raise RuntimeError(f"PoolingLayer: expected the backend tensorflow, got {keras.backend.backend()}")
        method = method_of(method)
        own = {name: kwargs.pop(name) for name in own_arguments(method) if name in kwargs}
        try:
            super().__init__(**dict(kwargs, dtype="float32"))
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"PoolingLayer: expected arguments of its own, of a Keras layer or of {method}, got {kwargs} ({error})"
            ) from error
        self._pooling = Pooling(
            method, feature_size, max_samples, cluster_size, output_dim, gating, add_batch_norm, decay, own
        )
        self.supports_masking = True

    def build(self, input_shape=None):
        if input_shape is not None:
            self._check_rank(tf.TensorShape(input_shape))
            self._pooling.check(input_shape)
        if not self.built:
            options = {} if IS_KERAS_2 else {"autocast": False}
            self._pooling.owned = self._pooling.variables(
                lambda name, initial, wanted: self.add_weight(
                    # Keras 3 takes no slashes in names.
                    name=name.replace("/", "_"),
                    shape=wanted.shape,
                    dtype=wanted.dtype.name,
                    initializer=initial,
                    trainable=wanted.trainable,
                    **options,
                )
            )
        self.built = True

    @property
    def variables_by_name(self):
        """The variables, a dict by the names that they have in TensorFlow 1."""
        self.build()
        return dict(self._pooling.owned)

    def call(self, x, num_samples=None, training=None, mask=None):
        self._check_rank(x.shape)
        if num_samples is not None:
            num_samples = tf.convert_to_tensor(num_samples)
            is_column = num_samples.shape.rank == 2 and num_samples.shape[1] in (1, None)
            num_samples = tf.squeeze(num_samples, axis=1) if is_column else num_samples
        elif mask is not None:
            x, num_samples = real_first(x, mask)
        training = False if training is None or not self.trainable else training
        variables = {name: v if isinstance(v, tf.Variable) else v.value for name, v in self._pooling.owned.items()}
        return self._pooling.pool(variables, x, num_samples, training)

    def _check_rank(self, shape):
        if shape.rank is None or shape.rank < 3:
            raise ValueError(f"x: expected lists [B, N, D] or maps [B, H, W, D], got shape {shape}")

    def compute_mask(self, x, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self._pooling.width)

    def get_config(self):
        return dict(super().get_config(), **self._pooling.config())

    def load_tf1_checkpoint(self, path, scope=""):
        """Assigns the values of a TensorFlow 1 checkpoint, as `PoolingModule.load_tf1_checkpoint` does."""
        self._pooling.load(self.variables_by_name, path, scope)
