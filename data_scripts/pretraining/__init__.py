"""Parts of the pre-training of the embedded backbone; `pretrain_backbone.py` is their only caller."""
