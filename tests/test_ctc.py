"""The recipe that recognises phonemes and words, on synthetic speech."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from functools import partial
from types import SimpleNamespace

import pytest
import soundfile
import torch
from helpers import killed_at, read_csv, recipe_modules, run_recipe
from speechbrain import Stage
from speechbrain.decoders import ctc_greedy_decode
from speechbrain.nnet.losses import ctc_loss
from speechbrain.processing.features import InputNormalization
from speechbrain.utils.epoch_loop import EpochCounter
from speechbrain.utils.run_opts import RunOptions
from tiny_ctc import RECIPE, SMALL, flags

from speechbrain_cwrnn import __version__
from speechbrain_cwrnn.errors import InputError, StoppedError
from speechbrain_cwrnn.phonemes import PhonemeTokenizer, map_phonemes
from speechbrain_cwrnn.run_options import check_run_options

pytest_plugins = "ctc_fixtures"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["cwrnn", "lstm", "ligru", "clockwork_ligru", "cwrnn_bpe"]
)
def test_learns_by_heart(recipe, few, tmp_path, capsys, name):
    """A small model does, writes its errors, and can be used afterwards."""
    from speechbrain.inference import EncoderASR

    folder = tmp_path / "out"
    options = {"number_of_epochs": 60}
    if name == "cwrnn_bpe":
        options["output_neurons"] = 25
    hparams = RECIPE / "hparams" / f"{name}.yaml"
    run_recipe(recipe, hparams, *flags(few, folder, **options))
    (row,) = read_csv(folder / "results.csv")
    assert float(row["valid"]) == float(row["test"]) < 5
    log = (folder / "train_log.txt").read_text()
    errors = [float(e) for e in re.findall(r"valid .ER: (\S+)", log)]
    assert float(row["valid"]) == pytest.approx(min(errors), abs=0.01)
    assert len(errors) == 60
    assert (row["model"], row["corpus"]) == (name, "synthetic speech")
    assert (row["seed"], row["version"]) == ("1986", __version__)
    written = torch.load(folder / "pretrained" / "model.ckpt")
    parameters = sum(
        value.numel()
        for key, value in written.items()
        if "weight" in key or "bias" in key
    )
    assert int(row["size"]) == parameters
    assert row["error"] == ("WER" if name == "cwrnn_bpe" else "PER")
    printed = capsys.readouterr().out
    assert f"| {name}" in printed and "synthetic speech" in printed
    assert (folder / "errors_test.txt").read_text().startswith("%WER")
    assert not list(folder.rglob(".partial*"))

    model = EncoderASR.from_hparams(
        str(folder / "pretrained"), savedir=str(tmp_path / "saved")
    )
    suffix = ".WRD" if name == "cwrnn_bpe" else ".PHN"
    wrong, count = 0, 0
    for path in sorted(few.glob("TRAIN/DR2/*/*.WAV")):
        labels = [
            line.split()[2]
            for line in path.with_suffix(suffix).read_text().splitlines()
        ]
        if suffix == ".PHN":
            labels = map_phonemes(labels, 39)
        heard = model.transcribe_file(str(path)).split()
        count += len(labels)
        # As many as were wrong in the recipe, or fewer.
        wrong += sum(label not in heard for label in labels)
        assert heard[-1:] == labels[-1:]
        assert abs(len(heard) - len(labels)) <= 0.05 * len(labels)
    assert wrong <= 0.05 * count


@pytest.mark.slow
@pytest.mark.parametrize("run_opts", [[], ["--ckpt_interval_steps", 1]])
def test_resumes(recipe, few, tmp_path, run_opts):
    """A run that is killed, again and again, gives what one without a break
    gives, with dropout, augmentation, and an order that is drawn."""
    hparams = RECIPE / "hparams" / "cwrnn.yaml"
    options = {"number_of_epochs": 3, "sorting": "random", "dropout": 0.2}
    for name, kills in (("whole", []), ("broken", [7, 6, 6])):
        arguments = flags(few, tmp_path / name, **options)
        place = arguments.index("--wav_augment")
        arguments[place : place + 2] = run_opts
        for call in kills:
            with killed_at(torch, "save", call):
                run_recipe(recipe, hparams, *arguments)
        run_recipe(recipe, hparams, *arguments)
    for file in ("train_log.txt", "results.csv", "pretrained/model.ckpt"):
        whole, broken = (tmp_path / name / file for name in ("whole", "broken"))
        assert whole.read_bytes() == broken.read_bytes(), file
        assert whole.stat().st_size > 0


def test_no_checkpoint_between_batches_of_a_step(recipe):
    """Their gradients would be lost."""
    brain = recipe.train.ASRBrain(
        run_opts={"grad_accumulation_factor": 3, "ckpt_interval_steps": 1}
    )
    brain.checkpointer, saved = object(), []
    for brain.step in range(1, 8):
        if brain._should_save_intra_epoch_ckpt(0, 1):
            saved.append(brain.step)
    assert saved == [3, 6]


class TestNotFinite:
    """What the model puts out, of which SpeechBrain's loss makes zero."""

    @pytest.mark.slow
    def test_model(self, recipe, few, tmp_path):
        """It ends the run, and is not saved."""
        hparams = RECIPE / "hparams" / "cwrnn.yaml"
        options = flags(few, tmp_path, number_of_epochs=3, lr=1e30)
        with pytest.raises(StoppedError) as stopped:
            run_recipe(recipe, hparams, *options)
        assert re.match(
            "epoch 1: expected a finite output of the model, and it is not .b",
            str(stopped.value),
        )
        assert not (tmp_path / "results.csv").exists()
        assert not list((tmp_path / "save").glob("CKPT*"))

    def test_loss(self, recipe):
        """It is not zero in training, and ends the run in validation."""
        brain = recipe.train.ASRBrain(
            hparams={
                "compute_cost": partial(ctc_loss, blank_index=0),
                "epoch_counter": EpochCounter(3),
            }
        )
        lengths = torch.ones(1)
        batch = SimpleNamespace(units=(torch.ones(1, 2).long(), lengths))
        for value in (torch.nan, -torch.inf):
            predictions = torch.full((1, 9, 3), value), lengths
            loss = brain.compute_objectives(predictions, batch, Stage.TRAIN)
            assert not loss.isfinite()
            with pytest.raises(StoppedError):
                brain.compute_objectives(predictions, batch, Stage.VALID)

    def test_batch(self, recipe):
        """SpeechBrain's option for bad ones is honoured, in training only."""
        nan = torch.tensor(torch.nan)
        kwargs = {
            "modules": {"model": torch.nn.Linear(2, 2)},
            "hparams": {"epoch_counter": EpochCounter(3)},
        }
        brain = recipe.train.ASRBrain(**kwargs)
        brain.check_loss_isfinite(torch.tensor(1.0))
        with pytest.raises(StoppedError, match="and it is not .begin anew"):
            brain.check_loss_isfinite(nan)
        brain.skip_nonfinite_grads, brain.nonfinite_patience = True, 2
        brain.nonfinite_count = 0
        for _ in range(2):
            brain.check_loss_isfinite(nan)
        with pytest.raises(StoppedError):
            brain.check_loss_isfinite(nan)
        brain.nonfinite_count = 0
        brain.modules.eval()
        torch.nn.init.constant_(brain.modules.model.bias, torch.nan)
        named = "1 of its weights, as model.bias, is not"
        with pytest.raises(StoppedError, match=named):
            brain.check_loss_isfinite(nan)


