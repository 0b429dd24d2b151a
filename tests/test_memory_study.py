"""The study of how long layers remember."""

import doctest

import numpy as np
import pytest
import torch
from helpers import read_csv, recipe_modules, work_here

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.lock import sole_run

NAMES = ("tasks", "layers", "outcomes", "study_report", "study")
FIRST = "first symbol, at step 0"
RANDOM = "first symbol, at a random step"
RECALL = "recall of three, at a random step"


@pytest.fixture(scope="module")
def recipe():
    """The modules of the recipe."""
    with recipe_modules("Memory", *NAMES) as modules:
        yield modules


@pytest.fixture
def study(recipe, tmp_path, monkeypatch):
    """Runs a small study in this process, and returns its folder."""
    tasks = {task: recipe.tasks.TASKS[task] for task in (FIRST, RECALL)}
    monkeypatch.setattr(recipe.study, "TASKS", tasks)
    monkeypatch.setattr(recipe.study, "LAYERS", ["LSTM", "CW-RNN"])
    work_here(monkeypatch)
    monkeypatch.setattr(recipe.study, "UPDATES", 1)
    monkeypatch.setattr(recipe.study, "VALID", (3, 7))
    monkeypatch.setattr(recipe.study, "TEST", (5, 8))

    def run(*options):
        folder = tmp_path / "memory"
        options = ["--output_folder", folder, "--delays", 3, *options]
        recipe.study.main([str(option) for option in options])
        return folder

    return run


def draw(recipe, task, number, delay, seed=0):
    """Inputs as numbers [B, T], symbols and steps."""
    generator = torch.Generator().manual_seed(seed)
    x, symbols, steps = recipe.tasks.TASKS[task].draw(number, delay, generator)
    assert x.shape[2] == recipe.tasks.FEATURES and (x.sum(2) == 1).all()
    return x.argmax(2), symbols, steps


@pytest.mark.parametrize("module", ["tasks", "layers"])
def test_docstrings(recipe, module):
    """Their examples run."""
    failures, attempted = doctest.testmod(getattr(recipe, module))
    assert attempted >= 1 and not failures


class TestTasks:
    """The sequences are what they are said to be."""

    @pytest.mark.parametrize("delay", [3, 10])
    @pytest.mark.parametrize("task", [FIRST, RANDOM, RECALL])
    def test_each_step(self, recipe, task, delay):
        """Blanks, symbols, requests, blanks; what is to be answered was heard
        so many steps before."""
        GO, BLANK = recipe.tasks.GO, recipe.tasks.BLANK
        for inputs, symbols, steps in zip(*draw(recipe, task, 50, delay)):
            start, K = int(steps[0]) - delay, len(symbols)
            assert K == (3 if task == RECALL else 1)
            assert steps.tolist() == list(range(start + delay, steps[-1] + 1))
            parts = [start, K, delay - K, K, len(inputs) - start - delay - K]
            before, heard, between, asked, after = inputs.split(parts)
            assert torch.equal(heard, symbols)
            assert (before == BLANK).all() and (after == BLANK).all()
            assert (asked == GO).all()
            if task == RECALL:
                assert (between == BLANK).all()
            else:
                assert (between < recipe.tasks.SYMBOLS).all()

    @pytest.mark.parametrize("task", [RANDOM, RECALL])
    def test_any_start(self, recipe, task):
        """As often at each phase of the slowest clock."""
        longest = max(recipe.layers.PERIODS)
        _, _, steps = draw(recipe, task, 20_000, 10)
        starts = np.bincount(steps[:, 0] - 10)
        assert len(starts) == longest
        # Five standard deviations.
        mean = 20_000 / longest
        assert abs(starts - mean).max() < 5 * mean**0.5

    def test_nothing_else_tells(self, recipe):
        """The distractors do not give the first symbol away, and each of the
        symbols is as frequent."""
        inputs, symbols, _ = draw(recipe, FIRST, 10_000, 10)
        for step in range(1, 10):
            share = (inputs[:, step] == symbols[:, 0]).float().mean()
            assert abs(share - 0.25) < 5 * (0.25 * 0.75 / 10_000) ** 0.5
        counts = np.bincount(symbols[:, 0])
        assert abs(counts - 2500).max() < 5 * (2500 * 0.75) ** 0.5

    def test_reproducible(self, recipe):
        """From the generator alone."""
        torch.manual_seed(1)
        one = draw(recipe, RECALL, 4, 10)
        torch.manual_seed(2)
        assert all(map(torch.equal, one, draw(recipe, RECALL, 4, 10)))
        other = draw(recipe, RECALL, 4, 10, seed=1)
        assert not torch.equal(one[0], other[0])


