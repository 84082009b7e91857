"""Composition: one adapter out of several, without training.

- `heads`: vocabularies united, rows of heads matched by token;
- `narrow`: adapters with a narrow middle (attention, bottleneck), added up exactly or averaged;
- `reducing`, `calibration`: fewer channels inside them, chosen and fitted on speech, the loss stated;
- `low_rank`: changes of matrices (lora), added up exactly, averaged, cut to a rank, or merged by sign (TIES);
- `stacking`: one adapter on another, made, taken apart, and set up for training;
- `certificate`: the passport of what comes out, with its parents, licence and speakers;
- `merging`: all of that as one call;
- `weights`: what each is to count, found on the dev set.

What comes out is an adapter folder like any other.
"""
