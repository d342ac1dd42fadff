"""The Prometheus bridge: series store, names and exposition, free of components."""
