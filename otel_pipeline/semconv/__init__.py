"""Loads, checks and resolves semantic-convention files, and compiles them to plans for native code."""
