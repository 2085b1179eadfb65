"""
Find copies of a recording that were re-encoded, resampled, made louder or softer, or padded with silence.

A fingerprint has 512 bits: the signs of differences between neighbors in time and frequency of the spectrum (Haitsma
and Kalker 2002, "A Highly Robust Audio Fingerprinting System"), on a grid that is placed by the energy of the clip, so
that silence at the edges does not move it. Copies differ in few bits; other clips differ in half of them, including
the same sentence from another speaker.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np

from escoita.audio.loading import SAMPLING_RATE


# Share of bits in which copies may differ. Measured on 1,776 clips of synthetic voices, 20 of FLEURS and 63 cuts of
# these: 99.5 % of copies in mp3, vorbis, opus, flac, at 8 and 48 kHz, at a tenth of the level, padded by half a
# second, with noise at 30 dB, or with most of these combined, are found. Two of 1.7 million other pairs were as close:
# the same synthetic voice with the same sentence twice; the closest pair of different voices or sentences differed in
# 0.145. Of 10^9 pairs of cuts without common audio, none was as close; cuts that share most of their energy are.
MAX_DISTANCE = 0.125
# A value that more clips share does not discriminate; copies also agree in other values.
LARGEST_BUCKET = 256

# Clips under this length hold little more than one word, of which fingerprints of different recordings may match.
CONFIRMED_SECONDS = 1.0
# Correlation from which two short clips are the same recording. Measured on 238 clips under a second: of copies in
# mp3, vorbis, opus, at 8 and 48 kHz, with noise at 30 dB or with silence around them at least 0.97; of other clips,
# also with the same word, at most 0.63.
LEAST_CORRELATION = 0.8

BANDS, CELLS = 17, 33
# Root mean square of the rounding error of 16 bits, -101 dB of full scale: a recording under it is empty.
EMPTY_LEVEL = 9e-6
# The band that copies at 8 kHz and telephone recordings contain.
LOWEST_HERTZ, HIGHEST_HERTZ = 200.0, 3300.0
_WINDOW = 1024
_LONGEST_HOP = 256
# Frames of a short clip: several for each cell.
_FRAMES = 160
# Frames whose spectra are in memory together: 0.4 MB, which the allocator reuses. With 2,048 frames, a scan of clips
# takes 1.2 to 1.6 times as long, with the same bits; `make bench` measures it.
_FRAMES_AT_ONCE = 32
# Half-width of the grid around the centroid of the energy, in standard deviations; 1.73 would span a clip of uniform
# energy.
_REACH = 1.6
# The length of a cell in grid steps; cells overlap.
_OVERLAP = 3.0
# The width of a band in steps; bands overlap.
_BREADTH = 1.5
# The share of the mean that is added to each cell, so that noise in quiet cells has no effect.
_FLOOR = 0.01
# Candidates compared at once: 32 MB of fingerprints.
_AT_ONCE = 1 << 18


def fingerprint(samples: np.ndarray) -> bytes:
    """
    Return the fingerprint of a recording.

    Args:
        samples (`np.ndarray`): The mono samples, of shape `(samples,)`, float32, 16 kHz.

    Returns:
        `bytes`: 64 bytes: 32 time steps of 16 bits, one bit for each pair of neighboring bands. A silent recording has
        an empty fingerprint, which matches no other.
    """
    if not len(samples) or samples.std(dtype=np.float64) < EMPTY_LEVEL:
        return b""
    energies = _energies(samples - samples.mean())
    if not energies.any():
        return b""
    slopes = np.diff(np.log(energies + _FLOOR * energies.mean()), axis=1)
    return np.packbits(np.diff(slopes, axis=0) > 0).tobytes()


def correlation(left: np.ndarray, right: np.ndarray) -> float:
    """
    Return the correlation of two recordings at the shift at which it is largest, in the band of the fingerprints.

    Args:
        left (`np.ndarray`): The first samples, of shape `(samples,)`, float32, 16 kHz, not empty.
        right (`np.ndarray`): The second samples.

    Returns:
        `float`: The correlation, from 0 to 1, regardless of level and polarity.
    """
    size = 1 << (len(left) + len(right) - 1).bit_length()
    hertz = np.fft.rfftfreq(size, 1 / SAMPLING_RATE)
    inside = (hertz >= LOWEST_HERTZ) & (hertz <= HIGHEST_HERTZ)
    one, other = (np.where(inside, np.fft.rfft(samples.astype(np.float64), size), 0) for samples in (left, right))
    energies = [np.square(np.fft.irfft(spectrum, size)).sum() for spectrum in (one, other)]
    if not all(energies):
        return 0.0
    return float(np.abs(np.fft.irfft(one * other.conj(), size)).max() / np.sqrt(energies[0] * energies[1]))


def matches(
    left: Sequence[bytes], right: Sequence[bytes], max_distance: float = MAX_DISTANCE
) -> list[tuple[int, int]]:
    """
    Return all pairs of a left and a right fingerprint that belong to the same recording.

    Only pairs that agree in all 32 bits of one of 48 blocks are compared (locality-sensitive hashing, Indyk and
    Motwani 1998, "Approximate Nearest Neighbors: Towards Removing the Curse of Dimensionality"). A block value that
    more than `LARGEST_BUCKET` fingerprints of the longer list share is skipped, which bounds the comparisons for each
    fingerprint of the shorter list to 48 times that number. Equal fingerprints are compared once.

    Args:
        left (`Sequence[bytes]`): The first fingerprints.
        right (`Sequence[bytes]`): The second fingerprints.
        max_distance (`float`, *optional*, defaults to `MAX_DISTANCE`): The share of bits in which copies may differ.

    Returns:
        `list[tuple[int, int]]`: The indices into `left` and `right`, ascending.
    """
    if len(left) < len(right):
        return sorted((first, second) for second, first in matches(right, left, max_distance))
    lefts, rights = _indices_by_print(left), _indices_by_print(right)
    members_left, members_right = list(lefts.values()), list(rights.values())
    near = [np.zeros((0, 2), np.int64), *_near(_array(lefts), _array(rights), max_distance)]
    return sorted(
        (index_left, index_right)
        for one, other in np.unique(np.concatenate(near), axis=0).tolist()
        for index_left in members_left[one]
        for index_right in members_right[other]
    )


def duplicates(
    prints: Sequence[bytes], max_distance: float = MAX_DISTANCE, confirm: Callable[[int, int], bool] | None = None
) -> list[tuple[int, int]]:
    """
    Return the repeated recordings of a list.

    Args:
        prints (`Sequence[bytes]`): The fingerprints.
        max_distance (`float`, *optional*, defaults to `MAX_DISTANCE`): The share of bits in which copies may differ.
        confirm (`Callable[[int, int], bool]`, *optional*): The function that decides whether two recordings with
            different, close fingerprints are copies, given their indices. The default accepts all.

    Returns:
        `list[tuple[int, int]]`: For each fingerprint that matches an earlier one, the index of the earliest match and
        its own index, ascending by its own. Removing all of these leaves one copy of each recording.
    """
    indices = _indices_by_print(prints)
    members, array = list(indices.values()), _array(indices)
    earliest = np.arange(len(members))
    for pairs in _near(array, array, max_distance):
        pairs = pairs[pairs[:, 0] < pairs[:, 1]]
        if confirm is not None:
            firsts = ((members[one][0], members[other][0]) for one, other in pairs.tolist())
            pairs = pairs[np.fromiter((confirm(*pair) for pair in firsts), bool, len(pairs))]
        np.minimum.at(earliest, pairs[:, 1], pairs[:, 0])
    again = [
        (members[first][0], index)
        for first, own in zip(earliest.tolist(), members, strict=True)
        for index in own
        if index != members[first][0]
    ]
    return sorted(again, key=lambda pair: pair[1])


def _energies(samples: np.ndarray) -> np.ndarray:
    """Return the mean energy of each cell of the grid, of shape `(cells, bands)`; cells outside the clip have none."""
    hop = int(np.clip(len(samples) // _FRAMES, 1, _LONGEST_HOP))
    padded = np.pad(samples.astype(np.float32), _WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::hop]
    starts = range(0, len(frames), _FRAMES_AT_ONCE)
    powers = np.concatenate([_powers(frames[start : start + _FRAMES_AT_ONCE]) for start in starts])
    total = powers.sum(axis=1, dtype=np.float64) + np.finfo(np.float64).tiny
    # Unlike edges found by a threshold, mean and spread of the energy in time change little with noise and codecs.
    times = np.arange(len(total)) + 0.5
    middle = np.average(times, weights=total)
    reach = _REACH * np.sqrt(np.average((times - middle) ** 2, weights=total))
    width = 2 * reach / CELLS
    centers = middle - reach + width * (np.arange(CELLS) + 0.5)
    sums = np.concatenate([np.zeros((1, BANDS)), np.cumsum(powers, axis=0, dtype=np.float64)])
    half = _OVERLAP / 2 * width
    return (_at(sums, centers + half) - _at(sums, centers - half)) / (2 * half)


def _powers(frames: np.ndarray) -> np.ndarray:
    """Return the energy of each frame in each band, of shape `(frames, bands)`."""
    window, weights = _window_and_weights()
    spectrum = np.fft.rfft(frames * window, axis=1)[:, : len(weights)]
    return (spectrum.real**2 + spectrum.imag**2) @ weights


def _at(sums: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return linearly interpolated rows; times before the first and after the last row are clipped."""
    times = np.clip(times, 0, len(sums) - 1)
    before = np.minimum(times.astype(np.int64), len(sums) - 2)
    return sums[before] + (times - before)[:, None] * (sums[before + 1] - sums[before])


