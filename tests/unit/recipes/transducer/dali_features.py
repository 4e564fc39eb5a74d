"""The benchmark's features by NVIDIA DALI's operators on a CPU, and the stored values of them.

    python -m tests.unit.recipes.transducer.dali_features

writes golden_features.json anew; that needs the package nvidia-dali-cuda130 (or -cuda120), which
runs without a GPU.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).with_name("golden_features.json")
RATE_HZ = 16000
EVERY = 6  # frames between two stored ones


def waveform():
    """Return a chirp with noise, silent at both ends; the same numbers on every machine."""
    place = np.arange(14_500, dtype=np.int64)
    time = place / RATE_HZ
    noise = 2.0 * (np.sin(12.9898 * place) * 43758.5453 % 1.0) - 1.0
    loud = 0.3 * np.sin(2 * math.pi * (200 * time + 1500 * time**2)) + 0.1 * noise
    silence = np.zeros(3_100)
    return np.concatenate([silence, loud, silence[:2_900]]).astype(np.float32)


def by_dali(wave):
    """Return begin and length of what is not silent, log-mels and normalised log-mels [80, T]."""
    from nvidia.dali import fn, pipeline_def

    @pipeline_def(batch_size=1, num_threads=1, device_id=None)
    def steps():
        audio = fn.external_source(source=[[wave]], cycle=True)
        begin, length = fn.nonsilent_region(audio, cutoff_db=-60)
        audio = fn.slice(
            audio, begin, length, normalized_anchor=False, normalized_shape=False, axes=[0]
        )
        audio = fn.preemphasis_filter(audio, preemph_coeff=0.97)
        power = fn.spectrogram(audio, nfft=512, window_length=320, window_step=160)
        mels = fn.mel_filter_bank(power, sample_rate=RATE_HZ, nfilter=80, normalize=True)
        logs = fn.to_decibels(
            mels, multiplier=math.log(10), reference=1.0, cutoff_db=math.log(1e-20)
        )
        return begin, length, logs, fn.normalize(logs, axes=[1])

    pipe = steps()
    pipe.build()
    begin, length, logs, normalised = (np.array(out[0]) for out in pipe.run())
    return int(begin), int(length), logs, normalised


def main():
    """Write the stored values; return the exit code."""
    import nvidia.dali

    begin, length, logs, normalised = by_dali(waveform())
    stored = {
        "made_by": f"python -m tests.unit.recipes.transducer.dali_features, DALI "
        f"{nvidia.dali.__version__}",
        "begin": begin,
        "length": length,
        "num_frames": logs.shape[1],
        "log_mels": [[float(f"{x:.7g}") for x in row] for row in logs[:, ::EVERY]],
        "normalised": [[float(f"{x:.7g}") for x in row] for row in normalised[:, ::EVERY]],
    }
    GOLDEN.write_text(json.dumps(stored) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
