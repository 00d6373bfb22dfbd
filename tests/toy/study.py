"""A study of the toy protocol on the toy corpus: two groups of its speakers, two protocols."""

import pandas as pd

from pathemo import corpora, metrics, speech, study, tasks, transfer

index = corpora.load("toy")
toy = tasks.task("toy", index, speech.functionals(index))
first, second = tasks.groups(toy, index, 2)
settings = {"seeds": (0, 1), "steps": 100}
protocols = (transfer.pathnet, transfer.pathnet_forced)
outcomes = study.run([study.Job(protocol, second, (first,), settings) for protocol in protocols])
rows = pd.concat([outcome.rows for outcome in outcomes])
print(metrics.summary(rows, ["protocol", "source", "target", "variant"]).to_string())
