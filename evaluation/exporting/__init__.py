"""The same results as other platforms and tools take them; docs/exports/ has a page for each."""