@cache
def _window_and_weights() -> tuple[np.ndarray, np.ndarray]:
    """Return a Hann window, and overlapping triangular mel filters of shape `(bins, bands)`."""
    lowest, highest = (2595 * np.log10(1 + hertz / 700) for hertz in (LOWEST_HERTZ, HIGHEST_HERTZ))
    edges = 700 * (10 ** (np.linspace(lowest, highest, BANDS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(_WINDOW, 1 / SAMPLING_RATE)
    bins = bins[bins < edges[-2] + _BREADTH * (edges[-1] - edges[-2])]
    center = edges[1:-1]
    rising = 1 - (center - bins[:, None]) / (_BREADTH * (center - edges[:-2]))
    falling = 1 - (bins[:, None] - center) / (_BREADTH * (edges[2:] - center))
    weights = np.maximum(0, np.minimum(rising, falling))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
    return window.astype(np.float32), (weights / weights.sum(axis=0)).astype(np.float32)


def _indices_by_print(prints: Sequence[bytes]) -> dict[bytes, list[int]]:
    """Return the indices of each distinct fingerprint in order of first appearance, without empty ones."""
    indices: dict[bytes, list[int]] = {}
    for index, bits in enumerate(prints):
        if bits:
            indices.setdefault(bits, []).append(index)
    return indices


def _array(prints: dict[bytes, list[int]]) -> np.ndarray:
    """Return fingerprints as an array of shape `(fingerprints, 8)`, uint64."""
    return np.frombuffer(b"".join(prints), np.uint64).reshape(-1, 8)


def _near(left: np.ndarray, right: np.ndarray, max_distance: float) -> Iterator[np.ndarray]:
    """Yield batches of index pairs of close fingerprints, of shape `(pairs, 2)`; a pair may occur several times."""
    limit = max_distance * left.shape[1] * 64
    for keys_left, keys_right in zip(_blocks(left), _blocks(right), strict=True):
        for pairs in _equal_pairs(keys_left, keys_right):
            distance = np.bitwise_count(left[pairs[:, 0]] ^ right[pairs[:, 1]]).sum(axis=1)
            yield pairs[distance <= limit]


def _blocks(prints: np.ndarray) -> Iterator[np.ndarray]:
    """
    Yield the values of 48 blocks of 32 bits, each of shape `(fingerprints,)`, uint32.

    The blocks have three shapes, long in frequency or in time, because noise and codecs affect some times or some
    bands.
    """
    steps = prints.view(np.uint16)
    for bits in (16, 8, 4):
        for start in range(0, 32, 32 // bits):
            for shift in range(0, 16, bits):
                key = np.zeros(len(prints), np.uint32)
                for step in range(start, start + 32 // bits):
                    key = key << bits | steps[:, step] >> shift & (1 << bits) - 1
                yield key


def _equal_pairs(left: np.ndarray, right: np.ndarray) -> Iterator[np.ndarray]:
    """Yield batches of index pairs of equal values, of shape `(pairs, 2)`, except values frequent in `left`."""
    order, order_right = np.argsort(left), np.argsort(right)
    left, right = left[order], right[order_right]
    first = np.searchsorted(left, right, "left")
    count = np.searchsorted(left, right, "right") - first
    rows = np.flatnonzero((count > 0) & (count <= LARGEST_BUCKET))
    ends = np.cumsum(count[rows])
    for part in np.split(rows, np.searchsorted(ends, np.arange(_AT_ONCE, ends[-1] if len(ends) else 0, _AT_ONCE))):
        counts = count[part]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        yield np.stack([order[np.repeat(first[part], counts) + within], np.repeat(order_right[part], counts)], axis=1)
