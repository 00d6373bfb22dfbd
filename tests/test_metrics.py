"""Metrics: scikit-learn and hand values as oracles, rows in a CSV, intervals that cover."""

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
    values = np.atleast_2d(values)
    speaker, seed = np.indices(values.shape).reshape(2, -1)
    columns = {"speaker": [f"{first_speaker + s:02d}" for s in speaker], "seed": seed}
    columns |= {"metric": "uar", "value": values.ravel(), "n": 10}
    rows = pd.DataFrame(metrics.DEFAULTS | KEY | columns | key)
    return metrics.check_rows(rows)


@given(st.lists(st.tuples(emotions, emotions), min_size=1, max_size=50))
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true", "ignore:A single label")
def test_uar_is_balanced_accuracy(pairs):
    """UAR equals scikit-learn's, also when an emotion is predicted that never occurs."""
    truth, prediction = zip(*pairs, strict=True)
    expected = balanced_accuracy_score(truth, prediction)
    assert metrics.unweighted_average_recall(truth, prediction) == pytest.approx(expected)


def test_uar_by_hand():
    """Recalls of 3/4, 1/2 and 0 give a UAR of 5/12 and, over 7 clips, an accuracy of 4/7."""
    truth = ["anger"] * 4 + ["fear"] * 2 + ["sadness"]
    prediction = ["anger", "anger", "anger", "fear", "fear", "anger", "boredom"]
    assert metrics.unweighted_average_recall(truth, prediction) == pytest.approx(5 / 12)
    assert metrics.accuracy(truth, prediction) == pytest.approx(4 / 7)


def test_truth_comes_first():
    """A class that is never predicted counts, one that is never true does not."""
    assert metrics.unweighted_average_recall(["anger", "fear", "fear"], ["anger"] * 3) == 0.5
    uar = metrics.unweighted_average_recall(["anger"] * 3, ["anger", "fear", "fear"])
    assert uar == pytest.approx(1 / 3)


def test_confusion_has_truth_in_rows():
    """Both axes carry the same emotions in alphabetical order, predicted ones too."""
    table = metrics.confusion(["fear", "anger", "fear"], ["sadness", "anger", "fear"])
    assert list(table.index) == list(table.columns) == ["anger", "fear", "sadness"]
    assert table.loc["fear"].to_dict() == {"anger": 0, "fear": 1, "sadness": 1}
    assert table.index.name == "truth"


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
    """A speaker has one UAR and one accuracy row, over that speaker's clips and emotions only."""
    rows = metrics.score_rows(
        ["anger", "anger", "fear", "fear"],
        ["anger", "fear", "fear", "fear"],
        ["08", "08", "08", "10"],
        **KEY,
    )
    assert list(rows.columns) == metrics.ROW_COLUMNS
    scores = rows.set_index(["speaker", "metric"])["value"].to_dict()
    assert scores == {
        ("08", "uar"): 0.75,
        ("08", "accuracy"): pytest.approx(2 / 3),
        ("10", "uar"): 1.0,
        ("10", "accuracy"): 1.0,
    }
    assert rows["n"].tolist() == [3, 3, 1, 1]
    main = {"modality": "speech", "inputs": "plain", "variant": "", "draw": 0, "note": ""}
    assert all(rows[column].eq(value).all() for column, value in main.items())


def test_pooled_rows_hold_all_clips():
    """Pooled rows are over all clips at once."""
    key = KEY | {"fold": "all"}
    rows = metrics.score_rows(["anger", "anger", "fear"], ["anger", "fear", "fear"], "all", **key)
    scores = rows.set_index("metric")["value"].to_dict()
    assert scores == {"uar": 0.75, "accuracy": pytest.approx(2 / 3)}
    assert rows["n"].tolist() == [3, 3]
    assert set(rows["speaker"]) == set(rows["fold"]) == {"all"}


def test_a_column_that_rows_do_not_have_is_refused():
    """A misspelt column is named, with the valid ones."""
    with pytest.raises(TypeError, match=r"no column \['goal'\], only \['protocol', 'source'"):
        metrics.score_rows(["fear"], ["fear"], ["08"], goal="savee", **KEY)


