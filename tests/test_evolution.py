"""The laws of evolution, its history, and that it survives being killed."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathemo.evolution import Population, evolve, mutate, random_genotype
from pathemo.examples import Examples
from pathemo.pathnet import PathNet

SHAPE = dict(n_layers=3, n_modules=7, n_active=3)


def population(seeds, size=8):
    return Population([np.random.default_rng(seed) for seed in seeds], size=size, **SHAPE)


def played(seeds, n_tournaments=30):
    """Genotypes after tournaments whose fitness is the smallest module on the path, negated."""
    those = population(seeds)
    for _ in range(n_tournaments):
        pairs = those.draw()
        fitness = np.stack([-those.paths(pairs[:, c]).sum((1, 2)) for c in (0, 1)], axis=1)
        those.settle(pairs, fitness.astype(float))
    return those


@given(
    seed=st.integers(0, 2**32),
    n_modules=st.integers(3, 12),
    n_forced=st.integers(0, 3),
    rate=st.sampled_from([None, 0.5, 1.0]),
    edge=st.sampled_from(["wrap", "clamp"]),
)
def test_mutation_keeps_genes_in_range_and_distinct(seed, n_modules, n_forced, rate, edge):
    """A mutant's genes are modules of the layer, none of them twice; forced ones stay."""
    generator = np.random.default_rng(seed)
    parent = random_genotype(generator, n_layers=3, n_modules=n_modules, n_active=3)
    if n_forced == 3:
        rate = 1.0  # no gene may move, so one gene a genotype is no rate
    mutant = mutate(parent, generator, n_modules=n_modules, n_forced=n_forced, rate=rate, edge=edge)
    assert mutant.min() >= 0 and mutant.max() < n_modules
    assert all(len(set(layer)) == 3 for layer in mutant)
    assert (mutant[:, :n_forced] == parent[:, :n_forced]).all()


def test_a_gene_moves_by_two_at_most_around_the_edge():
    """Each gene ends within two modules of where it was, counted around the layer."""
    generator = np.random.default_rng(0)
    for _ in range(200):
        parent = random_genotype(generator, **SHAPE)
        apart = np.abs(mutate(parent, generator, n_modules=7, rate=1.0) - parent)
        assert np.minimum(apart, 7 - apart).max() <= 2


def test_at_the_edge_a_gene_clamps_or_wraps():
    """Of a hundred modules, the last one's moves upwards end there, or come back at the other
    end.
    """
    generator, parent = np.random.default_rng(0), np.array([[99]])
    moved = {
        edge: {
            mutate(parent, generator, n_modules=100, rate=1.0, edge=edge).item() for _ in range(100)
        }
        for edge in ("clamp", "wrap")
    }
    assert moved == {"clamp": {97, 98, 99}, "wrap": {97, 98, 99, 0, 1}}
    with pytest.raises(ValueError, match="edge = 'reflect': choose 'wrap' or 'clamp'"):
        mutate(parent, generator, n_modules=100, edge="reflect")


def test_mutation_rate_is_one_gene_a_genotype():
    """With the paper's rate 1/(L N), 4 of 5 draws of which move, about 0.8 genes (less collisions)
    change.
    """
    generator = np.random.default_rng(0)
    wide = dict(n_layers=3, n_modules=100, n_active=3)
    parents = [random_genotype(generator, **wide) for _ in range(4000)]
    changed = np.mean([(mutate(p, generator, n_modules=100) != p).sum() for p in parents])
    assert 0.72 < changed < 0.85


def test_the_loser_becomes_a_mutated_copy_of_the_winner():
    """The winner stays, the loser differs from it by mutation only, the rest is untouched."""
    those = population([1, 2])
    before, pairs = those.genotypes.copy(), np.array([[0, 5], [3, 2]])
    winners = those.settle(pairs, np.array([[0.9, 0.1], [0.2, 0.6]]))
    assert winners.tolist() == [0, 1]
    for replica, (winner, loser) in enumerate([(0, 5), (2, 3)]):
        twin = np.random.default_rng([1, 2][replica])
        population_twin = Population([twin], size=8, **SHAPE)
        expected = mutate(population_twin.genotypes[0, winner], twin, n_modules=7)
        assert (those.genotypes[replica, loser] == expected).all()
        others = [i for i in range(8) if i != loser]
        assert (those.genotypes[replica, others] == before[replica, others]).all()


