"""Metrics: hand values and scikit-learn as oracles, rows that survive a CSV, intervals that
cover.
"""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import balanced_accuracy_score

from pathemo import metrics

KEY = {
    "protocol": "pathnet",
    "source": "emodb",
    "target": "savee",
    "corpus_version": "recorded-0",
    "fold": "1",
    "seed": 0,
}
emotions = st.sampled_from(["anger", "fear", "happiness"])


def rows_of(values, *, first_speaker=0, **key):
    """Result rows of per-speaker UARs, (n_speakers, n_seeds)."""
    frame = [
        KEY
        | {
            "inputs": "plain",
            "note": "",
            "metric": "uar",
            "n": 10,
            "value": value,
            "seed": seed,
            "speaker": f"{first_speaker + speaker:02d}",
        }
        | key
        for speaker, of_seeds in enumerate(np.atleast_2d(values))
        for seed, value in enumerate(of_seeds)
    ]
    return pd.DataFrame(frame)[list(metrics.ROW_COLUMNS)].astype(metrics.ROW_TYPES)


@given(st.lists(st.tuples(emotions, emotions), min_size=1, max_size=50))
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true", "ignore:A single label")
def test_uar_is_balanced_accuracy(pairs):
    """UAR equals scikit-learn's balanced accuracy, also when an emotion is predicted that never
    occurs.
    """
    truth, prediction = zip(*pairs, strict=True)
    expected = balanced_accuracy_score(truth, prediction)
    assert metrics.unweighted_average_recall(truth, prediction) == pytest.approx(expected)


def test_uar_by_hand():
    """Recalls of 3/4, 1/2 and 0 give a UAR of 5/12 and, over 7 clips, an accuracy of 4/7."""
    truth = ["anger"] * 4 + ["fear"] * 2 + ["sadness"]
    prediction = ["anger", "anger", "anger", "fear", "fear", "anger", "boredom"]
    assert metrics.unweighted_average_recall(truth, prediction) == pytest.approx(5 / 12)
    assert metrics.accuracy(truth, prediction) == pytest.approx(4 / 7)
    table = metrics.recall_per_emotion(truth, prediction)
    assert table["recall"].to_dict() == {"anger": 0.75, "fear": 0.5, "sadness": 0.0}
    assert table["n"].to_dict() == {"anger": 4, "fear": 2, "sadness": 1}


def test_truth_comes_first():
    """A class that is never predicted counts, one that is never true does not."""
    assert metrics.unweighted_average_recall(["anger", "fear", "fear"], ["anger"] * 3) == 0.5
    assert metrics.unweighted_average_recall(
        ["anger"] * 3, ["anger", "fear", "fear"]
    ) == pytest.approx(1 / 3)


def test_confusion_has_truth_in_rows():
    """Rows are the truth; both axes carry the same emotions in alphabetical order, predicted ones
    too.
    """
    table = metrics.confusion(["fear", "anger", "fear"], ["sadness", "anger", "fear"])
    assert list(table.index) == list(table.columns) == ["anger", "fear", "sadness"]
    assert table.loc["fear"].to_dict() == {"anger": 0, "fear": 1, "sadness": 1}
    assert table.index.name == "truth"


@pytest.mark.parametrize(
    ("percent", "half_width"), [(76.58, 2.19), (61.67, 2.51), (57.08, 2.56), (80.08, 2.06)]
)
def test_half_width_is_the_published_one(percent, half_width):
    """The half-widths beside the published RAVDESS accuracies come out."""
    assert round(100 * metrics.accuracy_half_width(percent / 100, 1440), 2) == half_width


@pytest.mark.parametrize(
    ("truth", "prediction", "words"),
    [
        (["fear", "fear"], ["fear"], "2 truths, 1 predictions"),
        ([], [], "0 truths, 0 predictions"),
        (["fear", None], ["fear", "fear"], "missing"),
    ],
)
def test_unusable_labels_are_refused(truth, prediction, words):
    """Unequal lengths, no clip at all and missing emotions are errors, not scores."""
    with pytest.raises(ValueError, match=words):
        metrics.unweighted_average_recall(truth, prediction)


def test_score_rows_hold_each_speaker_of_the_fold():
    """Each test speaker has one UAR and one accuracy row, over that speaker's clips and emotions
    only.
    """
    rows = metrics.score_rows(
        ["anger", "anger", "fear", "fear"],
        ["anger", "fear", "fear", "fear"],
        ["08", "08", "08", "10"],
        **KEY,
    )
    assert tuple(rows.columns) == metrics.ROW_COLUMNS
    scores = rows.set_index(["speaker", "metric"])["value"].to_dict()
    assert scores == {
        ("08", "uar"): 0.75,
        ("08", "accuracy"): pytest.approx(2 / 3),
        ("10", "uar"): 1.0,
        ("10", "accuracy"): 1.0,
    }
    assert rows["n"].tolist() == [3, 3, 1, 1]
    assert set(rows["inputs"]) == {"plain"}


