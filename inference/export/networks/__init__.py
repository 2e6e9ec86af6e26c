"""Definitions of the published networks: kornia's where it has them, our own where not."""
