"""The exporters: one file is one component type, found by walking this folder."""
