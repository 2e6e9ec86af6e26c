"""Masks and truth on disk -> scores.csv and labels.csv of every team."""
