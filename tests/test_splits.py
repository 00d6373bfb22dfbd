"""Splits: no speaker and no recording on both sides, each row tested once, RAVDESS's own."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathemo import corpora, splits

ACTORS = [f"{actor:02d}" for actor in range(1, 25)]


def index_of(speaker, **columns):
    return pd.DataFrame({"speaker": pd.array(speaker, dtype="string"), **columns})


def all_folds(index):
    """What every kind of split gives."""
    n_speakers = index["speaker"].nunique()
    yield splits.leave_one_speaker_out(index)
    for n_folds in {2, (n_speakers + 2) // 2, n_speakers}:
        yield splits.speaker_folds(index, n_folds, seed=n_folds)


names = st.sampled_from(["03", "08", "DC", "JE", "01", "NA", "ä"])
speakers = st.lists(names, min_size=2, max_size=60).filter(lambda drawn: len(set(drawn)) > 1)


@given(speakers)
def test_no_speaker_is_on_both_sides(speaker):
    """Whatever the speakers, training and test speakers of each fold are disjoint."""
    for folds in all_folds(index_of(speaker)):
        for fold in folds:
            assert not set(np.array(speaker)[fold.train]) & set(np.array(speaker)[fold.test])


@given(speakers)
def test_every_row_is_tested_once(speaker):
    """The test sides of all folds hold each row exactly once, and train is the rest."""
    for folds in all_folds(index_of(speaker)):
        assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(len(speaker)))
        for fold in folds:
            assert sorted([*fold.train, *fold.test]) == list(range(len(speaker)))
            assert min(len(fold.train), len(fold.test)) > 0


def test_the_split_that_shares_speakers_does():
    """Each row is tested once, emotions are dealt evenly, and speakers are on both sides."""
    index = index_of(np.repeat(ACTORS[:4], 20), emotion=np.tile(["anger", "fear"], 40))
    folds = splits.speakers_shared(index, 4)
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(80))
    for fold in folds:
        assert (index["emotion"].iloc[fold.test] == "anger").sum() == 10
        with pytest.raises(AssertionError, match="on both sides"):
            splits.assert_speaker_disjoint([fold], index)


def clips_of(clips):
    """Index of (speaker, statement, emotion) triples."""
    return pd.DataFrame(clips, columns=["speaker", "statement", "emotion"], dtype="string")


said = st.lists(
    st.tuples(names, st.sampled_from("stuvw"), st.sampled_from(["anger", "joy"])), min_size=12
)
said = said.filter(lambda drawn: all(len(set(column)) > 1 for column in list(zip(*drawn))[:2]))
few_of_an_emotion = pytest.mark.filterwarnings("ignore:The least populated class")


@few_of_an_emotion
@given(said, st.integers(2, 3))
def test_no_speaker_and_no_sentence_is_on_both_sides(clips, n_groups):
    """Whatever is said by whom, both are unknown in training, and each clip is tested once."""
    index = clips_of(clips)
    folds = splits.leave_one_speaker_out(index)
    folds = splits.speaker_and_sentence_disjoint(index, folds, n_groups=n_groups)
    for fold in folds:
        for column in ("speaker", "statement"):
            assert not set(index[column][fold.train]) & set(index[column][fold.test])
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(len(index)))


@few_of_an_emotion
@given(said)
def test_the_control_learns_as_many_clips_of_each_speaker_and_emotion(clips):
    """Tested on the same, it draws them from the training clips of the fold of that name."""
    index, kind = clips_of(clips), ["speaker", "emotion"]
    wholes = splits.leave_one_speaker_out(index)
    folds = splits.speaker_and_sentence_disjoint(index, wholes, n_groups=2)
    control = splits.as_many_clips(index, folds, wholes)
    train = {fold.name: set(fold.train) for fold in wholes}
    for fold, other in zip(folds, control, strict=True):
        assert fold.name == other.name and (fold.test == other.test).all()
        assert set(other.train) <= train[fold.name] and len(set(other.train)) == len(other.train)
        counts = (index.iloc[f.train].value_counts(kind).to_dict() for f in (fold, other))
        assert next(counts) == next(counts)


def test_the_control_hears_the_sentences_that_it_is_tested_on():
    """Of two sentences, a speaker's eight clips of each, it learns eight of both together."""
    index = clips_of([(s, w, "joy") for s in "ab" for w in "xy" for _ in range(8)])
    wholes = splits.leave_one_speaker_out(index)
    folds = splits.speaker_and_sentence_disjoint(index, wholes)
    control = splits.as_many_clips(index, folds, wholes)
    assert [index["statement"][f.train].nunique() for f in folds] == [1] * 4
    assert [index["statement"][f.train].nunique() for f in control] == [2] * 4
    fewer = splits.as_many_clips(index, folds, [f._replace(train=f.train[:3]) for f in wholes])
    assert [len(fold.train) for fold in fewer] == [3] * 4


