"""Small corpora with the real names, folders and formats: nobody's voice and nobody's face.

`write` makes one corpus, `root` all four. A voice is pulses through a filter, a face 68 landmarks
that are drawn. Both move with the emotion; each speaker and each corpus has a manner of its own.
"""

import shutil
from itertools import product
from pathlib import Path

import av
import cv2
import filelock
import joblib
import numpy as np
import pandas as pd
import pooch
import soundfile
import torch
from scipy import signal

from . import files
from .corpora import emodb, enterface, ravdess, reading, savee

# The recipe counts on whenever what is written changes, so that older folders are replaced.
HEADER = "# SYNTHETIC: made by pathemo.synthetic, seed {seed} (recipe 5)\n"
SYLLABLES = 4
FRAME_RATE, WIDTH, HEIGHT = 12, 160, 120  # of films [frames/s], [pixels]
# Sampling rate [Hz], syllables a second, level and noise [dB of full scale]
SOUND = {
    "emodb": (16_000, 5.3, -28, -72),
    "enterface": (48_000, 5.6, -30, -56),
    "ravdess": (48_000, 5.6, -36, -75),
    "savee": (44_100, 5.1, -31, -66),
}
WALL = {"enterface": 85, "ravdess": 226, "savee": 120}  # behind the face [grey level]
# Pitch [semitones], rate [octaves], level [dB], spectral tilt [dB/octave]; neutral is 0
VOICES = {
    "anger": (3.5, 0.15, 7, 2.2),
    "boredom": (-1.5, -0.3, -2, -0.8),
    "calm": (-0.8, -0.15, -2.5, -0.8),
    "disgust": (-1, -0.25, 1, 0.8),
    "fear": (5, 0.3, 0, 0.2),
    "happiness": (4, 0.1, 5, 1.2),
    "sadness": (0, -0.35, -5, -1.6),
    "surprise": (6, 0, 3, 0.6),
}
# Inner and outer brow up, eyes wide, nose up, smile, mouth open
FACES = {
    "anger": (-1.1, 0.3, 0.4, 0.4, -0.4, 0.15),
    "calm": (0.1, 0, -0.2, 0, 0.3, 0),
    "disgust": (-0.8, 0, -0.5, 1.2, -0.4, 0.15),
    "fear": (0.8, 0.3, 0.8, 0, -0.3, 0.3),
    "happiness": (0.1, 0.2, -0.3, 0.1, 1.2, 0.3),
    "sadness": (0.8, -0.3, -0.5, 0, -0.8, 0),
    "surprise": (0.9, 1, 0.8, 0, 0, 0.7),
}
# Chin, brows, nose, eyes, lips and mouth: where their landmarks end, and how bright they are
ENDS, SHADES = (17, 22, 27, 36, 42, 48, 60), (1, 0.2, 0.2, 0.85, 0.2, 0.2, 0.7, 0.2)


def _names():
    """Return the names of all files, below the folder of each corpus."""
    names = {corpus: [] for corpus in reading.CORPORA}
    for speaker, text, code in product(emodb.SPEAKERS, ("a01", "b03"), emodb.EMOTIONS):
        names["emodb"].append(f"wav/{speaker}{text}{code}a.wav")
    for n, (code, emotion), k in product(range(1, 6), enterface.EMOTIONS.items(), (1, 2)):
        names["enterface"].append(f"subject {n}/{emotion}/sentence {k}/s{n}_{code}_{k}.avi")
    for actor, emotion in product(ravdess.SPEAKERS, ravdess.EMOTIONS):
        clip = f"01-{emotion}-01-{(int(actor) + int(emotion)) % 2 + 1:02d}-01-{actor}"
        names["ravdess"].append(f"Audio_Speech_Actors_01-24/Actor_{actor}/03-{clip}.wav")
        names["ravdess"].append(f"FacialTracking_Actors_01-24/Actor_{actor}/02-{clip}.csv.gz")
        if actor in ("01", "02", "03", "08", "10"):  # one of each published fold
            names["ravdess"].append(f"Video_Speech_Actor_{actor}/Actor_{actor}/01-{clip}.mp4")
    for speaker, code, number in product(savee.SPEAKERS, savee.EMOTIONS, range(1, 5)):
        if number <= 2 or code == "n":  # as published, twice as many are neutral
            names["savee"].append(f"AudioData/{speaker}/{code}{number:02d}.wav")
            names["savee"].append(f"AudioVisualClip/{speaker}/{code}{number:02d}.avi")
    return names


