"""Functionals: one row of numbers an utterance.

They describe, over an utterance, descriptors taken every 10 ms: their statistics, their course, how
they move together, and how the spectrum is modulated. One short-time Fourier transform feeds all
descriptors: its power gives bands, cepstrum, shape and level, and the inverse transform of that
power is the autocorrelation, which gives pitch and voicing.

Source: descriptors after Eyben et al. 2016 (GeMAPS), pitch after Boersma 1993 with the two passes
of De Looze and Hirst 2008, correlations of descriptors after Williamson et al. 2013 with the
logarithm of Arsigny et al. 2006, modulations after Chi, Ru and Shamma 2005. Ours, as the papers
give no inputs.
"""

from itertools import combinations_with_replacement, product

import numpy as np
import torch
from scipy import fft, linalg, ndimage
from torchaudio.functional import melscale_fbanks

from .. import files
from .recordings import MEDIA, RATE, decode

HOP, WINDOW = 0.010, 0.040  # [s] between frames; Hann window, three periods of a 75 Hz voice
SHORTEST = 0.5  # [s] shorter clips get silence on both sides up to this
LOWEST, HIGHEST = 50.0, 8000.0  # [Hz] what the functionals hear
ACTIVE = 40.0  # [dB] below the loudest frame: what is quieter is no speech
FLOOR = 1e-7  # added to powers before the logarithm: 70 dB below the mean level of the utterance
PITCH_RANGE = 60.0, 600.0  # [Hz]

N_BANDS = 40  # of the mel scale
BANDS = tuple(f"band{number}" for number in range(1, 11))  # means of four of them
CEPSTRUM = tuple(f"mfcc{number}" for number in range(1, 21))
SHAPE = tuple(
    "centroid spread rolloff25 rolloff50 rolloff85 flatness flux slope_low slope_high alpha "
    "hammarberg level loudness".split()
)
VOICE = "pitch", "voicing"
FRAME = CEPSTRUM + SHAPE + VOICE  # the descriptors of a frame, in order
STATISTICS = "mean", "sd", "delta"
PERCENTILES = 5, 25, 50, 75, 95
THIRDS = "first", "middle", "last"
CONTOURS = CEPSTRUM[:13] + SHAPE + ("pitch",)
COSINES = range(1, 7)  # draw a contour, by the number of their halves
CHANGING = (*CEPSTRUM[:8], "centroid")  # whose change is correlated with the rest, too
MOVING = (*CHANGING, "level", "pitch", "voicing")
TOGETHER = (*MOVING, *(f"change of {name}" for name in CHANGING))
CERTAINTY = 0.95  # what correlations are multiplied by, so that their matrix has a logarithm
RATES = 0.0, 2.5, 5.0, 10.0, 20.0  # [Hz]
SCALES = 0.0, 0.03, -0.03, 0.06, -0.06, 0.12, -0.12, 0.25, -0.25  # [cycles a band]; below 0 falling
QUARTERS = range(1, 5)  # of the bands
MODULATIONS = tuple((rate, scale) for rate, scale in product(RATES, SCALES) if rate or scale > 0)
FUNCTIONALS = (
    *(f"{name} {statistic}" for name in FRAME for statistic in STATISTICS),
    *(f"{name} p{percent:02}" for name in VOICE for percent in PERCENTILES),
    *(f"{name} {third}" for third in THIRDS for name in FRAME),
    *(f"{name} {third} sd" for third in THIRDS for name in SHAPE + VOICE),
    *(f"{name} contour{order}" for name in CONTOURS + BANDS for order in COSINES),
    *(f"{one} with {other}" for one, other in combinations_with_replacement(TOGETHER, 2)),
    *(f"{rate:g} Hz {scale:g} quarter{part}" for rate, scale in MODULATIONS for part in QUARTERS),
)