def test_a_leak_of_the_folds_is_caught_when_sentences_are_parted():
    """Of folds made by hand, one that has speaker "a" on both sides does not pass."""
    index = clips_of([(s, w, "joy") for s in "abc" for w in "xyz"])
    leak = splits.Fold("mine", np.arange(3), np.arange(2, 9))
    with pytest.raises(AssertionError, match=r"'mine' has speakers \['a'\] on both sides"):
        splits.speaker_and_sentence_disjoint(index, [leak])


def test_ravdess_folds_are_the_published_ones():
    """Folds "1" to "5" test 24 actors once, 300 clips each and 240 in the last."""
    assert sorted(actor for actors in splits.RAVDESS_FOLDS for actor in actors) == ACTORS
    index = index_of(np.repeat(ACTORS, 60), corpus="ravdess")
    folds = splits.folds_for(index)
    assert [fold.name for fold in folds] == ["1", "2", "3", "4", "5"]
    assert [len(fold.test) for fold in folds] == [300, 300, 300, 300, 240]
    assert set(index["speaker"][folds[4].test]) == {"01", "04", "09", "22"}


def test_a_part_of_ravdess_has_the_published_folds_that_it_fills():
    """Actors that are not here are left out, and so is a fold without any."""
    index = index_of(["01", "02", "05", "03", "01"], corpus="ravdess")
    tested = {fold.name: set(index["speaker"][fold.test]) for fold in splits.folds_for(index)}
    assert tested == {"1": {"02", "05"}, "2": {"03"}, "5": {"01"}}


def test_a_stranger_has_no_published_fold():
    """A speaker who is no RAVDESS actor is refused by name."""
    with pytest.raises(ValueError, match=r"\['25'\] are not in RAVDESS"):
        splits.published_folds(index_of([*ACTORS, "25"]))


@pytest.mark.parametrize(("n_speakers", "n_folds"), [(4, 4), (12, 12), (13, 5), (42, 5)])
def test_protocol_follows_the_number_of_speakers(n_speakers, n_folds):
    """Up to 12 speakers each is left out in turn, above that there are five folds."""
    speaker = [f"{k:02d}" for k in range(n_speakers)]
    assert len(splits.folds_for(index_of(speaker, corpus="own"))) == n_folds


def test_speaker_folds_balance_speakers_and_genders():
    """Folds differ by one speaker at most, in all and in women and men."""
    speaker = [f"{k:02d}" for k in range(42)]
    gender = pd.array(["female"] * 9 + ["male"] * 32 + [None], dtype="string")
    index = index_of(speaker, gender=gender)
    tested = [index.iloc[fold.test] for fold in splits.speaker_folds(index, 5, seed=3)]
    for counts in (
        [len(rows) for rows in tested],
        [(rows["gender"] == "female").sum() for rows in tested],
        [(rows["gender"] == "male").sum() for rows in tested],
    ):
        assert max(counts) - min(counts) <= 1


def test_speaker_folds_depend_on_the_seed_only():
    """Whatever the order of rows, a seed deals the same speakers; another one, others."""
    index = index_of([f"{k:02d}" for k in range(20)], gender=["female", "male"] * 10)
    mixed = index.sample(frac=1, random_state=0).reset_index(drop=True)

    def dealt(index, seed):
        return [set(index["speaker"][fold.test]) for fold in splits.speaker_folds(index, 4, seed)]

    assert dealt(index, 0) == dealt(mixed, 0)
    assert dealt(index, 0) != dealt(index, 1)


def test_more_folds_than_speakers_are_refused():
    """The error says how many folds the speakers allow."""
    with pytest.raises(ValueError, match="n_folds=3, but 2 speakers allow 2 to 2 folds"):
        splits.speaker_folds(index_of(["a", "b"]), 3, seed=0)


