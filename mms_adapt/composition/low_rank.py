"""Changes of matrices (kind lora) added up exactly, averaged, merged by sign, and made of lower rank again.

In: the tensors of adapters. Out: those of one. A change is B A with the scaling in B. It does not know heads
or passports.

Source: Yadav et al. 2023, TIES-Merging: Resolving Interference When Merging Models, section 3 (trim, elect
sign, disjoint mean); Hu et al. 2022, LoRA, section 4.1.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mms_adapt.adapters import lora
from mms_adapt.errors import AdapterMismatchError, OptionError

Change = tuple[Tensor, Tensor]  # A `(rank, in)` and B `(out, rank)`, in float64
Changes = dict[str, Change]


def read(options: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Changes:
    """Return the changes by the name of their matrix."""
    scaling = lora.Config(**options).scaling
    names = sorted(name.removesuffix(".lora_A.weight") for name in tensors if name.endswith(".lora_A.weight"))
    return {
        name: (
            tensors[f"{name}.lora_A.weight"].double(),
            tensors[f"{name}.lora_B.weight"].double() * scaling,
        )
        for name in names
    }


def write(changes: Changes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return options and tensors of an adapter with these changes; lower ranks are filled with zeros."""
    rank = max(len(down) for down, _ in changes.values())
    tensors: dict[str, Tensor] = {}
    for name, (down, up) in changes.items():
        more = rank - len(down)
        tensors[f"{name}.lora_A.weight"] = torch.cat([down, down.new_zeros(more, down.shape[1])]).float()
        tensors[f"{name}.lora_B.weight"] = torch.cat([up, up.new_zeros(len(up), more)], dim=1).float()
    options = {"rank": rank, "alpha": float(rank), "targets": sorted(changes), "layers": "all", "seed": 0}
    return options, {name: one.contiguous() for name, one in tensors.items()}


def concatenated(parts: Sequence[tuple[float, Changes]]) -> Changes:
    """Return the weighted sum of changes: exact, of all ranks together."""
    found: Changes = {}
    for name in sorted({name for _, one in parts for name in one}):
        held = [(one[name][0], factor * one[name][1]) for factor, one in parts if name in one]
        downs, ups = zip(*held, strict=True)
        found[name] = torch.cat(downs), torch.cat(ups, dim=1)
    return found


def averaged(parts: Sequence[tuple[float, Changes]]) -> Changes:
    """Return A and B each as the weighted sum of theirs, as PEFT's "linear" does.

    Raises:
        AdapterMismatchError: If their ranks or matrices differ.
    """
    first = parts[0][1]
    for _, one in parts:
        if one.keys() != first.keys() or any(one[name][0].shape != first[name][0].shape for name in first):
            raise AdapterMismatchError(
                "changes of different ranks or matrices have no mean, number by number; give the method "
                "concatenate, reduce or ties"
            )
    return {
        name: (
            torch.stack([factor * one[name][0] for factor, one in parts]).sum(dim=0),
            torch.stack([factor * one[name][1] for factor, one in parts]).sum(dim=0),
        )
        for name in first
    }


def ties(parts: Sequence[tuple[float, Changes]], *, density: float, rank: int) -> tuple[Changes, float]:
    """Return changes merged by sign, of a rank, and the share of their square that the rank does not hold.

    Of each whole change the largest `density` of its numbers are kept; the sign of their weighted sum is
    elected for every number; those that have it are averaged, and the weights together are the factor by
    which the mean counts. What comes out is of full rank, and cut to its largest singular values.

    Args:
        parts: Weights and changes.
        density: Share of the numbers of a change that are kept, in every matrix.
        rank: The rank of what comes out.

    Raises:
        OptionError: If the share is none.
    """
    if not 0 < density <= 1:
        raise OptionError(f"density={density}: give a share of the numbers to keep, above 0 and up to 1")
    found: Changes = {}
    lost = whole = 0.0
    for name in sorted({name for _, one in parts for name in one}):
        held = [(factor, one[name][1] @ one[name][0]) for factor, one in parts if name in one]
        merged = elected([(factor, trimmed(change, density)) for factor, change in held])
        found[name], missing = truncated(merged, rank)
        lost, whole = lost + missing, whole + float(merged.square().sum())
    return found, lost / whole if whole else 0.0


def trimmed(change: Tensor, density: float) -> Tensor:
    """Return a change with all but its largest numbers set to zero."""
    count = max(1, round(density * change.numel()))
    least = change.abs().flatten().topk(count).values[-1]
    return torch.where(change.abs() >= least, change, 0.0)


def elected(parts: Sequence[tuple[float, Tensor]]) -> Tensor:
    """Return the mean of those numbers whose sign is the elected one, times the sum of all weights."""
    signed = torch.stack([factor * change for factor, change in parts])
    sign = signed.sum(dim=0).sign()
    agree = (signed.sign() == sign) & (signed != 0)
    weights = torch.tensor([abs(factor) for factor, _ in parts], dtype=signed.dtype)[:, None, None]
    counted = (agree * weights).sum(dim=0)
    mean = (signed * agree).sum(dim=0) / counted.where(counted > 0, 1.0)
    return mean * float(weights.sum())


def reduced(changes: Changes, rank: int) -> tuple[Changes, float]:
    """Return changes of at most a rank, as near as can be, and the share of their square that is lost."""
    found: Changes = {}
    lost = whole = 0.0
    for name, (down, up) in changes.items():
        # of B A = Q_B (R_B R_A^T) Q_A^T, the middle alone is decomposed
        left, left_rest = torch.linalg.qr(up)
        right, right_rest = torch.linalg.qr(down.T)
        u, values, v = torch.linalg.svd(left_rest @ right_rest.T)
        root = values[:rank].sqrt()
        found[name] = (root[:, None] * v[:rank]) @ right.T, (left @ u[:, :rank]) * root
        lost += float(values[rank:].square().sum())
        whole += float(values.square().sum())
    return found, lost / whole if whole else 0.0


def truncated(matrix: Tensor, rank: int) -> tuple[Change, float]:
    """Return the nearest change of a rank to a whole matrix, and the square that is lost."""
    u, values, v = torch.linalg.svd(matrix, full_matrices=False)
    root = values[:rank].sqrt()
    return (root[:, None] * v[:rank], u[:, :rank] * root), float(values[rank:].square().sum())