def test_pooled_rows_hold_all_clips():
    """Pooled rows are over all clips at once."""
    rows = metrics.pooled_rows(
        ["anger", "anger", "fear"], ["anger", "fear", "fear"], **KEY | {"fold": "all"}
    )
    assert rows.set_index("metric")["value"].to_dict() == {
        "uar": 0.75,
        "accuracy": pytest.approx(2 / 3),
    }
    assert rows["n"].tolist() == [3, 3]
    assert set(rows["speaker"]) == set(rows["fold"]) == {"all"}


def test_rows_with_wrong_columns_are_refused():
    """A key that is missing or misspelt is named."""
    with pytest.raises(TypeError, match=r"needs \['target'\], and has no column \['goal'\]"):
        metrics.score_rows(
            ["fear"],
            ["fear"],
            ["08"],
            **{key: value for key, value in KEY.items() if key != "target"},
            goal="savee",
        )


def test_rows_survive_a_csv(tmp_path):
    """Rows read back equal the rows written: "03" stays text, speaker NA a speaker, no value no
    value.
    """
    scored = metrics.score_rows(
        ["fear", "fear"], ["fear", "anger"], ["03", "NA"], **KEY | {"source": ""}
    )
    missing = metrics.not_run_rows("enterface not found", protocol="pathnet", target="enterface")
    rows = pd.concat([scored, missing], ignore_index=True)
    rows.to_csv(tmp_path / "results.csv", index=False)
    pd.testing.assert_frame_equal(metrics.read_rows(tmp_path / "results.csv"), rows)


def test_summary_by_hand():
    """Seed means 0.5, 0.6 and 0.7 give 0.6 ± t(0.975, 2) 0.1 / sqrt(3)."""
    row = metrics.summary(rows_of([[0.4, 0.6], [0.6, 0.6], [0.6, 0.8]]), ["protocol"]).loc[0]
    half_width = 4.302652729911275 * 0.1 / np.sqrt(3)
    assert row["mean"] == pytest.approx(0.6)
    assert (row["low"], row["high"]) == (
        pytest.approx(0.6 - half_width),
        pytest.approx(0.6 + half_width),
    )
    assert (row["n_speakers"], row["n_seeds"]) == (3, 2)


def test_summary_pools_over_seeds():
    """The pooled column is the mean over seeds of the rows of all clips."""
    pooled = rows_of([[0.5, 0.7]], fold="all", speaker="all")
    row = metrics.summary(pd.concat([rows_of([[0.1, 0.1], [0.2, 0.2]]), pooled]), ["target"]).loc[0]
    assert row["pooled"] == pytest.approx(0.6)
    assert row["mean"] == pytest.approx(0.15)


def test_a_speaker_counts_once():
    """A speaker with more seeds weighs no more, and speaker 00 of two corpora is two people."""
    uneven = pd.concat([rows_of([[0.2, 0.2, 0.2]]), rows_of([[0.8]], first_speaker=1)])
    assert metrics.summary(uneven, ["protocol"]).loc[0, "mean"] == pytest.approx(0.5)
    corpora = pd.concat([rows_of([[0.2]]), rows_of([[0.8]], target="emodb")])
    assert metrics.summary(corpora, ["protocol"]).loc[0, "n_speakers"] == 2


def test_summary_keeps_what_was_not_run():
    """A group without a value stays in the table, in the order of the rows, with no mean and no
    speaker.
    """
    missing = metrics.not_run_rows("enterface not found", protocol="pathnet", target="enterface")
    table = metrics.summary(pd.concat([missing, rows_of([[0.5], [0.6]])]), ["target"])
    assert table["target"].tolist() == ["enterface", "savee"]
    assert table["n_speakers"].tolist() == [0, 2]
    assert np.isnan(table.loc[0, "mean"])
    assert metrics.summary(missing, ["target"])["n_speakers"].tolist() == [0]


def test_one_speaker_has_no_interval():
    """Nothing is said about other people from one speaker."""
    row = metrics.summary(rows_of([[0.5, 0.6]]), ["protocol"]).loc[0]
    assert row["mean"] == pytest.approx(0.55)
    assert np.isnan(row["low"])
    assert np.isnan(row["high"])


@pytest.mark.parametrize(
    "mixed",
    [{"inputs": "speaker-normalised"}, {"corpus_version": "synthetic-0"}, {"protocol": "svm"}],
)
def test_what_cannot_be_averaged_is_refused(mixed):
    """Protocols, inputs and versions of a corpus are never averaged by accident, but may part the
    table.
    """
    rows = pd.concat([rows_of([[0.5], [0.6]]), rows_of([[0.7], [0.8]], **mixed)])
    with pytest.raises(ValueError, match="would be averaged"):
        metrics.summary(rows, ["target"])
    assert len(metrics.summary(rows, ["target", *mixed])) == 2


def test_a_row_that_is_there_twice_is_refused():
    """The same result appended twice does not pass for another speaker or seed."""
    rows = rows_of([[0.5], [0.6]])
    with pytest.raises(ValueError, match="2 result rows are there twice"):
        metrics.summary(pd.concat([rows, rows]), ["target"])


