"""Speech recognition as the speech comes in: for SpeechBrain's `StreamingASR`.

What is fed in chunks of any sizes gives what the whole utterance gives: the
features wait until the window of a frame is complete, and the layers go on from
the state that the last chunk left.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import inspect
import math
from dataclasses import dataclass, field
from functools import cache

import torch
from speechbrain.lobes.features import Fbank
from speechbrain.nnet.containers import Sequential
from torch import nn

from speechbrain_cwrnn.checks import check_sequences
from speechbrain_cwrnn.errors import InputError, tried

# What a layer has to be.
STREAMABLE = (
    "takes [batch, time, ...] and gives in chunks what it gives at once"
)


class StreamableFbank(Fbank):
    """SpeechBrain's filterbanks, without what looks at the whole utterance.

    SpeechBrain raises what is 80 dB below the loudest place of an utterance to
    that level. (Upstream, `Fbank` would have to take `top_db`.)

    Arguments
    ---------
    **options : dict
        Those of `speechbrain.lobes.features.Fbank`.

    Example
    -------
    >>> StreamableFbank(n_mels=23)(torch.zeros(2, 1600)).unique()
    tensor([-100.])
    """

    def __init__(self, **options):
        super().__init__(**options)
        self.compute_fbanks.top_db = math.inf


@dataclass
class StreamingFeaturesContext:
    """What is left of the chunks so far."""

    samples: torch.Tensor | None = None
    """Those of frames to come, and of a few before them [B, samples]."""

    num_frames: int = 0
    """Number of frames that were given out."""


class StreamingFeatures(nn.Module):
    """Features of an utterance that comes in chunks.

    A chunk may have any number of samples that completes a frame. The frames
    are those of the whole utterance. From the first chunk on that completes
    two, the last one waits for the next chunk, so that the rest of a file,
    however short, has one too. Where each has completed a single one, none
    waits, and a rest that completes none is refused.

    It takes the place of `speechbrain.lobes.features.StreamingFeatureWrapper`,
    whose frames at a border are less than a hop apart, since `StreamingASR`
    gives it chunks of less than whole hops. (Upstream, the wrapper would have
    to keep what does not fill a hop.)

    Arguments
    ---------
    compute_features : torch.nn.Module
        Makes [B, T, F] of signals [B, samples], each frame of its own window
        alone, with zeros around the signal, as `StreamableFbank` does.
    normalize : torch.nn.Module
        Normalises each frame by itself, such as SpeechBrain's
        `InputNormalization` with its norm_type "global"; by default, nothing
        does.

    Example
    -------
    >>> features = StreamingFeatures(StreamableFbank())
    >>> context = features.make_streaming_context()
    >>> [features(torch.rand(1, 640), context).shape[1] for _ in range(3)]
    [2, 4, 4]
    """

    def __init__(self, compute_features, normalize=None):
        super().__init__()
        self.properties = compute_features.get_filter_properties()
        kind = getattr(normalize, "norm_type", "global")
        if kind != "global":
            raise InputError(
                f"norm_type={kind!r}: expected 'global' (other statistics are "
                f"those of an utterance that has ended)."
            )
        self.compute_features = compute_features
        self.normalize = normalize
        # A window reaches from its middle this far to both sides.
        self.reach = math.ceil(self.properties.window_size / 2)
        # So many frames see zeros where the signal was cut off.
        self.margin = math.ceil(self.reach / self.properties.stride)
        self._check()

    def forward(self, chunk, context, lengths=None):
        """The frames that a chunk completes, but the last one of several.

        Arguments
        ---------
        chunk : torch.Tensor
            Next samples of each signal [B, samples].
        context : StreamingFeaturesContext
            What `make_streaming_context` returned; it is updated.
        lengths : torch.Tensor
            Relative lengths; not looked at, since no frame sees later ones.

        Returns
        -------
        torch.Tensor
            Features [B, T, F], of one frame at least.
        """
        features = self._next_frames(chunk, context)
        return features if self.normalize is None else self.normalize(features)

    def _next_frames(self, chunk, context):
        """The frames before they are normalised."""
        if not isinstance(chunk, torch.Tensor) or chunk.dim() != 2:
            raise InputError(
                f"chunk, {_describe(chunk)}: expected a tensor [batch, "
                f"samples]."
            )
        hop, samples = self.properties.stride, chunk
        if context.samples is not None:
            if len(chunk) != len(context.samples):
                raise InputError(
                    f"chunk of {len(chunk)} signals: expected "
                    f"{len(context.samples)}, as before."
                )
            samples = torch.cat([context.samples, chunk], dim=1)
        before = min(context.num_frames, self.margin)
        ready = (samples.shape[1] - self.reach) // hop + 1 - before
        if ready < 1:
            missing = (before * hop + self.reach) - samples.shape[1]
            raise InputError(
                f"chunk of {chunk.shape[1]} samples: expected "
                f"{chunk.shape[1] + missing} at least, to complete a frame."
            )
        given = max(1, ready - 1)
        features = self.compute_features(samples)[:, before : before + given]
        context.num_frames += given
        kept = min(context.num_frames, self.margin)
        context.samples = samples[:, (before + given - kept) * hop :]
        return features

    def make_streaming_context(self):
        """The context at the start of utterances."""
        return StreamingFeaturesContext()

    def get_recommended_final_chunk_count(self, frames_per_chunk):
        """How many chunks of zeros complete all frames of an utterance.

        Arguments
        ---------
        frames_per_chunk : int
            Number of samples in a chunk, which SpeechBrain calls frames.

        Returns
        -------
        int
            Number of chunks.
        """
        return math.ceil(
            (self.reach + self.properties.stride) / frames_per_chunk
        )

    def _check(self):
        """Raise an error for features that do not stand alone."""
        generator = torch.Generator().manual_seed(0)
        # Silence after sound shows whether levels are relative.
        sound = torch.randn(1, 9 * self.reach, generator=generator)
        signal = torch.cat([sound, torch.zeros_like(sound)], dim=1)
        context = self.make_streaming_context()
        # Without normalize, which has no statistics before it is loaded.
        parts = [
            self._next_frames(chunk, context)
            for chunk in signal.split([5 * self.reach, 13 * self.reach], dim=1)
        ]
        whole, parts = self.compute_features(signal), torch.cat(parts, dim=1)
        if not _is_close(parts, whole[:, : parts.shape[1]]):
            raise InputError(
                f"compute_features={type(self.compute_features).__name__}: "
                f"expected features of single frames, such as those of "
                f"StreamableFbank without deltas and context."
            )


@dataclass
class StreamingEncoderContext:
    """The states of an encoder's recurrent layers."""

    kind: str
    """Which layers these are."""

    states: dict = field(default_factory=dict)
    """hx of each, by its name; none before the first chunk."""

    batch_size: int | None = None
    """Number of sequences; not known before the first chunk."""