class TestNetworks:
    """Each kind of layer."""

    @pytest.fixture
    def networks(self, recipe):
        """One of each, by name."""
        return {
            layer: recipe.layers.Network(layer, 6, 4).eval()
            for layer in recipe.layers.LAYERS
        }

    def test_equal_parameters(self, networks):
        """Within 3 %."""
        sizes = [
            sum(p.numel() for p in network.parameters())
            for network in networks.values()
        ]
        assert len(sizes) == 4
        assert max(sizes) < 1.03 * min(sizes)

    def test_answers_when_asked(self, networks):
        """With what was heard until then, and with nothing of later."""
        x, steps = torch.rand(2, 9, 6), torch.tensor([[2, 4], [8, 6]])
        for network in networks.values():
            both = network(x, steps)
            assert both.shape == (2, 2, 4)
            for sequence, place in ((0, 1), (1, 0)):
                end = int(steps[sequence, place])
                last = torch.tensor([[end]])
                alone = network(x[sequence : sequence + 1, : end + 1], last)
                torch.testing.assert_close(alone[0, 0], both[sequence, place])

    def test_remembers_at_first(self, networks):
        """The LSTM forgets nothing before it has learnt."""
        x = torch.zeros(1, 30, 6)
        x[0, 0] = 10
        _, (_, cell) = networks["LSTM"].rnn(x)
        _, (_, early) = networks["LSTM"].rnn(x[:, :1])
        assert (cell / early).median() > 0.5


class TestTraining:
    """One network."""

    def test_learns(self, recipe):
        """What a plain RNN can, and it stops then."""
        run = recipe.outcomes.Run(FIRST, 3, "plain RNN", 0.01, 1)
        result = recipe.study.train(run)
        assert result.valid >= 0.99 and result.test > 0.95
        assert result.updates < recipe.study.UPDATES

    def test_reproducible(self, recipe, monkeypatch):
        """From the seed alone."""
        monkeypatch.setattr(recipe.study, "UPDATES", 2)
        run = recipe.outcomes.Run(FIRST, 3, "plain RNN", 0.01, 1)
        result = recipe.study.train(run)
        assert recipe.study.train(run)[:-1] == result[:-1]
        other = recipe.study.train(run._replace(seed=2))
        assert other[1:-1] != result[1:-1]

    def test_time(self, recipe, monkeypatch):
        """That of this process, from the first update to the test."""
        clock = iter([5.0, 7.5])
        monkeypatch.setattr(recipe.study.time, "process_time", clock.__next__)
        monkeypatch.setattr(recipe.study, "UPDATES", 1)
        run = recipe.outcomes.Run(FIRST, 3, "plain RNN", 0.01, 1)
        assert recipe.study.train(run).seconds == 2.5

    def test_gives_up(self, recipe, monkeypatch):
        """Where the answers are no better than by chance."""
        monkeypatch.setattr(recipe.study, "CHECK_EVERY", 1)
        monkeypatch.setattr(recipe.study, "HOPELESS_UPDATES", 2)
        monkeypatch.setattr(recipe.study, "UPDATES", 4)
        run = recipe.outcomes.Run(RANDOM, 50, "LSTM", 1e-6, 0)
        assert recipe.study.train(run).updates == 2
        monkeypatch.setattr(recipe.study, "HOPELESS", 0.0)
        assert recipe.study.train(run).updates == 4

    def test_same_sequences(self, recipe, monkeypatch):
        """For all layers; others for another seed, and for each purpose."""
        drawn = []
        task = recipe.tasks.Task("task", 1, True, 1)

        class Recorder:
            """Of the sequences of a task."""

            def draw(self, *args):
                drawn[-1].append(task.draw(*args))
                return drawn[-1][-1]

        monkeypatch.setitem(recipe.study.TASKS, FIRST, Recorder())
        monkeypatch.setattr(recipe.study, "UPDATES", 2)
        for layer, rate, seed in (("LSTM", 1, 0), ("CW-RNN", 2, 0)) + (
            ("CW-RNN", 2, 1),
        ):
            drawn.append([])
            run = recipe.outcomes.Run(FIRST, 9, layer, rate, seed)
            recipe.study.train(run)
        one, same, other = ([x for x, _, _ in batches] for batches in drawn)
        assert all(map(torch.equal, one, same))
        # Two updates, 256 sequences for choosing, and 1000 of the test.
        assert [len(x) for x in one] == [16, 16, 100, 100, 56, *[100] * 10]
        pairs = list(zip(one, other))
        assert not any(torch.equal(a, b) for a, b in pairs[:2])
        assert all(torch.equal(a, b) for a, b in pairs[2:])
        first = [x[:16] for x in one]
        assert len({x.numpy().tobytes() for x in first}) == len(first)


