"""How many times faster than real time one core decodes speech and describes it.

    python tests/benchmarks/bench_speech.py [data root]

Without a data root, the synthetic corpora. Processor time, so that other work on the machine counts
little."""

import sys
import time

from threadpoolctl import threadpool_limits

from pathemo import corpora, speech, synthetic

RATE = 16000
N_CLIPS = 60


def seconds(work, items):
    """Return results for the items, and the processor time [s] they took."""
    started = time.process_time()
    results = [work(item) for item in items]
    return results, time.process_time() - started


@threadpool_limits.wrap(limits=1)
def main():
    root = sys.argv[1] if len(sys.argv) > 1 else synthetic.root()
    for name in corpora.CORPORA:
        if not corpora.found(name, root):
            continue
        index = corpora.load(name, root, complete=False)
        paths = index["audio"].fillna(index["video"])[:: max(1, len(index) // N_CLIPS)]
        speech.functionals_of(
            speech.decode(paths.iloc[0], sampling_rate=RATE), sampling_rate=RATE
        )  # warm
        sounds, decoding = seconds(lambda path: speech.decode(path, sampling_rate=RATE), paths)
        _, describing = seconds(lambda y: speech.functionals_of(y, sampling_rate=RATE), sounds)
        _, bands = seconds(lambda y: speech.log_mel(y, sampling_rate=RATE), sounds)
        duration = sum(map(len, sounds)) / RATE
        print(
            f"{name:10} clips of {duration / len(sounds):.1f} s, times faster than real time: "
            f"functionals {duration / describing:.0f}, decoding and functionals "
            f"{duration / (decoding + describing):.0f}, log-mel {duration / bands:.0f}"
        )


if __name__ == "__main__":
    main()