FILES = _names()


def clips(corpus):
    """Return the clips of a corpus: what a name says, and the file of each medium."""
    reader, known = reading.reader_of(corpus), {}
    for path in FILES[corpus]:
        said = reader.read_name(path)
        sentence = said["statement"][-1]  # the number alone: no words tell the emotion
        clip = known.setdefault(said["clip"], said | {"corpus": corpus, "sentence": sentence})
        clip[reading.medium(Path(path))] = path
    return list(known.values())


def _lock(folder):
    """Return the lock of who writes a folder; the folder above it is there then."""
    with files.writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(folder.with_name(f".{folder.name}.lock"))


def write(name, root, seed=0):
    """Return the folder of a synthetic corpus under its real name, `root/name`: whole or absent.

    One of the same seed is kept; a synthetic one of another seed, or with other files, is replaced.
    The same seed and library versions give the same bytes. SYNTHETIC.txt lists name, sha256 and
    size of each. ValueError for an unknown name, FileExistsError where the folder holds what this
    function did not write.
    """
    known, folder = clips(name), Path(root).absolute() / name
    registry, staging = folder / reading.SYNTHETIC, folder.with_name(f".{name}.staging")
    with _lock(folder):
        if folder.exists() and not registry.is_file():
            way_out = "give another root for the synthetic one, or move this folder away"
            reason = f"{folder} is no synthetic corpus (no {registry.name} in it)"
            raise FileExistsError(f"{reason}: {way_out}")
        if registry.is_file() and registry.read_bytes() == _list(name, folder, seed).encode():
            return folder
        shutil.rmtree(staging, ignore_errors=True)  # of a run that was killed
        new = staging / "new"
        jobs = (joblib.delayed(_write_clip)(clip, new, seed) for clip in known)
        joblib.Parallel(files.n_processes(-1))(jobs)
        files.write_text(new / registry.name, _list(name, new, seed))
        if folder.exists():
            folder.replace(staging / "old")
        new.replace(folder)
        shutil.rmtree(staging)
    return folder


def encoder(root):
    """Return the folder of a speech encoder with random weights, `root/models/tiny-random`.

    It has the format of Whisper's on the Hugging Face hub, and knows nothing of speech. Where
    `transformers` is not installed nothing is written.
    """
    folder = Path(root).absolute() / "models" / "tiny-random"
    try:
        from transformers import WhisperConfig, WhisperFeatureExtractor
        from transformers.models.whisper.modeling_whisper import WhisperEncoder
    except ImportError:
        return folder
    with _lock(folder):
        if not folder.exists():
            staging = folder.with_name(f".{folder.name}.staging")
            sizes = dict(encoder_layers=4, encoder_attention_heads=2, encoder_ffn_dim=32)
            config = WhisperConfig(d_model=16, decoder_layers=1, **sizes)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                WhisperEncoder(config).save_pretrained(staging)
            WhisperFeatureExtractor().save_pretrained(staging)
            staging.replace(folder)
    return folder


def root():
    """Return the data root with all four synthetic corpora and `encoder`, written when absent.

    It is data/synthetic of the project; outside of one it is in the folder of the cache.
    """
    project = files.project()
    data = (project / "data" if project else files.cache_folder()) / "synthetic"
    for name in FILES:
        write(name, data)
    encoder(data)
    return data


