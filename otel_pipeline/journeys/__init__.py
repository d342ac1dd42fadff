"""Requirements on their way through delivery, followed across traces and days."""