def test_checked_rows_have_the_columns_in_their_order_and_types():
    """Whatever order and types they came in."""
    rows = rows_of([[0.5, 0.6]])
    mixed = rows[rows.columns[::-1]].astype({"seed": float, "n": float, "speaker": object})
    pd.testing.assert_frame_equal(metrics.check_rows(mixed), rows)


def test_wrong_rows_are_refused():
    """Other columns, a row that is there twice, and a value that is missing without a note."""
    rows = rows_of([[0.5, 0.6]])
    missing = metrics.not_run_rows("not found", protocol="svm", target="savee")
    assert len(metrics.check_rows(pd.concat([rows, missing]))) == 3
    for wrong, words in (
        (rows.drop(columns="draw"), "result rows have columns"),
        (rows.assign(notebook="01"), "result rows have columns"),
        (pd.concat([rows, rows[:1]]), "1 of 3 result rows are there twice, the first is .*'00'"),
        (rows.assign(value=[0.5, np.nan]), "1 of 2 .* without a value and without a note"),
    ):
        with pytest.raises(ValueError, match=words):
            metrics.check_rows(wrong)


def test_rows_survive_a_csv(tmp_path):
    """Rows come back as they were: "03" stays text, speaker NA a speaker, no value no value."""
    key = KEY | {"source": "", "variant": "groups=3", "draw": 2}
    scored = metrics.score_rows(["fear", "fear"], ["fear", "anger"], ["03", "NA"], **key)
    missing = metrics.not_run_rows("enterface not found", protocol="pathnet", target="enterface")
    rows = pd.concat([scored, missing], ignore_index=True)
    rows.to_csv(tmp_path / "results.csv", index=False)
    pd.testing.assert_frame_equal(metrics.read_rows(tmp_path / "results.csv"), rows)


def test_summary_by_hand():
    """Speakers 0.5, 0.6, 0.7 and seeds 8/15, 10/15: 0.6 ± t(0.975, 98/41) sqrt(7/900).

    1/300 of the variance is of speakers with 2 df, 1/225 of seeds with 1 df."""
    row = metrics.summary(rows_of([[0.4, 0.6], [0.6, 0.6], [0.6, 0.8]]), ["protocol"]).loc[0]
    half_width = stats.t.ppf(0.975, 98 / 41) * np.sqrt(7 / 900)
    assert row["mean"] == pytest.approx(0.6)
    assert row["low"] == pytest.approx(0.6 - half_width)
    assert row["high"] == pytest.approx(0.6 + half_width)
    assert (row["n_speakers"], row["n_seeds"]) == (3, 2)


def test_a_draw_may_take_the_place_of_a_speaker():
    """Draw means 0.5, 0.6 and 0.7 give 0.6 ± t(0.975, 2) 0.1 / sqrt(3), of three draws."""
    values = ([0.4, 0.6], [0.6, 0.6], [0.6, 0.8])
    draws = pd.concat([rows_of(np.c_[two], draw=draw) for draw, two in enumerate(values)])
    row = metrics.summary(draws, ["target"], unit="draw").loc[0]
    half_width = 4.302652729911275 * 0.1 / np.sqrt(3)
    assert (row["mean"], row["low"]) == (pytest.approx(0.6), pytest.approx(0.6 - half_width))
    assert row["n_draws"] == 3 and "n_speakers" not in row


def test_a_seed_of_each_draw_alone_is_no_factor_of_its_own():
    """Its variance is in that of draws: 0.5, 0.6 and 0.7 give an interval of three numbers."""
    draws = [rows_of([[0.4 + d / 10], [0.6 + d / 10]], draw=d, seed=d) for d in range(3)]
    row = metrics.summary(pd.concat(draws), ["target"], unit="draw").loc[0]
    interval = stats.ttest_1samp([0.5, 0.6, 0.7], 0).confidence_interval()
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
    assert row["n_seeds"] == 3


def test_summary_pools_over_seeds():
    """The pooled column is the mean over seeds of the rows of all clips."""
    pooled = rows_of([[0.5, 0.7]], fold="all", speaker="all")
    row = metrics.summary(pd.concat([rows_of([[0.1, 0.1], [0.2, 0.2]]), pooled]), ["target"]).loc[0]
    assert row["pooled"] == pytest.approx(0.6)
    assert row["mean"] == pytest.approx(0.15)


