"""The benchmark's learning rate: a linear rise, a plateau, then one factor an epoch."""


class EpochDecay:
    """Rate of each update, by epochs.

    With k the update from 1, S updates an epoch, e the epoch from 1, W and H epochs of warm-up
    and hold: (k + 1) / (W S + 1) of the peak for k < W S; the peak for k < (W + H) S; then
    gamma^(e - W - H) of it; never below `lowest`.

    Arguments
    ---------
    peak : float
        Highest rate.
    warmup_epochs : int
        W.
    hold_epochs : int
        H.
    gamma : float
        Factor an epoch after them.
    lowest : float
        Lowest rate.
    updates_per_epoch : int | None
        S; None: the Brain sets it when it knows the training data.
    """

    def __init__(
        self,
        *,
        peak: float,
        warmup_epochs: int,
        hold_epochs: int,
        gamma: float,
        lowest: float = 1e-5,
        updates_per_epoch: int | None = None,
    ) -> None:
        self.peak, self.lowest = peak, lowest
        self.warmup_epochs, self.hold_epochs, self.gamma = warmup_epochs, hold_epochs, gamma
        self.updates_per_epoch = updates_per_epoch

    def __call__(self, update: int) -> float:
        """Return the rate of the update after `update` applied ones."""
        if self.updates_per_epoch is None:
            raise RuntimeError(
                "EpochDecay: updates_per_epoch is not known; expected a number in the YAML, or a "
                "training loader with a length."
            )
        return self.rate(update + 1, self.updates_per_epoch)

    def rate(self, number: int, per_epoch: int) -> float:
        """Return the rate of update `number`, from 1."""
        rise = self.warmup_epochs * per_epoch
        if number < rise:
            share = (number + 1) / (rise + 1)
        elif number < rise + self.hold_epochs * per_epoch:
            share = 1.0
        else:
            epoch = (number - 1) // per_epoch + 1
            share = self.gamma ** (epoch - self.warmup_epochs - self.hold_epochs)
        return max(share * self.peak, self.lowest)