def test_population_size_is_constant_and_competitors_differ():
    """Tournaments neither add nor remove genotypes, and nobody meets itself."""
    those = population([3])
    for _ in range(50):
        pairs = those.draw()
        assert pairs[0, 0] != pairs[0, 1]
        those.settle(pairs, np.zeros((1, 2)))
        assert those.genotypes.shape == (1, 8, 3, 3)


def test_same_seed_same_history_whoever_else_is_there():
    """A replica's population depends on its own seed only."""
    together, alone = played([10, 11, 12]), played([11])
    assert (together.genotypes[1] == alone.genotypes[0]).all()


def test_selection_finds_what_it_is_asked_for():
    """When fitness favours low modules, the best paths come close to the optimum."""
    start, end = population(range(20)), played(range(20), 300)
    optimum = 3 * (0 + 1 + 2)
    assert end.best().sum((1, 2)).mean() < optimum + 3 < start.genotypes.sum((2, 3)).mean()


def test_best_is_the_fittest_of_those_that_competed():
    """A newborn copy has no fitness until it has competed."""
    those = population([0])
    those.settle(np.array([[4, 6]]), np.array([[0.3, 0.7]]))
    assert (those.best()[0] == those.genotypes[0, 6]).all()
    assert np.isneginf(those.fitness[0, 4])


@pytest.mark.parametrize(
    "wrong", [dict(size=1), dict(size=4, n_active=8), dict(size=4, n_active=0)]
)
def test_impossible_populations_are_refused(wrong):
    """The error names the value."""
    with pytest.raises(ValueError, match="= [018]"):
        Population([np.random.default_rng(0)], **{**SHAPE, **wrong})


def test_a_population_starts_with_what_it_is_given():
    """The first places hold the genotypes of `first`, the others are drawn as without it."""
    first = np.array([[[[0, 1, 2]] * 3, [[4, 5, 6]] * 3]])
    given_first = Population([np.random.default_rng(0)], size=5, first=first, **SHAPE)
    drawn = population([0], size=5)
    assert (given_first.genotypes[:, :2] == first).all()
    assert (given_first.genotypes[:, 2:] == drawn.genotypes[:, 2:]).all()


def test_forced_modules_are_on_every_path_for_ever():
    """Every genotype of every generation holds them beside its own, and no module twice."""
    forced = np.array([[[6, 0], [3, 4], [1, 2]]] * 2)
    those = Population([np.random.default_rng(s) for s in (0, 1)], size=6, forced=forced, **SHAPE)
    for _ in range(50):
        assert (those.genotypes[..., :2] == forced[:, None]).all()
        assert all(len(set(layer)) == 5 for layer in those.genotypes.reshape(-1, 5))
        those.settle(those.draw(), np.random.default_rng(2).random((2, 2)))
    assert set(those.genotypes[0, :, 0, 2:].flat) <= {1, 2, 3, 4, 5}
    with pytest.raises(ValueError, match="n_active = 6: beside 2 forced ones, 1 to 5"):
        Population(
            [np.random.default_rng(0)], size=6, forced=forced[:1], **{**SHAPE, "n_active": 6}
        )


N, D, K = 60, 11, 3
BRIEF = dict(generations=6, population_size=5, minibatches=5)


def task(seeds=(0, 1)):
    """A network with a head for task "a", and examples of three separate emotions."""
    generator, labels = np.random.default_rng(0), np.arange(N) % K
    features = generator.standard_normal((N, D)) + 1.5 * np.eye(K)[
        labels
    ] @ generator.standard_normal((K, D))
    net = PathNet(D, seeds=seeds, n_modules=6, n_active=2, width=5)
    net.add_head("a", K)
    return net, Examples(features, labels, [np.arange(N)] * len(seeds))


