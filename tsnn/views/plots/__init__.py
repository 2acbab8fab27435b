"""Plots: from data to figures, the same in the dashboard and in notebooks."""
