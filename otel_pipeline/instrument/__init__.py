"""What runs beside agents; it imports nothing of the gateway."""
