"""Facts about the synthetic corpora: real names and formats, seeded, whole or absent, learnable."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import av
import cv2
import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pathemo import corpora, splits, synthetic
from pathemo.corpora import reading

CLIPS = {"emodb": 140, "enterface": 60, "ravdess": 192, "savee": 64}


def pictures(path):
    """All frames of a film as (n_frames, height, width, 3)."""
    with av.open(str(path)) as container:
        return np.array([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def clip_of(corpus, emotion="happiness"):
    """The first clip of the emotion that has a film."""
    clips = synthetic.clips(corpus)
    return next(clip for clip in clips if "video" in clip and clip["emotion"] == emotion)


def recognised(features, clips):
    """UAR of logistic regression on people that it did not learn from."""
    emotion, speaker = ([clip[what] for clip in clips] for what in ("emotion", "speaker"))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    folds = GroupKFold(min(5, len(set(speaker))))
    prediction = cross_val_predict(model, features, emotion, groups=speaker, cv=folds)
    return balanced_accuracy_score(emotion, prediction)


@pytest.fixture
def few(monkeypatch):
    """Every corpus cut down to every ninth clip, so that writing takes no time."""
    clips = {name: synthetic.clips(name)[::9] for name in CLIPS}
    media = ("audio", "video", "landmarks")
    files = {
        name: [clip[medium] for clip in clips[name] for medium in media if medium in clip]
        for name in CLIPS
    }
    monkeypatch.setattr(synthetic, "FILES", files)


@pytest.mark.parametrize("name", CLIPS)
def test_the_reader_of_the_corpus_knows_every_name(name, synthetic_root):
    """`load` finds every clip, with speaker, emotion and files as they were written."""
    index = corpora.load(name, root=synthetic_root).set_index("clip")
    written = pd.DataFrame(synthetic.clips(name)).set_index("clip").sort_index()
    assert len(index) == CLIPS[name]
    assert index.attrs["version"].startswith("synthetic-")
    assert (index.index == written.index).all()
    for column in ("speaker", "emotion"):
        assert (index[column] == written[column]).all()
    for medium in ("audio", "video", "landmarks"):
        expected = written[medium].notna() if medium in written else False
        assert (index[medium].notna() == expected).all()


def test_all_emotions_and_the_folds_of_the_study_are_there(synthetic_root):
    """Every emotion of each corpus; 10, 5, 24 and 4 people; a film in each fold of RAVDESS."""
    people = {"emodb": 10, "enterface": 5, "ravdess": 24, "savee": 4}
    for name, n_people in people.items():
        index = corpora.load(name, root=synthetic_root)
        assert set(index["emotion"]) == set(reading.READERS[name].EMOTIONS.values())
        assert index["speaker"].nunique() == n_people
    filmed = {clip["speaker"] for clip in synthetic.clips("ravdess") if "video" in clip}
    assert all(filmed & set(fold) for fold in splits.RAVDESS_FOLDS)


@pytest.mark.parametrize(
    ("name", "rate"), [("emodb", 16_000), ("ravdess", 48_000), ("savee", 44_100)]
)
def test_sound_is_mono_16_bit_wav_at_the_published_rate(name, rate, synthetic_root):
    """WAV files have the format of the published ones, last about a second, and are loud enough."""
    for path in corpora.load(name, root=synthetic_root)["audio"]:
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (rate, 1, "PCM_16")
        assert 0.4 < info.duration < 2.5
        assert 0.01 < np.abs(soundfile.read(path)[0]).max() <= 1


def test_all_four_take_less_than_40_mb(synthetic_root):
    """The corpora are small."""
    assert sum(path.stat().st_size for path in synthetic_root.rglob("*") if path.is_file()) < 40e6


def test_the_registry_lists_every_file_with_its_checksum(synthetic_root):
    """SYNTHETIC.txt says so in its first line, and name, sha256 and size are those of the files."""
    folder = synthetic_root / "savee"
    first, *lines = (folder / "SYNTHETIC.txt").read_text().splitlines()
    assert first.startswith("# SYNTHETIC: made by pathemo.synthetic, seed 0")
    assert len(lines) == 2 * CLIPS["savee"]
    for line in lines[::40]:
        name, sha256, size = line.rsplit(" ", 2)
        content = (folder / name).read_bytes()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert (sha256, int(size)) == (digest, len(content))


@pytest.mark.parametrize("name", CLIPS)
def test_the_same_seed_gives_the_same_files(name, few, synthetic_root, tmp_path):
    """A few clips written alone equal those of the whole corpus, bytes and decoded frames."""
    whole, alone = synthetic_root / name, synthetic.write(name, tmp_path)
    assert len(synthetic.FILES[name]) >= CLIPS[name] // 9
    for file in synthetic.FILES[name]:
        assert (whole / file).read_bytes() == (alone / file).read_bytes()
        if file.endswith((".avi", ".mp4")):
            assert np.array_equal(pictures(whole / file), pictures(alone / file))


def test_a_clip_depends_on_its_seed_and_name_alone():
    """The same sound whatever was made before; another seed, clip or speaker is another."""
    first, second, *_ = synthetic.clips("emodb")
    alone = synthetic.speak(second, 0)
    synthetic.speak(first, 0)
    assert np.array_equal(alone, synthetic.speak(second, 0))
    for clip, seed in ((second, 1), (first, 0), (second | {"speaker": "16"}, 0)):
        other = synthetic.speak(clip, seed)
        assert len(other) != len(alone) or not np.array_equal(other, alone)


def test_a_whole_corpus_is_kept_and_a_broken_one_written_anew(few, tmp_path):
    """Nothing is written twice; a shortened file or another seed brings the corpus back whole."""
    folder = synthetic.write("emodb", tmp_path)
    path = folder / "wav" / "03a01Wa.wav"
    content, written = path.read_bytes(), path.stat().st_mtime_ns
    assert synthetic.write("emodb", tmp_path) == folder
    assert path.stat().st_mtime_ns == written
    path.write_bytes(content[:100])
    synthetic.write("emodb", tmp_path)
    assert path.read_bytes() == content
    synthetic.write("emodb", tmp_path, seed=1)
    assert path.read_bytes() != content
    assert [file.name for file in tmp_path.iterdir() if file.is_dir()] == ["emodb"]


def test_two_at_once_do_not_spoil_each_other(few, tmp_path):
    """Two that write the same corpus at the same time leave one whole corpus."""
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: synthetic.write("enterface", tmp_path), range(2))
    assert first == second
    assert len(corpora.load("enterface", root=tmp_path)) == len(synthetic.clips("enterface"))


def test_a_run_that_fails_leaves_nothing_under_the_real_name(few, tmp_path, monkeypatch):
    """When writing breaks off there is no corpus, and the next run writes it and clears up."""
    with monkeypatch.context() as patch:
        patch.setattr(synthetic, "_list", None)
        with pytest.raises(TypeError):
            synthetic.write("emodb", tmp_path)
    assert not (tmp_path / "emodb").exists()
    assert (synthetic.write("emodb", tmp_path) / "SYNTHETIC.txt").is_file()
    assert [file.name for file in tmp_path.iterdir() if file.is_dir()] == ["emodb"]


def test_recordings_are_never_touched(tmp_path):
    """A folder without SYNTHETIC.txt is refused and left as it is; the error names it."""
    recording = tmp_path / "savee" / "DC_a01.wav"
    recording.parent.mkdir()
    recording.write_bytes(b"recorded")
    with pytest.raises(FileExistsError, match="savee is no synthetic corpus"):
        synthetic.write("savee", tmp_path)
    assert [path.name for path in recording.parent.iterdir()] == ["DC_a01.wav"]
    assert recording.read_bytes() == b"recorded"


def test_an_unknown_corpus_is_named():
    """The error says what was asked for and what there is."""
    with pytest.raises(ValueError, match="'jaffe'; valid: emodb, enterface, ravdess, savee"):
        synthetic.write("jaffe", "nowhere")


@pytest.mark.parametrize("in_project", [True, False])
def test_root_is_in_the_project_or_in_the_cache(in_project, tmp_path, monkeypatch):
    """`root` writes all four below data/ of the project, or in PATHEMO_CACHE without one."""
    written = []
    monkeypatch.setattr(synthetic, "write", lambda name, root: written.append((name, root)))
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path / "cache"))
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    if in_project:
        (tmp_path / "environment.yml").write_text("name: pathemo\n")
    expected = tmp_path / ("data" if in_project else "cache") / "synthetic"
    assert synthetic.root() == expected
    assert written == [(name, expected) for name in synthetic.FILES]


@pytest.mark.parametrize("name", ["enterface", "ravdess", "savee"])
def test_the_face_is_found_in_nearly_all_frames(name, synthetic_root):
    """OpenCV's cascade finds the face, where its nose is, in 90 % of the frames of some clips."""
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    hits = []
    for clip in [clip for clip in synthetic.clips(name) if "video" in clip][::7]:
        frames = pictures(synthetic_root / name / clip["video"])
        seconds = len(synthetic.speak(clip, 0)) / synthetic.SOUND[name][0]
        points = synthetic.track(clip, seconds, 0)
        assert frames.shape[1:] == (synthetic.HEIGHT, synthetic.WIDTH, 3)
        for frame, nose in zip(frames, points[:, 30], strict=True):
            grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
            boxes = np.reshape(cascade.detectMultiScale(grey, 1.1, 3, minSize=(40, 40)), (-1, 4))
            inside = (boxes[:, :2] < nose) & (nose < boxes[:, :2] + boxes[:, 2:])
            hits.append(inside.all(axis=1).any())
    assert np.mean(hits) >= 0.9


