"""What examples/ablations.py redoes: variants and claims, measures, tables."""
