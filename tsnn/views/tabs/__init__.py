"""Tabs: the views of one run, built once and brought up to date."""
