"""Published systems with random weights, run as released: parts of published_programs.py."""
