"""`python torch_samples.py FOLDER`: writes torch files of each kind, in a process that only does this.

The modules are saved under the names that a user's are: `models.eager.net` and `net`.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

NET = """\
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, x):
        return self.linear(x)


class Words(torch.nn.Module):
    '''Takes integers, and what it does with them cannot be scripted.'''

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(10, 3)

    def forward(self, *rows):
        return self.table(rows[0]).sum(dim=1)


class Pair(torch.nn.Module):
    '''Takes two tensors, and cannot be scripted.'''

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, *rows):
        return self.linear(rows[0]) + rows[1]
"""


def main(folder: Path) -> None:
    import torch

    module = folder / "models" / "eager" / "net.py"
    module.parent.mkdir(parents=True)
    module.write_text(NET)
    sys.path[:0] = [str(module.parent), str(folder)]
    import importlib

    own: Any = importlib.import_module("net")
    below: Any = importlib.import_module("models.eager.net")
    torch.manual_seed(0)
    torch.jit.script(own.Net()).save(str(folder / "script.pt"))
    torch.save(own.Net(), folder / "eager.pt")
    torch.save(below.Net(), folder / "eager_below.pt")
    torch.save(own.Words(), folder / "words.pt")
    torch.save(own.Pair(), folder / "pair.pt")
    torch.save(torch.nn.Sequential(torch.nn.Linear(4, 3)), folder / "sequential.pt")
    torch.save(own.Net().state_dict(), folder / "state.pt")
    torch.save({"model": own.Net().state_dict(), "epoch": 3}, folder / "checkpoint.pt")
    torch.save(own.Net().state_dict(), folder / "old.pt", _use_new_zipfile_serialization=False)
    torch.save([own.Net()], folder / "list.pt")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
