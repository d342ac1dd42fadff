"""What several components share: server and client plumbing, TLS, sending queue, retry."""
