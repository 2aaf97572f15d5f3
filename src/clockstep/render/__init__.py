"""Episodes and reports for people and for programs. Nothing here decides, and nothing else here prints."""
