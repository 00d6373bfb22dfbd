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
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pathemo import corpora, synthetic
from pathemo.synthetic import face, layout, voice

CLIPS = {"emodb": 140, "enterface": 72, "ravdess": 192, "savee": 96}


def pictures(path):
    """All frames of a film as (n_frames, height, width, 3)."""
    with av.open(str(path)) as container:
        return np.array([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def a_film(clips, emotion="happiness"):
    """One clip of the emotion that has a film."""
    return next(clip for clip in clips if clip.video and clip.emotion == emotion)


@pytest.fixture
def few(monkeypatch):
    """Every corpus cut down to every ninth clip, so that writing takes no time."""
    monkeypatch.setattr(synthetic, "clips", lambda name: layout.clips(name)[::9])


@pytest.mark.parametrize("name", CLIPS)
def test_the_reader_of_the_corpus_knows_every_name(name, synthetic_root):
    """`load` finds every clip, with speaker, emotion and files as they were made."""
    index = corpora.load(name, root=synthetic_root).set_index("clip")
    made = pd.DataFrame(layout.clips(name)).set_index("name").sort_index()
    assert len(index) == CLIPS[name]
    assert index.attrs["version"].startswith("synthetic-")
    assert (index.index == made.index).all()
    for column in ("speaker", "emotion"):
        assert (index[column] == made[column]).all()
    for medium in ("audio", "video", "landmarks"):
        assert (index[medium].notna() == (made[medium] != "")).all()


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
    first, *lines = (folder / synthetic.REGISTRY).read_text().splitlines()
    assert first.startswith("# SYNTHETIC: made by pathemo.synthetic, seed 0")
    assert len(lines) == 2 * CLIPS["savee"]
    for line in lines[::40]:
        name, sha256, size = line.rsplit(" ", 2)
        content = (folder / name).read_bytes()
        assert (sha256, int(size)) == (
            f"sha256:{hashlib.sha256(content).hexdigest()}",
            len(content),
        )


@pytest.mark.parametrize("name", CLIPS)
def test_the_same_seed_gives_the_same_files(name, few, synthetic_root, tmp_path):
    """A few clips written alone equal those of the whole corpus, bytes and decoded frames."""
    whole, alone = synthetic_root / name, synthetic.write(name, tmp_path)
    clips = synthetic.clips(name)
    files = [file for clip in clips for file in (clip.audio, clip.video, clip.landmarks) if file]
    assert len(files) >= CLIPS[name] // 9
    for file in files:
        assert (whole / file).read_bytes() == (alone / file).read_bytes()
        if file.endswith((".avi", ".mp4")):
            assert np.array_equal(pictures(whole / file), pictures(alone / file))


def test_a_clip_depends_on_its_seed_and_name_alone():
    """The same clip is the same sound whatever was made before; another seed, clip or speaker is
    another.
    """
    first, second, *_ = layout.clips("emodb")
    alone = voice.speak(second, 0)
    voice.speak(first, 0)
    assert np.array_equal(alone, voice.speak(second, 0))
    for clip, seed in ((second, 1), (first, 0), (second._replace(speaker="16"), 0)):
        other = voice.speak(clip, seed)
        assert len(other) != len(alone) or not np.array_equal(other, alone)


def test_a_whole_corpus_is_kept_and_a_broken_one_written_anew(few, tmp_path):
    """Nothing is written twice; a shortened file or another seed brings the corpus back whole."""
    folder = synthetic.write("emodb", tmp_path)
    path = folder / "wav" / "03a01Wa.wav"
    content, made = path.read_bytes(), path.stat().st_mtime_ns
    assert synthetic.write("emodb", tmp_path) == folder
    assert path.stat().st_mtime_ns == made
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
    """When writing breaks off there is no corpus, and the next run writes it and clears the rest
    away.
    """
    with monkeypatch.context() as patch:
        patch.setattr(synthetic, "REGISTRY", "no folder/SYNTHETIC.txt")
        with pytest.raises(FileNotFoundError):
            synthetic.write("emodb", tmp_path)
    assert not (tmp_path / "emodb").exists()
    assert (synthetic.write("emodb", tmp_path) / synthetic.REGISTRY).is_file()
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
        (tmp_path / "environment.yml").touch()
    expected = tmp_path / ("data" if in_project else "cache") / "synthetic"
    assert synthetic.root() == expected
    assert written == [(name, expected) for name in layout.FILES]


@pytest.mark.parametrize("name", ["enterface", "ravdess", "savee"])
def test_the_face_is_found_in_nearly_all_frames(name, synthetic_root):
    """OpenCV's own cascade finds the face in at least 90 % of the frames of a clip, where its nose
    is.
    """
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    clip = a_film(layout.clips(name))
    frames = pictures(synthetic_root / name / clip.video)
    points = face.track(clip, voice.speak(clip, 0), voice.SETTINGS[name].sampling_rate, 0)
    assert frames.shape[1:] == (face.CAMERAS[name].height, face.CAMERAS[name].width, 3)
    assert len(frames) == len(points)
    hits = 0
    for frame, nose in zip(frames, points[:, 30], strict=True):
        found = cascade.detectMultiScale(
            cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), 1.1, 3, minSize=(40, 40)
        )
        hits += any(
            x < nose[0] < x + width and y < nose[1] < y + height for x, y, width, height in found
        )
    assert hits >= 0.9 * len(frames)


def test_a_film_carries_the_sound_of_its_recording(synthetic_root):
    """The sound track of a SAVEE film is its WAV, up to the codec and its short delay."""
    clip = a_film(layout.clips("savee"))
    recorded, rate = soundfile.read(synthetic_root / "savee" / clip.audio)
    with av.open(str(synthetic_root / "savee" / clip.video)) as container:
        assert container.streams.audio[0].sample_rate == rate
        filmed = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    shared = np.fft.rfft(recorded, 2**17) * np.fft.rfft(filmed, 2**17).conj()
    similarity = np.fft.irfft(shared).max() / (np.linalg.norm(recorded) * np.linalg.norm(filmed))
    assert similarity > 0.95


def test_landmark_tables_have_the_published_form(synthetic_root):
    """Frame, time [s], 68 x and 68 y [pixels], a row a frame, inside the picture."""
    clip = layout.clips("ravdess")[0]
    table = pd.read_csv(synthetic_root / "ravdess" / clip.landmarks)
    columns = [f"{axis}_{point}" for axis in "xy" for point in range(68)]
    assert list(table.columns) == ["frame", "timestamp", *columns]
    assert len(table) == len(pictures(synthetic_root / "ravdess" / clip.video))
    assert (table["frame"] == np.arange(1, len(table) + 1)).all()
    assert np.allclose(table["timestamp"], np.arange(len(table)) / face.FRAME_RATE, atol=1e-3)
    assert table[columns[:68]].to_numpy().min() > 0
    assert table[columns[68:]].to_numpy().max() < face.CAMERAS["ravdess"].height


def test_a_face_at_rest_is_symmetric():
    """Mirroring the points of one side gives those of the other, the middle lying on the axis."""
    points = face.landmarks(0, 0, 0, 0, 0, 0)
    mirror = np.r_[
        16:-1:-1,
        26:16:-1,
        27:31,
        35:30:-1,
        45:41:-1,
        47,
        46,
        39:35:-1,
        41,
        40,
        54:47:-1,
        59:54:-1,
        64:59:-1,
        67:64:-1,
    ]
    assert np.allclose(points[mirror] * (-1, 1), points)
    assert (mirror[mirror] == np.arange(68)).all()
    assert np.allclose(points[[8, 27, 30, 33, 51, 57, 62, 66], 0], 0)


def test_the_face_follows_the_emotion_in_time():
    """Over all actors a happy mouth widens after the onset and rests again; a neutral one stays."""
    width = {}
    for emotion in ("happiness", "neutral"):
        clips = [clip for clip in layout.clips("ravdess") if clip.emotion == emotion]
        x = np.array([face.track(clip, np.ones(96_000), 48_000, 0)[:, :, 0] for clip in clips])
        width[emotion] = ((x[:, :, 54] - x[:, :, 48]) / (x[:, :, 16] - x[:, :, 0])).mean(axis=0)
    start, apex, end = width["happiness"][[0, 15, -1]]
    assert apex > start + 0.04
    assert apex > end > start
    assert np.ptp(width["neutral"]) < 0.02


def test_eyes_blink():
    """In many clips, not in all, the eyes close for a moment and open again."""
    clips = layout.clips("ravdess")[::4]
    opening = []
    for clip in clips:
        points = face.track(clip, np.ones(96_000), 48_000, 0)
        eyes = np.linalg.norm(points[:, [37, 43]] - points[:, [41, 47]], axis=-1).mean(axis=1)
        opening.append(eyes / np.median(eyes))
    closed = [(course < 0.3).any() for course in opening]
    assert 0.2 < np.mean(closed) < 0.8
    assert np.mean([(course < 0.3).mean() for course in opening]) < 0.2


def test_a_corpus_has_its_own_light_and_colour_and_hands_before_faces():
    """eNTERFACE'05 is warmer and lit more from a side than RAVDESS; a skin-coloured hand hides some
    faces.
    """
    side, warmth, hidden = {}, {}, {}
    for name in ("enterface", "ravdess"):
        clips = [clip for clip in layout.clips(name) if clip.video][::3]
        still = np.repeat(100 * face.landmarks(0, 0, 0, 0, 0, 0)[None] / 3 + (90, 70), 12, axis=0)
        films = np.array([face.film(clip, still, 0)[:, :, :180].astype(float) for clip in clips])
        wall = films[:, 0, 10:60]  # left and right of the head
        left, right = wall[:, :, :15].mean(axis=(1, 2, 3)), wall[:, :, -15:].mean(axis=(1, 2, 3))
        side[name] = np.abs(np.log(left / right)).mean()
        warmth[name] = np.log(wall[..., 0].mean() / wall[..., 2].mean())
        change = np.abs(np.diff(films[:, :, 60:110, 70:110].mean(axis=-1), axis=1)).mean(
            axis=(2, 3)
        )
        hidden[name] = (change.max(axis=1) > 20).mean()
    assert side["enterface"] > 1.5 * side["ravdess"]
    assert warmth["enterface"] > warmth["ravdess"] + 0.1
    assert hidden["ravdess"] == 0
    assert 0.1 < hidden["enterface"] < 0.6


def test_the_mouth_opens_with_the_voice():
    """The lips of one clip part more where the sound is louder."""
    clip = next(clip for clip in layout.clips("ravdess") if clip.emotion == "happiness")
    loudness = 1 + np.sin(np.arange(30))
    opening = [
        np.diff(face.track(clip, np.repeat(sound, 3200), 48_000, 0)[:, [62, 66], 1]).ravel()
        for sound in (loudness, np.ones(30))
    ]
    assert spearmanr(opening[0] - opening[1], loudness).statistic > 0.95


def test_emotions_can_be_learned_from_other_speakers_but_not_trivially(synthetic_root):
    """Logistic regression on MFCC statistics, leave-one-speaker-out, is neither at chance nor
    perfect.
    """
    index, features = corpora.load("emodb", root=synthetic_root), []
    for path in index["audio"]:
        y, sampling_rate = soundfile.read(path)
        mfcc = librosa.feature.mfcc(y=y, sr=sampling_rate)
        features.append([*mfcc.mean(axis=1), *mfcc.std(axis=1), len(y)])
    emotion, speaker = index["emotion"].to_numpy(str), index["speaker"].to_numpy(str)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    prediction = cross_val_predict(model, features, emotion, groups=speaker, cv=LeaveOneGroupOut())
    assert 0.4 < balanced_accuracy_score(emotion, prediction) < 0.9


def test_anger_is_loud_and_near_to_happiness():
    """In every corpus anger is louder than sadness on average, and overlaps with happiness."""
    for name in CLIPS:
        level = {"anger": [], "happiness": [], "sadness": []}
        for clip in layout.clips(name):
            if clip.emotion in level:
                level[clip.emotion].append(10 * np.log10(np.square(voice.speak(clip, 0)).mean()))
        assert np.mean(level["anger"]) > np.mean(level["sadness"]) + 4, name
        assert max(level["happiness"]) > min(level["anger"]), name
