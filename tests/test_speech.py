"""Facts of pathemo.speech: recordings decoded or refused by name, log-mel, functionals and their
cache.
"""

from fractions import Fraction
from importlib import import_module

import av
import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile
from scipy import fft, linalg

from pathemo import corpora, files, speech

code = import_module("pathemo.speech.functionals")  # a function of the package has its name
RATE = 16000
TIME = np.arange(RATE) / RATE  # one second


def sawtooth(hertz):
    """Sound (RATE,) of a voice-like wave whose pitch [Hz] is a number or a course (RATE,)."""
    return 0.4 * (2 * (np.cumsum(np.broadcast_to(hertz, RATE)) / RATE % 1) - 1)


def functional(y, name):
    return speech.functionals_of(y, sampling_rate=RATE)[speech.FUNCTIONALS.index(name)]


def write_video(path, y, codec):
    """One second of video of one colour; its sound track unless `y` is None."""
    with av.open(path, "w") as container:
        picture = container.add_stream("mpeg4", rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        streams = [picture]
        if y is not None:
            streams.append(container.add_stream(codec, rate=RATE, layout="mono"))
        for number in range(25):
            image = np.full((48, 64, 3), 10 * number, np.uint8)
            container.mux(picture.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
            if y is not None:
                part = np.int16(32507 * y[None, number * 640 : (number + 1) * 640])
                sound = av.AudioFrame.from_ndarray(part, "s16", "mono")
                sound.rate, sound.pts, sound.time_base = RATE, number * 640, Fraction(1, RATE)
                container.mux(streams[1].encode(sound))
        for stream in streams:
            container.mux(stream.encode(None))


def frame(*paths, video=None):
    """Index of these sound files."""
    n = len(paths)
    audio = [str(path) if path else None for path in paths]
    columns = {"clip": [f"clip{i}" for i in range(n)], "audio": audio, "video": video or [None] * n}
    return pd.DataFrame(columns, dtype="string")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PATHEMO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / "voice.wav"
    soundfile.write(path, sawtooth(200), RATE)
    return path


# --- decode


@pytest.mark.parametrize("ending", ["wav", "flac", "WAV"])
def test_sound_is_read_as_it_was_written(tmp_path, ending):
    """WAV and FLAC come back as float32 to within their sixteen bits."""
    path = tmp_path / f"voice.{ending}"
    soundfile.write(path, sawtooth(200), RATE)
    y = speech.decode(path, sampling_rate=RATE)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, sawtooth(200), atol=2**-15)


def test_channels_are_averaged(tmp_path):
    """Two channels become their mean."""
    left, right = sawtooth(200), np.sin(2000 * TIME)
    soundfile.write(tmp_path / "stereo.wav", np.column_stack([left, right]), RATE, subtype="FLOAT")
    y = speech.decode(tmp_path / "stereo.wav", sampling_rate=RATE)
    np.testing.assert_allclose(y, (left + right) / 2, atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_a_tone_survives_a_change_of_rate_and_an_alias_does_not_appear(tmp_path, rate):
    """At 16 kHz a tone of 1 kHz is itself, and one of 15 kHz, above half the rate, is gone."""
    time = np.arange(rate) / rate
    tone, above = (
        np.sin(2 * np.pi * 1000 * time),
        np.sin(2 * np.pi * 15000 * time) if rate > 30000 else 0,
    )
    soundfile.write(tmp_path / "tone.wav", 0.3 * (tone + above), rate, subtype="FLOAT")
    y = speech.decode(tmp_path / "tone.wav", sampling_rate=RATE)
    assert len(y) == RATE
    expected = 0.3 * np.sin(2 * np.pi * 1000 * TIME)
    np.testing.assert_allclose(y[1000:-1000], expected[1000:-1000], atol=1e-3)


@pytest.mark.parametrize(
    "name, codec", [("clip.avi", "pcm_s16le"), ("clip.mp4", "aac"), ("clip.mkv", "aac")]
)
def test_the_sound_track_of_a_video_is_read(tmp_path, name, codec):
    """AVI, MP4 and MKV give the sound that was put into them, up to what the codec does to it."""
    write_video(tmp_path / name, sawtooth(200), codec)
    y = speech.decode(tmp_path / name, sampling_rate=RATE)
    n = min(len(y), RATE)
    assert abs(len(y) - RATE) <= 2048  # a frame of AAC
    assert np.corrcoef(y[:n], sawtooth(200)[:n])[0, 1] > (0.99 if codec == "aac" else 0.99999)


@pytest.mark.parametrize("share", [-1, -0.99])
def test_where_channels_cancel_the_loudest_is_taken(tmp_path, share):
    """A voice and its negative, as of a wrongly wired microphone, are that voice; not silence, nor
    what little the two differ by.
    """
    y = sawtooth(200)
    soundfile.write(tmp_path / "a.wav", np.column_stack([share * y, y]), RATE, subtype="FLOAT")
    found = speech.decode(tmp_path / "a.wav", sampling_rate=RATE)
    np.testing.assert_allclose(np.abs(found), np.abs(y), atol=1e-6)


def patched(path, **fields):
    """Put other numbers into the header (44 bytes) of a WAV."""
    places = {"riff": (4, 8), "speed": (28, 32), "align": (32, 34), "data": (40, 44)}
    content = bytearray(path.read_bytes())
    for name, value in fields.items():
        start, stop = places[name]
        content[start:stop] = value.to_bytes(stop - start, "little")
    path.write_bytes(content)


@pytest.mark.parametrize(
    "fields",
    [
        {"speed": 1},
        {"align": 4},
        {"speed": 0, "align": 0},
        {"riff": 0},
        {"riff": 0, "data": 0},
        {"riff": 36, "data": 0},
        {"riff": 2**32 - 1, "data": 2**32 - 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("rate", [16000, 22050, 44100])
def test_a_wav_with_wrong_numbers_in_its_header_is_read(wav, fields, rate):
    """Bytes a second, or a sample, that are wrong, and lengths of what was never closed."""
    soundfile.write(wav, sawtooth(200), rate)
    expected = speech.decode(wav, sampling_rate=RATE)
    patched(wav, **fields)
    np.testing.assert_array_equal(speech.decode(wav, sampling_rate=RATE), expected)


@pytest.mark.parametrize("n_silent", [0, 1, 4000])
def test_a_wav_that_was_never_closed_may_begin_with_silence(tmp_path, n_silent):
    """Its samples, of which it announces none, are all that follows."""
    y = np.append(np.zeros(n_silent), sawtooth(200))
    soundfile.write(tmp_path / "a.wav", y, RATE)
    expected = speech.decode(tmp_path / "a.wav", sampling_rate=RATE)
    patched(tmp_path / "a.wav", riff=0, data=0)
    found = speech.decode(tmp_path / "a.wav", sampling_rate=RATE)
    np.testing.assert_array_equal(found, expected)


def test_other_parts_of_an_empty_wav_are_no_samples(tmp_path):
    """It has the name of a tool, and no sound."""
    soundfile.write(tmp_path / "a.wav", np.zeros(0), RATE)
    name = b"INFOISFT" + (40).to_bytes(4, "little") + 40 * b"x"
    content = (tmp_path / "a.wav").read_bytes() + b"LIST" + len(name).to_bytes(4, "little") + name
    (tmp_path / "a.wav").write_bytes(content)
    patched(tmp_path / "a.wav", riff=len(content) - 8)
    with pytest.raises(ValueError, match=r"empty \(0 samples\)"):
        speech.decode(tmp_path / "a.wav", sampling_rate=RATE)


@pytest.mark.parametrize("rest", [b"x", bytes(1), bytes(500), b"TAG" + bytes(125)])
def test_what_follows_the_samples_of_a_wav_does_not_count(wav, rest):
    """One byte more, padding, a tag."""
    expected = speech.decode(wav, sampling_rate=RATE)
    wav.write_bytes(wav.read_bytes() + rest)
    np.testing.assert_array_equal(speech.decode(wav, sampling_rate=RATE), expected)


def test_a_flac_from_a_pipe_is_read(tmp_path):
    """It announces 0 samples, and no checksum of them."""
    path = tmp_path / "pipe.flac"
    soundfile.write(path, sawtooth(200), RATE)
    expected = speech.decode(path, sampling_rate=RATE)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:42] = bytes(20)
    path.write_bytes(content)
    np.testing.assert_array_equal(speech.decode(path, sampling_rate=RATE), expected)


@pytest.mark.parametrize(
    "name, container, codec",
    [("a.aac", "adts", "aac"), ("a.mp3", "mp3", "mp3"), ("a.wav", "ipod", "aac")],
)
def test_compressed_sound_is_read_whatever_length_is_guessed_and_whatever_its_name(
    tmp_path, name, container, codec
):
    """Half a minute of silence makes FFmpeg guess a length that is far off: ADTS and MP3 announce
    none. M4A called .wav is M4A.
    """
    y = np.random.default_rng(0).normal(0, 0.2, 60 * RATE) * (np.arange(60 * RATE) > 30 * RATE)
    with av.open(tmp_path / name, "w", format=container, options={"write_xing": "0"}) as file:
        variable = {"global_quality": "236", "flags": "+qscale"}
        stream = file.add_stream(codec, rate=RATE, layout="mono", options=variable)
        sound = av.AudioFrame.from_ndarray(np.int16(2**15 * y.clip(-1, 0.999))[None], "s16", "mono")
        sound.rate = RATE
        file.mux(stream.encode(sound) + stream.encode(None))
    assert abs(len(speech.decode(tmp_path / name, sampling_rate=RATE)) / RATE - 60) < 0.5


def test_a_quiet_recording_is_read(tmp_path):
    """A peak of half a per cent of full scale, as in some of RAVDESS, is a recording like any
    other.
    """
    soundfile.write(tmp_path / "quiet.flac", 0.01 * sawtooth(200), RATE)
    assert len(speech.decode(tmp_path / "quiet.flac", sampling_rate=RATE)) == RATE


def spoil(folder, kind):
    """A recording that cannot be used: `kind` is what is wrong with it, and its ending."""
    fault, ending = kind.rsplit(maxsplit=1)
    path = folder / f"spoilt.{ending}"
    sounds = {
        "silent": np.zeros(RATE),
        "constant": np.full(RATE, 0.5),
        "whisper": 5e-5 * TIME,
        "no samples": np.zeros(0),
        "infinite": np.where(TIME == 0.5, np.inf, TIME),
        "far": np.where(TIME == 0.5, 1e30, TIME),
        "integers": 9000 * sawtooth(200),
    }
    y = sounds.get(fault, sawtooth(200))
    if ending in ("avi", "mp4"):
        write_video(path, None if fault == "mute" else y, "aac" if ending == "mp4" else "pcm_s16le")
    else:
        floats = fault in ("infinite", "far", "integers")
        soundfile.write(path, y, RATE, subtype="FLOAT" if floats else "PCM_16")
    content = path.read_bytes()
    half = len(content) // 2
    damages = {
        "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "text": b"this is no recording\n" * 100,
        "empty": b"",
        "half": content[:half],
        "header": content[:44],
        "scratched": content[:half] + bytes(99) + content[half + 99 :],
    }
    path.write_bytes(damages.get(fault, content))
    return path


@pytest.mark.parametrize(
    "kind, reason",
    [
        *((f"empty {ending}", r"empty \(0 bytes\)") for ending in ("wav", "flac", "avi", "mp4")),
        *((f"text {ending}", "no recording") for ending in ("wav", "flac", "avi", "mp4")),
        *((f"{name} wav", "silent") for name in ("silent", "constant", "whisper")),
        ("half wav", "truncated"),
        ("header wav", "truncated"),
        ("half avi", "truncated"),
        ("half flac", "damaged"),
        ("half mp4", "damaged or no recording .an MP4 without its index"),
        ("scratched flac", "damaged"),
        ("no samples wav", r"empty \(0 samples\)"),
        ("infinite wav", "its peak is inf of full scale"),
        ("far wav", r"its peak is 1e\+30 of full scale: divide integers"),
        ("integers wav", "its peak is 3600 of full scale: divide integers"),
        ("pointer flac", "`git lfs pull` gets the file"),
        ("mute avi", "no sound track"),
        ("mute mp4", "no sound track"),
    ],
)
def test_a_recording_that_cannot_be_used_is_refused_by_name(tmp_path, kind, reason):
    """The error names the file, what is wrong with it, and a way out: another copy for damage
    only.
    """
    path = spoil(tmp_path, kind)
    with pytest.raises(ValueError, match=reason) as error:
        speech.decode(path, sampling_rate=RATE)
    assert str(error.value).startswith(f"{path}: ")
    damage = kind.split()[0] in ("empty", "text", "half", "header", "scratched", "no")
    assert ("download it again" in str(error.value)) == damage
    assert "leave it out" in str(error.value) or kind.startswith("pointer")


def test_an_mp4_cut_behind_its_header_is_truncated(tmp_path):
    """An MP4 whose header comes first opens when cut, and is still refused."""
    path = tmp_path / "cut.mp4"
    with av.open(path, "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        sound = av.AudioFrame.from_ndarray(
            np.int16(9000 * np.sin(np.arange(5 * RATE)))[None], "s16", "mono"
        )
        sound.rate = RATE
        container.mux(stream.encode(sound) + stream.encode(None))
    assert len(speech.decode(path, sampling_rate=RATE)) >= 5 * RATE
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"cut\.mp4: it is (truncated|damaged)"):
        speech.decode(path, sampling_rate=RATE)


def test_a_wav_from_a_pipe_is_read(wav):
    """A length of all ones means that it was not known, not that the file is cut."""
    content = bytearray(wav.read_bytes())
    content[4:8] = content[40:44] = b"\xff" * 4
    wav.write_bytes(content)
    assert len(speech.decode(wav, sampling_rate=RATE)) == RATE


def test_a_missing_recording_is_named(tmp_path):
    """A path where nothing is, is a FileNotFoundError that says the path."""
    with pytest.raises(FileNotFoundError, match=r"nowhere\.wav: no such recording"):
        speech.decode(tmp_path / "nowhere.wav", sampling_rate=RATE)


# --- log-mel


@pytest.mark.parametrize(
    "rate, options",
    [
        (16000, {}),
        (32000, {}),
        (16000, dict(n_mels=40, window=0.025, hop=0.0125, fmin=0.0, fmax=7000.0)),
    ],
)
def test_log_mel_is_that_of_librosa(rate, options):
    """The spectrogram equals librosa's to a thousandth of a decibel."""
    y = np.random.default_rng(0).normal(0, 0.1, 2 * rate).astype(np.float32)
    used = dict(n_mels=64, window=0.032, hop=0.010, fmin=50.0, fmax=14000.0) | options
    power = librosa.feature.melspectrogram(
        y=y,
        sr=rate,
        n_fft=round(used["window"] * rate),
        hop_length=round(used["hop"] * rate),
        n_mels=used["n_mels"],
        fmin=used["fmin"],
        fmax=min(used["fmax"], rate / 2),
        pad_mode="reflect",
    )
    expected = librosa.power_to_db(power, amin=1e-10, top_db=None)
    found = speech.log_mel(y, sampling_rate=rate, **options)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_log_mel_of_less_than_a_window_is_refused():
    """Fewer samples than a window are an error that gives both numbers."""
    with pytest.raises(ValueError, match=r"500 samples are less than a window \(512\)"):
        speech.log_mel(np.ones(500), sampling_rate=RATE)


# --- functionals of one utterance


def test_every_functional_has_one_name():
    """There are as many values as names, and no name twice."""
    assert len(set(speech.FUNCTIONALS)) == len(speech.FUNCTIONALS) == 878
    assert speech.functionals_of(sawtooth(200), sampling_rate=RATE).shape == (878,)


@pytest.mark.parametrize("n_samples", [1, 160, 1600, 4000, 16000])
@pytest.mark.parametrize("kind", ["noise", "voice", "click", "silence", "hum"])
def test_functionals_are_finite(n_samples, kind):
    """Noise, voice, a click, silence and an inaudible hum have finite functionals from one sample
    up.
    """
    click = np.zeros(RATE)
    click[-1] = 1
    hum = np.sin(2 * np.pi * 5 * TIME)
    sounds = dict(
        noise=np.random.default_rng(0).normal(size=RATE), voice=sawtooth(200), click=click, hum=hum
    )
    y = sounds.get(kind, np.zeros(RATE))[-n_samples:]
    assert np.isfinite(speech.functionals_of(y, sampling_rate=RATE)).all()


@pytest.mark.parametrize("hertz", [75, 110, 150, 233, 300, 480])
def test_pitch_is_the_rate_of_repetition(hertz):
    """The pitch of a sawtooth is right to a fifth of a semitone, with no octave errors, and
    voiced.
    """
    y = sawtooth(hertz)
    for name in ("pitch mean", "pitch p05", "pitch p95"):
        assert functional(y, name) == pytest.approx(12 * np.log2(hertz / 150), abs=0.2)
    assert functional(y, "voicing middle") > 0.9


def test_pitch_follows_a_glide():
    """Of an octave in a second each third is four semitones higher, and spread evenly over them."""
    glide = sawtooth(100 * 2**TIME)
    first, middle, last = (
        functional(glide, f"pitch {third}") for third in ("first", "middle", "last")
    )
    assert [middle - first, last - middle] == pytest.approx([4, 4], abs=0.2)
    assert functional(glide, "pitch middle sd") == pytest.approx(4 / 12**0.5, abs=0.1)


def test_noise_has_no_pitch():
    """Without a voiced frame all that is said of pitch is zero."""
    noise = np.random.default_rng(0).normal(size=RATE)
    row = dict(zip(speech.FUNCTIONALS, speech.functionals_of(noise, sampling_rate=RATE)))
    assert row["voicing mean"] == 0
    assert max(abs(value) for name, value in row.items() if "pitch" in name) < 1e-6


def test_only_level_and_loudness_know_the_recording_level():
    """A tenth of the amplitude is 20 dB less level, and changes nothing else but loudness."""
    y = sawtooth(200 + 50 * TIME) * (1 + np.sin(2 * np.pi * 3 * TIME))
    y += np.random.default_rng(0).normal(0, 0.01, RATE)
    loud, soft = (speech.functionals_of(gain * y, sampling_rate=RATE) for gain in (1, 0.1))
    levels = "level mean", *(f"level {third}" for third in code.THIRDS)
    knows = np.array([name in levels or name.startswith("loudness") for name in speech.FUNCTIONALS])
    np.testing.assert_allclose(soft[~knows], loud[~knows], rtol=1e-3, atol=1e-3)
    level = speech.FUNCTIONALS.index("level mean")
    assert soft[level] - loud[level] == pytest.approx(-20, abs=1e-3)


def test_level_is_decibels_of_full_scale():
    """The level of a sine of amplitude one is that of its mean square, -3 dB."""
    y = np.sin(2 * np.pi * 1000 * np.arange(10 * RATE) / RATE)
    assert functional(y, "level mean") == pytest.approx(-3.01, abs=0.1)


def test_the_centroid_of_a_tone_is_its_frequency():
    """Centroid and roll-offs of a tone of 2 kHz are 2 kHz."""
    y = np.sin(2 * np.pi * 2000 * TIME)
    for name in ("centroid mean", "rolloff50 mean"):
        assert functional(y, name) == pytest.approx(2, abs=0.05)


def test_correlations_are_the_logarithm_of_their_matrix():
    """They are scipy's matrix logarithm of numpy's correlations, drawn a little towards none."""
    tracks = np.random.default_rng(0).normal(size=(5, 100)).cumsum(axis=1)
    expected = linalg.logm(0.95 * np.corrcoef(tracks) + 0.05 * np.eye(5))[np.triu_indices(5)]
    np.testing.assert_allclose(code._log_correlations(tracks), expected, atol=1e-4)


@pytest.mark.parametrize("rate, sign", [(2.5, 1), (5.0, 1), (5.0, -1), (10.0, 1), (20.0, -1)])
def test_a_ripple_answers_at_its_rate_and_direction(rate, sign):
    """Bands that rise and fall at a rate, one after the other, are strongest in that modulation."""
    time, band = np.arange(300) * code.HOP, np.arange(40)[:, None]
    ripple = 10 * np.cos(2 * np.pi * (rate * time + sign * 0.06 * band))
    strength = code._modulations(ripple, np.ones(300, bool)).mean(axis=1)
    assert code.MODULATIONS[strength.argmax()] == (rate, sign * 0.06)


def test_contours_are_a_cosine_transform():
    """A contour is the type-II cosine transform without its mean term."""
    tracks = np.random.default_rng(0).normal(size=(5, 100))
    np.testing.assert_allclose(code._contours(tracks), fft.dct(tracks)[:, 1:7] / 200, atol=1e-12)


# --- functionals of an index, and their cache


def test_a_row_a_clip_in_the_order_of_the_index(tmp_path):
    """Rows follow the index, with a clip's sound before its video, and a file that two clips
    share.
    """
    soundfile.write(tmp_path / "low.wav", sawtooth(100), RATE)
    write_video(tmp_path / "high.avi", sawtooth(400), "pcm_s16le")
    low, high = str(tmp_path / "low.wav"), str(tmp_path / "high.avi")
    index = frame(low, None, low, video=[high, high, None])
    pitch = speech.functionals(index)[:, speech.FUNCTIONALS.index("pitch mean")]
    np.testing.assert_allclose(pitch, 12 * np.log2(np.array([100, 400, 100]) / 150), atol=0.2)


def test_processes_do_not_change_the_rows(tmp_path, cache):
    """Two processes make the rows that one makes."""
    paths = [tmp_path / f"{hertz}.wav" for hertz in range(100, 160)]
    for path in paths:
        soundfile.write(path, sawtooth(int(path.stem))[:3200], RATE)
    together = speech.functionals(frame(*paths), n_jobs=2)
    sounds = [speech.decode(path, sampling_rate=RATE) for path in paths[::20]]
    alone = [speech.functionals_of(y, sampling_rate=RATE) for y in sounds]
    np.testing.assert_allclose(together[::20], alone, rtol=1e-4, atol=1e-4)
    assert len(list(cache.glob("speech/*"))) == 60


def refuse(*_, **__):
    raise AssertionError("computed again")


def test_what_is_cached_is_not_computed_again(wav, monkeypatch):
    """The second time no recording is decoded, wherever it lies and whatever it is called."""
    first = speech.functionals(frame(wav))
    monkeypatch.setattr(code, "decode", refuse)
    renamed = wav.rename(wav.with_name("renamed.wav"))
    np.testing.assert_array_equal(speech.functionals(frame(renamed)), first)


def test_another_recording_another_setting_or_other_code_is_computed_anew(wav, cache, monkeypatch):
    """Content, settings and code each give an entry of its own."""
    speech.functionals(frame(wav))
    speech.functionals(frame(wav), speed=1.1)
    soundfile.write(wav, sawtooth(100), RATE)
    speech.functionals(frame(wav))
    monkeypatch.setattr(files, "code_digest", lambda *rooms: "other")
    speech.functionals(frame(wav))
    assert len(list(cache.glob("speech/*"))) == 4


@pytest.mark.parametrize("n_bytes", [0, 100])
def test_a_cut_entry_is_computed_again(wav, cache, n_bytes):
    """An entry that is cut or empty is replaced."""
    first = speech.functionals(frame(wav))
    (entry,) = cache.glob("speech/*")
    entry.write_bytes(entry.read_bytes()[:n_bytes])
    np.testing.assert_array_equal(speech.functionals(frame(wav)), first)
    np.testing.assert_array_equal(files.recall(entry), first[0])


def test_all_unusable_recordings_are_named_and_the_others_kept(wav, tmp_path, monkeypatch):
    """One error names the missing, empty and truncated and the clip without files; the good one is
    cached.
    """
    bad = [tmp_path / "missing.wav", spoil(tmp_path, "empty flac"), spoil(tmp_path, "half wav")]
    with pytest.raises(ValueError, match="4 recordings of 5 clips") as error:
        speech.functionals(frame(*bad, None, wav))
    for text in (*map(str, bad), "clip3: the clip has no audio and no video"):
        assert text in str(error.value)
    assert str(wav) not in str(error.value)
    monkeypatch.setattr(code, "decode", refuse)
    speech.functionals(frame(wav))


def test_a_long_list_of_unusable_recordings_is_cut(tmp_path):
    """After twenty names only the number of the others is given."""
    with pytest.raises(
        ValueError, match=r"(?s)25 recordings of 25 clips.*19\.wav.*and 5 more$"
    ) as error:
        speech.functionals(frame(*(tmp_path / f"{number}.wav" for number in range(25))))
    assert "20.wav" not in str(error.value)


@pytest.mark.recorded
@pytest.mark.parametrize("name", ["emodb", "savee", "ravdess"])
def test_recorded_speech_has_finite_functionals(recorded_root, name):
    """Clips of each recorded corpus, the quiet speakers 09 and 20 of RAVDESS among them, can all be
    used.
    """
    if not corpora.found(name, recorded_root):
        pytest.skip(f"{name} is not there")
    index = corpora.load(name, recorded_root, complete=False)
    quiet = index[index["speaker"].isin(["09", "20"]) & (index["corpus"] == "ravdess")]
    some = pd.concat([index[::60], quiet[::10]])
    rows = speech.functionals(some, n_jobs=1)
    assert rows.shape == (len(some), len(speech.FUNCTIONALS))
    assert np.isfinite(rows).all()


def test_a_faster_recording_is_higher(wav):
    """Played at 1.1 times its speed, a sawtooth of 200 Hz is one of 220 Hz."""
    soundfile.write(wav, sawtooth(200), RATE)
    usual, faster = (speech.functionals(frame(wav), speed=speed)[0] for speed in (1.0, 1.1))
    pitch = speech.FUNCTIONALS.index("pitch mean")
    assert faster[pitch] - usual[pitch] == pytest.approx(12 * np.log2(1.1), abs=0.05)
