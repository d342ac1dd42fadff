"""`python -m otel_pipeline` is `otel-pipeline`."""

import sys

from otel_pipeline.cli import main

if __name__ == "__main__":
    sys.exit(main())
