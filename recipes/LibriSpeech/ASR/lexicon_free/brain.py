"""The acoustic model of "Who needs words?": Conv GLU with ASG, trained in three phases.

T. Likhomanenko, G. Synnaeve, R. Collobert, "Who needs words? Lexicon-free speech recognition",
2019, https://arxiv.org/abs/1904.04479. Network, criterion and loss are those of the Conv GLU
recipe, down to the parameter; the phases stand in the run file, and what is new is the decoding: a
beam search over letters with a language model of letters.
"""

from recipes.LibriSpeech.ASR.conv_glu import brain


class ASR(brain.ASR):
    """The Brain of the Conv GLU recipe."""
