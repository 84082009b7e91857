"""Loss and gradients of an adapter's training beside stock transformers, in the shape of MMS-1B.

    python benchmarks/gradients.py --types float32        (10 GB of memory, some minutes of a CPU)
    python benchmarks/gradients.py --shape tiny

Both get the same random weights, adapters that are not the identity, and one batch of utterances of different
lengths: stock transformers from the waveform to the loss of `Wav2Vec2ForCTC`, ours by the steps of
`mms-adapt train`. Printed are the difference of the losses, and of all tensors of the adapters and the head
the largest and the median distance of a gradient from stock's, as a share of its length.

On a GPU, `--device cuda` compares what runs there: frames side by side in bfloat16. Few CPUs multiply that
quickly, so that these two ways take very long there.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from bench_train import SHAPES, labels, random_tensors, settings

LENGTHS_S = (2.0, 1.3, 1.7)
Gradients = dict[str, Any]


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--shape", choices=SHAPES, default="mms-1b")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--types", nargs="+", choices=("float32", "bfloat16", "fp8"), default=("float32", "bfloat16")
    )
    options = parser.parse_args()
    import torch

    torch.manual_seed(1)
    waves = [torch.randn(round(16_000 * long_s)) * 0.1 for long_s in LENGTHS_S]
    targets = labels(len(waves), 1.0, settings(options)["vocab_size"])
    tensors = random_tensors(options)
    loss, gradients = stocks(options, tensors, waves, targets)
    print(f"stock, float32: loss {loss:.6f}, {len(gradients)} tensors with gradients")
    for name, dtype, changes in ways(options.types):
        found, own = ours(options, tensors, waves, targets, dtype, changes)
        told = distances(own, gradients)
        worst = max(told, key=lambda one: told[one])
        print(f"{name}: loss off by {abs(found - loss) / loss:.1e}", end="; ")
        print(f"gradients of {len(told)} tensors off by at most {told[worst]:.1e} ({worst})", end=", ")
        print(f"half of them by at most {median(told.values()):.1e}", flush=True)
    return 0


def ways(types: list[str]) -> list[tuple[str, Any, dict[str, Any]]]:
    """Return the ways in which ours computes: name, type of the matrices, what is asked of the backbone."""
    import torch

    coarse = ("ours, 8-bit floats, frames side by side", torch.bfloat16, {"packing": True, "quantise": "fp8"})

    found = [
        ("ours, float32", torch.float32, {"packing": False}),
        ("ours, float32, frames side by side", torch.float32, {"packing": True}),
        ("ours, float32, computed again", torch.float32, {"packing": False, "checkpointing": True}),
        ("ours, bfloat16", torch.bfloat16, {"packing": False}),
        ("ours, bfloat16, frames side by side", torch.bfloat16, {"packing": True}),
    ]
    chosen = [one for one in found if str(one[1]).removeprefix("torch.") in types]
    return [*chosen, coarse] if "fp8" in types else chosen


def padded(waves: list[Any], device: str) -> tuple[Any, Any]:
    """Return normalised waveforms `(batch, samples)` and where they are real."""
    import torch

    from mms_adapt.encoder import normalised

    counts = [len(one) for one in waves]
    found, real = torch.zeros(len(waves), max(counts)), torch.zeros(len(waves), max(counts), dtype=torch.long)
    for row, one in enumerate(waves):
        found[row, : len(one)], real[row, : len(one)] = normalised(one), 1
    return found.to(device), real.to(device)


def stocks(
    options: argparse.Namespace, tensors: Gradients, waves: list[Any], targets: Any
) -> tuple[float, Gradients]:
    """Return loss and gradients of stock transformers."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    with torch.device("meta"):
        model = Wav2Vec2ForCTC(Wav2Vec2Config(**settings(options)))
    model.load_state_dict(tensors, strict=False, assign=True)
    model = model.to(options.device).eval()
    model.freeze_base_model()
    trained = learning(model)
    samples, real = padded(waves, options.device)
    loss = model(samples, attention_mask=real, labels=targets.to(options.device)).loss
    loss.backward()
    return float(loss.detach()), {name: one.grad.float() for name, one in trained.items()}


def ours(
    options: argparse.Namespace,
    tensors: Gradients,
    waves: list[Any],
    targets: Any,
    dtype: Any,
    changes: dict[str, Any],
) -> tuple[float, Gradients]:
    """Return loss and gradients of ours."""
    import torch

    from mms_adapt import stock
    from mms_adapt.audio import frame_count
    from mms_adapt.backbone import Backbone
    from mms_adapt.batches import Batch
    from mms_adapt.pretrained import Pretrained
    from mms_adapt.step import batch_loss

    source = Pretrained("random", Path("nowhere"), settings(options), True, (), (), None)
    model = stock.build(source, {name: one.clone() for name, one in tensors.items()}, dtype)
    model = model.to(options.device)
    trained = learning(model)
    backbone = Backbone(source, model, "0" * 64, torch.device(options.device))
    for name, value in changes.items():
        if name == "quantise":
            backbone.quantise(value)
        else:
            setattr(backbone, name, value)
    counts = [len(one) for one in waves]
    frames = torch.tensor([frame_count(count) for count in counts])
    samples = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
    features = backbone.cnn(samples, torch.tensor(counts))
    batch = Batch(features, frames, targets, torch.full((len(waves),), targets.shape[1]), ("",) * len(waves))
    loss = batch_loss(backbone.logits(backbone.encode(features, frames)), batch, 0)
    loss.backward()
    return float(loss.detach()), {name: one.grad.float() for name, one in trained.items()}


def learning(model: Any) -> Gradients:
    """Let adapters and head learn, and nothing else; return them by name."""
    found = {}
    for name, one in model.named_parameters():
        one.requires_grad_(".adapter_layer." in name or name.startswith("lm_head."))
        if one.requires_grad:
            found[name] = one
    return found


def distances(found: Gradients, expected: Gradients) -> dict[str, float]:
    """Return by tensor how far a gradient is from the expected one, as a share of its length."""
    if missing := expected.keys() ^ found.keys():
        raise SystemExit(f"the tensors are not the same: {sorted(missing)[:3]}")
    return {name: float((found[name] - one).norm() / one.norm()) for name, one in expected.items()}


if __name__ == "__main__":
    sys.exit(main())
