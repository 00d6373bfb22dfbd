"""Log-mel spectrograms."""

import numpy as np
import torch
from torchaudio.transforms import AmplitudeToDB, MelSpectrogram


def log_mel(y, *, sampling_rate, n_mels=64, window=0.032, hop=0.010, fmin=50.0, fmax=14000.0):
    """Return the log-mel spectrogram (n_mels, 1 + n_samples // hop) as float32 [dB].

    It equals librosa's: Hann window, ends mirrored, Slaney's scale and norm; the defaults are
    CNN-14's, at 32 kHz and at 16 kHz.

    Parameters
    ----------
    y : (n_samples,) float array, at least one window long
    sampling_rate : int [Hz]
    window, hop : float [s]
    fmin, fmax : float [Hz], fmax is at most half the sampling rate

    Source
    ------
    Kong et al. 2020 (PANNs), section III.

    >>> log_mel(np.zeros(16000), sampling_rate=16000).shape
    (64, 101)
    """
    n_fft, step = round(window * sampling_rate), round(hop * sampling_rate)
    if len(y) < n_fft:
        raise ValueError(f"{len(y)} samples are less than a window ({n_fft}): pad them")
    slaney = {"norm": "slaney", "mel_scale": "slaney"}
    fmax = min(fmax, sampling_rate / 2)
    mel = MelSpectrogram(sampling_rate, n_fft, None, step, fmin, fmax, n_mels=n_mels, **slaney)
    return AmplitudeToDB("power")(mel(torch.as_tensor(np.float32(y)))).numpy()