@pytest.mark.slow
def test_debugging(recipe, few, tmp_path):
    """It leaves no results, and disturbs none."""
    hparams = RECIPE / "hparams" / "cwrnn.yaml"
    run_recipe(recipe, hparams, *flags(few, tmp_path), "--debug")
    for name in ("results.csv", "errors_test.txt", "pretrained"):
        assert not (tmp_path / name).exists()


@pytest.mark.slow
def test_best_model(recipe, few, tmp_path, monkeypatch):
    """It is that of the lowest error on the development set, not the last."""
    from speechbrain.utils.checkpoints import Checkpointer
    from speechbrain.utils.metric_stats import ErrorRateStats

    # The first is asked for to see whether it can be.
    errors = iter([0.0, 30.0, 10.0, 20.0, 70.0])
    summarize = ErrorRateStats.summarize
    monkeypatch.setattr(
        ErrorRateStats,
        "summarize",
        lambda self, field=None: next(errors) if field else summarize(self),
    )
    models = []
    save = Checkpointer.save_and_keep_only

    def keep(checkpointer, **kwargs):
        model = checkpointer.recoverables["model"]
        models.append({k: v.clone() for k, v in model.state_dict().items()})
        save(checkpointer, **kwargs)

    monkeypatch.setattr(Checkpointer, "save_and_keep_only", keep)
    hparams = RECIPE / "hparams" / "cwrnn.yaml"
    run_recipe(recipe, hparams, *flags(few, tmp_path, number_of_epochs=3))
    (row,) = read_csv(tmp_path / "results.csv")
    assert (row["valid"], row["test"]) == ("10.00", "70.00")
    written = torch.load(tmp_path / "pretrained" / "model.ckpt")
    for name, value in models[1].items():
        assert torch.equal(written[name], value), name


