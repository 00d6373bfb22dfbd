"""A small source-filter voice: pulses and noise through formants, recorded as each corpus would be."""

from collections import namedtuple

import numpy as np
from scipy import ndimage, signal

from .layout import stream

RATE, HOP, WINDOW = 16_000, 80, 320  # of the voice [Hz], of its controls and its filter [samples]
FREQUENCIES = np.fft.rfftfreq(WINDOW, 1 / RATE)[:, None]  # [Hz]

# pitch [semitones], its range, rate [octaves], level [dB], spectral tilt [dB/octave], roughness, breath
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
SPEAKER_SPREAD = np.array([1.6, 0.25, 0.10, 2.0, 0.8, 0.12, 0.06])
CLIP_SPREAD = np.array([1.0, 0.25, 0.08, 1.7, 0.6, 0.12, 0.07])

# syllables of a sentence and a second; rhythm: how much longer a stressed one is (0: syllable-timed);
# level and noise floor [dB of full scale]; equaliser [dB/octave around 1 kHz]; reverberation [s]
Setting = namedtuple(
    "Setting", "sampling_rate vowels onsets syllables rate rhythm level noise equaliser room"
)
SETTINGS = {
    "emodb": Setting(16_000, "aeiouyöə", "tkszmrv", 5, 5.3, 0.6, -28, -72, 0.0, 0.10),
    "enterface": Setting(48_000, "aeiou", "tksmr", 5, 5.6, 0.1, -30, -56, -1.5, 0.35),
    "ravdess": Setting(48_000, "aäeiouə", "tszmr", 4, 5.6, 0.8, -36, -75, 1.0, 0.15),
    "savee": Setting(44_100, "aäioə", "tksmv", 4, 5.1, 1.0, -31, -66, -0.7, 0.25),
}
VOWELS = {  # four formants [Hz]
    "a": (750, 1250, 2500, 3600), "e": (450, 2000, 2600, 3600), "i": (290, 2250, 2950, 3700),
    "o": (450, 850, 2450, 3500), "u": (320, 800, 2300, 3400), "y": (290, 1750, 2200, 3400),
    "ö": (400, 1550, 2250, 3400), "ä": (680, 1700, 2450, 3600), "ə": (500, 1400, 2400, 3500),
}  # fmt: skip
ONSETS = {  # voicing, noise and its centre [Hz]
    "t": (0, 0.3, 4000), "k": (0, 0.3, 1800), "s": (0, 0.5, 5500), "z": (0.1, 0.6, 3000),
    "m": (0.35, 0, 1000), "r": (0.5, 0.1, 1500), "v": (0.3, 0.2, 4500),
}  # fmt: skip


def speak(clip, seed):
    """Sound of a clip, mono, at its corpus's sampling rate: (n_samples,) float32 in [-1, 1]."""
    setting = SETTINGS[clip.corpus]
    rng = stream(seed, clip.corpus, clip.name, "voice")
    person = stream(seed, clip.corpus, clip.speaker, "voice")
    register = (205 if clip.female else 118) * 2 ** person.normal(0, 0.08)  # [Hz]
    tract = (1.16 if clip.female else 1.0) * 2 ** person.normal(0, 0.05)  # scales the formants
    manner = NEUTRAL + person.normal(0, SPEAKER_SPREAD) + rng.normal(0, CLIP_SPREAD)
    manner += EMOTIONS[clip.emotion] * person.lognormal(0, 0.25, len(manner)) * rng.lognormal(0, 0.25)
    pitch, liveliness, rate, level, tilt, roughness, breath = manner

    melody, voicing, noisiness, centre, *formants = _sentence(clip, seed, setting.rate * 2**rate, rng)
    pulses = _pulses(register * 2 ** ((pitch + 2.5 * 2**liveliness * melody) / 12), max(roughness, 0), rng)
    noise = rng.normal(0, 1, len(pulses))
    throat = voicing * (np.maximum(FREQUENCIES, 100) / 500) ** (tilt / 6.02)
    for formant in formants:
        ratio = FREQUENCIES / (formant * tract)
        throat = throat / np.abs(1 - ratio**2 + 1j * (0.08 + 30 / formant) * ratio)
    tongue = noisiness * np.exp(-(((FREQUENCIES - centre) / 1200) ** 2))
    frames = {"nperseg": WINDOW, "noverlap": WINDOW - HOP}
    spectra = signal.stft([pulses + max(breath, 0.02) * noise, noise], **frames)[2]
    sound = signal.istft(spectra[0] * throat + spectra[1] * tongue, **frames)[1]
    return _record(sound / sound.std() * 10 ** ((setting.level + level) / 20), clip.corpus, seed, rng)


