"""Training of the bundles that ``inference/`` runs; the only package that needs torch."""
