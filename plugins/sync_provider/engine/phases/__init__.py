"""One module per phase of a one-way run, in the order of `core.changes.ONE_WAY`. Each has one public function."""
