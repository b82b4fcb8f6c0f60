import re
from pathlib import Path

import av
import numpy as np
import pytest

from asd_experiments.config import ValidateConfig
from asd_experiments.data import manifest
from asd_experiments.data.manifest import (
    LabelsError,
    read_labels,
    unreadable,
    unreadable_videos,
    validate,
)
from asd_experiments.data.video_file import VideoBounds


def write_video(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(3):
            picture = np.full((48, 64, 3), shade + number, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    for shade, name in enumerate(["a.mp4", "b.mp4", "sub dir/ü.mp4"]):
        write_video(folder / name, 40 * shade)
    return folder


def labels_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


GOOD = """video,patient_id,label,view,reader_1,age,sex
a.mp4,P1,ASD,left,yes,61.5,f
b.mp4,P1,ASD,right,no,61.5,f
sub dir/ü.mp4,P2,non_ASD,left,,,m
"""


def test_a_good_file_is_read_with_its_types(tmp_path, videos):
    table = read_labels(labels_file(tmp_path, GOOD), videos)
    assert list(table["patient_id"]) == ["P1", "P1", "P2"]
    assert table["age"].dtype == float and np.isnan(table["age"].iloc[2])
    assert table["sex"].tolist() == ["f", "f", "m"]


def test_patient_ids_stay_text(tmp_path, videos):
    text = "video,patient_id,label\na.mp4,007,1\nb.mp4,7,2\n"
    table = read_labels(labels_file(tmp_path, text), videos)
    assert table["patient_id"].tolist() == ["007", "7"]
    assert table["label"].tolist() == ["1", "2"]


def test_every_problem_is_listed_at_once(tmp_path, videos):
    (videos / "text.mp4").write_text("this is not a video")
    (videos / "empty.mp4").write_bytes(b"")
    write_video(videos / "copy.mp4", 0)
    (videos / "copy.mp4").write_bytes((videos / "a.mp4").read_bytes())
    text = """video,patient_id,label,reader_1,age
a.mp4,P1,ASD,maybe,61
a.mp4,P2,ASD,yes,62
b.mp4,P1,DHS,no,old
none.mp4,P3,ASD,,63
text.mp4,P4,ASD,,
empty.mp4,P5,,,
copy.mp4,P6,ASD,,64
../labels.csv,P7,ASD,,
"""
    config = ValidateConfig(videos=str(videos), labels=str(labels_file(tmp_path, text)))
    with pytest.raises(LabelsError) as caught:
        validate(config)
    message = str(caught.value)
    for expected in [
        "row 3: video 'a.mp4' stands in row 2 already",
        "row 4: patient 'P1' is labelled 'DHS' here but 'ASD' in row 2; a patient has one label",
        "row 2: reader_1 must be one of yes, no, undecided or empty, got 'maybe'",
        "row 4: column 'age' mixes numbers and text, got 'old'",
        "row 5: video 'none.mp4' does not exist",
        "row 6: video 'text.mp4' cannot be read",
        "row 7: label is empty",
        "row 7: video 'empty.mp4' cannot be read",
        "row 8: same file content as row 2",
        "row 9: video '../labels.csv' lies outside the videos folder",
    ]:
        assert expected in message
    assert len(caught.value.problems) == 10
    assert message.startswith("10 problems")
    rows = [int(re.match(r"row (\d+):", problem)[1]) for problem in caught.value.problems]
    assert rows == [2, 3, 4, 4, 5, 6, 7, 7, 8, 9]


def test_unreadable_videos_do_not_spoil_the_labels(tmp_path, videos):
    (videos / "text.mp4").write_text("this is not a video")
    (videos / "empty.mp4").write_bytes(b"")
    (videos / "empty too.mp4").write_bytes(b"")
    rows = [
        f"{name},P{number},ASD"
        for number, name in enumerate(["a.mp4", "text.mp4", "b.mp4", "empty.mp4", "empty too.mp4"])
    ]
    table = read_labels(labels_file(tmp_path, "\n".join(["video,patient_id,label", *rows])), videos)
    assert len(table) == 5
    reasons = unreadable_videos(table, videos)
    assert list(reasons) == [3, 5, 6]
    assert reasons[3] == "it is a text file, not a video"
    assert reasons[5] == reasons[6] == "the file is empty; copy it again"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        ("Für später\r\n".encode(), "it is a text file, not a video"),
        (bytes(9000), "it begins with zeros"),
        (bytes(range(256)) * 20, "it is not a video, or only a part of one"),
    ],
)
def test_a_file_that_is_no_video_is_called_what_it_is(tmp_path, content, reason):
    (tmp_path / "Mustermann.mp4").write_bytes(content)
    assert unreadable(tmp_path / "Mustermann.mp4").startswith(reason)