@pytest.mark.filterwarnings("error")
def test_groups_may_be_of_targets_or_draws():
    """What tells one speaker from another may part the table as well."""
    rows = pd.concat([rows_of([[0.4, 0.6], [0.6, 0.8]], draw=draw) for draw in (0, 1)])
    for by in ("target", "draw"):
        table = metrics.summary(rows, [by])
        assert table["n_speakers"].eq(2).all() and table["mean"].mean() == pytest.approx(0.6)


def test_a_speaker_counts_once():
    """With more seeds or draws one weighs no more, and speaker 00 of two corpora is two people."""
    for more in (rows_of([[0.2, 0.2, 0.2]]), pd.concat([rows_of(0.2, draw=d) for d in range(3)])):
        uneven = pd.concat([more, rows_of([[0.8]], first_speaker=1)])
        assert metrics.summary(uneven, ["protocol"]).loc[0, "mean"] == pytest.approx(0.5)
    corpora = pd.concat([rows_of([[0.2]]), rows_of([[0.8]], target="emodb")])
    assert metrics.summary(corpora, ["protocol"]).loc[0, "n_speakers"] == 2


def test_summary_keeps_what_was_not_run():
    """A group without a value stays, in the order of the rows, with no mean and no speaker."""
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
    [
        {"modality": "landmarks"},
        {"inputs": "speaker-normalised"},
        {"variant": "training_speakers=4"},
        {"corpus_version": "synthetic-0"},
        {"protocol": "svm"},
    ],
)
def test_what_cannot_be_averaged_is_refused(mixed):
    """None of these is averaged by accident, but each may part the table."""
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
    """Of 1,000 simulated studies 94 to 96.5 % hold the true mean; with a skew, 91 %."""
    rng = np.random.default_rng(n_speakers)
    for values, truth, lowest in (
        (rng.normal(0.6, 0.1, (1000, n_speakers)), 0.6, 0.94),
        (rng.beta(6, 1.5, (1000, n_speakers)), 0.8, 0.91),
    ):
        columns = {"speaker": "target", "seed": "speaker", "target": "seed"}
        studies = rows_of(values).rename(columns=columns).assign(seed=0).astype(metrics.ROW_TYPES)
        table = metrics.summary(studies, ["target"])
        covered = ((table["low"] <= truth) & (truth <= table["high"])).mean()
        assert len(table) == 1000
        assert lowest <= covered <= 0.965


def test_intervals_cover_95_percent_where_seeds_matter():
    """Of 1,000 studies of 10 speakers and 5 seeds; an interval of speakers alone holds few."""
    rng, shape = np.random.default_rng(0), (1000, 10, 5)
    speaker, seed = rng.normal(0, 0.1, (1000, 10, 1)), rng.normal(0, 0.05, (1000, 1, 5))
    values = 0.6 + speaker + seed + rng.normal(0, 0.05, shape)
    study, speaker, seed = map(np.ravel, np.indices(shape))
    columns = dict(target=study.astype(str), speaker=speaker.astype(str), seed=seed, metric="uar")
    rows = pd.DataFrame(metrics.DEFAULTS | KEY | columns | dict(value=values.ravel()))
    table = metrics.summary(rows, ["target"])
    assert 0.94 <= ((table["low"] <= 0.6) & (table["high"] >= 0.6)).mean()
    of_speakers = values.mean(2)
    half_width = stats.t.ppf(0.975, 9) * stats.sem(of_speakers, axis=1)
    assert (abs(of_speakers.mean(1) - 0.6) <= half_width).mean() < 0.91


