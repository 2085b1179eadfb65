"""Audio: decoding, resampling, segmentation and fingerprints."""
