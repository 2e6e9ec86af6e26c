"""What can be known before a run counts: of a submission (`check`), of the harness (`selftest`)."""
