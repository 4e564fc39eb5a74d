"""Small raw corpora on disk, for tests of the preparers: tones instead of speech."""

import json
from pathlib import Path

import numpy as np
import soundfile

from data_prepare import finish

HEADER = "SentenceID\tSentence\tSentenceTimeGen\tSpeakerID\tSession"


def tone(seconds: float, *, rate_hz: int = 16000, channels: int = 1, pitch_hz: float = 220.0):
    """[S] or [S, C] float32, with a little noise, so that no two seconds are the same."""
    num = round(seconds * rate_hz)
    rng = np.random.default_rng(round(pitch_hz))
    wave = 0.3 * np.sin(2 * np.pi * pitch_hz * np.arange(num) / rate_hz)
    wave = wave + 0.02 * rng.standard_normal(num)
    if channels == 1:
        return wave.astype(np.float32)
    gains = np.linspace(1.0, 0.5, channels)
    return (wave[:, None] * gains).astype(np.float32)


def write_audio(path: Path, wave, rate_hz: int = 16000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {"mp3": ("MP3", "MPEG_LAYER_III"), "ogg": ("OGG", "VORBIS")}.get(path.suffix[1:])
    settings = {"format": kind[0], "subtype": kind[1]} if kind else {}
    soundfile.write(path, wave, rate_hz, **settings)


def clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes) // 60:02d}:{int(minutes) % 60:02d}:{rest:06.3f}"


def write_call(
    folder: Path,
    event: str,
    *,
    rows: list[tuple[str, str, str, str, str]] | None = None,
    num_rows: int = 6,
    row_s: float = 1.5,
    kind: str = "wav",
    rate_hz: int = 16000,
    channels: int = 1,
    speakers: tuple[str, ...] = (),
) -> None:
    """Write a call of `num_rows` sentences of `row_s` seconds, or the rows given."""
    seconds = num_rows * row_s
    write_audio(
        folder / event / f"recording.{kind}",
        tone(seconds, rate_hz=rate_hz, channels=channels, pitch_hz=150 + sum(map(ord, event)) % 97),
        rate_hz,
    )
    speakers = speakers or (f"s-{event}-a", f"s-{event}-b")
    rows = rows or [
        (
            str(number),
            f"Sentence number {number} of call {event}.",
            clock(number * row_s),
            speakers[number % len(speakers)],
            "presentation" if number < num_rows / 2 else "q-and-a",
        )
        for number in range(num_rows)
    ]
    lines = [HEADER, *("\t".join(row) for row in rows)]
    path = folder / event / "transcript_timealigned.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_metadata(folder: Path, events: dict[str, bool], ceos: dict[str, str] | None = None):
    """Write the metadata: event -> is it native."""
    content = {
        event: {"partition": 5 if is_native else 2, "ceoID": (ceos or {}).get(event, "nobody")}
        for event, is_native in events.items()
    }
    (folder / "BizSpeech_MetaData.json").write_text(json.dumps(content))


def write_bizspeech(folder: Path, num_calls: int = 6, **call) -> Path:
    """Write calls e0, e1, ...; every third one is not native."""
    for number in range(num_calls):
        write_call(folder, f"e{number}", **call)
    write_metadata(folder, {f"e{number}": number % 3 != 2 for number in range(num_calls)})
    return folder


def write_manifest(folder: Path, num: int = 6, *, name: str = "manifest.jsonl", **fields) -> Path:
    """Write recordings r0.wav, ... of 0.5 s and a manifest; `fields` are added to each record."""
    records = []
    for number in range(num):
        path = f"audio/r{number}.wav"
        write_audio(folder / path, tone(0.5, pitch_hz=200 + number))
        record = {
            "id": f"u{number}",
            "path": path,
            "text": f"text {number}",
            "speaker": f"s{number}",
        }
        records.append(record | fields)
    (folder / name).write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder / name


def rejected(folder: Path) -> dict[str, str]:
    """Id -> reason of everything that was left out."""
    lines = (folder / "rejected.jsonl").read_text().splitlines()
    return {line["id"]: line["reason"] for line in map(json.loads, lines)}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a prepared corpus, without the work folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".work" not in path.parts
    }


def texts(split_folder: Path) -> list[dict]:
    """Rows of utterances.jsonl."""
    lines = (split_folder / "utterances.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def leave_out_plot(monkeypatch) -> None:
    """Draw nothing: it takes most of the time of preparing a tiny corpus."""
    monkeypatch.setattr(finish, "draw_summary", lambda path, *_: path.write_bytes(b"no plot"))