def test_a_film_carries_the_sound_of_its_recording(synthetic_root):
    """The sound track of a SAVEE film is its WAV, up to the codec and its short delay."""
    clip = clip_of("savee")
    recorded, rate = soundfile.read(synthetic_root / "savee" / clip["audio"])
    with av.open(str(synthetic_root / "savee" / clip["video"])) as container:
        assert container.streams.audio[0].sample_rate == rate
        sound = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    filmed = np.concatenate(sound).astype(float)
    shared = np.fft.rfft(recorded, 2**17) * np.fft.rfft(filmed, 2**17).conj()
    similarity = np.fft.irfft(shared).max() / (np.linalg.norm(recorded) * np.linalg.norm(filmed))
    assert similarity > 0.95


def test_landmark_tables_have_the_published_form(synthetic_root):
    """Frame, time [s], 68 x and 68 y [pixels], a row a frame, inside the picture."""
    clip = synthetic.clips("ravdess")[0]
    table = pd.read_csv(synthetic_root / "ravdess" / clip["landmarks"])
    columns = [f"{axis}_{point}" for axis in "xy" for point in range(68)]
    assert list(table.columns) == ["frame", "timestamp", *columns]
    assert len(table) == len(pictures(synthetic_root / "ravdess" / clip["video"]))
    assert (table["frame"] == np.arange(1, len(table) + 1)).all()
    seconds = np.arange(len(table)) / synthetic.FRAME_RATE
    assert np.allclose(table["timestamp"], seconds, atol=1e-3)
    assert table[columns[:68]].to_numpy().min() > 0
    assert table[columns[68:]].to_numpy().max() < synthetic.HEIGHT