def test_one_speaker_is_no_split():
    """A corpus of one speaker cannot be split by speaker."""
    with pytest.raises(ValueError, match=r"\['DC'\]"):
        splits.leave_one_speaker_out(index_of(["DC", "DC"]))


def test_missing_speaker_is_refused():
    """A row without a speaker is refused with its position and the reason."""
    index = index_of(["a", None, "b"])
    for make, more in (
        (splits.leave_one_speaker_out, ()),
        (splits.published_folds, ()),
        (splits.speaker_folds, (2, 0)),
    ):
        with pytest.raises(ValueError, match=r"missing in 1 rows \(the first is row 1\)"):
            make(index, *more)
    with pytest.raises(ValueError, match="speaker is missing"):
        splits.speaker_normalise(np.ones((3, 1)), index["speaker"])


def test_overlap_is_caught():
    """A fold made by hand with a speaker on both sides does not pass."""
    fold = splits.Fold("mine", np.array([0, 1]), np.array([2]))
    with pytest.raises(AssertionError, match=r"'mine' has speakers \['a'\] on both sides"):
        splits.assert_speaker_disjoint([fold], index_of(["a", "b", "a"]))


def recordings(folder, contents):
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in contents]


def test_same_recording_on_both_sides_is_refused(tmp_path):
    """Equal bytes under two speakers are refused, and both files and speakers are named."""
    contents = {"a1.wav": b"same", "a2.wav": b"else", "b1.wav": b"same", "b2.wav": b"longer"}
    files = recordings(tmp_path, contents)
    index = index_of(["a", "a", "b", "b"], audio=pd.array(files, dtype="string"))
    with pytest.raises(ValueError, match=r"a1.wav = \S*b1.wav, as speakers a and b"):
        splits.leave_one_speaker_out(index)


def test_same_recording_of_one_speaker_is_fine(tmp_path):
    """A duplicate within one speaker never meets itself, and missing files are not equal."""
    files = recordings(tmp_path, {"a1.wav": b"same", "a2.wav": b"same", "b1.wav": b"else"})
    index = index_of(
        ["a", "a", "b", "b"],
        audio=pd.array([*files, None], dtype="string"),
        video=pd.array([None] * 4, dtype="string"),
    )
    assert len(splits.leave_one_speaker_out(index)) == 2


def test_a_changed_file_is_read_again(tmp_path):
    """The remembered checksum of a file does not outlive its content."""
    files = recordings(tmp_path, {"a.wav": b"one", "b.wav": b"two"})
    index = index_of(["a", "b"], audio=pd.array(files, dtype="string"))
    splits.leave_one_speaker_out(index)
    (tmp_path / "b.wav").write_bytes(b"one")
    with pytest.raises(ValueError, match="one recording on both sides"):
        splits.leave_one_speaker_out(index)


def test_speaker_normalise_is_a_z_score_of_each_speaker():
    """A speaker's features have mean 0, deviation 1; constant ones, and a single clip, are 0."""
    rng = np.random.default_rng(0)
    speaker = np.array(["a"] * 5 + ["b"] * 4 + ["c"])
    features = rng.normal(3, 2, (10, 3)).astype(np.float32)
    features[speaker == "b"] += 5
    features[:, 2] = 0.1
    normalised = splits.speaker_normalise(features, speaker)
    for name in "ab":
        rows = normalised[speaker == name]
        np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(rows[:, :2].std(axis=0), 1, rtol=1e-5)
    assert not normalised[:, 2].any()
    assert not normalised[9].any()
    assert normalised.dtype == np.float32


def test_speaker_normalise_sees_no_other_speaker():
    """Another speaker's clips do not change a speaker's features."""
    speaker = np.array(["a", "a", "a", "b", "b"])
    features = np.random.default_rng(1).normal(size=(5, 2))
    louder = features * np.where(speaker == "b", 10, 1)[:, None]
    before, after = (splits.speaker_normalise(x, speaker) for x in (features, louder))
    np.testing.assert_array_equal(before[:3], after[:3])


@pytest.mark.recorded
def test_real_ravdess_has_its_published_clip_counts(recorded_root):
    """The published folds of the real corpus test 300, 300, 300, 300 and 240 clips."""
    if not corpora.found("ravdess", recorded_root):
        pytest.skip("ravdess not found, see data/README.md")
    folds = splits.folds_for(corpora.load("ravdess", recorded_root))
    assert [len(fold.test) for fold in folds] == [300, 300, 300, 300, 240]