@pytest.mark.slow
def test_two_processes(few, tmp_path):
    """They learn what one does with as large a batch.

    The model has no batch normalisation, which knows no others than its own
    process on a CPU, and nothing in it sees how much a batch is padded.
    """
    options = {
        **{"cnn_blocks": 0, "dnn_blocks": 0, "time_pooling": False},
        **{"rnn_bidirectional": False, "number_of_epochs": 5},
    }
    script = [str(RECIPE / "train.py"), str(RECIPE / "hparams" / "cwrnn.yaml")]
    launch = ["-m", "torch.distributed.run", "--standalone"]
    losses, weights = [], []
    for number in (1, 2):
        folder = tmp_path / str(number)
        command = [sys.executable]
        command += [*launch, "--nproc_per_node", "2"] if number == 2 else []
        command += [*script, "--device", "cpu", "--distributed_backend", "gloo"]
        command += flags(few, folder, batch_size=2 // number, **options)
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr[-2000:]
        assert result.stdout.count("Error rates in percent") == 1
        log = (folder / "train_log.txt").read_text()
        losses.append(re.findall(r"epoch: .* loss: .*", log))
        weights.append(torch.load(folder / "pretrained" / "model.ckpt"))
    assert len(losses[0]) == 5
    assert losses[0] == losses[1]
    for name, value in weights[0].items():
        assert torch.allclose(value, weights[1][name], atol=1e-4), name


@pytest.mark.parametrize("hop", [10, 10.3])
def test_lengths(recipe, hop):
    """They are of as many frames as a signal has by itself."""
    from speechbrain.dataio.batch import PaddedBatch
    from speechbrain.lobes.features import Fbank

    normalize = InputNormalization(norm_type="sentence")
    brain = recipe.train.ASRBrain(
        modules={"normalize": normalize, "model": torch.nn.Identity()},
        hparams={
            "wav_augment": None,
            "compute_features": Fbank(hop_length=hop),
            "hop_length": hop,
            "sample_rate": 16000,
        },
    )
    signals = [torch.rand(samples) for samples in (16000, 170, 8081)]
    batch = PaddedBatch([{"sig": signal} for signal in signals])
    feats, lengths = brain.compute_forward(batch, recipe.train.sb.Stage.TEST)
    alone = [Fbank(hop_length=hop)(signal[None]).shape[1] for signal in signals]
    assert (lengths * feats.shape[1]).round().tolist() == alone


@pytest.mark.parametrize(
    "sorting, sign", [("ascending", 1), ("descending", -1), ("random", 0)]
)
def test_sorting(recipe, few, tmp_path, monkeypatch, sorting, sign):
    """By duration, or another order in each epoch."""

    class Stopped(Exception):
        """Instead of training."""

    def fit(brain, counter, train_data, *args, train_loader_kwargs, **kwargs):
        first, second = (len(item["sig"]) for item in train_data)
        assert not sign or (second - first) * sign > 0
        assert train_loader_kwargs["shuffle"] == (not sign)
        raise Stopped

    monkeypatch.setattr(recipe.train.ASRBrain, "fit", fit)
    hparams = RECIPE / "hparams" / "cwrnn.yaml"
    with pytest.raises(Stopped):
        run_recipe(recipe, hparams, *flags(few, tmp_path, sorting=sorting))


def test_phoneme_set(recipe, few, tmp_path):
    """It is that of the manifests, and of the model."""
    options = {"number_of_epochs": 1, "phn_set": 60}
    hparams = RECIPE / "hparams" / "cwrnn.yaml"
    run_recipe(recipe, hparams, *flags(few, tmp_path, **options))
    entries = json.loads((tmp_path / "save" / "train.json").read_text())
    assert all(entry["phn"].startswith("h# ") for entry in entries.values())
    weights = torch.load(tmp_path / "pretrained" / "model.ckpt")
    assert len(weights["output.w.weight"]) == 61


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("lstm", ["speechbrain.nnet.RNN.LSTM"]),
        ("gru", ["speechbrain.nnet.RNN.GRU"]),
        ("ligru", ["speechbrain.nnet.RNN.LiGRU"]),
        (
            "clockwork_ligru",
            ["speechbrain_cwrnn.ClockworkLiGRU", "    nonlinearity: relu"],
        ),
    ],
)
def test_recurrent_layer_is_the_difference(name, layer):
    """Between the recipes for phonemes; and it is the one they name."""
    base, mine = (
        (RECIPE / "hparams" / f"{file}.yaml").read_text().splitlines()
        for file in ("cwrnn", name)
    )
    title, model_name, *new = [line for line in mine if line not in base]
    assert title.startswith("# Phonemes by CTC")
    assert model_name == f"model_name: {name}"
    layer = [f"rnn_class: !name:{layer[0]}", *layer[1:]]
    assert [line.split("  #")[0] for line in new] == layer