def test_evolution_learns():
    """The evolved path recognises far more than chance."""
    net, examples = task()
    found = evolve(net, "a", examples, learning_rate=0.02, **BRIEF)
    posteriors = np.stack(net.predict("a", found.best, examples))
    assert (posteriors.argmax(2) == examples.labels).mean() > 0.8


def test_history_tells_every_tournament():
    """A row a tournament: the genotypes that met, who won, what the loser became, steps, frozen
    modules.
    """
    net, examples = task()
    net.frozen[:, :, :3] = True
    found = evolve(net, "a", examples, **BRIEF)
    assert found.populations.shape == (7, 2, 5, 3, 2)
    assert found.history["steps"].tolist() == [10, 10, 20, 20, 30, 30, 40, 40, 50, 50, 60, 60]
    for row in found.history.itertuples():
        before, after = found.populations[row.generation : row.generation + 2, row.replica]
        met = [[layer.split() for layer in text.split(" / ")] for text in row[3:5]]
        assert all((before == np.array(genotype, int)).all((1, 2)).any() for genotype in met)
        won, lost = (np.array(met[place], int) for place in (row.winner, 1 - row.winner))
        assert row.winner == (row.fitness_second >= row.fitness_first)
        assert row.frozen_share == pytest.approx((won < 3).mean())
        assert row.frozen_share_lost == pytest.approx((lost < 3).mean())
        assert (before != after).any((1, 2)).sum() <= 1 and (after == won).all((1, 2)).any()


def test_fitness_may_be_the_loss(monkeypatch):
    """Then a competitor's fitness is minus the loss of its minibatches."""
    net, examples = task()
    train, losses = PathNet.train, []

    def watching(*args, **options):
        accuracy, loss = train(*args, **options)
        losses.append(loss)
        return accuracy, loss

    monkeypatch.setattr(PathNet, "train", watching)
    history = evolve(net, "a", examples, fitness="loss", **BRIEF).history
    fitness = history.sort_values(["replica", "generation"])[
        ["fitness_first", "fitness_second"]
    ].to_numpy()
    assert (fitness.ravel() == -np.stack(losses, axis=1).ravel()).all()


def test_fitness_remembers_what_a_genotype_reached(monkeypatch):
    """With smoothing, a genotype's second tournament counts with its first; the first counts
    alone.
    """
    net, examples = task([7])
    reached = iter([np.array([accuracy]) for accuracy in (0.2, 0.4, 0.8, 0.8)])
    monkeypatch.setattr(net, "train", lambda *a, **k: (next(reached), np.zeros(1)))
    history = evolve(net, "a", examples, generations=2, population_size=2, smoothing=0.25).history
    assert history.loc[0, ["fitness_first", "fitness_second"]].tolist() == [0.2, 0.4]
    second = history.loc[1, ["genotype_first", "genotype_second"]].tolist()
    again = second.index(history.loc[0, "genotype_second"])
    fitness = history.loc[1, ["fitness_first", "fitness_second"]].tolist()
    assert fitness[again] == pytest.approx(0.25 * 0.4 + 0.75 * 0.8) and fitness[1 - again] == 0.8


def test_with_immigration_losers_are_drawn_anew():
    """Paths stay apart where losers become new genotypes, which keep what is forced."""
    forced = np.tile([[6]], (1, 3, 1))
    both = []
    for immigration in (0.0, 1.0):
        options = dict(size=8, **SHAPE, forced=forced, immigration=immigration)
        those = Population([np.random.default_rng(0)], **options)
        first = those.genotypes.copy()
        for _ in range(100):
            those.settle(those.draw(), np.array([[0.0, 1.0]]))
        assert (those.genotypes != first).any(axis=(2, 3)).all()
        assert (those.genotypes[..., 0] == 6).all()
        both.append(len(np.unique(those.genotypes[0], axis=0)))
    assert both[0] < both[1] == 8


def test_a_stopped_replica_has_no_further_rows():
    """The others have all of theirs."""
    net, examples = task()
    net.layers[0][1] = 3e38
    with pytest.warns(UserWarning, match="replica 1 stopped"):
        found = evolve(net, "a", examples, **BRIEF)
    assert found.history["replica"].tolist() == [0] * 6


