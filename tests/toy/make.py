"""Make the toy corpus, tones of four people, and the list of its published files."""

from pathlib import Path

import numpy as np
import pooch
import soundfile

folder, lines = Path("data/toy"), []
folder.mkdir(parents=True)
for place, speaker in enumerate(["ann", "bob", "dan", "eve"]):
    for emotion, hertz in (("h", 220), ("s", 150)):
        for take in (1, 2, 3):
            file = folder / f"{speaker}_{emotion}{take}.wav"
            tone = np.sin(2 * np.pi * (hertz + 9 * place + take) * np.arange(16000) / 16000)
            soundfile.write(file, 0.1 * tone, 16000)
            lines.append(f"{file.name} sha256:{pooch.file_hash(file)} {file.stat().st_size}\n")
Path("data/checksums/toy.txt").write_text("".join(sorted(lines)))
