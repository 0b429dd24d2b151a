"""What options and texts of the CTC recipe may be, and what is said else."""

import re
import shutil
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from helpers import run_recipe
from hyperpyyaml import resolve_references
from speechbrain.lobes.models.CRDNN import CRDNN
from speechbrain.processing.features import InputNormalization
from tiny_ctc import RECIPE, SMALL, flags

from speechbrain_cwrnn.calls import Call, read_calls
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.hparams import load_hparams
from speechbrain_cwrnn.phonemes import PhonemeTokenizer
from speechbrain_cwrnn.schema import check_options

pytest_plugins = "ctc_fixtures"


@pytest.fixture
def check_text(recipe):
    """Checks texts of the development set, of four frames each."""

    def check_text(tokenizer, *texts, **options):
        hparams = {"hop_length": 5, "sample_rate": 16000, "target": "phn"}
        hparams |= {f"{split}_annotation": split for split in ("train", "test")}
        hparams |= {"valid_annotation": "mine", "output_neurons": 40}
        entries = {
            name: {"phn": text, "start": 500, "stop": 780}
            for name, text in zip("abcd", texts)
        }
        manifests = [{}, entries, {}]
        recipe.train.check_text({**hparams, **options}, tokenizer, manifests)

    return check_text


def test_more_units_than_frames(check_text, caplog):
    """SpeechBrain's loss is zero then, and it is said of which."""
    texts = "sil aa", "aa b aa", "aa aa", "b b"
    # Pooling leaves two frames.
    check_text(PhonemeTokenizer(39), *texts, time_pooling=True)
    (line,) = caplog.messages
    assert line.startswith("Utterances with more units than frames: 3, of ")
    assert line.endswith("(the first: mine, entry b, phn: 3 for 2 frames).")
    caplog.clear()
    check_text(PhonemeTokenizer(39), *texts)
    assert not caplog.messages


def test_more_units_than_neurons(check_text):
    """There is no output for them. A text may also have none."""
    tokenizer = SimpleNamespace(encode_as_ids=lambda text: [*map(int, text)])
    check_text(tokenizer, "", "58", output_neurons=9)
    message = "^mine, entry b, phn: .* units below output_neurons=9, got 9"
    with pytest.raises(InputError, match=message):
        check_text(tokenizer, "58", "495", output_neurons=9)


def test_damaged_tokenizer(recipe, tmp_path):
    """It is not the number of pieces that is wrong."""
    (tmp_path / "25_unigram.model").write_text("damaged")
    hparams = {"tokenizer_folder": tmp_path, "output_neurons": 25}

    def tokenizer():
        raise RuntimeError("could not parse ModelProto")

    hparams["tokenizer"] = tokenizer
    with pytest.raises(
        ValueError, match=f"^tokenizer_folder={tmp_path}: .*par"
    ):
        recipe.train.make_tokenizer(hparams)
    hparams["output_neurons"] = 30
    with pytest.raises(ValueError, match="^output_neurons=30: expected a numb"):
        recipe.train.make_tokenizer(hparams)


def fbank(win_length):
    """Features, as a YAML file names them."""
    kwargs = {"win_length": win_length}
    return Call("new", "speechbrain.lobes.features.Fbank", [], kwargs)


