"""The figures of the published study, to stand beside one's own under their own heading."""

from typing import NamedTuple

SOURCE = "Two_Stream_PyTorch (2023), tables I and II"
UNIT = (
    "Published, not computed here: of 81 patients. Methods: 1,957 clips of one second, pooled over "
    "five folds, the epoch chosen on the fold that is reported; readers: patients. F1 is that of "
    "the class non-ASD."
)


class PublishedRow(NamedTuple):
    """A row of the published tables."""

    name: str
    segmentation: bool | None
    optical_flow: bool | None
    figures: dict[str, float]


def _row(name: str, segmentation: bool | None, flow: bool | None, *values: float) -> PublishedRow:
    return PublishedRow(
        name, segmentation, flow, dict(zip(("accuracy", "f1", "auroc"), values, strict=True))
    )


READERS = (
    _row("doctor 1", None, None, 0.4815, 0.4474, 0.5185),
    _row("doctor 2", None, None, 0.5247, 0.4615, 0.5463),
)
METHODS = (
    _row("CNN + LSTM", None, None, 0.7466, 0.7305, 0.8093),
    _row("2D two-stream", False, True, 0.7063, 0.6085, 0.7797),
    _row("2D two-stream", True, True, 0.7187, 0.6394, 0.7855),
    _row("3D CNN", False, False, 0.7245, 0.7358, 0.7745),
    _row("3D CNN", False, True, 0.7703, 0.7315, 0.8131),
    _row("3D CNN", True, False, 0.7609, 0.6923, 0.7759),
    _row("3D CNN", True, True, 0.7964, 0.7599, 0.8600),
)
