"""What the benchmark of places reads, counts and swaps in."""

import runpy
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "places.py"


@pytest.fixture(scope="module")
def places():
    """The names of the script."""
    return runpy.run_path(str(SCRIPT))


def test_next_loss(places):
    """Bits of what comes after each number, the end after the last one."""
    probabilities = torch.full((2, 3, 4), 1 / 4)
    # What comes next, in the first sequence: 3, 1 and the end.
    for step, number in enumerate((3, 1, 0)):
        probabilities[0, step] = 1 / 6
        probabilities[0, step, number] = 1 / 2
    numbers = torch.tensor([[0, 3, 1], [0, 2, -1]])
    loss, count = places["next_loss"](probabilities.log(), numbers)
    assert (float(loss), count) == (pytest.approx(3 * 1 + 2 * 2), 5)


def test_words(places, tmp_path):
    """Letters and phonemes of each word, once if it is said alike."""
    (tmp_path / "a.WRD").write_text("5 9 The\n9 12 a\n12 16 the\n20 23 a\n")
    (tmp_path / "a.PHN").write_text(
        "0 5 h#\n5 7 dh\n7 9 ah\n9 12 ah\n12 14 dh\n14 16 iy\n16 20 h#\n"
        "20 23 ah\n23 30 h#\n"
    )
    words = places["Decoder"]().read({"a": {"wav": f"{tmp_path}/a.WAV"}})
    letter, label = places["ALPHABET"].index, places["LABELS"].index
    the = [1 + letter(c) for c in "the"]
    dh, ah, iy = (1 + label(phoneme) for phoneme in ("dh", "ah", "iy"))
    assert [tuple(map(list, word)) for word in words] == [
        (the, [0, dh, ah]),
        ([1 + letter("a")], [0, ah]),
        (the, [0, dh, iy]),
    ]


@pytest.mark.parametrize("layer", ["ClockworkRNN", "ClockworkLiGRU"])
def test_decoder(places, layer):
    """Units of the layer are in the decoder, and are counted."""
    place = places["Decoder"]()
    model = place.make(12)
    theirs = sum(p.numel() for p in model.decoder.rnn.parameters())
    counted, _ = place.swap(model, layer, (1, 4))
    net = model.decoder.rnn.layer
    assert type(net).__name__ == layer and list(net.periods) == [1, 4]
    ours = sum(p.numel() for p in net.parameters())
    assert counted == (theirs, ours)


def test_decoder_loss(places):
    """Padding changes nothing."""
    torch.manual_seed(0)
    place = places["Decoder"]()
    model = place.make(8).double().eval()
    batch = [
        (torch.tensor([1, 2, 3, 4, 5]), torch.tensor([0, 7])),
        (torch.tensor([6, 7, 8]), torch.tensor([0, 1, 2, 3])),
    ]
    loss, count = place.loss(model, batch)
    apart = [place.loss(model, [word]) for word in batch]
    losses, counts = zip(*apart)
    assert count == sum(counts) == 6
    assert loss.item() == pytest.approx(sum(losses).item())