class StreamingClockworkEncoder(Sequential):
    """SpeechBrain's Sequential, whose recurrent layers can go on.

    It is used as its base class, and has its state dicts: a model that was
    trained in one can be loaded by the other. Besides, it has the interface of
    SpeechBrain's streaming Conformer, that `StreamingASR` uses. There the
    states of recurrent layers, also of those in a CRDNN or another Sequential
    inside, are kept from chunk to chunk.

    Recurrent layers are those whose forward takes `hx` and returns a pair:
    those of this package, and SpeechBrain's. All others must see one step at a
    time. A trial tells, when a layer is added.

    Arguments
    ---------
    *layers : tuple
        Layers, applied in sequence.
    input_shape : tuple
        Expected shape of the input, such as (None, None, 40).
    **named_layers : dict
        The same with names.

    Example
    -------
    >>> from speechbrain.nnet.linear import Linear
    >>> from speechbrain_cwrnn import ClockworkRNN
    >>> net = StreamingClockworkEncoder(input_shape=[None, None, 4])
    >>> net.append(ClockworkRNN, hidden_size=8)
    >>> net.append(Linear, n_neurons=3)
    >>> x, context = torch.rand(2, 9, 4), net.make_streaming_context()
    >>> y = [net.forward_streaming(chunk, context) for chunk in x.split(2, 1)]
    >>> torch.allclose(torch.cat(y, 1), net(x), atol=1e-6)
    True
    """

    def __init__(self, *layers, input_shape=None, **named_layers):
        if input_shape is None:
            raise InputError(
                "input_shape=None: expected (batch, time, features)."
            )
        self._kind, self._names = "", []
        super().__init__(*layers, input_shape=input_shape, **named_layers)

    def append(self, layer, *args, **kwargs):
        """Add a layer, as SpeechBrain's Sequential does, if it can go on.

        One that cannot leaves all as it was.

        Arguments
        ---------
        layer : torch.nn.Module or class
            The layer, or what makes it.
        *args : tuple
            Arguments of the class.
        **kwargs : dict
            The same by name, and `layer_name`.
        """
        count, name = len(self), kwargs.get("layer_name") or len(self)
        # What SpeechBrain finds the shape for a new layer with is a training
        # step for the statistics of the others.
        buffers = [(buffer, buffer.clone()) for buffer in self.buffers()]
        try:
            with tried(f"layer {name}", "a layer, or what makes one"):
                super().append(layer, *args, **kwargs)
            with tried(f"layer {name}", f"one that {STREAMABLE}"):
                self._check(name)
        except BaseException:
            for added in list(self)[count:]:
                del self[added]
            for buffer, value in buffers:
                buffer.copy_(value)
            raise
        layers = self.recurrent_layers()
        self._names = list(layers)
        self._kind = " ".join(f"{name}={layers[name]}" for name in layers)

    def make_streaming_context(self, dynchunktrain_config=None):
        """The context at the start of utterances.

        Arguments
        ---------
        dynchunktrain_config : DynChunkTrainConfig
            SpeechBrain's; not looked at, since chunks of any sizes will do.

        Returns
        -------
        StreamingEncoderContext
            For `forward_streaming`.
        """
        return StreamingEncoderContext(self._kind)

    def forward_streaming(self, x, context):
        """The output for the next steps.

        Arguments
        ---------
        x : torch.Tensor
            Input [B, T, F], or [B, T, ...] where input_shape has more; T may
            differ from chunk to chunk.
        context : StreamingEncoderContext
            What `make_streaming_context` returned; it is updated.

        Returns
        -------
        torch.Tensor
            Output [B, T, H].
        """
        check_sequences(x, *self.input_shape[2:])
        if context.kind != self._kind:
            raise InputError(
                f"context, of {context.kind}: expected one of {self._kind}, "
                f"the recurrent layers of this encoder."
            )
        if context.batch_size not in (None, len(x)):
            raise InputError(
                f"x of {len(x)} sequences: expected {context.batch_size}, as "
                f"in the context."
            )
        x, context.states = self.step(x, context.states)
        context.batch_size = len(x)
        return x

    def step(self, x, states):
        """The same as a function of the states.

        Arguments
        ---------
        x : torch.Tensor
            Input [B, T, F].
        states : dict
            hx of each recurrent layer, by its name; zero where there is none.

        Returns
        -------
        x : torch.Tensor
            Output [B, T, H].
        states : dict
            The states after the last step.
        """
        names = list(self.recurrent_layers())
        if names != self._names:
            raise InputError(
                f"recurrent layers {names}: expected {self._names}, as when "
                f"they were added (a wrapper, such as DataParallel, hides the "
                f"state of what it wraps)."
            )
        new = {}
        return _run(self, x, states, new), new

    def recurrent_layers(self):
        """The layers that have a state.

        Returns
        -------
        dict
            By their names, in the order of the computation.
        """
        return dict(_recurrent_layers(self))

    def _check(self, name):
        """Raise an error if the last layer, of some name, cannot go on."""
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(1, 24, *self.input_shape[2:], generator=generator)
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            with torch.no_grad():
                whole, states, parts = self(x), {}, []
                # Odd numbers, that no pooling divides.
                for chunk in x.split([11, 13], dim=1):
                    before, states = states, {}
                    parts.append(_run(self, chunk, before, states))
        finally:
            for module, mode in modes:
                module.training = mode
        is_same = isinstance(whole, torch.Tensor) and whole.dim() > 1
        if is_same:
            # One by one: what has other sizes in chunks cannot be joined.
            expected = whole[:, :11], whole[:, 11:]
            is_same = all(map(_is_close, parts, expected))
        if not is_same:
            raise InputError(
                f"layer {name}: expected one that {STREAMABLE} "
                f"(bidirectional=False, no convolution, pooling or "
                f"normalisation over time)."
            )


