"""The configuration: load files, check them, and turn them into typed options."""