@pytest.mark.parametrize(
    "wrong, said",
    [
        (dict(fitness="test"), "choose 'train', 'loss' or 'dev'"),
        (dict(generations=0), "generations = 0"),
        (dict(fitness="dev"), "development"),
        (dict(optimiser="lbfgs"), "choose 'adam' or 'sgd'"),
        (dict(edge="mirror"), "choose 'wrap' or 'clamp'"),
    ],
)
def test_unknown_options_are_named(wrong, said):
    """The error names the valid ones."""
    net, examples = task()
    with pytest.raises(ValueError, match=said):
        evolve(net, "a", examples, **{**BRIEF, **wrong})


def assert_same(found, net, expected, expected_net):
    pd.testing.assert_frame_equal(found.history, expected.history, check_exact=True)
    assert (found.best == expected.best).all() and (found.populations == expected.populations).all()
    assert net.fingerprint() == expected_net.fingerprint()


@pytest.mark.parametrize("stages", [[2, 6], [3, 4, 6], [6, 6]])
def test_resumed_to_the_bit(tmp_path, stages):
    """Stopped after some generations and asked for more, an evolution is the one that was never
    stopped.
    """
    options = dict(BRIEF, dropout=0.25, checkpoint_every=2)
    expected_net, examples = task()
    expected = evolve(expected_net, "a", examples, **options)
    for generations in stages:
        net, examples = task()
        options["generations"] = generations
        found = evolve(net, "a", examples, checkpoint=tmp_path / "run", **options)
    assert_same(found, net, expected, expected_net)


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    """Other options, examples, seeds or fewer generations: the error names the file, which
    stays.
    """
    net, examples = task()
    checkpoint = tmp_path / "run"
    evolve(net, "a", examples, checkpoint=checkpoint, **BRIEF)
    written = checkpoint.read_bytes()
    other_net, other_examples = task(seeds=(0, 2))
    refused = [
        (task()[0], examples, dict(BRIEF, minibatches=4), "run is of another run"),
        (other_net, other_examples, BRIEF, "run is of another run"),
        (task()[0], examples, dict(BRIEF, generations=3), "run has 6 generations, more than the 3"),
    ]
    for net, examples, options, said in refused:
        with pytest.raises(ValueError, match=said):
            evolve(net, "a", examples, checkpoint=checkpoint, **options)
    checkpoint.write_bytes(written[:1000])
    with pytest.raises(ValueError, match="run is damaged"):
        evolve(task()[0], "a", examples, checkpoint=checkpoint, **BRIEF)


KILLED = """
import sys
sys.path.insert(0, {folder!r})
from test_evolution import evolve, task
net, examples = task()
found = evolve(net, "a", examples, generations=150, population_size=5, minibatches=5, checkpoint_every=1,
               checkpoint={checkpoint!r})
net.save({checkpoint!r} + ".net")
found.history.to_pickle({checkpoint!r} + ".history")
"""


def test_killed_at_any_moment_it_resumes_to_the_bit(tmp_path):
    """A process that gets SIGKILL four times ends with the history and weights of one that was left
    alone.
    """
    checkpoint, generator = tmp_path / "run", np.random.default_rng()
    code = KILLED.format(folder=str(Path(__file__).parent), checkpoint=str(checkpoint))
    kills = 0
    while kills < 4:
        written = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        process = subprocess.Popen([sys.executable, "-c", code])
        while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == written:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.001)
        time.sleep(0.1 * generator.random())
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    subprocess.run([sys.executable, "-c", code], check=True)
    expected_net, examples = task()
    expected = evolve(
        expected_net, "a", examples, generations=150, population_size=5, minibatches=5
    )
    assert PathNet.load(f"{checkpoint}.net").fingerprint() == expected_net.fingerprint()
    pd.testing.assert_frame_equal(
        pd.read_pickle(f"{checkpoint}.history"), expected.history, check_exact=True
    )