def _children(module, prefix):
    """The layers of a Sequential, by their full names."""
    # named_children would leave out what is there before.
    for name, child in _plain(module)._modules.items():
        yield prefix + name, child


def _plain(module):
    """A module without the wrapper of torch.compile, which shows no hx."""
    return getattr(module, "_orig_mod", module)


def _is_sequential(module):
    return isinstance(_plain(module), (Sequential, nn.Sequential))


def _is_recurrent(module):
    return _takes_state(type(_plain(module)))


@cache
def _takes_state(kind):
    """Whether modules of a class do."""
    return "hx" in inspect.signature(kind.forward).parameters


def _recurrent_layers(module, prefix=""):
    """Those of a Sequential, by their full names."""
    for name, child in _children(module, prefix):
        if _is_sequential(child):
            yield from _recurrent_layers(child, f"{name}.")
        elif _is_recurrent(child):
            yield name, _plain(child)


def _run(module, x, states, new, prefix=""):
    """The output of a Sequential, whose recurrent layers go on from states and
    leave new ones."""
    for name, child in _children(module, prefix):
        if _is_sequential(child):
            x = _run(child, x, states, new, f"{name}.")
        elif _is_recurrent(child):
            y = child(x, hx=states.get(name))
            if not isinstance(y, tuple) or len(y) != 2:
                raise InputError(
                    f"layer {name}: expected a pair, the output and hx, from a "
                    f"forward that takes hx."
                )
            x, new[name] = y
        else:
            x = child(x)
            x = x[0] if isinstance(x, tuple) else x
    return x