@pytest.fixture(scope="module")
def live(few, tmp_path_factory):
    """What the recipe writes for StreamingASR, after an epoch; its model hears
    many phonemes."""
    folder = tmp_path_factory.mktemp("live")
    options = {"number_of_epochs": 1, **SMALL}
    del options["cnn_channels"]
    arguments = ["--data_folder", few, "--output_folder", folder]
    for name, value in options.items():
        arguments += [f"--{name}", value]
    with recipe_modules("TIMIT/ASR/CTC", "train") as modules:
        run_recipe(modules, RECIPE / "hparams" / "streaming.yaml", *arguments)
    path = folder / "pretrained" / "model.ckpt"
    weights = torch.load(path)
    torch.nn.init.normal_(weights["output.w.weight"])
    torch.save(weights, path)
    return path.parent


class TestLive:
    """The model that hears speech as it comes in."""

    @pytest.fixture
    def run(self, recipe, monkeypatch, capsys):
        """Runs transcribe_live.py, and returns what it prints."""

        def run(*arguments):
            monkeypatch.setattr(recipe.transcribe_live, "TIMES", 1)
            arguments = ["transcribe_live.py", *map(str, arguments)]
            monkeypatch.setattr(sys, "argv", arguments)
            recipe.transcribe_live.main()
            return capsys.readouterr().out

        return run

    @pytest.mark.parametrize("num_frames", [2, 4, 50])
    def test_gives_the_whole(self, recipe, live, few, num_frames):
        """Its text is that of the whole recording, whatever the chunks; the
        silence thereafter may add to it."""
        wav = str(min(few.glob("TRAIN/DR2/*/*.WAV")))
        model = recipe.transcribe_live.load_model(live)
        config = recipe.transcribe_live.DynChunkTrainConfig(num_frames)
        text = model.transcribe_file(
            wav, config, use_torchaudio_streaming=False
        )
        parts = model.hparams
        x = parts.compute_features(model.load_audio(wav)[None])
        log_probs = model.mods.enc(parts.normalize(x))
        (units,) = ctc_greedy_decode(log_probs, torch.ones(1), blank_id=0)
        whole = parts.tokenizer.decode_ids(units)
        assert len(units) > 20
        assert text.startswith(whole)
        assert len(text) < len(whole) + 20

    def test_program(self, recipe, live, few, run):
        """It shows what is heard so far, and how long that took."""
        wav = min(few.glob("TRAIN/DR2/*/*.WAV"))
        out = run(wav, live, "--num_frames", 8)
        partial = re.findall(r"^ +([\d.]+) s  (.+)$", out, re.MULTILINE)
        times, texts = zip(*partial)
        assert len(texts) > 5
        assert all(b.startswith(a) for a, b in zip(texts, texts[1:]))
        model = recipe.transcribe_live.load_model(live)
        config = recipe.transcribe_live.DynChunkTrainConfig(8)
        text = model.transcribe_file(str(wav), config, False)
        assert texts[-1] == text
        # Chunks are of 8 frames, but for SpeechBrain's rounding.
        assert all(float(t) / 0.0795 % 1 < 0.1 for t in times[:3])
        (row,) = re.findall(rf"\| {live} \|(.*)\|", out)
        factor, p50, p99, *network = map(float, row.split("|"))
        assert 0 < factor < 10 and 0 < p50 <= p99 and len(network) == 2

    def test_bad_input(self, live, few, run, tmp_path):
        """It is said in a sentence."""
        wav = min(few.glob("TRAIN/DR2/*/*.WAV"))
        with pytest.raises(InputError, match="none.wav: expected a file"):
            run("none.wav", live)
        with pytest.raises(
            InputError, match="hyperparams.yaml: expected a YAM"
        ):
            run(wav, tmp_path)
        for number in (1, 10**9, 10**20):
            message = f"num_frames={number}: expected"
            with pytest.raises(InputError, match=message):
                run(wav, live, "--num_frames", number)
        soundfile.write(tmp_path / "8k.wav", [0.0] * 800, 8000)
        with pytest.raises(InputError, match="8k.wav at 8000 Hz: expected 16"):
            run(tmp_path / "8k.wav", live)
        inference = (RECIPE / "hparams" / "inference.yaml").read_text()
        other = inference.partition("modules:")[0].replace("!PLACEHOLDER", "39")
        for text in (other + "modules: {}", "a: 1"):
            (tmp_path / "hyperparams.yaml").write_text(text)
            with pytest.raises(
                InputError, match="expected a model of .*stream"
            ):
                run(wav, tmp_path)
        shutil.copytree(live, tmp_path / "cut")
        (tmp_path / "cut" / "model.ckpt").write_text("")
        with pytest.raises(InputError, match="cut/model.ckpt: expected a file"):
            run(wav, tmp_path / "cut")

    @pytest.mark.parametrize(
        "key, value",
        [("phn_set", "7"), ("tokenizer", "3"), ("modules", "null")],
    )
    def test_bad_options(self, recipe, live, tmp_path, key, value):
        """The file is named."""
        folder = shutil.copytree(live, tmp_path / "live")
        path = folder / "hyperparams.yaml"
        lines = re.sub(rf"(?m)^{key}:.*\n(\s.*\n)*", "", path.read_text())
        path.write_text(f"{key}: {value}\n{lines}")
        with pytest.raises(InputError, match=f"^{path}: expected a model of "):
            recipe.transcribe_live.load_model(folder)


