"""Publishing: an adapter as a folder for a model hub, with a model card, and its upload.

- `card`: the model card, README.md with its front matter;
- `anonymous`: a passport without what is nobody's business;
- `folder`: all of that as one call, which writes a folder and uploads it only where asked;
- `upload`: the hub's client, asked for nothing else.
"""