def functionals(index, *, speed=1.0, n_jobs=-1):
    """Return functionals of each clip's sound, or else its video's: (n_clips, n_features) float32.

    The features are FUNCTIONALS. Rows are kept in the cache.

    Parameters
    ----------
    index : DataFrame with columns clip, audio, video (paths or NA)
    speed : float
        Clips are played so much faster, and higher, to be other voices in training.
    n_jobs : int
        Processes; -1: one a processor.

    Raises
    ------
    ValueError
        Clips have no usable sound: all by name, the others stay cached.
    """
    return np.stack(files.per_recording(index, MEDIA, _row, (speed,), n_jobs=n_jobs))


def _row(path, speed):
    return functionals_of(decode(path, sampling_rate=round(RATE / speed)), sampling_rate=RATE)


def functionals_of(y, *, sampling_rate):
    """Return FUNCTIONALS (n_features,) float32 of one utterance, finite however short or still.

    Frames within 40 dB of the loudest are active; what lies between the first and the last of them
    counts. Powers are relative to their mean over active frames, so that the recording level shows
    in `level` [dB of full scale] and `loudness` alone. Pitch [semitones above 150 Hz] and voicing
    are of voiced frames, 0 in a clip without any; what follows their course draws pitch through the
    frames between. Frequencies in [kHz], levels in [dB].

    Parameters
    ----------
    y : (n_samples,) float array; padded with silence to 0.5 s
    sampling_rate : int [Hz], at least 16000

    >>> y = 2 * (300 * np.arange(16000) / 16000 % 1) - 1  # a sawtooth
    >>> row = functionals_of(y, sampling_rate=16000)
    >>> round(float(row[FUNCTIONALS.index("pitch mean")]))  # 300 Hz is an octave above 150 Hz
    12
    """
    short = max(0, round(SHORTEST * sampling_rate) - len(y))
    y = np.pad(np.float32(y - np.mean(y)), (short // 2, short - short // 2))
    khz, power = _power(y, sampling_rate)
    total = power.sum(axis=0) + 1e-20
    active = total > total.max() * 10 ** (-ACTIVE / 10)
    first, last = np.flatnonzero(active)[[0, -1]]
    inside = slice(first, last + 1)
    power, total, active = power[:, inside], total[inside], active[inside]
    reference = total[active].mean()
    power /= reference

    to_mel = melscale_fbanks(len(power), LOWEST, HIGHEST, N_BANDS, sampling_rate, None, "slaney")
    bands = to_mel.T.numpy() @ power
    mel = _decibel(bands)  # (N_BANDS, n_frames)
    cepstrum = fft.dct(mel, axis=0, norm="ortho")[1 : len(CEPSTRUM) + 1]
    level = _decibel(total / reference) + 10 * np.log10(reference)
    loudness = ((bands * reference) ** 0.23).sum(axis=0)
    voice, voiced = _voice(power, active, sampling_rate)  # (2, n_frames)
    shape = *_shape(khz, power), level, loudness
    frames = np.concatenate([cepstrum, shape, voice], dtype=np.float32)  # as FRAME
    if not voiced.any():
        voice, voiced = 0 * voice, active
    at_least_three = range(max(len(THIRDS), len(total)))
    thirds = np.array_split(frames.take(at_least_three, axis=1, mode="clip"), len(THIRDS), axis=1)
    coarse = mel.reshape(len(BANDS), -1, len(total)).mean(axis=1)
    moving = frames[[FRAME.index(name) for name in MOVING]]
    changes = np.gradient(moving[: len(CHANGING)], axis=1)
    row = [
        _statistics(frames[:-2], active),
        _statistics(voice, voiced),
        np.percentile(voice[:, voiced], PERCENTILES, axis=1).T,
        [third.mean(axis=1) for third in thirds],
        [third[len(CEPSTRUM) :].std(axis=1) for third in thirds],
        _contours(np.concatenate([frames[[FRAME.index(name) for name in CONTOURS]], coarse])),
        _log_correlations(np.concatenate([moving, changes])[:, active]),
        _modulations(mel, active),
    ]
    return np.concatenate(row, axis=None, dtype=np.float32)


def _power(y, sampling_rate):
    """Return frequencies (n_frequencies,) [kHz], and power (n_frequencies, n_frames)."""
    width, step = round(WINDOW * sampling_rate), round(HOP * sampling_rate)
    n_fft = 1 << round(1.5 * width).bit_length()  # its zeros keep autocorrelation exact
    y, window = torch.from_numpy(y), torch.hann_window(width)
    spectrum = torch.stft(y, n_fft, step, width, window, pad_mode="constant", return_complex=True)
    power = (spectrum.real**2 + spectrum.imag**2).numpy() * (2 / n_fft / (window @ window).item())
    khz = np.arange(len(power), dtype=np.float32) * sampling_rate / n_fft / 1000
    power[(khz < LOWEST / 1000) | (khz > HIGHEST / 1000)] = 0
    return khz, power


def _decibel(power):
    return 10 * np.log10(power + FLOOR)


def _shape(khz, power):
    """Return the shape of the spectrum (11, n_frames): SHAPE without level and loudness."""
    share = power / (power.sum(axis=0) + FLOOR)
    share_db = _decibel(share)
    centroid = khz @ share
    spread = np.sqrt(np.maximum(khz**2 @ share - centroid**2, 0))
    below = np.cumsum(share, axis=0)
    rolloffs = [khz[np.argmax(below >= part * below[-1], axis=0)] for part in (0.25, 0.5, 0.85)]
    flatness = share_db.mean(axis=0)
    root = np.sqrt(share)
    flux = np.linalg.norm(np.diff(root, axis=1, prepend=root[:, :1]), axis=0)

    def slope(low, high):  # [dB/kHz]
        inside = (khz >= low) & (khz < high)
        offset = khz[inside] - khz[inside].mean()
        return offset @ share_db[inside] / (offset @ offset)

    below_1, below_2, below_5 = np.searchsorted(khz, [1, 2, 5])
    alpha = _decibel(share[:below_1].sum(axis=0)) - _decibel(share[below_1:below_5].sum(axis=0))
    hammarberg = share_db[:below_2].max(axis=0) - share_db[below_2:below_5].max(axis=0)
    slopes = slope(0.05, 0.5), slope(0.5, 1.5)
    return np.stack([centroid, spread, *rolloffs, flatness, flux, *slopes, alpha, hammarberg])


def _voice(power, active, sampling_rate):
    """Return pitch and voicing (2, n_frames), and which frames (n_frames,) are voiced.

    Pitch is the lag at which the autocorrelation, divided by the window's own, peaks highest, less
    0.03 an octave so as not to fall an octave down. A second pass looks only near what the first
    found.
    """
    n_fft = 2 * len(power) - 2
    low = power[: round(4000 * n_fft / sampling_rate)]  # below 4 kHz a parabola fits the peaks
    correlation = torch.fft.irfft(torch.from_numpy(low.T), n_fft).numpy()
    window = torch.hann_window(round(WINDOW * sampling_rate))
    own = torch.fft.irfft(torch.fft.rfft(window, n_fft).abs() ** 2).numpy()
    shortest, longest = (round(sampling_rate / hertz) for hertz in reversed(PITCH_RANGE))
    lag = np.arange(shortest - 1, longest + 2)
    correlation = correlation[:, lag] / (correlation[:, :1] + 1e-12) / (own[lag] / own[0])
    before, at, after = correlation[:, :-2], correlation[:, 1:-1], correlation[:, 2:]
    is_peak = (at > before) & (at >= after)  # (n_frames, n_lags)
    rise, bend = before - after, 2 * (before - 2 * at + after)
    shift = np.divide(rise, bend, where=is_peak, out=np.zeros_like(at))
    height = at - rise * shift / 4
    lag = lag[1:-1]
    strength = np.where(is_peak, height - 0.03 * np.log2(lag / shortest, dtype=np.float32), -1)

    def track(lowest, highest):
        start, stop = np.searchsorted(lag, [sampling_rate / highest, sampling_rate / lowest])
        peak = start + strength[:, start : stop + 1].argmax(axis=1)
        frame = np.arange(len(peak))
        voicing = np.clip(height[frame, peak], 0, 1)
        voiced = active & (strength[frame, peak] > -1) & (voicing > 0.5)
        voiced = ndimage.binary_opening(voiced, np.ones(3))  # for at least 30 ms
        return sampling_rate / (lag[peak] + shift[frame, peak]), voicing, voiced

    hertz, voicing, voiced = track(*PITCH_RANGE)
    if voiced.any():
        low, high = np.percentile(hertz[voiced], [25, 75])
        hertz, voicing, voiced = track(0.7 * low, 2 * high)
    frames, pitch = np.flatnonzero(voiced), np.zeros(len(hertz))
    if voiced.any():
        pitch = np.interp(np.arange(len(hertz)), frames, 12 * np.log2(hertz[frames] / 150))
    return np.stack([pitch, voicing]), voiced


def _statistics(tracks, chosen):
    """Return STATISTICS (n_tracks, 3) over the chosen frames; delta is the mean absolute change."""
    inside, change = tracks[:, chosen], np.abs(np.gradient(tracks, axis=1)[:, chosen])
    return np.column_stack([inside.mean(axis=1), inside.std(axis=1), change.mean(axis=1)])


def _contours(tracks):
    """Return the mean product of each track with each of COSINES (n_tracks, n_cosines)."""
    moment = (np.arange(tracks.shape[1]) + 0.5) / tracks.shape[1]
    return tracks @ np.cos(np.pi * np.outer(moment, COSINES)) / len(moment)


def _log_correlations(tracks):
    """Return the upper triangle of the logarithm of the matrix of the tracks' correlations.

    Their mean is one of correlation matrices, their distances are even (Arsigny et al. 2006).
    """
    offset = tracks - tracks.mean(axis=1, keepdims=True)
    offset /= np.linalg.norm(offset, axis=1, keepdims=True) + 1e-6
    correlation = CERTAINTY * offset @ offset.T
    np.fill_diagonal(correlation, 1)
    values, vectors = linalg.eigh(correlation)
    return (vectors * np.log(values) @ vectors.T)[np.triu_indices(len(tracks))]


def _modulations(mel, active):
    """Return the log strength (n_modulations, 4) of MODULATIONS in each quarter of the bands.

    The mel bands [dB] are an image, of every other frame, to which Gaussian bands of its Fourier
    transform answer: each an octave or so wide, around a rate and a scale.
    """
    image = (mel - mel.mean(axis=1, keepdims=True))[:, ::2]
    length, active = image.shape[1], active[::2]  # the first frame is active
    size = 64, fft.next_fast_len(length + 20)  # room for what runs over the edges
    rates, scales = fft.fftfreq(size[1], 2 * HOP), fft.fftfreq(size[0])[:, None]
    spectrum = fft.fft2(image.astype(np.float32), size)
    filtered = [
        spectrum * _gaussian(scales, scale, 0.015) * _gaussian(rates, rate, 1.25)
        for rate, scale in MODULATIONS
    ]
    answer = fft.ifft2(np.stack(filtered))[:, :N_BANDS, :length]
    strength = np.abs(answer[:, :, active]).mean(axis=2)
    return np.log(strength.reshape(len(MODULATIONS), len(QUARTERS), -1).mean(axis=2) + 0.01)


def _gaussian(frequency, centre, narrowest):
    width = max(abs(centre) / 2, narrowest)
    return np.exp(-(((frequency - centre) / width) ** 2) / 2, dtype=np.float32)
