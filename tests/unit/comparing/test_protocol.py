"""How many updates a comparison takes, and what is refused."""

import pytest

from comparing.protocol import Protocol


def test_attempts_are_warm_up_and_timing_of_both_turns():
    protocol = Protocol(warmup_steps=20, timed_steps=51)
    assert protocol.turns == (26, 25)
    assert protocol.warmups == (20, 5)
    assert protocol.attempts == 76


def test_protocol_tells_all_faults():
    with pytest.raises(ValueError, match=r"units is 0.*updates is 5; expected >= 75.*margin > 0"):
        Protocol(units=0, updates=5, margin=-1.0)
