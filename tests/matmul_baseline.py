"""The matrix products of a pooling step that cannot be avoided, each in its fastest orientation: the lower bound.

`step` builds them with nothing between them. Their operands are variables, so that nothing is fed and nothing can be
folded to a constant, and each product waits for those whose results it would use in the real step, so that it has
their order and no more concurrency.

A product ``C = A B`` has two orientations: ``matmul(A, B)``, and ``matmul(B', A')`` with the result ``C'``. A short
timing picks the faster of the two. An activation may stay transposed, as nothing says how it must lie in memory; the
gradients of parameters and of the input must lie as those do, so that there the second orientation includes the
transposition of its result.
"""

import collections
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
      The products' tensors, and a dict of the orientation that was chosen for each, "direct" or "transposed".
    """
    operands = _operands(method, *sizes)
    session.run(tf.global_variables_initializer())
    results, orientations = {}, {}
    for product in _products(method, training, input_gradient):
        left, right = operands[product.left], operands[product.right]
        candidates = {o: _multiplied(product, left, right, o) for o in ("direct", "transposed")}
        orientation = orientations[product.name] = _fastest(session, candidates)
        with tf.control_dependencies([results[name] for name in product.after]):
            results[product.name] = _multiplied(product, left, right, orientation)
    return list(results.values()), orientations


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


def _multiplied(product, left, right, orientation):
    if orientation == "direct":
        return tf.matmul(left, right, transpose_a=product.transpose_left, transpose_b=product.transpose_right)
    result = tf.matmul(right, left, transpose_a=not product.transpose_right, transpose_b=not product.transpose_left)
    return tf.linalg.matrix_transpose(result) if product.has_layout else result


def _fastest(session, candidates):
    runs = {name: session.make_callable([result.op]) for name, result in candidates.items()}
    times = {name: [] for name in runs}
    for turn in range(6):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if turn > 0:  # The first run plans and allocates.
                times[name].append(time.perf_counter() - start)
    return min(times, key=lambda name: statistics.median(times[name]))
