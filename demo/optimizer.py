"""Muon for the matrices inside the layers, Adam for embedding and norms.

Muon (K. Jordan and others, 2024) replaces the momentum by the nearest orthogonal matrix, found by five
Newton-Schulz steps. Written here because torch's computes them in bfloat16, which CPUs without it do slowly.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor

MUON_RATE = 0.006
ADAM_RATE = 0.002
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """The orthogonal factors of matrices (N, R, C), approximately: singular values go to about one."""
    a, b, c = _COEFFICIENTS
    wide = matrices.mT if matrices.shape[-2] > matrices.shape[-1] else matrices
    x = wide / (wide.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if matrices.shape[-2] > matrices.shape[-1] else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, made orthogonal, with weight decay; matrices of one shape are handled together."""

    def __init__(self, parameters: list[Tensor], lr: float, momentum: float = 0.95, decay: float = 0.3) -> None:
        by_shape: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
        for parameter in parameters:
            by_shape[tuple(parameter.shape)].append(parameter)
        super().__init__(
            [{"params": group} for group in by_shape.values()],
            {"lr": lr, "momentum": momentum, "decay": decay},
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Update every matrix from its gradient."""
        for group in self.param_groups:
            parameters = group["params"]
            rows, columns = parameters[0].shape
            gradients = torch.stack([p.grad for p in parameters])  # (N, R, C)
            state = self.state[parameters[0]]
            buffer = state.setdefault("momentum", torch.zeros_like(gradients))
            buffer.lerp_(gradients, 1 - group["momentum"])
            updates = orthogonalize(gradients.lerp(buffer, group["momentum"]))
            for parameter, update in zip(parameters, updates, strict=True):
                parameter.mul_(1 - group["lr"] * group["decay"])  # without it attention saturates, and stops learning
                parameter.add_(update, alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)


def optimizers(model: torch.nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, Adam for the rest."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [Muon(matrices, MUON_RATE), torch.optim.Adam(others, ADAM_RATE, betas=(0.9, 0.95))]


def rate_factor(step: int, steps: int, decay: int, warmup: int = 40) -> float:
    """The fraction of the learning rate: warm-up, constant, then linear to zero over `decay` steps."""
    return min(1.0, (step + 1) / warmup, (steps - step) / max(decay, 1))
