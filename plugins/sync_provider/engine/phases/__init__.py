"""One module per phase of a one-way run, in the order of `core.changes.PHASES`. Each has one public function."""
