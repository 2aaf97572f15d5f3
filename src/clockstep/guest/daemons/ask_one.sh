# shellcheck disable=SC2034  # daemons/ask.sh reads denied
# shellcheck disable=SC2034  # daemons/ask.sh reads denied
say __NAME__; { __ASK__; } && exit 0; [ $? != 126 ] || denied=__NAME__
