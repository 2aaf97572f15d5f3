# shellcheck disable=SC2154  # whoever enters it sets mark
# shellcheck disable=SC2086  # a mark is one word
# shellcheck disable=SC2154  # whoever enters it sets mark
# shellcheck disable=SC2086  # a mark is one word
## Answers each `t` with the clock's seconds and nanoseconds. `date` starts a process for each, and busybox's may have no
## nanoseconds: then it prints whole seconds, which bound the clock within one.
perl -e '__PERL__' $mark 2>/dev/null || python3 -I -S -c '__PYTHON__' $mark 2>/dev/null ||
/usr/libexec/platform-python -I -S -c '__PYTHON__' $mark 2>/dev/null || { echo $mark
while read -r asked && [ "$asked" = t ]; do date '+%s %N' || break; done; }