@pytest.mark.parametrize("n_speakers", [4, 10, 24, 42])
def test_intervals_cover_95_percent(n_speakers):
    """Of 2,000 simulated studies 94 to 96.5 % hold the true mean in their interval; with a skew, 91
    %.
    """
    rng = np.random.default_rng(n_speakers)
    for values, truth, lowest in (
        (rng.normal(0.6, 0.1, (2000, n_speakers)), 0.6, 0.94),
        (rng.beta(6, 1.5, (2000, n_speakers)), 0.8, 0.91),
    ):
        studies = rows_of(values).rename(
            columns={"speaker": "target", "seed": "speaker", "target": "seed"}
        )
        studies = studies.assign(seed=0).astype(metrics.ROW_TYPES)
        table = metrics.summary(studies, ["target"])
        covered = ((table["low"] <= truth) & (truth <= table["high"])).mean()
        assert len(table) == 2000
        assert lowest <= covered <= 0.965


def test_paired_difference_by_hand():
    """Seed means apart by 0.1, 0.2, 0.3 and 0.4 differ by 0.25 with p = 2/16, first minus
    second.
    """
    rows = pd.concat(
        [
            rows_of([[0.5, 0.7], [0.7, 0.7], [0.8, 0.8], [0.9, 0.9]]),
            rows_of([[0.5], [0.5], [0.5], [0.5]], protocol="svm", source=""),
        ]
    )
    row = metrics.paired_difference(rows, "pathnet", "svm").loc[0]
    assert row["difference"] == pytest.approx(0.25)
    expected = stats.ttest_rel([0.6, 0.7, 0.8, 0.9], [0.5] * 4).confidence_interval()
    assert (row["low"], row["high"]) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert (row["n_speakers"], row["p"]) == (4, pytest.approx(0.125))


def test_paired_p_is_exact_for_ten_speakers():
    """The p-value of ten speakers equals the share of all 1,024 sign flips at least as far
    from 0.
    """
    difference = np.random.default_rng(0).normal(0.04, 0.1, 10)
    rows = pd.concat([rows_of(difference[:, None]), rows_of(np.zeros((10, 1)), protocol="svm")])
    signs = 1 - 2 * ((np.arange(1024)[:, None] >> np.arange(10)) & 1)
    expected = (abs(signs @ difference) >= abs(difference.sum()) - 1e-12).mean()
    assert metrics.paired_difference(rows, "pathnet", "svm").loc[0, "p"] == pytest.approx(expected)


def test_pairs_are_speakers_of_one_corpus():
    """Speakers of one side only do not count, and speaker 00 of another corpus is nobody's pair."""
    rows = pd.concat(
        [
            rows_of([[0.6], [0.7], [0.9]]),
            rows_of([[0.5], [0.5]], protocol="svm"),
            rows_of([[0.1]] * 5, protocol="svm", target="emodb"),
        ]
    )
    row = metrics.paired_difference(rows, "pathnet", "svm").loc[0]
    assert row["n_speakers"] == 2
    assert row["difference"] == pytest.approx(0.15)


def test_one_reference_serves_all_sources():
    """A column that the reference fixes is not matched: each source meets learning from scratch."""
    rows = pd.concat(
        [
            rows_of([[0.6], [0.7]]),
            rows_of([[0.4], [0.5]], source="ravdess"),
            rows_of([[0.5], [0.5]], protocol="from_scratch", source=""),
        ]
    )
    table = metrics.paired_difference(
        rows, "pathnet", {"protocol": "from_scratch", "source": ""}, ["source", "target"]
    )
    assert table.set_index("source")["difference"].to_dict() == {
        "emodb": pytest.approx(0.15),
        "ravdess": pytest.approx(-0.05),
    }


def test_inputs_are_compared_only_on_request():
    """Plain meets plain, unless both sides say otherwise."""
    normalised = rows_of([[0.7], [0.8]], protocol="svm", inputs="speaker-normalised")
    rows = pd.concat([rows_of([[0.5], [0.6]], protocol="svm"), normalised])
    row = metrics.paired_difference(
        rows,
        {"protocol": "svm", "inputs": "speaker-normalised"},
        {"protocol": "svm", "inputs": "plain"},
    ).loc[0]
    assert row["difference"] == pytest.approx(0.2)
    with pytest.raises(ValueError, match="no speaker has 'uar' rows of both"):
        metrics.paired_difference(
            pd.concat([rows_of([[0.5], [0.6]]), normalised]), "pathnet", "svm"
        )


def test_holm_by_hand():
    """Sorted p-values are multiplied by 3, 2, 1 and never fall, in the order given, 1 at most."""
    np.testing.assert_allclose(metrics.holm([0.04, 0.01, 0.03]), [0.06, 0.03, 0.06])
    np.testing.assert_allclose(metrics.holm([0.5, 0.9]), [1.0, 1.0])
    assert metrics.holm([]).size == 0
