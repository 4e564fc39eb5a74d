"""Searches that SpeechBrain has as functions only, in the form of its searchers."""

import torch
from speechbrain.decoders.ctc import ctc_greedy_decode
from torch import Tensor


class CTCGreedySearcher(torch.nn.Module):
    """Best token of each frame, repeats and blanks removed (Graves et al. 2006, section 3.2).

    Arguments
    ---------
    ctc_head : torch.nn.Module
        From encoder output [B, T, H] to logits [B, T, V].
    blank_index : int
        Index of the blank.
    """

    def __init__(self, ctc_head: torch.nn.Module, *, blank_index: int):
        super().__init__()
        self.ctc_head = ctc_head
        self.blank_index = blank_index

    @torch.no_grad()
    def forward(self, enc_states: Tensor, wav_len: Tensor) -> tuple[list[list[int]]]:
        """Return the token indexes of each utterance, as the first item of a tuple.

        Arguments
        ---------
        enc_states : Tensor
            [B, T, H] encoder output.
        wav_len : Tensor
            [B] relative lengths.

        Returns
        -------
        tuple[list[list[int]]]
            B lists of token indexes.
        """
        logits = self.ctc_head(enc_states).float()
        return (ctc_greedy_decode(logits, wav_len, blank_id=self.blank_index),)
