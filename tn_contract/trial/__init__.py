"""Runs a client's program, case by case."""
