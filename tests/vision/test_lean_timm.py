"""timm is imported without TorchDynamo, which works all the same once it is wanted."""

from __future__ import annotations

import subprocess
import sys

import pytest

LEAN = """
import sys
import s2robot.vision
print("torch._dynamo" in sys.modules)
import torch, torchvision
from timm.models import naflexvit
print(torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)).item(), naflexvit.NaFlexVit.__name__)
print(torchvision.ops.roi_align(torch.ones(1, 1, 4, 4), torch.tensor([[0.0, 0, 0, 3, 3]]), 1).item())
print("torch._dynamo.utils" in sys.modules)
"""


@pytest.mark.slow
def test_the_compiler_is_imported_only_when_it_is_wanted() -> None:
    ran = subprocess.run([sys.executable, "-c", LEAN], capture_output=True, text=True)
    assert ran.stdout.split() == ["False", "2.0", "NaFlexVit", "1.0", "True"], ran.stderr
