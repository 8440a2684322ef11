"""Where models are trained: one file for each system that runs pipelines, found by the package's catalog."""
