## Begins a section, also behind an answer whose last line is not ended.
say() { printf '\n#clockstep %s\n' "$1"; }