def test_paired_difference_by_hand():
    """Means apart by 0.1, 0.2, 0.3 and 0.4, seeds by 0.225 and 0.275, first minus second."""
    rows = pd.concat(
        [
            rows_of([[0.5, 0.7], [0.7, 0.7], [0.8, 0.8], [0.9, 0.9]]),
            rows_of([[0.5], [0.5], [0.5], [0.5]], protocol="svm", source=""),
        ]
    )
    row = metrics.paired_difference(rows, "pathnet", "svm").loc[0]
    assert row["difference"] == pytest.approx(0.25)
    speakers, seeds = 0.05 / 3 / 4, 0.00125 / 2
    df = (speakers + seeds) ** 2 / (speakers**2 / 3 + seeds**2 / 1)
    half_width = stats.t.ppf(0.975, df) * np.sqrt(speakers + seeds)
    assert (row["low"], row["high"]) == pytest.approx((0.25 - half_width, 0.25 + half_width))
    assert row["p"] == pytest.approx(2 * stats.t.sf(0.25 / np.sqrt(speakers + seeds), df))
    assert row["n_speakers"] == 4
    other_way = metrics.paired_difference(rows, "svm", "pathnet").loc[0]
    assert (other_way["low"], other_way["p"]) == pytest.approx((-row["high"], row["p"]))


def test_with_one_seed_it_is_the_paired_t_test():
    """Interval and p are those of scipy."""
    first, second = np.random.default_rng(0).normal([[0.54], [0.5]], 0.1, (2, 10))
    rows = pd.concat([rows_of(first[:, None]), rows_of(second[:, None], protocol="svm")])
    row = metrics.paired_difference(rows, "pathnet", "svm").loc[0]
    expected = stats.ttest_rel(first, second)
    by_hand = *expected.confidence_interval(), expected.pvalue
    assert (row["low"], row["high"], row["p"]) == pytest.approx(by_hand)


def test_a_speaker_meets_itself_under_the_same_seed():
    """What a seed does to both sides is no difference, and a seed of one side alone is no pair."""
    rng = np.random.default_rng(0)
    second = rng.normal(0.5, 0.1, (6, 1)) + rng.normal(0, 0.2, 5)
    apart = rng.normal(0.05, 0.02, (6, 1))
    for n_seeds in (5, 3):
        rows = pd.concat([rows_of((second + apart)[:, :n_seeds]), rows_of(second, protocol="svm")])
        row = metrics.paired_difference(rows, "pathnet", "svm").loc[0]
        expected = stats.ttest_1samp(apart[:, 0], 0)
        assert (row["low"], row["p"]) == pytest.approx(
            (expected.confidence_interval().low, expected.pvalue)
        )


def test_a_side_of_one_draw_meets_all_draws_of_the_other():
    """A classifier that needs none is compared in each: by 0.15, 0.2 and 0.25."""
    draws = [rows_of([[0.6 + 0.1 * draw], [0.7]], draw=draw) for draw in range(3)]
    rows = pd.concat([*draws, rows_of([[0.5], [0.5]], protocol="svm")])
    row = metrics.paired_difference(rows, "pathnet", "svm", unit="draw").loc[0]
    expected = stats.ttest_1samp([0.15, 0.2, 0.25], 0)
    assert row["n_draws"] == 3
    assert (row["difference"], row["p"]) == pytest.approx((0.2, expected.pvalue))


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
    """What has no source, or fixes one, is not matched by it: each source meets it."""
    rows = pd.concat(
        [
            rows_of([[0.6], [0.7]]),
            rows_of([[0.4], [0.5]], source="ravdess"),
            rows_of([[0.5], [0.5]], protocol="from_scratch", source=""),
        ]
    )
    for rival in ("from_scratch", {"protocol": "from_scratch", "source": ""}):
        table = metrics.paired_difference(rows, "pathnet", rival, ["source", "target"])
        differences = table.set_index("source")["difference"].to_dict()
        assert differences == {"emodb": pytest.approx(0.15), "ravdess": pytest.approx(-0.05)}


def test_inputs_are_compared_only_on_request():
    """Plain meets plain, unless both sides say otherwise."""
    normalised = rows_of([[0.7], [0.8]], protocol="svm", inputs="speaker-normalised")
    rows = pd.concat([rows_of([[0.5], [0.6]], protocol="svm"), normalised])
    sides = ({"protocol": "svm", "inputs": i} for i in ("speaker-normalised", "plain"))
    row = metrics.paired_difference(rows, *sides).loc[0]
    assert row["difference"] == pytest.approx(0.2)
    rows = pd.concat([rows_of([[0.5], [0.6]]), normalised])
    with pytest.raises(ValueError, match="no speaker has 'uar' rows of both"):
        metrics.paired_difference(rows, "pathnet", "svm")


