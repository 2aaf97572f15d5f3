"""Where the watcher's Episodes go: each place is a `Sink`, and any number of them stand side by side."""
