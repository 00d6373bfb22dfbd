"""Small corpora with the real names, folders and formats: nobody's voice and nobody's face.

`write` makes one corpus, `root` all four. A voice is pulses through a filter, a face 68 landmarks
that are drawn. Both move with the emotion; each speaker and each corpus has a manner of its own.
"""

import io
import shutil
from itertools import product
from pathlib import Path

import av
import cv2
import filelock
import joblib
import numpy as np
import pooch
import soundfile
from scipy import signal

from . import files
from .corpora import emodb, enterface, ravdess, reading, savee

# The recipe counts on whenever what is written changes, so that older folders are replaced.
HEADER = "# SYNTHETIC: made by pathemo.synthetic, seed {seed} (recipe 4)"

RATE, HOP, WINDOW = 16_000, 80, 320  # of the voice [Hz], of its controls and its filter [samples]
FREQUENCIES = np.fft.rfftfreq(WINDOW, 1 / RATE)[:, None]  # [Hz]
SYLLABLES = 4
FRAME_RATE, HEIGHT = 12, 120  # of films [frames/s], [pixels]
CIRCLE = np.exp(1j * np.arange(0, 2 * np.pi, 0.2)).view(float).reshape(-1, 2)

# Sampling rate [Hz], syllables a second, level and noise [dB of full scale]
SOUND = {
    "emodb": (16_000, 5.3, -28, -72),
    "enterface": (48_000, 5.6, -30, -56),
    "ravdess": (48_000, 5.6, -36, -75),
    "savee": (44_100, 5.1, -31, -66),
}
# Width [pixels], and how bright the wall is [grey level]
FILM = {"enterface": (150, 85), "ravdess": (212, 226), "savee": (160, 120)}
# Pitch [semitones], rate [octaves], level [dB], spectral tilt [dB/octave], breath; neutral is 0
VOICES = {
    "anger": (3.5, 0.15, 7, 2.2, 0),
    "boredom": (-1.5, -0.3, -2, -0.8, 0.05),
    "calm": (-0.8, -0.15, -2.5, -0.8, 0.1),
    "disgust": (-1, -0.25, 1, 0.8, 0.2),
    "fear": (5, 0.3, 0, 0.2, 0.25),
    "happiness": (4, 0.1, 5, 1.2, 0.05),
    "sadness": (0, -0.35, -5, -1.6, 0.25),
    "surprise": (6, 0, 3, 0.6, 0.2),
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
        name, medium = reading.File(Path(path), said).key
        sentence = said["statement"][-1]  # the number alone: no words tell the emotion
        known.setdefault(name, said | {"corpus": corpus, "sentence": sentence})[medium] = path
    return list(known.values())


def write(name, root, seed=0):
    """Return the folder of a synthetic corpus under its real name, `root/name`: whole or absent.

    One of the same seed is kept; a synthetic one of another seed, or with other files, is replaced.
    The same seed and library versions give the same bytes. SYNTHETIC.txt lists name, sha256 and
    size of each. ValueError for an unknown name, FileExistsError where the folder holds what this
    function did not write.
    """
    known, folder = clips(name), Path(root).absolute() / name
    registry, staging = folder / reading.SYNTHETIC, folder.with_name(f".{name}.staging")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder.with_name(f".{name}.lock")):
        if folder.exists() and not registry.is_file():
            raise FileExistsError(
                f"{folder} is no synthetic corpus (it has no {registry.name}), so it stays as it "
                "is; give another root for the synthetic one, or move this folder away"
            )
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


def root():
    """Return the data root with all four synthetic corpora, written when absent.

    It is data/synthetic of the project, the nearest folder upwards that holds environment.yml;
    without one it is in the folder of the cache.
    """
    project = files.project()
    data = (project / "data" if project else files.cache_folder()) / "synthetic"
    for name in FILES:
        write(name, data)
    return data


def _list(name, folder, seed):
    """Return a list of the files of a corpus that are there: name, sha256 and size [bytes]."""
    lines = [HEADER.format(seed=seed)]
    for file in sorted(FILES[name]):
        path = folder / file
        if path.is_file():
            lines.append(f"{file} sha256:{pooch.file_hash(path)} {path.stat().st_size}")
    return "\n".join(lines) + "\n"


def stream(seed, clip, whose, what):
    """Return the random generator of what is a clip's own, its speaker's, or its sentence's."""
    name = f"{clip['corpus']}/{clip[whose]}/{what}"
    return np.random.default_rng([seed, *name.encode()])


