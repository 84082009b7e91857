"""Metrics for Hugging Face's evaluate, as folders that it loads from disk, without a network.

import evaluate
from mms_adapt.metrics import ERROR_RATES

metric = evaluate.load(str(ERROR_RATES))
metric.compute(references=["a b"], predictions=["a c"])["wer"]
"""

from pathlib import Path

ERROR_RATES = Path(__file__).parent / "error_rates"
