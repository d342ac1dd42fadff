"""The running gateway: graph, edges, lifecycle, status."""
