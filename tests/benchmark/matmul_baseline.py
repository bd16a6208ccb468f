"""The matrix products of a pooling step that cannot be avoided, each in its fastest orientation: the lower bound.

`step` builds them with nothing between them. Their operands are variables, so that nothing is fed and nothing can be
folded to a constant, and each product waits for those whose results it would use in the real step, so that it has
their order and no more concurrency.

A product ``C = A B`` has two orientations: ``matmul(A, B)``, and ``matmul(B', A')`` with the result ``C'``. TensorFlow
has other kernels for batches of products, so that either may also be a batch of one, or of blocks of the first
operand's rows; and an operand that is to be transposed may be so by an op of its own. A short timing picks the
fastest. An activation may stay transposed, as nothing says how it must lie in memory; the gradients of parameters and
of the input must lie as those do, so that there the second orientation includes the transposition of its result.
"""

import collections
import math
import statistics
import time

import tensorflow.compat.v1 as tf


class Product(collections.namedtuple("Product", "name left right transpose_left transpose_right has_layout after")):
    """left times right, operands by name, which waits for the products named in `after`; `has_layout` if the result
    must not stay transposed."""


def step(method, sizes, training, input_gradient, session):
    """Builds the products in the default graph and initialises their operands.

    Args:
      method: the name of the pooling method.
      sizes: B, N, D, K and O.
      training: whether the gradients to parameters and to the activations between are among them.
      input_gradient: whether those to the input are, too.
      session: a session in the default graph, for the timings.

    Returns:
      The products' tensors, and a dict of what was chosen for each, a text such as "transposed, batch of one".
    """
    operands = _operands(method, *sizes)
    session.run(tf.global_variables_initializer())
    results, chosen = {}, {}
    for product in _products(method, training, input_gradient):
        left, right = operands[product.left], operands[product.right]
        builders = _candidates(product, left, right)
        name = chosen[product.name] = _fastest(session, {name: build() for name, build in builders.items()})
        with tf.control_dependencies([results[earlier] for earlier in product.after]):
            results[product.name] = builders[name]()
    return list(results.values()), chosen


def _operands(method, B, N, D, K, O):  # noqa: E741, N803
    width = {"NetFV": 2 * D * K, "SoftDBoW": K}.get(method, D * K)
    shapes = {
        "x": [B * N, D],
        "cluster_weights": [D, K],
        "assignment": [B * N, K],
        "d_assignment": [B * N, K],
        "descriptor": [B, width],
        "hidden1_weights": [width, O],
        "output": [B, O],
        "d_output": [B, O],
        "gating_weights": [O, O],
        "d_gates": [B, O],
    }
    moments = _moments(method)
    for moment in moments:
        shapes["d_" + moment] = [B, D, K]
    if "second" in moments:
        shapes["x^2"] = [B * N, D]
    operands = {}
    for name, shape in shapes.items():
        variable = tf.get_variable(
            name.replace("^", ""), shape, initializer=tf.random_normal_initializer(0, 0.1), use_resource=True
        )
        operands[name] = tf.convert_to_tensor(variable)
    for name, width in [("x", D), ("x^2", D), ("assignment", K)]:
        if name in operands:
            operands["lists of " + name] = tf.reshape(operands[name], [B, N, width])
    return operands


def _moments(method):
    """The aggregations of the method."""
    return {"SoftDBoW": [], "NetFV": ["first", "second"]}.get(method, ["first"])


def _products(method, training, input_gradient):
    samples = {"first": "lists of x", "second": "lists of x^2"}
    moments = _moments(method)
    products = [Product("assignment", "x", "cluster_weights", False, False, False, [])]
    for moment in moments:
        products.append(Product(moment, samples[moment], "lists of assignment", True, False, False, ["assignment"]))
    products += [
        Product("projection", "descriptor", "hidden1_weights", False, False, False, moments or ["assignment"]),
        Product("gating", "output", "gating_weights", False, False, False, ["projection"]),
    ]
    if training:
        products += [
            Product("d_output", "d_gates", "gating_weights", False, True, False, ["gating"]),
            Product("d_gating_weights", "output", "d_gates", True, False, True, ["gating"]),
            Product("d_descriptor", "d_output", "hidden1_weights", False, True, False, ["d_output"]),
            Product("d_hidden1_weights", "descriptor", "d_output", True, False, True, ["d_output"]),
        ]
        to_assignment = ["d_assignment of " + moment for moment in moments]
        for name, moment in zip(to_assignment, moments):
            products.append(Product(name, samples[moment], "d_" + moment, False, False, False, ["d_descriptor"]))
        before = to_assignment or ["d_descriptor"]
        products.append(Product("d_cluster_weights", "x", "d_assignment", True, False, True, before))
        if input_gradient:
            for moment in moments:
                name = "d_x of " + moment
                products.append(
                    Product(name, "lists of assignment", "d_" + moment, False, True, True, ["d_descriptor"])
                )
            products.append(Product("d_x of assignment", "d_assignment", "cluster_weights", False, True, True, before))
    return products


def _candidates(product, left, right):
    """Functions that build the product in each orientation and form, by name."""

    flags = product.transpose_left, product.transpose_right
    orientations = {"direct": (left, right, *flags), "transposed": (right, left, not flags[1], not flags[0])}
    forms = {"": tf.matmul}
    if left.shape.ndims == 2:
        forms.update({", batch of one": _batch_of_one, ", blocks": _blocks, ", transposed first": _transposed_first})

    def builder(multiply, orientation):
        def build():
            result = multiply(*orientations[orientation])
            is_to_turn = orientation == "transposed" and product.has_layout
            return tf.linalg.matrix_transpose(result) if is_to_turn else result

        return build

    candidates = {}
    for orientation, (_, _, transpose_a, transpose_b) in orientations.items():
        for form, multiply in forms.items():
            is_possible = {_blocks: not transpose_a, _transposed_first: transpose_a or transpose_b}.get(multiply, True)
            if is_possible:
                candidates[orientation + form] = builder(multiply, orientation)
    return candidates


def _batch_of_one(a, b, transpose_a, transpose_b):
    product = tf.matmul(a[tf.newaxis], b[tf.newaxis], transpose_a=transpose_a, transpose_b=transpose_b)
    return tf.reshape(product, product.shape[1:])


def _blocks(a, b, transpose_a, transpose_b):
    """The product of each of 64 blocks of a's rows, at most."""
    assert not transpose_a
    rows, width = a.shape.as_list()
    blocks = tf.reshape(a, [math.gcd(rows, 64), -1, width])
    product = tf.matmul(blocks, b[tf.newaxis], transpose_b=transpose_b)
    return tf.reshape(product, [rows, product.shape[-1]])


def _transposed_first(a, b, transpose_a, transpose_b):
    """The product of operands that ops of their own transpose, in three dimensions so that they stay ops."""

    def transposed(x):
        return tf.squeeze(tf.linalg.matrix_transpose(x[tf.newaxis]), 0)

    return tf.matmul(transposed(a) if transpose_a else a, transposed(b) if transpose_b else b)


def _fastest(session, candidates):
    """The name of the candidate that takes the least time."""
    runs = {name: session.make_callable([result.op]) for name, result in candidates.items()}
    for run in runs.values():
        run()  # It plans and allocates.
    first = {name: _seconds(run) for name, run in runs.items()}
    # Those that are far behind need no more turns.
    times = {name: [seconds] for name, seconds in first.items() if seconds < 2 * min(first.values())}
    for _ in range(4):
        for name in times:
            times[name].append(_seconds(runs[name]))
    return min(times, key=lambda name: statistics.median(times[name]))


def _seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
