"""Splits of labelled cases into train, validation and test, by group."""
