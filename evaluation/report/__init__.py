"""Stored csv and json -> one HTML page; nothing is computed here that is not stored before."""
