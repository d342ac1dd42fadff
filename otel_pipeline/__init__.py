"""An OpenTelemetry gateway for software that AI agents deliver."""

__all__ = ["__version__"]

__version__ = "0.1.0"
