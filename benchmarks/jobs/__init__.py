"""The job ledger beside the bare engines it runs on."""
