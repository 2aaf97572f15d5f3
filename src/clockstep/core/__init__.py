"""The decisions, pure: no clock, no file, no network. What comes in is a record, and so is what goes out."""