def _describe(x):
    """What stands where a tensor of some shape should."""
    if isinstance(x, torch.Tensor):
        return f"of shape {tuple(x.shape)}"
    return f"of type {type(x).__name__}"


def _is_close(x, y):
    """Whether they are the same up to rounding."""
    return x.shape == y.shape and torch.allclose(x, y, rtol=1e-4, atol=1e-4)


@dataclass
class CTCGreedyContext:
    """What greedy decoding knows of the frames so far."""

    last: torch.Tensor | None = None
    """The unit of the last one [B, 1]."""


def ctc_greedy_decode_streaming(log_probs, context, blank_id):
    """Greedy decoding of CTC, chunk by chunk.

    `speechbrain.decoders.ctc_greedy_decode` would begin anew in each chunk, and
    a unit across a border would be two.

    Arguments
    ---------
    log_probs : torch.Tensor
        Log probabilities of the units [B, T, units].
    context : CTCGreedyContext
        Empty at the start of utterances; it is updated.
    blank_id : int
        Number of the blank.

    Returns
    -------
    list of list of int
        The units of each sequence that begin in this chunk.

    Example
    -------
    >>> context, eye = CTCGreedyContext(), torch.eye(3)
    >>> [
    ...     ctc_greedy_decode_streaming(eye[None, frames], context, blank_id=0)
    ...     for frames in ([0, 1, 1], [1, 2], [0, 2])
    ... ]
    [[[1]], [[2]], [[2]]]
    """
    best = log_probs.argmax(dim=-1)
    if context.last is None:
        context.last = best.new_full((len(best), 1), blank_id)
    # A chunk may be empty: the last unit is then that of the one before.
    frames = torch.cat([context.last, best], dim=1)
    before, context.last = frames[:, :-1], frames[:, -1:]
    begins = (best != blank_id) & (best != before)
    return [units[where].tolist() for units, where in zip(best, begins)]


@dataclass
class TextContext:
    """What a tokenizer knows of the text so far."""

    has_begun: bool = False
    """Whether there is any."""


def decode_streaming(tokenizer, ids, context):
    """The text of units, with a space before it where there is text already.

    It is for tokenizers whose units are words of their own, such as
    `PhonemeTokenizer`; for pieces of words, SpeechBrain has
    `speechbrain.tokenizers.SentencePiece.spm_decode_preserve_leading_space`.

    Arguments
    ---------
    tokenizer : object
        With the method `decode_ids`.
    ids : list of int
        Numbers of the units.
    context : TextContext
        Empty at the start of an utterance; it is updated.

    Returns
    -------
    str
        What is to be appended to the text.

    Example
    -------
    >>> from speechbrain_cwrnn.phonemes import PhonemeTokenizer
    >>> tokenizer, context = PhonemeTokenizer(39), TextContext()
    >>> [
    ...     decode_streaming(tokenizer, ids, context)
    ...     for ids in ([], [31, 30], [], [18])
    ... ]
    ['', 'sil sh', '', ' iy']
    """
    text = tokenizer.decode_ids(ids)
    if text and context.has_begun:
        text = f" {text}"
    context.has_begun |= bool(text)
    return text
