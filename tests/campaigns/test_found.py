"""What the campaigns found, as its smallest case: read in silence before, or an error without a
name.
"""

import gzip

import numpy as np
import pytest
import soundfile

from pathemo import faces, files, speech
from pathemo.corpora import emodb, enterface, ravdess, savee

TONE = np.sin(np.arange(4000) / 5)


@pytest.fixture
def wav(tmp_path):
    """One quarter of a second at 16 kHz."""
    soundfile.write(tmp_path / "tone.wav", TONE, 16000, subtype="PCM_16")
    return tmp_path / "tone.wav"


def refuse(path, message):
    with pytest.raises(ValueError, match=f"{path.name}: .*{message}"):
        speech.decode(path, sampling_rate=16000)


@pytest.mark.parametrize("place", [22, 24, 34], ids=["channels", "rate", "bits"])
def test_a_wav_whose_header_contradicts_itself(wav, place):
    """Another rate, or number of channels, was believed."""
    content = bytearray(wav.read_bytes())
    content[place] ^= 8 if place != 22 else 3
    wav.write_bytes(content)
    refuse(wav, "contradicts itself|damaged")


@pytest.mark.parametrize("n_bytes", [1, 3])
def test_a_wav_that_lost_a_byte(wav, n_bytes):
    """From there on each sample was made of the halves of two."""
    content = wav.read_bytes()
    wav.write_bytes(content[:1000] + content[1000 + n_bytes :])
    refuse(wav, "truncated")


def test_a_wav_may_have_other_parts_and_lack_the_last_byte_that_makes_a_size_even(wav):
    """A comment of odd length behind the samples, with that byte and without it."""
    expected = speech.decode(wav, sampling_rate=16000)
    content = wav.read_bytes() + b"note\x03\x00\x00\x00abc\x00"
    for whole in (content, content[:-1]):
        wav.write_bytes(whole[:4] + (len(whole) - 8).to_bytes(4, "little") + whole[8:])
        np.testing.assert_array_equal(speech.decode(wav, sampling_rate=16000), expected)


def test_a_flac_with_the_header_of_another(tmp_path):
    """The samples were those of the other."""
    for name, y in ("one", TONE), ("other", -TONE):
        soundfile.write(tmp_path / f"{name}.flac", y, 16000, subtype="PCM_16")
    one, other = ((tmp_path / f"{name}.flac").read_bytes() for name in ("one", "other"))
    (tmp_path / "mixed.flac").write_bytes(one[:42] + other[42:])
    refuse(tmp_path / "mixed.flac", "other samples than it announces")


def test_a_video_that_announces_more_sound_than_it_has(synthetic_root, tmp_path):
    """The message itself failed, in Python 3.11."""
    content = bytearray(next((synthetic_root / "savee").rglob("*.avi")).read_bytes())
    length = content.index(b"auds") + 32
    content[length : length + 4] = (
        3 * int.from_bytes(content[length : length + 4], "little")
    ).to_bytes(4, "little")
    (tmp_path / "a.avi").write_bytes(content)
    refuse(tmp_path / "a.avi", r"it is truncated: [\d.]+ s announced, \d+ samples")


@pytest.mark.parametrize("change", ["a name lost", "a cut row", "times go back", "no face"])
def test_landmarks_that_were_shifted_cut_or_empty(synthetic_root, tmp_path, change):
    """Columns shifted, a row was left out, times ran backwards, a face of one point became not a
    number.
    """
    text = gzip.decompress(
        next((synthetic_root / "ravdess").rglob("*.csv.gz")).read_bytes()
    ).decode()
    lines = text.splitlines()
    cells = lines[3].split(",")
    if change == "a name lost":
        lines[0] = lines[0].replace("frame,timestamp", "frametimestamp")
    elif change == "a cut row":
        lines[-1] = lines[-1][:50]
    elif change == "times go back":
        lines[3] = ",".join([cells[0], "0.0", *cells[2:]])
    else:
        lines[3] = ",".join([*cells[:2], *["0.0"] * 136])
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    if change == "no face":
        time, points = faces.track(tmp_path / "a.csv")
        assert len(time) == len(lines) - 2
        assert np.isfinite(faces.functionals_of(time, points)).all()
    else:
        with pytest.raises(ValueError, match=r"a\.csv: (?s:.*)(columns|increase)"):
            faces.track(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("reader", "name"),
    [
        (emodb, "wav/03a01Fa.\uff57av"),
        (enterface, "subject 1/anger/sentence 1/s1_an_1.av\u0131"),
        (ravdess, "03-01-03-01-01-01-1\u0663.wav"),
        (savee, "DC/n2\u0663.wav"),
    ],
)
def test_digits_and_letters_of_other_scripts(reader, name):
    """An Arabic three made an actor of RAVDESS without gender, and a Turkish i an ending."""
    with pytest.raises(ValueError, match="unknown file name"):
        reader.read_name(name)


def test_a_kept_array_that_is_empty_cut_or_has_a_flipped_bit(tmp_path):
    """An empty entry was an array without rows once; numpy alone believes some cut ones."""
    path, array = tmp_path / "entry.npz", np.arange(600).reshape(300, 2)
    files.keep(path, array)
    content = path.read_bytes()
    flipped = content[:500] + bytes([content[500] ^ 64]) + content[501:]
    for damaged in (b"", content[:32], content[:-16], content[:-16] + content[-8:], flipped):
        path.write_bytes(damaged)
        assert files.recall(path) is None
    path.write_bytes(content)
    np.testing.assert_array_equal(files.recall(path), array)
