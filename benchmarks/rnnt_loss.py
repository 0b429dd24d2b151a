"""SpeechBrain's transducer loss, computed by torchaudio, which has no need of a
GPU.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from torchaudio.functional import rnnt_loss


def transducer_loss(
    logits, targets, input_lens, target_lens, blank_index, reduction="mean"
):
    """That of SpeechBrain's name and arguments.

    Arguments
    ---------
    logits : torch.Tensor
        Predictions [batch, T, U + 1, labels].
    targets : torch.Tensor
        Labels [batch, U].
    input_lens, target_lens : torch.Tensor
        Relative lengths.
    blank_index : int
        The label that is the blank.
    reduction : str
        "mean" over the sequences, "sum" or "none".

    Returns
    -------
    torch.Tensor
        The loss.
    """
    return rnnt_loss(
        logits,
        targets.int(),
        (input_lens * logits.shape[1]).round().int(),
        (target_lens * targets.shape[1]).round().int(),
        blank=blank_index,
        reduction=reduction,
    )