def test_variants_are_averaged_only_on_purpose():
    """Speakers meet themselves under each variant; over several only where `over` says so."""
    few = {"variant": "training_speakers=4"}
    rows = [rows_of([[0.6], [0.8]]), rows_of([[0.4], [0.5]], **few)]
    rows += [
        rows_of([[0.5], [0.5]], protocol="svm"),
        rows_of([[0.2], [0.2]], protocol="svm", **few),
    ]
    rows = pd.concat(rows)
    with pytest.raises(ValueError, match="variant .* would be averaged"):
        metrics.paired_difference(rows, "pathnet", "svm")
    table = metrics.paired_difference(rows, "pathnet", "svm", ["variant"])
    differences = table.set_index("variant")["difference"].to_dict()
    assert differences == {"": pytest.approx(0.2), few["variant"]: pytest.approx(0.25)}
    row = metrics.paired_difference(rows, "pathnet", "svm", over=["variant"]).loc[0]
    assert row["difference"] == pytest.approx(0.225) and row["n_speakers"] == 2


def test_comparing_is_paired_differences_and_holm():
    """One table of all pairs, with p-values corrected over all of its rows."""
    normal = np.random.default_rng(0).normal
    rows = [rows_of(normal(0.7, 0.1, (8, 1)), source=source) for source in ("emodb", "ravdess")]
    rows += [rows_of(normal(0.6, 0.1, (8, 1)), protocol="fine_tune")]
    rows += [rows_of(normal(0.5, 0.1, (8, 1)), protocol="svm", source="")]
    rows, rivals = pd.concat(rows), ("svm", "fine_tune")
    table = metrics.compare(rows, [("pathnet", rival) for rival in rivals], ["source"])
    parts = [metrics.paired_difference(rows, "pathnet", rival, ["source"]) for rival in rivals]
    by_hand = pd.concat(parts, ignore_index=True)
    by_hand = by_hand.assign(protocol="pathnet", rival=["svm", "svm", "fine_tune"])
    by_hand["p_holm"] = metrics.holm(by_hand["p"])
    columns = "protocol rival source difference low high n_speakers p p_holm".split()
    pd.testing.assert_frame_equal(table, by_hand[columns])
    assert table["source"].tolist() == ["emodb", "ravdess", "emodb"]


def test_sides_of_a_comparison_may_be_values_of_a_column():
    """The value then stands for the side, whatever the protocols, which `by` parts."""
    rows = pd.concat([rows_of([[0.5], [0.7]]), rows_of([[0.6], [0.6]], protocol="svm")])
    rows = pd.concat([rows, rows.assign(inputs="speaker-normalised", value=rows["value"] + 0.1)])
    sides = {"inputs": "speaker-normalised"}, {"inputs": "plain"}
    table = metrics.compare(rows, [sides], ["protocol"])
    assert table["rival"].tolist() == ["plain", "plain"]
    np.testing.assert_allclose(table["difference"], 0.1)


def test_holm_by_hand():
    """Sorted p-values are multiplied by 3, 2, 1 and never fall, in the order given, 1 at most."""
    np.testing.assert_allclose(metrics.holm([0.04, 0.01, 0.03]), [0.06, 0.03, 0.06])
    np.testing.assert_allclose(metrics.holm([0.5, 0.9]), [1.0, 1.0])
    assert metrics.holm([]).size == 0


def main_and_other_rows():
    """Rows of two sources, from scratch, of a variant, and of what was not run, of a notebook."""
    rows = pd.concat(
        [
            rows_of([[0.5, 0.7], [0.7, 0.9]]),
            rows_of([[0.5], [0.5]], protocol="from_scratch", source=""),
            rows_of([[0.1], [0.1]], variant="steps=100"),
            metrics.not_run_rows("not found", protocol="pathnet", source="crema", target="savee"),
        ]
    )
    return rows.assign(notebook="04_audio")


