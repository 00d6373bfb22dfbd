"""Embeddings: what a speech encoder that others trained makes of an utterance.

Any encoder in the format of the Hugging Face hub: Whisper, wav2vec 2.0, HuBERT, WavLM. It is read
from a folder, by name from `models/` of the data root, or by its name on the hub, from where it is
downloaded unless it was before. Nothing in its files is run.
"""

import functools
from pathlib import Path

import numpy as np
import pooch
import torch

from .. import files
from .functionals import SHORTEST
from .recordings import MEDIA, decode

SUFFIXES = ".json", ".safetensors", ".bin"  # of all that a network is
LONGEST = 30.0  # [s] what Whisper hears at once; longer clips are heard in equal parts
WAY_OUT = (
    "put its config.json, preprocessor_config.json and weights there, or name it as on the "
    'Hugging Face hub where that can be reached; see "Weights" in data/README.md.'
)


def embeddings(index, network, *, layers, root=None, n_jobs=-1):
    """Return what layers of a speech encoder give of each clip: (n_clips, n_features) float32.

    Of each hidden layer the mean and the standard deviation over the clip's own frames: without
    padding, so Whisper is given as many position embeddings as the clip has frames. The layers of
    all clips are kept in the cache.

    Parameters
    ----------
    index, n_jobs
        As in `functionals`.
    network : str
        A folder of `models/` of the data root, such as "whisper-tiny.en", any other folder, or a
        name on the hub, such as "microsoft/wavlm-base-plus".
    layers : sequence of int
        Hidden layers whose statistics stand side by side: 0 is what the first layer gets, -1 the
        last; n_features is 2 * width * len(layers).

    Raises
    ------
    ImportError
        `transformers` is not installed.
    FileNotFoundError
        The network is not there, nor to be had.
    ValueError
        It is no speech encoder, weights are lacking or of other shapes, it has no such layer; or
        as in `functionals`.

    Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", 2023.
    Middle layers tell more of emotion than the last (Pepino et al., Interspeech 2021, section 4).
    """
    folder = encoder_folder(network, root)
    settings, given = (_digest(folder),), [str(folder)] * len(index)
    clips = files.per_recording(index, MEDIA, _statistics, settings, given=given, n_jobs=n_jobs)
    layers, n_layers = list(layers), len(clips[0]) if clips else 0
    if not layers or not {*layers} <= {*range(-n_layers, n_layers)}:
        raise ValueError(f"layers {layers} of {network}: choose from 0 to {n_layers - 1}")
    return np.stack(clips)[:, layers].reshape(len(clips), -1)


def encoder_folder(network, root=None):
    """Return the folder of a speech encoder, downloaded from the hub where it is named as there."""
    own = files.data_root(root) / "models" / network
    for folder in (own, Path(network).expanduser()):
        if (folder / "config.json").is_file():
            return folder
    lacking = f"{own} is not there; {WAY_OUT}"
    if "/" not in str(network):  # no name on the hub
        raise FileNotFoundError(lacking)
    _transformers(network)
    from huggingface_hub import snapshot_download  # which comes with it

    try:
        return Path(snapshot_download(str(network), allow_patterns=["*" + s for s in SUFFIXES]))
    except (OSError, ValueError) as problem:
        reason = f"the hub gives no {network} ({type(problem).__name__}), {lacking}"
        raise FileNotFoundError(reason) from None


def is_here(network, root=None):
    """Return whether `transformers` is installed, and the files of a speech encoder to be had."""
    try:
        return bool(_transformers(network) and encoder_folder(network, root))
    except (ImportError, FileNotFoundError):
        return False


def load_encoder(folder):
    """Return a speech encoder, ready to be used, and what makes its inputs of samples.

    Its weights are float32, whatever the file's are; Whisper's decoder is left out.
    """
    transformers = _transformers(folder)
    quiet = transformers.utils.logging
    level = quiet.get_verbosity()
    try:
        quiet.set_verbosity_error()
        quiet.disable_progress_bar()
        config = transformers.AutoConfig.from_pretrained(folder)
        prepare = transformers.AutoFeatureExtractor.from_pretrained(folder)
        kind, mapping = transformers.AutoModel, None
        if config.model_type == "whisper":
            from transformers.models.whisper.modeling_whisper import WhisperEncoder as kind

            mapping = {r"^(model\.)?encoder\.": ""}
        options = dict(dtype=torch.float32, key_mapping=mapping, output_loading_info=True)
        encoder, report = kind.from_pretrained(folder, **options)
    except (OSError, RuntimeError, ValueError, KeyError) as problem:
        reason = f"{folder} is no speech encoder in the hub's format ({problem})"
        raise ValueError(f"{reason}: {WAY_OUT}") from problem
    finally:
        quiet.set_verbosity(level)
        quiet.enable_progress_bar()
    missing = sorted(set(report["missing_keys"]) - {"masked_spec_embed"})  # used in training alone
    if missing:
        raise ValueError(f"{folder} lacks {len(missing)} weights, first {missing[0]}: {WAY_OUT}")
    return encoder.eval(), prepare


_loaded = functools.lru_cache(maxsize=2)(load_encoder)


@torch.inference_mode()
def hidden_layers(encoder, prepare, y):
    """Return all hidden layers (n_layers + 1, n_frames, width) of samples at the network's rate."""
    inputs = prepare(y, sampling_rate=prepare.sampling_rate, padding="longest", return_tensors="pt")
    given = inputs[prepare.model_input_names[0]]
    if encoder.config.model_type == "whisper":  # it gets as many positions as there are frames
        n_frames = given.shape[2] // 2
        if not hasattr(encoder, "positions"):
            encoder.positions = encoder.embed_positions.weight.data
        encoder.embed_positions = torch.nn.Embedding.from_pretrained(encoder.positions[:n_frames])
        encoder.config.max_source_positions = n_frames
    return torch.cat(encoder(given, output_hidden_states=True).hidden_states)


def _statistics(path, _, folder):
    """Return mean and standard deviation (n_layers + 1, 2 * width) over a clip's frames."""
    encoder, prepare = _loaded(folder)
    rate = prepare.sampling_rate
    y = decode(path, sampling_rate=rate)
    whole = 320 * -(-max(len(y), round(SHORTEST * rate)) // 320)  # of the networks' frames, 20 ms
    short = whole - len(y)
    before = short // 2 if len(y) < SHORTEST * rate else 0
    y = np.pad(y, (before, short - before))
    parts = np.array_split(y.reshape(-1, 320), -(-len(y) // round(LONGEST * rate)))
    layers = torch.cat([hidden_layers(encoder, prepare, part.ravel()) for part in parts], dim=1)
    spread, mean = torch.std_mean(layers, dim=1, correction=0)
    return torch.cat([mean, spread], dim=1).numpy()


@functools.cache
def _digest(folder):
    """Return a digest of all that a network is."""
    kept = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    return tuple((path.name, pooch.file_hash(path)) for path in kept)


def _transformers(network):
    """Return the library that reads a network; ImportError with the way out where it is not."""
    try:
        import transformers
    except ImportError:
        way_out = 'python -m pip install "pathemo[pretrained]"'
        reason = f"{network}: networks that others trained need transformers: {way_out}"
        raise ImportError(reason) from None
    return transformers