def _list(name, folder, seed):
    """Return a list of the files of a corpus that are there: name, sha256 and size [bytes]."""
    text = HEADER.format(seed=seed)
    for file in sorted(FILES[name]):
        path = folder / file
        if path.is_file():
            text += f"{file} sha256:{pooch.file_hash(path)} {path.stat().st_size}\n"
    return text


def stream(seed, clip, whose, what):
    """Return the random generator of what is a clip's own, its speaker's, or its sentence's."""
    name = f"{clip['corpus']}/{clip[whose]}/{what}"
    return np.random.default_rng([seed, *name.encode()])


def manner(table, clip, seed, what):
    """Return what the speaker adds to a row of the table, and that row as it is in this clip."""
    rng, person = stream(seed, clip, "clip", what), stream(seed, clip, "speaker", what)
    spread = 0.4 * np.std([*table.values()], axis=0)
    return person.normal(0, spread), rng.normal(table.get(clip["emotion"], 0), spread)


def speak(clip, seed):
    """Return the sound of a clip at its corpus's sampling rate: (n_samples,) float32 in [-1, 1].

    Pulses of the pitch and noise go through four resonances, the formants.
    """
    sampling_rate, rate, level, floor = SOUND[clip["corpus"]]
    pitch, tempo, loudness, tilt = np.add(*manner(VOICES, clip, seed, "voice"))
    size = stream(seed, clip, "speaker", "throat").uniform(0.95, 1.2)  # its resonances go up
    rng = stream(seed, clip, "clip", "sound")
    vowel = stream(seed, clip, "sentence", "text").uniform((300, 800), (750, 2200))  # [Hz]

    rate *= 2**tempo
    time = np.arange(0, SYLLABLES / rate, 1 / sampling_rate)
    opening = np.sin(np.pi * (rate * time % 1))
    semitones = pitch + 3 * opening - 0.6 * rate * time
    phase = np.cumsum(118 * size**4 * 2 ** (semitones / 12)) / sampling_rate
    source = signal.sawtooth(2 * np.pi * phase) + rng.normal(0, 0.1, len(time))
    sound = 0
    for formant in (*vowel, 2500, 3500):
        peak = signal.iirpeak(size * formant, 4, sampling_rate)
        sound += (formant / 500) ** (tilt / 6 - 1) * opening * signal.lfilter(*peak, source)
    sound *= 10 ** ((level + loudness) / 20) / sound.std()
    return np.float32(rng.normal(sound, 10 ** (floor / 20)).clip(-1, 1))


def landmarks(inner_brow, outer_brow, lids, nose, smile, jaw):
    """Return the landmarks (68, 2) of a face that moves so far.

    The unit is half a face's width, the origin between the eyes, y goes down.
    """

    def ring(n_points):  # from the left over the top
        turn = np.linspace(np.pi, -np.pi, n_points, endpoint=False)
        return np.cos(turn), np.sin(turn)

    side = np.linspace(-np.pi / 2, np.pi / 2, 17)
    chin = np.sin(side) + 1j * (1.5 + 0.2 * jaw) * np.cos(side)
    inward = np.linspace(0, 1, 5)  # along a brow
    lift = 0.17 * inner_brow * inward + 0.15 * outer_brow * (1 - inward)
    brow = 0.62 * inward - 0.82 - 1j * (0.28 + 0.11 * np.sin(np.pi * inward) + lift)
    bridge = 1j * np.linspace(-0.05, 0.52, 4)
    nostrils = 0.4 * inward - 0.2 + 1j * (0.65 - 0.06 * nose)
    across, up = ring(6)
    eye = 0.185 * across - 1j * (0.1 + 0.05 * lids) * up
    parts = [chin, brow, -brow.conj()[::-1], bridge, nostrils, eye - 0.435, eye + 0.435]
    for n_points, width, thickness in ((12, 0.36, 0.1), (8, 0.3, 0.01)):  # lips, outside, inside
        across, up = ring(n_points)
        down = 1 - thickness * up - 0.14 * smile * across**2 - 0.3 * jaw * np.minimum(up, 0)
        parts.append(width * (1 + 0.28 * smile - 0.17 * jaw) * across + 1j * down)
    return np.concatenate(parts).view(float).reshape(68, 2)


