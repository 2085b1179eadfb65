"""Decide whether the channels of a recording are mixed to mono, or one of them is used because mixing loses it."""

import numpy as np


# Unrelated channels keep their energy divided by the square of their number. A mix with less than a tenth of that, so
# 10 dB below, cancels: a channel is inverted. Two channels that carry one voice, one of them inverted and with 0.7
# times the amplitude of the other, are 12 dB below.
CANCELLED = 0.1
# A mix that has less than an eighth of the energy of one channel attenuates it (by 9 dB) ...
ATTENUATED = 1 / 8
# ... and that channel is used if all others together have less than a fiftieth of its energy (-17 dB), so that nobody
# who speaks on another channel is lost. Of two channels of which one is silent, the mix is 6 dB below, and is kept.
OTHERS = 0.02


class ChannelEnergies:
    """
    Collects the energy of each channel and of their mix, block by block, without their constant offsets.

    Args:
        channels (`int`): Number of channels.
    """

    def __init__(self, channels: int):
        self.channels = channels
        self._frames = 0
        # The mix is the last column.
        self._sums = np.zeros(channels + 1)
        self._squares = np.zeros(channels + 1)

    def add(self, block: np.ndarray, mix: np.ndarray, axis: int) -> None:
        """
        Adds a block.

        Args:
            block (`np.ndarray`): Samples of all channels.
            mix (`np.ndarray`): Their mean, of shape `(frames,)`.
            axis (`int`): The axis of the channels.
        """
        self._frames += len(mix)
        self._add(slice(self.channels), np.moveaxis(block, axis, 0))
        self._add(slice(self.channels, None), mix[None])

    def better_channel(self) -> int | None:
        """
        Return the index of the channel that is used instead of the mix.

        Returns:
            `int`, *optional*: The channel with the most energy if mixing cancels or attenuates it; else none.
        """
        if not self._frames:
            return None
        *channels, mix = np.maximum(0, self._squares / self._frames - (self._sums / self._frames) ** 2).tolist()
        total, best = sum(channels), max(channels)
        cancelled = mix < CANCELLED * total / len(channels) ** 2
        alone = mix < ATTENUATED * best and total - best < OTHERS * best
        return channels.index(best) if cancelled or alone else None

    def _add(self, place: slice, samples: np.ndarray) -> None:
        # All channels at once, as there may be a thousand of them.
        exact = samples.astype(np.float64, order="C")
        self._sums[place] += exact.sum(axis=1)
        self._squares[place] += np.einsum("cf,cf->c", exact, exact)
