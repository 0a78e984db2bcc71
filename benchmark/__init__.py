"""The harness: one LightningModule for every architecture and task, a command line, and a record of every run."""
