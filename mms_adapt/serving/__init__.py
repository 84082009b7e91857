"""Serving many languages with one backbone: verified editions of adapters, where they are kept, the forward.

- `edition`: an adapter after every check, ready to be computed with; weighted sums of several;
- `shelf`: what is kept in a memory of bounded size, the least recently used out first;
- `engine`: a batch whose rows go through adapters and heads of their own;
- `identify`: which of several languages is spoken;
- `mms_lid`: what a checkpoint of MMS-LID says to that.

They know neither files of audio nor text; `mms_adapt.bank` puts them together.
"""