def track(clip, seconds, seed):
    """Return the landmarks of the speaking face in every frame: (n_frames, 68, 2) [pixels]."""
    own, apex = manner(FACES, clip, seed, "face")
    time = np.arange(0, seconds, 1 / FRAME_RATE)[:, None] / seconds  # of the clip
    moves = own + np.sin(2.5 * time) * apex
    moves[:, 5:] = np.abs(moves[:, 5:] + 0.4 * np.sin(np.pi * SYLLABLES * time))  # it speaks
    size = stream(seed, clip, "speaker", "size").normal(28, 1, 2)  # of half a face [pixels]
    shape = size * [landmarks(*move) for move in moves]
    rng, middle = stream(seed, clip, "clip", "place"), (WIDTH / 2, 0.47 * HEIGHT)
    return rng.normal(middle, 2) + rng.normal(shape, 0.3)  # never quite still


def film(clip, points, seed):
    """Return RGB pictures of a face with landmarks: (n_frames, height, width, 3) uint8."""
    skin = stream(seed, clip, "speaker", "colours").uniform(0.7, 1) * np.array([236, 196, 168])
    wall = np.full((HEIGHT, WIDTH, 3), WALL[clip["corpus"]], np.uint8)
    return np.array([draw(wall.copy(), face, skin) for face in points])


def draw(picture, points, skin):
    """Return a picture (height, width, 3) with a face before it: landmarks (68, 2), its colour."""

    def fill(outline, shade):
        outline = np.round(16 * outline).astype(int)  # in sixteenths of a pixel, 2 ** 4
        cv2.fillPoly(picture, [outline], [*(shade * skin)], cv2.LINE_AA, 4)

    middle, jaw = points[27], points[:17]
    fill(middle + (jaw - middle) * (1.1, -0.9), 0.3)  # hair
    fill(middle + (jaw - middle) * (1, -0.55), 1)
    for outline, shade in zip(np.split(points, ENDS), SHADES):
        fill(outline, shade)
    return picture


def _write_clip(clip, folder, seed):
    """Write the files of one clip below the folder."""
    for medium in {"audio", "video", "landmarks"} & clip.keys():
        (folder / clip[medium]).parent.mkdir(parents=True, exist_ok=True)
    sound, sampling_rate = speak(clip, seed), SOUND[clip["corpus"]][0]
    points = track(clip, len(sound) / sampling_rate, seed)
    if "audio" in clip:
        soundfile.write(folder / clip["audio"], sound, sampling_rate, subtype="PCM_16")
    if "landmarks" in clip:
        columns = [f"{axis}_{k}" for axis in "xy" for k in range(68)]
        table = pd.DataFrame(points.swapaxes(1, 2).reshape(-1, 136), columns=columns)
        table.insert(0, "timestamp", table.index / FRAME_RATE)
        table.insert(0, "frame", table.index + 1)
        files.write_text(folder / clip["landmarks"], table.to_csv(index=False, float_format="%.4g"))
    if "video" in clip:
        _write_film(folder / clip["video"], film(clip, points, seed), sound, sampling_rate)


def _write_film(path, frames, sound, sampling_rate):
    """Write AVI or MP4 (MPEG-4 and MP2 in both) of RGB frames and sound."""
    look = dict(width=WIDTH, height=HEIGHT, pix_fmt="yuv420p", bit_rate=200_000)
    with av.open(str(path), "w") as container:
        # One thread gives the same bytes on any machine.
        pictures = container.add_stream("mpeg4", FRAME_RATE, thread_count=1, **look)
        voice = container.add_stream("mp2", sampling_rate, layout="mono", bit_rate=64_000)
        samples = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        samples.sample_rate = sampling_rate
        for frame in frames:
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        for packets in (pictures.encode(), voice.encode(samples), voice.encode()):
            container.mux(packets)
