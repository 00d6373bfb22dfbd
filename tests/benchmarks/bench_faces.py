"""How many frames a second are decoded, searched for faces and cut out: every frame, from an empty
cache.

    python tests/benchmarks/bench_faces.py [data root]

Without a data root, the synthetic corpora. Numbers of one core are of processor time, so that other
work on the machine counts little; those of all cores are of the clock."""

import os
import sys
import tempfile
import time
from functools import partial

import cv2
import joblib

from pathemo import corpora, faces, synthetic

N_CLIPS = 60
EVERY = 10**6  # more frames than a video has: all of them


def seconds(work, items, clock=time.process_time):
    """Return results for the items, and the time [s] they took."""
    started = clock()
    results = [work(item) for item in items]
    return results, clock() - started


def decode(path):
    """Return the number of frames of a video."""
    return sum(1 for _ in faces.frames(path, n_frames=EVERY, side=120))


def search(clip, folder):
    """Return the share of a clip's frames with a face; keep what is computed in that folder."""
    os.environ["PATHEMO_CACHE"] = folder
    cv2.setNumThreads(1)
    (boxes,) = faces.detections(clip, n_frames=EVERY)
    return boxes[:, 5].mean()


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else synthetic.root()
    for name in corpora.CORPORA:
        index = corpora.load(name, root, complete=False) if corpora.found(name, root) else None
        if index is None or index["video"].isna().all():
            continue
        index = index[index["video"].notna()]
        index = index.iloc[:: max(1, len(index) // N_CLIPS)]
        clips = [index.iloc[[row]] for row in range(len(index))]
        processes = joblib.Parallel(n_jobs=-1)
        processes(joblib.delayed(time.sleep)(1) for _ in range(joblib.cpu_count()))  # they start
        counts, decoding = seconds(decode, index["video"])
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as another:
            jobs = [joblib.delayed(search)(clip, another) for clip in clips]
            _, all_cores = seconds(processes, [jobs], time.perf_counter)
            shares, searching = seconds(partial(search, folder=folder), clips)
            _, cutting = seconds(partial(faces.crops, n_frames=EVERY, n_jobs=1), [index])
        (_, first), *_ = faces.frames(index["video"].iloc[0], n_frames=1)
        n, (height, width), share = sum(counts), first.shape, sum(shares) / len(shares)
        size = f"{len(index)} videos of {width} x {height}, {n} frames"
        print(f"{name}: {size}, {share:.1%} with a face")
        print(
            f"    frames a second of one core: decoded {n / decoding:.0f}, decoded and searched "
            f"{n / searching:.0f}, decoded and cut out {n / cutting:.0f}"
        )
        print(f"    decoded and searched by {joblib.cpu_count()} cores: {n / all_cores:.0f}")


if __name__ == "__main__":
    main()