def test_a_face_at_rest_is_symmetric():
    """Mirroring the points of one side gives those of the other, the middle lying on the axis."""
    points = synthetic.landmarks(0, 0, 0, 0, 0, 0)
    mirror = [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)]
    mirror += [*range(45, 41, -1), 47, 46, *range(39, 35, -1), 41, 40]
    mirror += [*range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1)]
    assert np.allclose(points[mirror] * (-1, 1), points)
    assert np.allclose(points[[8, 27, 30, 33, 51, 57, 62, 66], 0], 0)


def test_the_face_follows_the_emotion_in_time():
    """Over all actors a happy mouth widens after the onset and rests again; a neutral one stays."""
    width = {}
    for emotion in ("happiness", "neutral"):
        clips = [clip for clip in synthetic.clips("ravdess") if clip["emotion"] == emotion]
        x = np.array([synthetic.track(clip, 2, 0)[:, :, 0] for clip in clips])
        width[emotion] = ((x[:, :, 54] - x[:, :, 48]) / (x[:, :, 16] - x[:, :, 0])).mean(axis=0)
    start, apex, end = width["happiness"][[0, 12, -1]]
    assert apex > start + 0.04
    assert apex > end > start
    assert np.ptp(width["neutral"]) < 0.03


def test_voices_can_be_told_apart_but_not_trivially(synthetic_root):
    """MFCC statistics of other speakers tell the emotion neither by chance nor always."""
    clips, features = synthetic.clips("emodb"), []
    for clip in clips:
        y, sampling_rate = soundfile.read(synthetic_root / "emodb" / clip["audio"])
        mfcc = librosa.feature.mfcc(y=y, sr=sampling_rate)
        features.append([*mfcc.mean(axis=1), *mfcc.std(axis=1), len(y)])
    assert 0.4 < recognised(features, clips) < 0.9


def test_faces_can_be_told_apart_but_not_trivially(synthetic_root):
    """Landmarks of other actors tell the emotion neither by chance nor always; so do crops."""
    clips, features = synthetic.clips("ravdess"), []
    for clip in clips:
        points = synthetic.track(clip, 1, 0)
        points = points - points[:, 27:28]
        features.append(np.concatenate([points.mean(axis=0), points.std(axis=0)], axis=None))
    assert 0.4 < recognised(features, clips) < 0.95

    clips, crops = synthetic.clips("enterface"), []
    for clip in clips:
        points = synthetic.track(clip, 1, 0)[6]
        picture = synthetic.film(clip, points[None], 0)[0].mean(axis=2)
        (left, top), (right, bottom) = (
            points[[0, 17, 16, 8], [0, 1, 0, 1]].reshape(2, 2).astype(int)
        )
        crops.append(cv2.resize(picture[top:bottom, left:right], (16, 16)).ravel())
    assert 0.3 < recognised(crops, clips) < 0.95


def test_speakers_differ():
    """Between speakers the face's proportions and the voice's pitch vary more than within one."""
    clips = synthetic.clips("savee")
    speaker = np.array([clip["speaker"] for clip in clips])
    size = pd.Series([np.ptp(synthetic.track(clip, 1, 0)[0, :17, 0]) for clip in clips])
    assert size.groupby(speaker).mean().std() > 2 * size.groupby(speaker).std().mean()


def test_anger_is_loud_and_near_to_happiness():
    """In every corpus anger is louder than sadness on average, and overlaps with happiness."""
    for name in CLIPS:
        level = {"anger": [], "happiness": [], "sadness": []}
        for clip in synthetic.clips(name):
            if clip["emotion"] in level:
                power = np.square(synthetic.speak(clip, 0)).mean()
                level[clip["emotion"]].append(10 * np.log10(power))
        assert np.mean(level["anger"]) > np.mean(level["sadness"]) + 4, name
        assert max(level["happiness"]) > min(level["anger"]), name