def test_headers_are_held_to_the_bounds(tmp_path, videos, monkeypatch):
    table = read_labels(labels_file(tmp_path, GOOD), videos)
    assert unreadable_videos(table, videos) == {}
    monkeypatch.setattr(manifest, "DEFAULT_BOUNDS", VideoBounds(largest_side_px=63))
    assert "at most 63 pixels a side, got 64x48" in unreadable_videos(table, videos)[2]
    bounds = VideoBounds(largest_side_px=64, most_seconds=0.1)
    monkeypatch.setattr(manifest, "DEFAULT_BOUNDS", bounds)
    assert "must last 0.1 s at most, got 0.12 s" in unreadable_videos(table, videos)[4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video,label\na.mp4,ASD\n", "column 'patient_id' is missing; found: video, label"),
        ("video,patient_id,label\n", "no row below the column names"),
        ("", "not a readable CSV"),
        ("video;patient_id;label\na.mp4;P1;ASD\n", "must be separated by commas"),
        ("video,patient_id,label,label\na.mp4,P1,ASD,x\n", "column 'label' stands there twice"),
        ("video,patient_id,label\n\na.mp4,P1,ASD\n", "row 2: label is empty"),
        ('video,patient_id,label\n"a.mp4,P1,ASD\n', "not a readable CSV"),
    ],
)
def test_a_file_of_the_wrong_form_is_refused(tmp_path, videos, text, message):
    with pytest.raises(LabelsError, match=message):
        read_labels(labels_file(tmp_path, text), videos)


def test_missing_places_are_named(tmp_path, videos):
    with pytest.raises(LabelsError, match=r"labels file .*none.csv' does not exist"):
        read_labels(tmp_path / "none.csv", videos)
    with pytest.raises(LabelsError, match=r"videos folder .*nowhere' does not exist"):
        read_labels(labels_file(tmp_path, GOOD), tmp_path / "nowhere")


def test_spreadsheet_exports_are_read(tmp_path, videos):
    """Excel writes a byte order mark, people leave blanks after commas."""
    text = "\ufeffvideo, patient_id, label\na.mp4, P1 , ASD\n"
    table = read_labels(labels_file(tmp_path, text), videos)
    assert table.iloc[0].tolist() == ["a.mp4", "P1", "ASD"]


def test_validate_says_what_it_found(tmp_path, videos, capsys):
    config = ValidateConfig(videos=str(videos), labels=str(labels_file(tmp_path, GOOD)))
    validate(config)
    assert capsys.readouterr().out.splitlines() == [
        "3 videos of 2 patients (1 ASD, 1 non_ASD): no problem found.",
        "Only the header and the first frame of each video were read: "
        "truncated and damaged files are found by preprocess, which decodes them whole.",
        "Warning: class 'ASD' has 1 patient; cross-validation needs at least 3",
        "Warning: class 'non_ASD' has 1 patient; cross-validation needs at least 3",
    ]


def test_validate_warns_of_a_single_class_and_of_no_large_one(tmp_path, videos, capsys):
    rows = [f"{name},P{name},ASD" for name in ("a.mp4", "b.mp4", "sub dir/ü.mp4")]
    labels = labels_file(tmp_path, "\n".join(["video,patient_id,label", *rows]))
    validate(ValidateConfig(videos=str(videos), labels=str(labels)))
    (warning,) = [li for li in capsys.readouterr().out.splitlines() if "Warning" in li]
    assert warning == (
        "Warning: there is one class only; training needs at least two to tell apart"
    )
