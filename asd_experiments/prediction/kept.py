"""What was found out about videos while others are still to be classified, kept on disk."""

import json
import re
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pandas as pd

from asd_experiments.errors import InputError
from asd_experiments.tracking.answers import VideoClips
from asd_experiments.training.files import write_atomically

_BASIS_DIGITS = 16
_WRITTEN = "written.json"
_OWN = re.compile(rf"[0-9a-f]{{64}}-[0-9a-f]{{{_BASIS_DIGITS}}}\.json|{re.escape(_WRITTEN)}")


class KeptClips:
    """Clips of videos in a folder beside the answers, a file for each video.

    A file is named after its video's content and after all else that its clips depend on, so what
    was computed in another way is not taken for it.

    Args:
        out: File of the answers.
        basis: All that the clips of a video depend on beside the video.

    Raises:
        InputError: If the folder cannot be made.
    """

    def __init__(self, out: Path, basis: str) -> None:
        self.folder = kept_folder(out)
        self._basis = sha256(basis.encode()).hexdigest()[:_BASIS_DIGITS]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"out: {str(self.folder)!r} cannot be made ({error.strerror}), where what is done "
                "is kept until all is; choose another folder for out"
            ) from error

    def __contains__(self, source_sha256: str) -> bool:
        return self._file(source_sha256).is_file()

    def add(self, clips: VideoClips) -> None:
        """Keep the clips of a video; a process that is killed meanwhile keeps nothing of it."""
        content = {
            "clips": clips.clips.to_dict("list"),
            "person_share": clips.person_share,
            "frame_rate_hz": clips.frame_rate_hz,
            "flags": clips.flags,
        }
        text = json.dumps(content)
        write_atomically(self._file(clips.source_sha256), lambda file: file.write_text(text))

    def __getitem__(self, source_sha256: str) -> VideoClips:
        content = json.loads(self._file(source_sha256).read_text())
        return VideoClips(
            clips=pd.DataFrame(content["clips"]),
            source_sha256=source_sha256,
            person_share=content["person_share"],
            frame_rate_hz=content["frame_rate_hz"],
            flags=content["flags"],
        )

    def remove(self) -> None:
        """Remove what was kept: everything is where it belongs. Files of others stay."""
        for file in self.folder.iterdir():
            if _OWN.fullmatch(file.name):
                file.unlink()
        with suppress(OSError):
            self.folder.rmdir()

    def _file(self, source_sha256: str) -> Path:
        return self.folder / f"{source_sha256}-{self._basis}.json"


def kept_folder(out: Path) -> Path:
    """Folder beside the answers that there is as long as they are not complete."""
    return out.with_name(f"{out.name}.parts")


def note_written(out: Path, sums: dict[str, str]) -> None:
    """Keep in the folder which files were written, by name with their SHA-256."""
    text = json.dumps(sums)
    write_atomically(kept_folder(out) / _WRITTEN, lambda file: file.write_text(text))


def written_before(out: Path) -> dict[str, str]:
    """Files that an earlier command wrote which could not classify everything."""
    try:
        sums: dict[str, str] = json.loads((kept_folder(out) / _WRITTEN).read_text())
    except FileNotFoundError:
        return {}
    return sums