def manner(table, clip, seed, what):
    """Return what the speaker adds to a row of the table, and that row as it is in this clip."""
    rng, person = stream(seed, clip, "clip", what), stream(seed, clip, "speaker", what)
    spread = np.std([*table.values()], axis=0) / 2
    apex = rng.lognormal(0, 0.3) * np.array(table.get(clip["emotion"], 0))
    return person.normal(0, spread), apex + rng.normal(0, spread)


def speak(clip, seed):
    """Return the sound of a clip at its corpus's sampling rate: (n_samples,) float32 in [-1, 1]."""
    sampling_rate, rate, level, floor = SOUND[clip["corpus"]]
    pitch, tempo, loudness, tilt, breath = np.add(*manner(VOICES, clip, seed, "voice"))
    gender = reading.READERS[clip["corpus"]].SPEAKERS[clip["speaker"]]
    size = 1.16 if gender == "female" else 1  # a shorter throat, higher formants and pitch
    rng = stream(seed, clip, "clip", "sound")
    text = stream(seed, clip, "sentence", "text")  # the same words whoever says them

    ends = np.cumsum(rng.lognormal(0, 0.1, SYLLABLES)) / rate / 2**tempo  # of syllables [s]
    time = np.arange(0, ends[-1], HOP / RATE)
    syllable = np.interp(time, [0, *ends], np.arange(SYLLABLES + 1))  # (n_frames,)
    opening = np.sin(np.pi * (syllable % 1))
    melody = pitch + 3 * opening - 0.6 * syllable  # [semitones]
    pitch = 118 * size**4 * 2 ** (melody / 12)  # [Hz]
    phase = np.cumsum(np.repeat(pitch, HOP)[HOP:]) / RATE
    noise = rng.normal(0, 0.1 + max(breath, 0), len(phase))

    throat = opening * np.maximum(FREQUENCIES / 500, 0.2) ** (tilt / 6 - 1)
    vowels = text.uniform((300, 800), (750, 2200), (SYLLABLES, 2))[syllable.astype(int)]  # [Hz]
    for formant in (*vowels.T, 2500, 3500):
        ratio = FREQUENCIES / formant / size
        throat = throat / np.abs(1 - ratio**2 + 0.12j * ratio)  # (n_frequencies, n_frames)
    frames = {"nperseg": WINDOW, "noverlap": WINDOW - HOP}
    spectra = signal.stft(signal.sawtooth(2 * np.pi * phase) + noise, **frames)[2]
    sound = signal.istft(spectra * throat, **frames)[1]
    sound *= 10 ** ((level + loudness) / 20) / sound.std()
    sound = signal.resample_poly(np.pad(sound, RATE // 25), sampling_rate // 100, RATE // 100)
    sound += rng.normal(0, 10 ** (floor / 20), len(sound))
    return sound.clip(-1, 1).astype(np.float32)


def landmarks(inner_brow, outer_brow, lids, nose, smile, jaw):
    """Return the landmarks (68, 2) of a face that moves so far.

    The unit is half a face's width, the origin between the eyes, y goes down.
    """

    def ring(n_points):  # from the left over the top
        return np.exp(1j * (np.pi - np.arange(n_points) * 2 * np.pi / n_points))

    side = np.linspace(-np.pi / 2, np.pi / 2, 17)
    chin = np.sin(side) + 1j * ((1.51 + 0.22 * jaw * np.cos(side)) * np.cos(side) - 0.05)
    inward = np.linspace(0, 1, 5)  # along a brow
    lift = 0.17 * inner_brow * inward + 0.15 * outer_brow * (1 - inward)
    brow = 0.62 * inward - 0.82 - 1j * (0.28 + 0.11 * np.sin(np.pi * inward) + lift)
    bridge = 1j * np.linspace(-0.05, 0.52, 4)
    across = np.linspace(-0.2, 0.2, 5)
    nostrils = across + 1j * (0.7 - 0.35 * np.abs(across) - 0.06 * nose)
    eye = 0.185 * ring(6).real - 1j * (0.1 + 0.05 * lids) * ring(6).imag
    parts = [chin, brow, -brow.conj()[::-1], bridge, nostrils, eye - 0.435, eye + 0.435]
    for n_points, width, thickness in ((12, 0.36, 0.1), (8, 0.3, 0.01)):  # lips, outside, inside
        across, up = ring(n_points).real, ring(n_points).imag
        down = 1 - thickness * up - 0.14 * smile * across**2 - 0.3 * jaw * np.minimum(up, 0)
        parts.append(width * (1 + 0.28 * smile - 0.17 * jaw) * across + 1j * down)
    return np.concatenate(parts).view(float).reshape(68, 2)


def track(clip, seconds, seed):
    """Return the landmarks of the speaking face in every frame: (n_frames, 68, 2) [pixels]."""
    own, apex = manner(FACES, clip, seed, "face")
    time = np.arange(0, seconds, 1 / FRAME_RATE)[:, None] / seconds  # of the clip
    moves = own + np.interp(time, [0, 0.4, 0.8, 1], [0, 1, 1, 0.3]) * apex
    jaw = moves[:, 5:] + 0.4 * np.abs(np.sin(np.pi * SYLLABLES * time))  # it speaks
    moves[:, 5:] = np.maximum(jaw, 0)
    size = stream(seed, clip, "speaker", "size").normal(28, 1.5, 2)  # of half a face [pixels]
    shape = size * [landmarks(*move) for move in moves]
    rng, middle = stream(seed, clip, "clip", "place"), (FILM[clip["corpus"]][0] / 2, 0.47 * HEIGHT)
    return rng.normal(middle, 2) + shape + rng.normal(0, 0.3, shape.shape)  # nobody keeps still


def film(clip, points, seed):
    """Return RGB pictures of a face with landmarks: (n_frames, height, width, 3) uint8."""
    width, wall = FILM[clip["corpus"]]
    person = stream(seed, clip, "speaker", "colours")
    skin = np.array([236, 196, 168]) * person.uniform(0.6, 1)
    hair = skin * person.uniform(0.1, 0.6)
    wall = np.full((HEIGHT, width, 3), wall, np.uint8)
    return np.array([draw(wall.copy(), face, skin, hair) for face in points])


def draw(picture, points, skin, hair):
    """Return a picture (height, width, 3) with a face before it: landmarks (68, 2), two colours."""
    unit = np.ptp(points[:17, 0]) / 2

    def oval(x, y, width, height):
        return points[27] + unit * (CIRCLE * (width, height) + (x, y))

    def band(curve, height):
        return np.concatenate([curve, curve[::-1] + (0, height * unit)])

    dark = 0.2 * skin
    shapes = [
        (oval(0, -0.3, 1.1, 1.05), hair),
        (oval(0, -0.05, 1, 0.8), skin),
        (points[:17], skin),
        (oval(0, 0.3, 0.2, 0.3), 0.85 * skin),  # nose
        (band(points[31:36], 0.06), 0.6 * skin),
        (points[48:60], skin * (0.8, 0.6, 0.6)),  # lips
        (points[60:68], dark),
    ]
    for side, brow, eye in ((-1, points[17:22], points[36:42]), (1, points[22:27], points[42:48])):
        shapes += [(oval(0.43 * side, 0, 0.3, 0.22), 0.65 * skin), (eye, dark)]
        shapes += [(band(brow, 0.1), 0.6 * hair)]
    for outline, colour in shapes:
        outline = np.round(16 * outline).astype(int)  # in sixteenths of a pixel, 2 ** 4
        cv2.fillPoly(picture, [outline], [*colour], cv2.LINE_AA, 4)
    return cv2.GaussianBlur(picture, (0, 0), unit / 30)


def _write_clip(clip, folder, seed):
    """Write the files of one clip below the folder."""
    for medium in {"audio", "video", "landmarks"} & clip.keys():
        (folder / clip[medium]).parent.mkdir(parents=True, exist_ok=True)
    sound, sampling_rate = speak(clip, seed), SOUND[clip["corpus"]][0]
    if "audio" in clip:
        soundfile.write(folder / clip["audio"], sound, sampling_rate, subtype="PCM_16")
    if clip["corpus"] in FILM:
        points = track(clip, len(sound) / sampling_rate, seed)
    if "landmarks" in clip:
        columns = ["frame", "timestamp", *(f"{axis}_{k}" for axis in "xy" for k in range(68))]
        number, cells = np.arange(len(points)), points.swapaxes(1, 2).reshape(-1, 136)
        cells = np.column_stack([number + 1, number / FRAME_RATE, cells])
        table = io.StringIO()
        np.savetxt(table, cells, "%.4g", ",", header=",".join(columns), comments="")
        files.write_text(folder / clip["landmarks"], table.getvalue())
    if "video" in clip:
        _write_film(folder / clip["video"], film(clip, points, seed), sound, sampling_rate)


def _write_film(path, frames, sound, sampling_rate):
    """Write AVI or MP4 (MPEG-4 and MP2 in both) of RGB frames and sound."""
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", FRAME_RATE, pix_fmt="yuv420p", bit_rate=200_000)
        pictures.height, pictures.width = frames.shape[1:3]
        pictures.codec_context.thread_count = 1  # the same bytes on any machine
        voice = container.add_stream("mp2", sampling_rate, layout="mono", bit_rate=64_000)
        samples = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        samples.sample_rate = sampling_rate
        for frame in frames:
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        for packets in (pictures.encode(), voice.encode(samples), voice.encode()):
            container.mux(packets)