class TestOwnData:
    """Manifests that the user has written."""

    @pytest.fixture
    def run_own(self, recipe, few, tmp_path):
        """Runs the recipe on some entries, of two sentences of TIMIT."""
        wavs = sorted(few.glob("TRAIN/DR2/*/*.WAV"))

        def run_own(*entries, name="cwrnn.yaml", **options):
            entries = {
                f"{n}": {"wav": str(wav), "duration": 2 - n, **entry}
                for n, (wav, entry) in enumerate(zip(wavs, entries))
            }
            folder = tmp_path / "kitchen"
            folder.mkdir()
            for split in ("train", "valid", "test"):
                path = folder / f"{split}.json"
                path.write_text(json.dumps(entries))
                options[f"{split}_annotation"] = path
            before = [path.read_bytes() for path in folder.iterdir()]
            out = tmp_path / "out"
            options = {"skip_prep": True, "number_of_epochs": 1, **options}
            hparams = RECIPE / "hparams" / name
            try:
                run_recipe(recipe, hparams, *flags("null", out, **options))
            finally:
                assert [p.read_bytes() for p in folder.iterdir()] == before
            return read_csv(out / "results.csv")

        return run_own

    def test_trained(self, run_own, tmp_path):
        """Nothing is prepared, and its speech, which is synthetic, is called
        so."""
        (row,) = run_own({"phn": "sil ae sil"}, {"phn": "sil", "stop": 9000})
        assert row["corpus"] == "synthetic speech"
        written = [path.name for path in (tmp_path / "out").rglob("*.json")]
        assert written == ["begun_with.json"]
        assert not (tmp_path / "out" / "synthetic_TIMIT").exists()

    def test_start_and_stop(self, recipe, few, tmp_path):
        """Where they are given, the audio is cut."""
        wav = str(min(few.glob("TRAIN/DR2/*/*.WAV")))
        entry = {"wav": wav, "start": 500, "stop": 9000, "duration": 0.5}
        damaged = {**entry, "wav": str(tmp_path / "gone.wav")}
        dataset, other = recipe.train.dataio_prep(
            {"target": "phn", "sorting": "ascending"},
            PhonemeTokenizer(39),
            [{"a": {**entry, "phn": "sil"}}, {"b": {**damaged, "phn": "sil"}}],
        )
        assert len(dataset[0]["sig"]) == 8500
        # In training, after all that could be checked.
        with pytest.raises(ValueError, match="^entry b, wav=.*gone.wav: expec"):
            other[0]

    def test_shortest(self, recipe, few, tmp_path):
        """That for SpeechBrain's own kernel is taken, at the rate that is
        given."""
        entry = {"wav": str(min(few.glob("TRAIN/DR2/*/*.WAV"))), "phn": "sil"}
        path = tmp_path / "own.json"
        path.write_text(json.dumps({"a": {**entry, "stop": 480}}))
        hparams = {f"{split}_annotation": path for split in recipe.train.SPLITS}
        hparams |= {"target": "phn", "hop_length": 10, "data_folder": None}
        recipe.train.read_manifests({**hparams, "sample_rate": 16000})
        with pytest.raises(InputError, match="expected one channel at 8000 Hz"):
            recipe.train.read_manifests({**hparams, "sample_rate": 8000})

    def test_words(self, run_own, tmp_path):
        """They need no phonemes, and a user's tokenizer is kept."""
        kept = tmp_path / "mine"
        kept.mkdir()
        (kept / "notes.txt").write_text("kept")
        entries = [{"wrd": "she had your dark suit"}, {"wrd": "in greasy wash"}]
        options = {"output_neurons": 20, "tokenizer_folder": kept}
        (row,) = run_own(*entries, name="cwrnn_bpe.yaml", **options)
        assert row["error"] == "WER"
        assert (kept / "notes.txt").read_text() == "kept"

    @pytest.mark.parametrize(
        "entry, message",
        [
            ({}, "entry 1: expected the key phn"),
            ({"phn": "sil xx"}, "entry 1, phn: expected some of aa .*got xx"),
            (
                {"phn": "sil", "wav": "x.wav"},
                "entry 1, wav=x.wav: exp",
            ),
            ({"phn": "sil", "stop": -1}, "entry 1, start=0, stop=-1: expected"),
            ({"phn": " "}, "entry 1, phn: expected a text, got ' '"),
            ({"phn": 7}, "entry 1, phn: expected a text, got 7"),
            (
                {"phn": "sil", "stop": 479},
                "entry 1: expected at least 30 ms of audio, got 29.9375 ms",
            ),
        ],
    )
    def test_refused(self, run_own, tmp_path, entry, message):
        """Before training, in one sentence."""
        path = tmp_path / "kitchen" / "train.json"
        with pytest.raises(ValueError, match=f"^{path}, {message}"):
            run_own({"phn": "sil"}, entry)
        assert not (tmp_path / "out" / "train_log.txt").exists()


