"""Tabs of one run: built once, then updated. The timeline chooses the epoch that they display."""
