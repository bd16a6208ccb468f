"""The metrics against the official evaluation's figures, a plain rendering of their definitions, and bad input."""

import pathlib
import tracemalloc

import numpy as np
import pytest
from yt8m import metrics

GOLDENS = pathlib.Path(__file__).parent.parent / "goldens" / "youtube8m" / "metrics.npz"
GOLDEN_NAMES = {"gap": "gap", "map": "mean_ap", "hit_at_one": "avg_hit_at_one", "perr": "avg_perr"}
TOLERANCE = 1e-12


@pytest.fixture(scope="module")
def golden():
    return np.load(str(GOLDENS))


def gathered(batches):
    result = None
    for predictions, labels in batches:
        result = result or metrics.Metrics(predictions.shape[1])
        result.add(predictions, labels)
    return result


def random_batch(rng, videos, classes, share=0.1):
    return rng.uniform(0.01, 0.99, [videos, classes]).astype(np.float32), rng.rand(videos, classes) < share


def plain_average_precision(entries, num_true):
    """Average precision from (score, is_true) pairs, by the definition."""
    hits = total = 0.0
    for rank, (_, is_true) in enumerate(sorted(entries, reverse=True), start=1):
        hits += is_true
        total += is_true * hits / rank
    return total / num_true


def test_all_batches_equal_the_official_figures(golden):
    of_all = gathered(zip(golden["predictions"], golden["labels"]))
    result = of_all.result()
    for name, golden_name in GOLDEN_NAMES.items():
        np.testing.assert_allclose(result[name], golden[golden_name], rtol=0, atol=TOLERANCE, err_msg=name)
    np.testing.assert_allclose(of_all.average_precisions(), golden["aps"], rtol=0, atol=TOLERANCE)
    assert result["videos"] == golden["labels"].shape[0] * golden["labels"].shape[1]


def test_first_batch_equals_the_official_figures(golden):
    result = gathered([(golden["predictions"][0], golden["labels"][0])]).result()
    for name in ("gap", "hit_at_one", "perr"):
        np.testing.assert_allclose(result[name], golden[name + "_batch0"], rtol=0, atol=TOLERANCE, err_msg=name)
    batch_gap = metrics.gap(golden["predictions"][0], golden["labels"][0])
    np.testing.assert_allclose(batch_gap, golden["gap_batch0"], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("classes", [5, 20, 300])
def test_metrics_follow_their_definitions(rng, classes):
    predictions, labels = random_batch(rng, 30, classes)
    result = gathered([(predictions, labels)]).result()
    by_class, everything, perr, hits = [[] for _ in range(classes)], [], [], []
    for scores, truth in zip(predictions, labels):
        best = sorted(range(classes), key=lambda c: -scores[c])
        hits.append(truth[best[0]])
        perr.append(np.mean(truth[best[: truth.sum()]]) if truth.any() else 0)
        for c in best[:20]:
            by_class[c].append((scores[c], truth[c]))
            everything.append((scores[c], truth[c]))
    aps = [plain_average_precision(by_class[c], labels[:, c].sum()) for c in range(classes) if labels[:, c].any()]
    expected = {
        "gap": plain_average_precision(everything, labels.sum()),
        "map": np.mean(aps),
        "perr": np.mean(perr),
        "hit_at_one": np.mean(hits),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(result[name], value, rtol=0, atol=TOLERANCE, err_msg=name)


def test_batches_and_their_order_make_no_difference(rng):
    predictions, labels = random_batch(rng, 60, 50)
    predictions = np.round(predictions, 2)  # so that scores are tied
    whole = gathered([(predictions, labels)]).result()
    shuffled = rng.permutation(60)
    parts = gathered([(predictions[part], labels[part]) for part in np.split(shuffled, [7, 8, 40])]).result()
    for name in ("gap", "map", "perr", "hit_at_one"):
        np.testing.assert_allclose(parts[name], whole[name], rtol=0, atol=TOLERANCE, err_msg=name)


def test_perfect_predictions_score_one(rng):
    _, labels = random_batch(rng, 40, 15, share=0.3)
    labels[:, 0] = True
    result = gathered([(labels.astype(np.float32), labels)]).result()
    assert [result[name] for name in ("gap", "map", "hit_at_one", "perr")] == [1, 1, 1, 1]


def test_labels_beyond_the_best_predictions_lower_gap():
    predictions, labels = np.arange(50, 0, -1)[np.newaxis] / 50.0, np.zeros([1, 50], bool)
    labels[0, [0, 49]] = True
    assert gathered([(predictions, labels)]).gap() == 0.5


def test_classes_without_videos_have_no_average_precision():
    batch = np.array([[0.9, 0.5, 0.1]]), np.array([[True, False, True]])
    of_batch = gathered([batch])
    np.testing.assert_array_equal(of_batch.average_precisions(), [1, np.nan, 1])
    assert of_batch.result()["map"] == 1


def test_a_prediction_of_zero_predicts_nothing():
    result = gathered([(np.array([[0.5, 0.0, 0.0]]), np.array([[True, True, True]]))]).result()
    assert result["perr"] == pytest.approx(1 / 3)


def test_unlabelled_videos_alone_have_no_gap():
    result = gathered([(np.array([[0.9, 0.5]]), np.zeros([1, 2], bool))]).result()
    assert np.isnan(result["gap"]) and np.isnan(result["map"])
    assert result["hit_at_one"] == result["perr"] == 0


def test_loss_is_the_mean_over_videos(rng):
    of_all = metrics.Metrics(4)
    of_all.add(*random_batch(rng, 3, 4), loss=2.0)
    of_all.add(*random_batch(rng, 1, 4), loss=6.0)
    assert of_all.result()["loss"] == 3.0
    of_all.add(*random_batch(rng, 1, 4))
    assert np.isnan(of_all.result()["loss"])


def test_memory_is_that_of_the_kept_predictions(rng):
    of_all = metrics.Metrics(2000)
    batch = random_batch(rng, 250, 2000)
    of_all.add(*batch)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(20):
        of_all.add(*batch)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / (20 * 250.0) < 20 * 7 * 1.1  # score 4, class 2, truth 1


def test_top_predictions_are_best_first(rng):
    predictions, _ = random_batch(rng, 8, 60)
    classes, scores = metrics.top_predictions(predictions, 7)
    np.testing.assert_array_equal(scores, -np.sort(-predictions, axis=1)[:, :7])
    np.testing.assert_array_equal(np.take_along_axis(predictions, classes, axis=1), scores)
    assert metrics.top_predictions(predictions, 100)[0].shape == (8, 60)
