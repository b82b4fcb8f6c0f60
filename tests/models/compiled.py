"""Compiles every fusion and compares; run as a program, as the shape checks of the tests are in
the compiler's way."""

import sys

import torch

from asd_experiments.models.fusion import FUSIONS
from tests.models.tiny import tiny_clips, tiny_two_stream


def main() -> None:
    torch.set_num_threads(1)
    clips = tiny_clips(2)
    for name in FUSIONS:
        torch._dynamo.reset()
        model = tiny_two_stream(name).eval()
        for parameter in model.fusion.parameters():  # nothing that starts at zero stays zero
            torch.nn.init.normal_(parameter, std=0.1)
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        with torch.no_grad():
            torch.testing.assert_close(compiled(**clips).fused, model(**clips).fused)
        compiled.train()(**clips).fused.sum().backward()
        print(name)


if __name__ == "__main__":
    sys.exit(main())
