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
from hyperpyyaml import resolve_references
from speechbrain import Stage
from speechbrain.decoders import ctc_greedy_decode
from speechbrain.lobes.models.CRDNN import CRDNN
from speechbrain.nnet.losses import ctc_loss
from speechbrain.processing.features import InputNormalization
from speechbrain.utils.epoch_loop import EpochCounter
from speechbrain.utils.run_opts import RunOptions
from tiny_ctc import RECIPE, SMALL, flags

from speechbrain_cwrnn import __version__
from speechbrain_cwrnn.calls import Call, read_calls
from speechbrain_cwrnn.errors import InputError, StoppedError
from speechbrain_cwrnn.hparams import load_hparams
from speechbrain_cwrnn.phonemes import PhonemeTokenizer, map_phonemes
from speechbrain_cwrnn.run_options import check_run_options
from speechbrain_cwrnn.schema import check_options

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
            ["speechbrain_cwrnn.ClockworkLiGRU", "    nonlinearity: tanh"],
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
