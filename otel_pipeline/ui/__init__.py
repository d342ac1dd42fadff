"""What people look at: pages and the read-only API, made of what components show and answer."""
