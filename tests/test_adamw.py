"""AdamW by rows: each row is as if it were alone, a row that is left out stays, a card does the same."""

import pytest
import torch
from torch import Tensor

from mms_adapt import adamw, rowwise

ROWS, SIZE = 5, 70_001
CARD = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))


def steps(device: str, count: int) -> list[tuple[Tensor, ...]]:
    """Weights, means, squares and norms after each of some steps, in which rows are left out."""
    random = torch.Generator().manual_seed(0)
    flat = torch.randn(ROWS, SIZE, generator=random).to(device)
    mean, square = torch.zeros_like(flat), torch.zeros_like(flat)
    counts, found = torch.zeros(ROWS, device=device), []
    for number in range(count):
        gradient = torch.randn(ROWS, SIZE, generator=random) * torch.logspace(-4, 2, ROWS)[:, None]
        gradient[3] = torch.nan
        good = torch.tensor([True, number != 1, number < 2, False, True])
        gradient[~good, 7] = torch.inf
        gradient, good = gradient.to(device), good.to(device)
        norms = adamw.norms(gradient)
        counts += good
        steps_done = counts.clamp(min=1).double()
        factors = adamw.Factors(
            good.float(),
            torch.where(good, torch.clamp(1.5 / norms, max=1.0), 1.0),
            torch.linspace(0.9, 1, ROWS, device=device),
            (torch.logspace(-4, -1, ROWS, device=device) / (1 - 0.9**steps_done)).float(),
            torch.sqrt(1 - 0.999**steps_done).float(),
        )
        before = [one.clone() for one in (flat, mean, square)]
        adamw.update(flat, gradient, mean, square, factors)
        after = (flat, mean, square)
        assert all(old[~good].equal(new[~good]) for old, new in zip(before, after, strict=True))
        assert not any(old[good].equal(new[good]) for old, new in zip(before, after, strict=True))
        found.append(tuple(one.clone() for one in (*after, norms[good])))
    return found


@pytest.mark.parametrize("device", ["cpu", CARD])
def test_rows_that_are_left_out_stay_and_all_numbers_are_those_of_torch(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = steps(device, 4)
    monkeypatch.setattr(rowwise, "_kernels", lambda: None)
    for some, others in zip(found, steps(device, 4), strict=True):
        for one, expected in zip(some, others, strict=True):
            torch.testing.assert_close(one, expected, rtol=1e-5, atol=1e-6)