class TestBadInput:
    """One sentence each."""

    @pytest.mark.parametrize("folder", ["a b", "a,b"])
    def test_folder_of_pieces(self, recipe, few, tmp_path, folder):
        """SentencePiece would split its name."""
        hparams = RECIPE / "hparams" / "cwrnn_bpe.yaml"
        options = flags(few, tmp_path / folder)
        with pytest.raises(ValueError, match=f"{folder}/.*: expected a path "):
            run_recipe(recipe, hparams, *options)
        assert not list(tmp_path.rglob("train.json"))

    def test_folder_of_no_pieces(self, recipe, tmp_path, monkeypatch):
        """Its name does not matter where SentencePiece learns nothing, nor
        what is not said of the way to it."""
        folder = tmp_path / "a b"
        folder.mkdir()
        hparams = {"tokenizer_folder": folder, "save_folder": tmp_path / "save"}
        hparams |= {f"{name}_annotation": name for name in recipe.train.SPLITS}
        prepare, hparams["skip_prep"] = recipe.train.prepare, True
        prepare({**hparams, "tokenizer": partial(dict)}, in_use=False)
        hparams["tokenizer"] = partial(dict, model_dir=folder)
        with pytest.raises(InputError, match="^tokenizer_folder=.*/a b: expec"):
            prepare(hparams, in_use=False)
        (folder / "25_unigram.model").touch()
        prepare(hparams, in_use=False)
        monkeypatch.chdir(folder)
        prepare({**hparams, "tokenizer_folder": "pieces"}, in_use=False)

    def test_fold(self, recipe, tmp_path, monkeypatch):
        """It is prepared, and named with the corpus where it is not 0."""
        given = []
        monkeypatch.setattr(
            recipe.train, "find_data", lambda *_: ("folder", "TIMIT sample")
        )
        monkeypatch.setattr(
            recipe.train, "prepare_timit", lambda *_, **o: given.append(o)
        )
        hparams = {"save_folder": "save", "tokenizer_folder": tmp_path / "new"}
        hparams |= {f"{name}_annotation": name for name in recipe.train.SPLITS}
        hparams |= {"tokenizer": partial(dict), "skip_prep": False}
        hparams |= {"data_folder": "a", "output_folder": "b", "phn_set": 39}
        monkeypatch.chdir(tmp_path)
        for fold, corpus in ((0, "TIMIT sample"), (2, "TIMIT sample, fold 2")):
            hparams |= {"num_speakers": 4, "fold": fold}
            assert recipe.train.prepare(hparams, in_use=False) == corpus
            assert given.pop() == {"phn_set": 39, "fold": fold, "in_use": False}

    def test_stale_folder(self, recipe, tmp_path, monkeypatch):
        """It is emptied, unless a run goes on, also where it is relative."""
        monkeypatch.chdir(tmp_path)
        folder = tmp_path / "save" / "tokenizer"
        folder.mkdir(parents=True)
        hparams = {"save_folder": "save", "tokenizer_folder": "save/tokenizer"}
        hparams |= {f"{name}_annotation": name for name in recipe.train.SPLITS}
        hparams |= {"tokenizer": partial(dict), "skip_prep": True}
        recipe.train.prepare(hparams, in_use=True)
        assert folder.exists()
        recipe.train.prepare(hparams, in_use=False)
        assert not folder.exists()

    @pytest.mark.parametrize(
        "name, options, message",
        [
            ("cwrnn", {"sorting": "up"}, "sorting=up: expected 'ascending'"),
            ("cwrnn", {"blank_index": 40}, "blank_index=40: expected one of"),
            ("cwrnn", {"blank_index": 5}, "blank_index=5: expected 0"),
            ("cwrnn", {"output_neurons": 39}, "output_neurons=39: expected 40"),
            (
                "cwrnn",
                {"inference_file": "a"},
                "inference_file=a: expected a",
            ),
            (
                "cwrnn",
                {"inference_file": "../README.md"},
                "README.md: expected YAML",
            ),
            (
                "cwrnn",
                {"inference_file": "lstm.yaml"},
                "lstm.yaml: expected a pretrainer with the loadables model, n",
            ),
            (
                "cwrnn",
                {"error_file": "a", "train_log": "a"},
                "train_log=a: expected different files",
            ),
            ("cwrnn", {"n_fft": 399}, "n_fft=399: expected 400 at least"),
            (
                "cwrnn",
                {"hop_length": 0.0624},
                "hop_length=0.0624: expected a",
            ),
            ("cwrnn", {"cnn_channels": "[8]"}, "cnn_channels=.8.*: expected a"),
            ("cwrnn", {"cnn_kernelsize": "(2, 3)"}, "cnn_kernelsize.0.=2: exp"),
            ("cwrnn", {"cnn_blocks": 3}, "cnn_blocks=3: expected 0, 1 or 2"),
            ("cwrnn", {"rnn_neurons": 3}, "hidden_size=3: expected at least"),
            ("cwrnn", {"dataloader_opts": "{a: 1}"}, "dataloader_opts: .* 'a'"),
            (
                "cwrnn",
                {"dataloader_opts": "{prefetch_factor: 2}"},
                "dataloader_opts: expected arguments .*num_workers > 0",
            ),
            (
                "cwrnn",
                {"dataloader_opts": "{generator: 3}"},
                "dataloader_opts: expected arguments .*generator=int",
            ),
            (
                "cwrnn",
                {"dataloader_opts": "{timeout: 5}"},
                "dataloader_opts: expected arguments ",
            ),
            (
                "cwrnn",
                {"dataloader_opts": "{batch_sampler: 3}"},
                "dataloader_opts: expected arguments .*iterable",
            ),
            (
                "cwrnn",
                {"dataloader_opts": "{dataset: a}"},
                "dataloader_opts: expected arguments .*'dataset'",
            ),
            (
                "cwrnn",
                {"compute_features": "{win_length: 0}"},
                "win_length=0: expected a sample at least",
            ),
            (
                "cwrnn",
                {"compute_features": "{win_length: x}"},
                "win_length=x: expected a sample at least",
            ),
            (
                "cwrnn",
                {"n_mels": 3},
                "n_mels=3: expected 4 at least, for",
            ),
            (
                "cwrnn",
                {"cnn_kernelsize": "(99, 99)"},
                "n_mels=40: expected 100 at least",
            ),
            (
                "cwrnn",
                {"inference_file": "inference_bpe.yaml"},
                "inference_bpe.yaml: expected a pretrainer .* model, normali",
            ),
            (
                "cwrnn_bpe",
                {"inference_file": "inference.yaml"},
                "inference.yaml: expected a pretrainer .*, tokenizer, which",
            ),
            *(
                ("cwrnn", {key: value}, f"^{message}")
                for key, value, message in (
                    (
                        "rnn_class",
                        "!name:torch.nn.LSTM",
                        "model=!new:.*Sequential: expected what works",
                    ),
                    ("activation", "!name:torch.relu", "model=!new:.*TypeErro"),
                    ("normalize", "!new:torch.nn.Identity", "normalize=!new:"),
                    ("normalize", "{epsilon: x}", "normalize: .*TypeError"),
                    ("tokenizer", "!new:torch.nn.Identity", "tokenizer=!new:"),
                    ("tokenizer", "!name:os.getcwd", "tokenizer: .*Attribute"),
                    (
                        "lr_annealing",
                        "!new:torch.nn.Identity",
                        "lr_annealing: ",
                    ),
                    ("lr_annealing", "{annealing_factor: x}", "lr_annealing: "),
                    (
                        "compute_cost",
                        "!name:torch.nn.CTCLoss",
                        "compute_cost: ",
                    ),
                    ("compute_cost", "{blank_index: 99}", "compute_cost: "),
                    ("compute_cost", "!name:torch.argmax", "compute_cost: "),
                    ("compute_features", "!new:torch.nn.Identity", "compute_f"),
                    (
                        "compute_features",
                        "{hop_length: 5}",
                        "compute_features: expected a frame every hop_len",
                    ),
                    ("compute_features", "{deltas: true}", "model: "),
                    (
                        "compute_features",
                        "{f_max: -3}",
                        "compute_features: expected .* 40 of 40 do not",
                    ),
                    ("output_neurons", 41, "output_neurons=41: expected 40, "),
                    ("rnn_neurons", 5000, "rnn_layers of rnn_neurons..: expe"),
                    ("dnn_neurons", 5000, "dnn_blocks of dnn_neurons..: expe"),
                    ("cnn_channels", "(2, 999)", "cnn_channels.. of cnn_kern"),
                    ("wav_augment", "!new:torch.nn.Identity", "wav_augment: "),
                    ("opt_class", "!name:torch.optim.LBFGS", "opt_class: .*cl"),
                    (
                        "error_stats",
                        "!name:speechbrain.utils.metric_stats.MetricStats",
                        "error_stats: .*TypeError",
                    ),
                    (
                        "model",
                        "{output: {n_neurons: 3}}",
                        "model: expected output_neurons=40 .* got 3 for 2",
                    ),
                    ("modules", "{model: !name:torch.nn.RNN }", "modules: "),
                    ("rnn_neurons", 20000, "rnn_neurons=20000: expected an in"),
                    ("rnn_layers", 10**4, "rnn_layers=10000: expected an inte"),
                    ("num_workers", 10**4, "num_workers=10000: expected an in"),
                    ("hop_length", 1e9, "hop_length=1.*: expected a time in"),
                    ("cnn_kernelsize", "(101, 1)", "cnn_kernelsize.0.=101: ex"),
                )
            ),
            (
                "cwrnn",
                {"error_stats": "!name:collections.Counter"},
                "error_stats=!name:collections.Counter: expected a speechbrain",
            ),
            (
                "cwrnn",
                {"dataloader_opts": "{batch_size: x}"},
                "dataloader_opts.batch_size.=x: expected",
            ),
            ("cwrnn", {"modules": "{model: null}"}, "modules.model.=None: exp"),
            ("cwrnn", {"device": "nope"}, "device=nope: expected one that"),
            ("cwrnn", {"valid_annotation": "a", "test_annotation": "a"}, "val"),
            ("cwrnn", {"phn_set": 40}, "phn_set=40: expected 60, 48 or 39"),
            ("cwrnn", {"fold": 4}, "fold=4: expected 0, 1, 2 or 3"),
            # Which only the sample has.
            ("cwrnn", {"fold": 1}, "fold=1: expected 0, since .* has TRAIN"),
            ("lstm", {"fold": 1, "data_folder": "null"}, "fold=1: .*unless --"),
            ("lstm", {"fold": 1, "skip_prep": True}, "fold=1: expected 0, un"),
            ("cwrnn", {"data_folder": "/nowhere"}, "data_folder=/nowhere"),
            (
                "cwrnn",
                {"output_folder": "/dev/null/x"},
                "output_folder=.*: e",
            ),
            ("cwrnn", {"tokenizer_folder": "."}, "tokenizer_folder=.: expec"),
            ("cwrnn_bpe", {"output_neurons": 999}, "output_neurons=999: exp"),
        ],
    )
    def test_options(
        self, recipe, few, tmp_path, monkeypatch, name, options, message
    ):
        """What was given, and what was expected."""
        monkeypatch.chdir(tmp_path)
        hparams = RECIPE / "hparams" / f"{name}.yaml"
        with pytest.raises(ValueError, match=message):
            run_recipe(recipe, hparams, *flags(few, tmp_path, **options))
        # Nor is there anything but what was prepared.
        assert not {path.name for path in tmp_path.iterdir()} - {"save"}

    @pytest.fixture
    def take(self, recipe, tmp_path, monkeypatch):
        """Checks options as they are in a YAML file, or others for some."""
        monkeypatch.chdir(tmp_path)
        text = (RECIPE / "hparams" / "cwrnn.yaml").read_text()
        values = read_calls(resolve_references(text).getvalue())

        def take(without=None, **others):
            given = {**values, **others}
            given.pop(without, None)
            check_options(recipe.train.CTCOptions, given)

        return take

    def test_values(self, take):
        """What is none of the kind that is expected."""
        for value, expected, keys in [
            (0, "an integer from 1 to 2147483647", "num_speakers batch_size"),
            (2**14 + 1, "an integer from 1 to 16384", "n_fft output_neurons"),
            (2**14 + 1, "an integer from 1 to 16384", "rnn_neurons"),
            (2**14 + 1, "an integer from 1 to 16384", "dnn_neurons"),
            (1001, "an integer from 1 to 1000", "n_mels rnn_layers"),
            (1001, "an integer from 0 to 1000", "num_workers dnn_blocks"),
            (1001, "an integer from 0 to 1000", "number_of_fit_epochs"),
            (999, "an integer from 1000", "sample_rate"),
            (-1, "an integer from 0", "blank_index"),
            (-1, "0, 1 or 2", "cnn_blocks"),
            (40, "60, 48 or 39", "phn_set"),
            (-1, "a number from 0 to 1", "annealing_factor dropout"),
            (-1, "a time in ms", "hop_length"),
            (0, "a positive number", "fit_lr"),
            ("x", "a valid number", "max_grad_norm"),
            (0, "True or False", "time_pooling rnn_bidirectional"),
            ((0, 2), "integers from 1", "cnn_channels"),
            ((-1, 3), "two odd numbers", "cnn_kernelsize"),
            ((3, 4), "two odd numbers", "cnn_kernelsize"),
            ((3, 3, 3), "two odd numbers", "cnn_kernelsize"),
            ("", "text", "target source_folder"),
            ("a/b", "a name that", "error_name"),
            ("", "the name of a file, as text", "valid_annotation"),
            ("", "the name of a file, as text", "test_annotation"),
            ("/dev/null", "a folder that", "tokenizer_folder"),
            (".", "a file that can be written", "error_file"),
            (".", "a file in ", "inference_file"),
            ("x", "a class or function, after", "activation wav_augment"),
            ("x", "a class or function, after", "compute_features layer"),
            ("x", "a class or function, after", "lr_annealing compute_cost"),
            (
                Call("new", "collections.Counter", [], {}),
                "a speech",
                "pretrainer",
            ),
            ({"num_workers": 1001}, "", "dataloader_opts"),
        ]:
            for key in keys.split():
                message = f"^{key}.*: exp.* {expected}"
                with pytest.raises(InputError, match=message):
                    take(**{key: value})

    @pytest.mark.parametrize(
        "others, message",
        [
            ({"rnn_neurons": 4000}, "rnn_layers of rnn_neurons"),
            ({"dnn_neurons": 4000}, "dnn_blocks of dnn_neurons"),
            (
                {"tokenizer_folder": "results/cwrnn/1986/save"},
                "tokenizer_folder=.*: .* such as save_folder",
            ),
            (
                {"tokenizer_folder": "results", "save_folder": "a"},
                "tokenizer_folder=results: .* such as output_folder",
            ),
            ({"error_file": "a", "train_log": "b/../a"}, "train_log=b/"),
            ({"hop_length": 0.1, "sample_rate": 8000}, "hop_length=0.1: "),
            (
                {"compute_features": fbank(0.1), "sample_rate": 8000},
                "win_length=0.1: expected a sample",
            ),
            ({"compute_features": fbank(True)}, "win_length=True: expected"),
            ({"compute_features": fbank(25.05)}, "n_fft=400: expected 401 at"),
        ],
    )
    def test_together(self, take, others, message):
        """Each is of the kind that is expected, but they do not fit."""
        with pytest.raises(InputError, match=f"^{message}"):
            take(**others)

    @pytest.mark.parametrize(
        "others",
        [
            {"cnn_blocks": 0, "cnn_kernelsize": (99, 99)},
            {"cnn_blocks": 1},
            {"cnn_kernelsize": [1, 3]},
            {"dnn_blocks": 0, "dnn_neurons": 5000},
            {"dataloader_opts": {}},
            {"dataloader_opts": {"shuffle": True}},
            {"hop_length": 1000},
            {"wav_augment": None},
        ],
    )
    def test_taken(self, take, others):
        """What is unusual, but fits."""
        take(**others)

    def test_left_out(self, recipe, take):
        """Models of the user's own need not have the options of ours."""
        for key, field in recipe.train.CTCOptions.model_fields.items():
            if not field.is_required():
                take(without=key)

    def test_bounds(self, recipe):
        """What just fits is taken."""
        make = recipe.train.CTCOptions.model_construct
        kernel = {"cnn_blocks": 2, "cnn_kernelsize": (3, 3)}
        make(n_mels=4, cnn_channels=(1, 1), **kernel).check_blocks()
        make(rnn_layers=1, rnn_neurons=4096).check_weights()
        make(dnn_blocks=1, dnn_neurons=4096).check_weights()
        features = SimpleNamespace(kwargs={"win_length": 1 / 16})
        frames = {"hop_length": 1 / 16, "sample_rate": 16000, "n_fft": 1}
        make(compute_features=features, **frames).check_frames()
        tokenizer = SimpleNamespace(name="collections.Counter")
        units = {"blank_index": 39, "output_neurons": 40}
        make(tokenizer=tokenizer, **units).check_units()

    @pytest.mark.parametrize(
        "kernel, n_mels, frames", [((3, 9), 4, 5), ((9, 3), 10, 2)]
    )
    def test_kernel(self, recipe, kernel, n_mels, frames):
        """What is let through can be padded with, and no more is asked for
        than that takes, but for a frame more, for faster speech."""
        blocks = {"cnn_blocks": 2, "cnn_kernelsize": kernel}

        def convolve(n_mels, frames):
            make = recipe.train.CTCOptions.model_construct
            make(n_mels=n_mels, **blocks).check_blocks()
            net = CRDNN(
                input_shape=[None, None, n_mels],
                cnn_channels=(2, 2),
                rnn_neurons=1,
                dnn_neurons=1,
                **blocks,
            )
            net(torch.rand(1, frames, n_mels))

        convolve(n_mels, frames)
        with pytest.raises(InputError, match=f"n_mels={n_mels - 1}: expected"):
            convolve(n_mels - 1, frames)
        with pytest.raises(RuntimeError, match="Padding size"):
            convolve(n_mels, frames - 1)
        least = recipe.train.shortest({"hop_length": 1, **blocks})
        assert least == frames + 1

    @pytest.fixture
    def try_out(self, recipe, tmp_path):
        """Tries what a small model is made of, some of which is replaced."""

        def try_out(others=None, **options):
            options = {**SMALL, "output_folder": tmp_path, **options}
            text = "\n".join(
                f"{key}: {value}" for key, value in options.items()
            )
            path = RECIPE / "hparams" / "cwrnn.yaml"
            hparams = load_hparams(path, text, recipe.train.CTCOptions)
            recipe.train.check({**hparams, **(others or {})}, None)

        return try_out

    @pytest.mark.parametrize(
        "key, thing, message",
        [
            ("compute_features", lambda x: torch.rand(2, 101), "expected what"),
            (
                "compute_features",
                lambda x: torch.rand(2, 51, 40),
                "expected a frame .*, 101 in all, got 51",
            ),
            (
                "compute_cost",
                lambda log_probs, *rest: log_probs.detach().sum(),
                "expected what works .*RuntimeError",
            ),
            ("lr_annealing", lambda error: (0.1, None), "expected what works"),
            ("error_stats", SimpleNamespace, "expected .* 'append'"),
            (
                "error_stats",
                partial(SimpleNamespace, append=lambda **scored: None),
                "expected .* 'summarize'",
            ),
        ],
    )
    def test_does_not_work(self, try_out, key, thing, message):
        """It is named that does not do all that this recipe uses it for."""
        with pytest.raises(InputError, match=f"^{key}: {message}"):
            try_out({key: thing})

    def test_other_batch(self, try_out):
        """A model of the user's own gives as many as it is given."""
        model = torch.nn.Linear(40, 40)
        model.register_forward_hook(lambda model, given, output: output[:1])
        modules = {"model": model, "normalize": InputNormalization()}
        message = "model: expected output_neurons=40 .* 2 signals, got 40 for 1"
        with pytest.raises(InputError, match=f"^{message}"):
            try_out({"modules": modules})

    @pytest.mark.parametrize(
        "options",
        [
            {"wav_augment": "{}"},
            {"hop_length": 500, "cnn_kernelsize": "(1, 9)"},
        ],
    )
    def test_works(self, try_out, tmp_path, options):
        """With signals that augmentations add, or long frames; and nothing is
        written."""
        try_out(**options)
        assert not list(tmp_path.iterdir())

    def test_normalized_to_nan(self, recipe, few, tmp_path, monkeypatch):
        """It is named, and nothing is trained."""
        monkeypatch.setattr(
            "speechbrain.processing.features.InputNormalization.forward",
            lambda self, x, lengths: x * float("nan"),
        )
        hparams = RECIPE / "hparams" / "cwrnn.yaml"
        with pytest.raises(ValueError, match="^normalize: expected finite nu"):
            run_recipe(recipe, hparams, *flags(few, tmp_path))
        assert not {path.name for path in tmp_path.iterdir()} - {"save"}

    def test_wrong_target(self, recipe, few, tmp_path):
        """A text that is none of phonemes leaves a folder that can be used."""
        hparams = RECIPE / "hparams" / "cwrnn.yaml"
        options = flags(few, tmp_path, number_of_epochs=1)
        with pytest.raises(InputError, match="train.json, entry .*, wrd: exp"):
            run_recipe(recipe, hparams, *options, "--target", "wrd")
        assert [path.name for path in tmp_path.iterdir()] == ["save"]
        run_recipe(recipe, hparams, *options)

    def test_another_run_in_the_folder(self, recipe, few, tmp_path):
        """A model does not go on with other options, nor with other data."""
        hparams = RECIPE / "hparams" / "cwrnn.yaml"
        options = {"number_of_epochs": 1}
        run_recipe(recipe, hparams, *flags(few, tmp_path, **options))
        before = (tmp_path / "save" / "train.json").read_bytes()
        for message, option in {
            "a run with another phn_set": {"phn_set": 60},
            "a run with another rnn_neurons": {"rnn_neurons": 64},
            "trained with other data": {"data_folder": few.parent},
        }.items():
            with pytest.raises(ValueError, match=message):
                run_recipe(
                    recipe, hparams, *flags(few, tmp_path, **options, **option)
                )
        assert (tmp_path / "save" / "train.json").read_bytes() == before

    def test_moved_data(self, recipe, few, tmp_path):
        """Training goes on with them, and with the same tokenizer."""
        data, moved = tmp_path / "data", tmp_path / "moved"
        shutil.copytree(few, data)
        hparams = RECIPE / "hparams" / "cwrnn_bpe.yaml"
        options = {"output_neurons": 25, "number_of_epochs": 1}
        folder = tmp_path / "out"
        run_recipe(recipe, hparams, *flags(data, folder, **options))
        (model,) = folder.glob("save/tokenizer/*.model")
        before = model.stat().st_mtime_ns
        data.rename(moved)
        options["number_of_epochs"] = 2
        run_recipe(recipe, hparams, *flags(moved, folder, **options))
        assert model.stat().st_mtime_ns == before
        log = (folder / "train_log.txt").read_text()
        assert re.findall(r"epoch: (\d)", log) == ["1", "2"]

    def test_tokenizer_elsewhere(self, recipe, few, tmp_path):
        """It is kept, whatever the way to it."""
        kept = tmp_path / "mine" / "notes.txt"
        kept.parent.mkdir()
        kept.touch()
        (tmp_path / "out" / "save").mkdir(parents=True)
        options = {
            "tokenizer_folder": tmp_path / "out" / "save" / ".." / ".." / "mine"
        }
        hparams = RECIPE / "hparams" / "cwrnn.yaml"
        options = flags(few, tmp_path / "out", number_of_epochs=1, **options)
        run_recipe(recipe, hparams, *options)
        assert kept.exists()

    def test_stale_tokenizer(self, recipe, few, tmp_path):
        """It is learnt anew where the words are others."""
        folder = tmp_path / "save" / "tokenizer"
        folder.mkdir(parents=True)
        (folder / "25_unigram.model").write_text("learnt from other words")
        hparams = RECIPE / "hparams" / "cwrnn_bpe.yaml"
        options = {"number_of_epochs": 1, "output_neurons": 25}
        run_recipe(recipe, hparams, *flags(few, tmp_path, **options))
        assert (tmp_path / "pretrained" / "tokenizer.ckpt").exists()
