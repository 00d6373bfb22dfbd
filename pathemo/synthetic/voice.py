"""A small source-filter voice: pulses and noise through formants, recorded as each corpus
would be.
"""

from collections import namedtuple

import numpy as np
from scipy import ndimage, signal

from .layout import stream

RATE, HOP, WINDOW = 16_000, 80, 320  # of the voice [Hz], of its controls and its filter [samples]
FREQUENCIES = np.fft.rfftfreq(WINDOW, 1 / RATE)[:, None]  # [Hz]
SYLLABLES = 4

# pitch [semitones], its range, rate [octaves], level [dB], spectral tilt [dB/octave], roughness,
# breath
EMOTIONS = {
    "anger": (3.5, 0.6, 0.15, 7.0, 2.2, 0.45, 0.00),
    "boredom": (-1.5, -0.6, -0.30, -2.0, -0.8, 0.05, 0.05),
    "calm": (-0.8, -0.3, -0.15, -2.5, -0.8, -0.05, 0.10),
    "disgust": (-1.0, 0.2, -0.25, 1.0, 0.8, 0.50, 0.10),
    "fear": (5.0, -0.1, 0.30, 0.0, 0.2, 0.20, 0.25),
    "happiness": (4.0, 0.8, 0.10, 5.0, 1.2, 0.00, 0.05),
    "neutral": (0.0, 0.0, 0.00, 0.0, 0.0, 0.00, 0.00),
    "sadness": (0.0, -0.7, -0.35, -5.0, -1.6, 0.05, 0.25),
    "surprise": (6.0, 1.0, 0.00, 3.0, 0.6, -0.05, 0.20),
}
NEUTRAL = np.array([0.0, 0.0, 0.0, 0.0, -3.0, 0.15, 0.1])
SPREAD = np.array([1.3, 0.25, 0.09, 1.9, 0.7, 0.12, 0.07])  # of speakers, and of a speaker's clips

# syllables a second; rhythm: how much longer a stressed one is (0: syllable-timed);
# level and noise floor [dB of full scale]; equaliser [dB/octave]; reverberation [s]
Setting = namedtuple("Setting", "sampling_rate rate rhythm level noise equaliser room")
SETTINGS = {
    "emodb": Setting(16_000, 5.3, 0.6, -28, -72, 0.0, 0.10),
    "enterface": Setting(48_000, 5.6, 0.1, -30, -56, -1.5, 0.35),
    "ravdess": Setting(48_000, 5.6, 0.8, -36, -75, 1.0, 0.15),
    "savee": Setting(44_100, 5.1, 1.0, -31, -66, -0.7, 0.25),
}


def speak(clip, seed):
    """Sound of a clip, mono, at its corpus's sampling rate: (n_samples,) float32 in [-1, 1]."""
    setting = SETTINGS[clip.corpus]
    rng = stream(seed, clip.corpus, clip.name, "voice")
    person = stream(seed, clip.corpus, clip.speaker, "voice")
    register = (205 if clip.female else 118) * 2 ** person.normal(0, 0.08)  # [Hz]
    tract = (1.16 if clip.female else 1.0) * 2 ** person.normal(0, 0.05)  # scales the formants
    manner = NEUTRAL + person.normal(0, SPREAD) + rng.normal(0, SPREAD)
    manner += (
        EMOTIONS[clip.emotion] * person.lognormal(0, 0.25, len(manner)) * rng.lognormal(0, 0.25)
    )
    pitch, liveliness, rate, level, tilt, roughness, breath = manner

    melody, voicing, hiss, centre, *formants = _sentence(clip, seed, setting.rate * 2**rate, rng)
    pulses = _pulses(
        register * 2 ** ((pitch + 2.5 * 2**liveliness * melody) / 12), max(roughness, 0), rng
    )
    noise = rng.normal(0, 1, len(pulses))
    throat = voicing * (np.maximum(FREQUENCIES, 100) / 500) ** ((tilt + setting.equaliser) / 6.02)
    for formant in (*formants, 2500, 3500):
        ratio = FREQUENCIES / (formant * tract)
        throat = throat / np.abs(1 - ratio**2 + 1j * (0.08 + 30 / formant) * ratio)
    tongue = hiss * np.exp(-(((FREQUENCIES - centre) / 1200) ** 2))
    frames = {"nperseg": WINDOW, "noverlap": WINDOW - HOP}
    spectra = signal.stft([pulses + max(breath, 0.02) * noise, noise], **frames)[2]
    sound = signal.istft(spectra[0] * throat + spectra[1] * tongue, **frames)[1]
    sound *= 10 ** ((setting.level + level) / 20) / sound.std()

    sound = signal.resample_poly(sound, setting.sampling_rate // 100, RATE // 100)
    time = np.arange(1, setting.room * setting.sampling_rate) / setting.sampling_rate
    room = stream(seed, clip.corpus, "room").normal(0, 0.02, len(time)) * 10 ** (
        -3 * time / setting.room
    )
    sound = signal.fftconvolve(sound, [1, *room])[: len(sound)]
    sound += rng.normal(0, 10 ** (setting.noise / 20), len(sound))
    return sound.clip(-1, 1).astype(np.float32)


def _sentence(clip, seed, rate, rng):
    """Melody, voicing, consonants' noise, its centre [Hz], two formants [Hz]: (6, n_frames)."""
    language = stream(seed, clip.corpus, "language").uniform(
        (300, 800), (750, 2200), (6, 2)
    )  # its vowels
    text = stream(seed, clip.corpus, clip.statement, "text")  # the same words whoever says them
    vowels = language[text.integers(6, size=SYLLABLES)]
    centres = text.uniform(1500, 5500, SYLLABLES)
    stress = 1 + SETTINGS[clip.corpus].rhythm * (np.arange(SYLLABLES) % 2 == text.integers(2))
    seconds = stress / stress.mean() * rng.lognormal(0, 0.1, SYLLABLES) / rate
    lengths = np.round(seconds * RATE / HOP).astype(int)  # [frames]

    syllable = np.repeat(np.arange(SYLLABLES), lengths)
    position = np.concatenate([np.linspace(0, 1, length) for length in lengths])  # in its syllable
    stress, in_vowel = stress[syllable], position > 0.3
    melody = (stress - 0.5) * np.sin(np.pi * position) - np.linspace(-0.5, 1, len(position))
    voicing = np.where(in_vowel, np.sqrt(stress) * (1.1 - position), 0.15)
    tracks = np.vstack([melody, voicing, 0.3 * ~in_vowel, centres[syllable], vowels[syllable].T])
    tracks = np.pad(tracks, ((0, 0), (8, 8)), mode="edge")
    tracks[1:3, :8] = tracks[1:3, -8:] = 0  # silence before and after
    return ndimage.gaussian_filter1d(tracks, 2.5, axis=1)  # the mouth moves smoothly


def _pulses(pitch, roughness, rng):
    """Glottal pulses (n_samples,) of a pitch (n_frames,) [Hz]; roughness varies their length and
    height.
    """
    samples = np.arange((len(pitch) - 1) * HOP)
    pitch = np.interp(samples / HOP, np.arange(len(pitch)), pitch)
    cycle = np.cumsum(pitch / RATE).astype(int)
    jitter, shimmer = rng.normal(0, roughness, (2, cycle[-1] + 1))[:, cycle]
    opening = (np.cumsum(pitch * (1 + 0.07 * jitter) / RATE) % 1) / 0.6
    flow = np.where(
        opening < 1, 2 * opening - 3 * opening**2, 0
    )  # derivative of the KLGLOTT88 pulse
    return flow * (1 + 0.4 * shimmer)