class TestAccuracy:
    """The share of correct answers."""

    @pytest.mark.parametrize("task", [FIRST, RECALL])
    def test_of_one_that_knows(self, recipe, task):
        """All of them; and a quarter by one that has an answer of its own."""
        run = recipe.outcomes.Run(task, 10, None, None, None)

        class Knowing(torch.nn.Module):
            """It looks back."""

            def forward(self, x, steps):
                assert not self.training and not torch.is_grad_enabled()
                index = steps.unsqueeze(-1).expand(-1, -1, x.shape[-1])
                return x.gather(1, index - 10)

        class Constant(torch.nn.Module):
            """It does not."""

            def forward(self, x, steps):
                return torch.eye(4)[torch.ones_like(steps)]

        knowing = Knowing()
        assert recipe.study.accuracy(knowing, run, 250, 1) == 1
        assert knowing.training
        share = recipe.study.accuracy(Constant(), run, 2000, 1)
        assert 0 < abs(share - 0.25) < 0.05


class TestStudy:
    """From the command line to the files."""

    def test_whole(self, study, recipe, capsys):
        """Two rates for the seed that chooses, and one for the other."""
        folder = study("--num_seeds", 2)
        rows = read_csv(folder / "study.csv")
        assert len(rows) == 2 * 2 * (2 + 1)
        second = [row for row in rows if row["seed"] == "1"]
        cells = {(row["task"], row["layer"]) for row in second}
        assert len(second) == len(cells) == 4
        for row in second:
            cell = recipe.outcomes.Run(*[row[k] for k in list(row)[:5]])[:3]
            of_cell = [
                result
                for result in recipe.outcomes.read_results(folder)
                if (result.run.task, result.run.layer) == (cell[0], cell[2])
            ]
            (chosen,) = {r.run.rate for r in recipe.outcomes.choose(of_cell)}
            assert float(row["rate"]) == chosen
        text = (folder / "study.md").read_text()
        assert text in capsys.readouterr().out
        assert text.startswith("    python study.py --output_folder ")
        assert text.count("| CW-RNN, 3 ") == 2
        assert (folder / "study.png").read_bytes().startswith(b"\x89PNG")

    def test_resumes(self, study, recipe, monkeypatch, tmp_path):
        """Without training any network again, however it ended."""
        calls, train = [], recipe.study.train

        def interrupted(run):
            if len(calls) == 3:
                assert len(read_csv(tmp_path / "memory" / "study.csv")) == 3
                raise KeyboardInterrupt
            calls.append(run)
            return train(run)

        monkeypatch.setattr(recipe.study, "train", interrupted)
        with pytest.raises(KeyboardInterrupt):
            study("--num_seeds", 1)
        monkeypatch.setattr(
            recipe.study, "train", lambda run: calls.append(run) or train(run)
        )
        folder = study("--num_seeds", 1)
        assert len(calls) == len(set(calls)) == 8
        rows = read_csv(folder / "study.csv")
        assert len(rows) == 8
        study("--num_seeds", 1)
        assert len(calls) == 8
        assert read_csv(folder / "study.csv") == rows

    def test_none_yet(self, study, recipe, monkeypatch, tmp_path):
        """Interrupted before the first is trained, it leaves nothing."""

        def interrupted(run):
            raise KeyboardInterrupt

        monkeypatch.setattr(recipe.study, "train", interrupted)
        with pytest.raises(KeyboardInterrupt):
            study()
        assert not list(tmp_path.iterdir())

    def test_one_at_a_time(self, study, tmp_path):
        """In a folder."""
        with sole_run(tmp_path / "memory"):
            with pytest.raises(ValueError, match="expected no other run in it"):
                study()

    @pytest.mark.parametrize("name", ["study.csv", "study.md", "study.png"])
    def test_in_the_way(self, study, recipe, monkeypatch, tmp_path, name):
        """A folder where a file is to be is said before any training."""
        monkeypatch.setattr(recipe.study, "train_all", None)
        (tmp_path / "memory" / name).mkdir(parents=True)
        with pytest.raises(InputError, match=f"{name} is a folder: expected"):
            study()

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{columns}s\n",
            "{columns}\nrecall,ten,LSTM,0.1,0,10,5,0.5,0.5,1\n",
            "{columns}\nrecall,10,LSTM\n",
            "{columns}\nrecall,10,LSTM,0.1,0,10,5,0.5,nan,1\n",
        ],
    )
    def test_foreign_file(self, study, recipe, tmp_path, text):
        """It is named, and left as it is."""
        path = tmp_path / "memory" / "study.csv"
        path.parent.mkdir()
        text = text.format(columns=",".join(recipe.outcomes.COLUMNS))
        path.write_text(text)
        with pytest.raises(ValueError, match="study.csv: expected what this"):
            study()
        assert path.read_text() == text
        assert list(path.parent.iterdir()) == [path]


