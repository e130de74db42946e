"""Makes model.pt: a two-layer network fitted on the iris data and saved as TorchScript."""

from pathlib import Path

import torch
from sklearn.datasets import load_iris

torch.manual_seed(0)
iris = load_iris()
features = torch.tensor(iris.data, dtype=torch.float32)
classes = torch.tensor(iris.target)

network = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
for _ in range(200):
    optimiser.zero_grad()
    torch.nn.functional.cross_entropy(network(features), classes).backward()
    optimiser.step()

model = torch.nn.Sequential(network, torch.nn.Softmax(dim=1)).eval()
torch.jit.script(model).save(str(Path(__file__).with_name("model.pt")))
