"""Looking into adapters: what a registry holds, whether an adapter is what it says, what two differ in.

- `listing`: the adapters of a registry, a row each, broken ones too; one adapter as a whole;
- `verification`: files, numbers, backbone and reported score of one adapter, checked anew;
- `difference`: what two adapters differ in.

Nothing here changes an adapter.
"""