def _sentence(clip, seed, rate, rng):
    """Melody, voicing, noise, its centre [Hz] and four formants [Hz] of the words: (8, n_frames)."""
    setting = SETTINGS[clip.corpus]
    text = stream(seed, clip.corpus, clip.statement, "text")  # the same words whoever says them
    vowels = np.array([VOWELS[name] for name in text.choice(list(setting.vowels), setting.syllables)])
    onsets = np.array([ONSETS[name] for name in text.choice(list(setting.onsets), setting.syllables)])
    stress = 1 + setting.rhythm * (np.arange(setting.syllables) % 2 == text.integers(2))
    seconds = stress / stress.mean() * rng.lognormal(0, 0.1, setting.syllables) / rate
    lengths = np.round(seconds * RATE / HOP).astype(int)  # [frames]

    syllable = np.repeat(np.arange(setting.syllables), lengths)
    position = np.concatenate([np.linspace(0, 1, length) for length in lengths])  # in its syllable
    stress, onsets, in_vowel = stress[syllable], onsets[syllable], position > 0.3
    melody = (stress - 0.5) * np.sin(np.pi * position) - np.linspace(-0.5, 1, len(position))
    onsets[in_vowel, 0] = (np.sqrt(stress) * (1.1 - position))[in_vowel]
    onsets[in_vowel, 1] = 0
    tracks = np.pad(np.vstack([melody, onsets.T, vowels[syllable].T]), ((0, 0), (8, 8)), mode="edge")
    tracks[1:3, :8] = tracks[1:3, -8:] = 0  # silence before and after
    return ndimage.gaussian_filter1d(tracks, 2.5, axis=1)  # the mouth moves smoothly


def _pulses(pitch, roughness, rng):
    """Glottal pulses (n_samples,) of a pitch (n_frames,) [Hz], rough by jitter, shimmer and subharmonics."""
    samples = np.arange((len(pitch) - 1) * HOP)
    pitch = np.interp(samples / HOP, np.arange(len(pitch)), pitch)
    cycle = np.cumsum(pitch / RATE).astype(int)
    jitter, shimmer = rng.normal(0, roughness, (2, cycle[-1] + 1))[:, cycle]
    opening = (np.cumsum(pitch * (1 + 0.05 * jitter) / RATE) % 1) / 0.6
    flow = np.where(opening < 1, 2 * opening - 3 * opening**2, 0)  # derivative of the KLGLOTT88 pulse
    return flow * (1 + 0.3 * shimmer) * (1 - 0.4 * roughness * (cycle % 2))


def _record(sound, corpus, seed, rng):
    """`sound` in the corpus's room, through its microphone, at its sampling rate: float32 in [-1, 1]."""
    setting = SETTINGS[corpus]
    sound = signal.resample_poly(sound, setting.sampling_rate // 100, RATE // 100)
    time = np.arange(1, setting.room * setting.sampling_rate) / setting.sampling_rate
    echo = 0.02 * stream(seed, corpus, "room").normal(size=len(time)) * 10 ** (-3 * time / setting.room)
    sound = signal.fftconvolve(sound, [1, *echo])[: len(sound)]
    frequencies = np.fft.rfftfreq(len(sound), 1 / setting.sampling_rate)
    microphone = (np.maximum(frequencies, 60) / 1000) ** (setting.equaliser / 6.02)
    sound = np.fft.irfft(np.fft.rfft(sound) * microphone, len(sound))
    sound += rng.normal(0, 10 ** (setting.noise / 20), len(sound))
    return sound.clip(-1, 1).astype(np.float32)