def test_the_results_table_has_a_column_a_protocol():
    """Scores in percent with intervals, no line for what was not run, and nothing where nothing
    was asked."""
    table = metrics.results_table(metrics.headline(main_and_other_rows()))
    assert table.index.names == ["target", "modality", "inputs", "source"]
    assert list(table) == ["pathnet", "from_scratch", "speakers", "seeds"]
    cells = {source: row.tolist() for (*_, source), row in table.iterrows()}
    assert cells == {
        "emodb": ["70.0 [9.2, 100.0]", "", 2, 2],  # t may give more than there is
        "none": ["", "50.0 [50.0, 50.0]", 2, 1],
    }
    markdown = metrics.markdown_table(table)
    assert markdown.splitlines()[:2] == [
        "| target | modality | inputs | source | pathnet | from_scratch | speakers | seeds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    line = "| savee | speech | plain | none |  | 50.0 [50.0, 50.0] | 2 | 1 |"
    assert line in markdown.splitlines()


def test_what_was_not_run_is_named():
    """Targets without any value, by modality; one that some other source gave a value is not."""
    rows = main_and_other_rows()
    assert metrics.not_run(rows) == ""
    lost = [("crema", "speech"), ("crema", "hog"), ("emodb", "hog"), ("savee", "hog")]
    lost = [metrics.not_run_rows("lost", target=t, modality=m) for t, m in lost]
    assert metrics.not_run(pd.concat([rows, *lost])) == (
        "Not run, for want of data: crema (speech, hog); emodb (hog); savee (hog)."
    )


def test_headline_rows_are_those_of_the_main_comparison():
    """Variants, and the fusion of notebook 06, stand in the notebooks that made them."""
    rows = main_and_other_rows()
    fusion = rows[:1].assign(notebook="06_ravdess_multimodal")
    assert set(metrics.headline(pd.concat([rows, fusion]))["notebook"]) == {"04_audio"}
    assert len(metrics.headline(rows)) == len(rows) - 2


def test_a_verdict_counts_by_hand():
    """Of five, one interval is above zero, one below, two within the margin on either side of
    it; of the p-values one survives Holm."""
    table = pd.DataFrame({"difference": [0.04, -0.02, 0.01, 0.01, -0.005]})
    table["low"] = [0.01, -0.03, -0.01, 0.005, -0.015]
    table["high"] = [0.05, -0.01, 0.03, 0.015, 0.005]
    table["p"] = [0.02, 0.03, 0.5, 0.001, 0.4]
    assert metrics.verdict(table) == (
        "+0.7 points on average over 5 comparisons; better in 1, worse in 1, level in 2, "
        "undecided in 1; 1 significant at 5 %"
    )
    assert "level in 0" in metrics.verdict(table, margin=0.01)
    assert "over 1 comparison;" in metrics.verdict(table[:1])


EFFECTS = {  # low, high, corrected p
    "up": (0.01, 0.05, 0.01),
    "up, perhaps": (0.01, 0.05, 0.2),
    "a little up": (0.001, 0.01, 0.01),
    "level": (-0.01, 0.01, 0.9),
    "open": (-0.01, 0.05, 0.9),
    "none": (np.nan, np.nan, np.nan),
    "down": (-0.05, -0.01, 0.01),
    "down, perhaps": (-0.05, -0.01, 0.2),
}


@pytest.mark.parametrize(
    "word, pairs",
    [
        ("supported", [("up", "up"), ("up", "a little up")]),
        ("supported in part", [("up", "up, perhaps"), ("up", "open"), ("level", "up")]),
        ("level", [("level", "level"), ("level", "a little up")]),
        ("undecided", [("up", "down"), ("up", "down, perhaps"), ("down", "up, perhaps")]),
        ("undecided", [("up, perhaps", "up, perhaps"), ("level", "open"), ("level", "none")]),
        ("contradicted in part", [("down", "down, perhaps"), ("open", "down"), ("down", "none")]),
        ("contradicted", [("down", "down")]),
    ],
)
def test_judgements_by_hand(word, pairs):
    """Of two effects all, some, none or both sides are clear of zero, surely or perhaps."""
    for pair in pairs:
        effects = pd.DataFrame([EFFECTS[name] for name in pair], columns=["low", "high", "p_holm"])
        assert metrics.judge(effects) == word, pair
