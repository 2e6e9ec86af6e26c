"""Published checkpoints into model bundles: build stage only, needs ``requirements-export.txt``.

Nothing else in :mod:`inference` imports this package, so the run time needs neither torch nor
kornia.
"""
