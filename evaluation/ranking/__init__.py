"""Scores of teams -> boards."""
