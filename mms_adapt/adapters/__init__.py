"""Adapters: the layers that training changes, one module a kind.

Each module here exports

- `Config`, a frozen dataclass of the kind's own options, whose values JSON can hold;
- `attach(model, config)`, which puts the layers into a bare stock model, in float32 on the model's device, so
  that the model gives what it gave before (an adapter starts as the identity), and lets what is to be trained
  require gradients;
- `owns(parameter_name)`, which tells whether a parameter of the model belongs to the adapter. The head
  (`lm_head`) belongs to the training and to no kind.

and may export `STOCK = True` where its tensors are those that stock transformers looks for, and
`LEARNING_RATE`, the peak that suits it where that is not the usual one. The fields
`size`, `layers` and `seed` of a `Config` are filled from the backbone and the training's options. A kind adds
or replaces modules only; `Backbone.bare` takes them out again. Adding a kind is adding a module: `plugins`
finds it by its name. Adapters do not know data, files or training.
"""