def test_without_augmentation(recipe, few, tmp_path):
    """As in SpeechBrain's recipes, a YAML file need not have any."""
    text = (RECIPE / "hparams" / "cwrnn.yaml").read_text()
    text, count = re.subn(
        r"^wav_augment:.*?(?=^\w)", "", text, flags=re.DOTALL | re.MULTILINE
    )
    assert count == 1
    hparams = tmp_path / "mine.yaml"
    hparams.write_text(text)
    options = flags(few, tmp_path / "out", number_of_epochs=1)
    place = options.index("--wav_augment")
    run_recipe(recipe, hparams, *options[:place], *options[place + 2 :])
    assert (tmp_path / "out" / "pretrained" / "model.ckpt").exists()


class TestRunOptions:
    """None of SpeechBrain's is ignored."""

    # Those that a brain reads.
    HONOURED = """
        test_only debug debug_batches debug_epochs debug_persistently device
        precision eval_precision bfloat16_mix_prec auto_mix_prec max_grad_norm
        compile compile_module_keys compile_mode compile_using_fullgraph
        compile_using_dynamic_shape_tracing skip_nonfinite_grads
        nonfinite_patience noprogressbar ckpt_interval_minutes
        ckpt_interval_steps grad_accumulation_factor optimizer_step_limit
        tqdm_colored_bar tqdm_barcolor profile_training
    """.split()
    # By torchrun; while profiling, which ends training; no options that are
    # given.
    APART = """
        distributed_launch distributed_backend find_unused_parameters
        profile_warmup profile_steps param_file overridden_args
    """.split()

    @pytest.fixture
    def make(self, recipe, tmp_path):
        """A brain of a tiny model, and what it is trained by."""
        from speechbrain.utils.epoch_loop import EpochCounter

        from speechbrain_cwrnn.checkpoints import WholeCheckpointer

        class Brain(recipe.train.ASRBrain):
            def compute_forward(self, batch, stage):
                return self.modules.model(batch)

            def compute_objectives(self, predictions, batch, stage):
                self.dtype = predictions.dtype
                return predictions.float().square().mean()

        def make(**run_opts):
            torch.manual_seed(0)
            counter = EpochCounter(1)
            return Brain(
                {"model": torch.nn.Linear(4, 2)},
                lambda parameters: torch.optim.SGD(parameters, lr=0.01),
                {
                    "epoch_counter": counter,
                    "train_log": tmp_path / "log.txt",
                    "error_name": "PER",
                },
                run_opts,
                WholeCheckpointer(tmp_path / "save"),
            )

        return make

    def train(self, brain, value=100.0):
        """Six steps; what the weights change by."""
        before = brain.modules.model.weight.detach().clone()
        batches = torch.utils.data.DataLoader(torch.full((6, 4), value))
        brain.fit(brain.hparams.epoch_counter, batches)
        return brain.modules["model"].weight.detach() - before

    def test_all_are_decided(self, recipe):
        """In one way; one that a later SpeechBrain brings is not yet."""
        decided = [*self.HONOURED, *recipe.train.REFUSED, *self.APART]
        assert sorted(decided) == sorted(f.name for f in fields(RunOptions))

    def test_refused(self, recipe):
        """With any value but the default."""
        for name in recipe.train.REFUSED:
            other = "other" if RunOptions()[name] is None else 9
            with pytest.raises(ValueError, match=f"^{name}={other}: expected"):
                check_run_options({name: other}, {}, recipe.train.REFUSED)

    def test_read(self, recipe, make, monkeypatch):
        """On the way through training, where that has to do with them."""
        read = set()

        def note(brain, name):
            read.add(name)
            return object.__getattribute__(brain, name)

        Brain = recipe.train.ASRBrain
        monkeypatch.setattr(Brain, "__getattribute__", note, raising=False)
        monkeypatch.setattr(torch, "compile", lambda module, **how: module)
        self.train(make(compile=True, debug=True))
        options = {"skip_nonfinite_grads": True, "nonfinite_patience": 9}
        self.train(make(**options), value=float("nan"))
        assert sorted({*self.HONOURED} - read) == []

    def test_clipping(self, make):
        """Also by nothing."""
        free = self.train(make(max_grad_norm=-1))
        assert torch.equal(free, self.train(make(max_grad_norm=1e30)))
        clipped = self.train(make(max_grad_norm=0.001))
        assert clipped.norm() <= 6 * 0.01 * 0.001
        assert free.norm() > 1000 * clipped.norm()

    def test_precision(self, make):
        """That of the training."""
        brain = make(precision="bf16")
        self.train(brain)
        assert brain.dtype == torch.bfloat16

    @pytest.mark.parametrize(
        "options, steps",
        [
            ({}, 6),
            ({"grad_accumulation_factor": 3}, 2),
            ({"optimizer_step_limit": 4}, 4),
            ({"debug": True, "debug_batches": 1}, 1),
            ({"test_only": True}, 0),
        ],
    )
    def test_steps(self, make, options, steps):
        """As many as are asked for."""
        brain = make(**options)
        self.train(brain)
        assert brain.optimizer_step == steps

    def test_skipped(self, make):
        """Bad batches are, so many of them, if that is asked for."""
        options = {"skip_nonfinite_grads": True, "nonfinite_patience": 6}
        change = self.train(make(**options), value=float("nan"))
        assert not change.any()
        for options["nonfinite_patience"] in (5, 0):
            with pytest.raises(StoppedError, match="expected a finite output"):
                self.train(make(**options), value=float("nan"))

    def test_compiled(self, make, monkeypatch):
        """As PyTorch is told to."""
        told = {}
        monkeypatch.setattr(
            torch, "compile", lambda module, **how: told.update(how) or module
        )
        self.train(make(compile=True, compile_mode="max-autotune"))
        assert told["mode"] == "max-autotune"

    @pytest.mark.parametrize("option", [{}, {"noprogressbar": True}])
    def test_progress(self, make, capsys, option):
        """A bar, or none."""
        self.train(make(**option))
        assert ("6/6" in capsys.readouterr().err) == (not option)

    def test_within_epochs(self, make, tmp_path):
        """Checkpoints, every so many steps."""
        self.train(make(ckpt_interval_steps=4))
        assert len(list((tmp_path / "save").glob("CKPT*"))) == 1