class TestReport:
    """What is made of results that are known."""

    @pytest.fixture
    def make(self, recipe):
        """Results of a rate and delay, by seed."""

        def make(rate, valid, test, updates=100, delay=10, layer="LSTM"):
            return [
                recipe.outcomes.Result(
                    recipe.outcomes.Run(FIRST, delay, layer, rate, seed),
                    *(2000, updates, a, b, 42.0),
                )
                for seed, (a, b) in enumerate(zip(valid, test))
            ]

        return make

    def test_choice(self, recipe, make):
        """By the first seeds on the validation set, and by nothing else."""
        best = make(0.01, [0.7, 0.1], [0.1] * 2)
        worse = make(0.003, [0.6, 1], [1] * 2)
        choose = recipe.outcomes.choose
        assert choose(worse + best[::-1]) == best
        # Of equals, the fewest updates; of these, the smallest rate.
        quick = make(0.02, [0.698], [0], updates=99)
        assert choose(best + quick) == quick
        other = make(0.001, [0.7], [0])
        assert choose(best + other) == other

    def test_longest(self, recipe, make):
        """Half of the networks is enough; no delay is skipped."""
        learnt = {
            (10, "LSTM"): [0.9, 0.89],
            (30, "LSTM"): [0.9, 0.8, 0.8],
            (100, "LSTM"): [1, 1],
            (10, "CW-RNN"): [1, 1],
            (30, "CW-RNN"): [0.95, 0.93],
            (10, "plain RNN"): [0.8, 0.8],
        }
        results = [
            result
            for (delay, layer), test in learnt.items()
            for result in make(0.01, test, test, delay=delay, layer=layer)
        ]
        report = recipe.study_report
        cells = report.find_cells(results)
        longest = [
            report.find_longest(cells, FIRST, layer)
            for layer in ("LSTM", "CW-RNN", "plain RNN", "clockwork Li-GRU")
        ]
        assert longest == ["10", "30", "none", "-"]

    def test_rows(self, recipe, make, tmp_path, capsys):
        """Of each layer and delay, of the rate that was chosen."""
        results = make(0.01, [1, 1, 1], [1, 0.5, 0.94], updates=300)
        results += make(0.003, [0.3, 0.3], [0.2, 0.2])
        recipe.study_report.write_study(tmp_path, results, ["study.py"])
        (row,) = [
            [cell.strip() for cell in line.split("|")[1:-1]]
            for line in (tmp_path / "study.md").read_text().splitlines()
            if line.startswith("| LSTM, 10")
        ]
        expected = ["LSTM, 10", "0.01", "3", "2", "94.0", "50.0", "100.0"]
        assert row == [*expected, "300"]
        text = (tmp_path / "study.md").read_text()
        assert "\nThe networks took 4 minutes of one core.\n" in text
        assert len(read_csv(tmp_path / "study.csv")) == 5
        assert recipe.outcomes.read_results(tmp_path) == sorted(results)


@pytest.mark.parametrize(
    "options, message",
    [
        (["--delays", "10", "2"], "^--delays=2: expected an integer, 3 or"),
        (["--num_seeds", "0"], "^--num_seeds=0: expected an integer, 1 or"),
        (["--jobs", "-1"], "^--jobs=-1: expected an integer, 1 or more"),
    ],
)
def test_refused(recipe, options, message, tmp_path):
    """In one sentence, before anything is written."""
    options += ["--output_folder", str(tmp_path / "out")]
    with pytest.raises(ValueError, match=message):
        recipe.study.main(options)
    assert not list(tmp_path.iterdir())
