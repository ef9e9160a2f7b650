#!/bin/sh
# tally: counts the words of a text, or its lines.
set -eu

usage() {
    echo "usage: tally [--lines] [FILE]" >&2
    exit 2
}

count=words
case "${1-}" in
--lines)
    count=lines
    shift
    ;;
-?*) usage ;;
esac
[ $# -le 1 ] || usage
file=${1:--}
if [ "$file" != - ] && [ ! -r "$file" ]; then
    echo "tally: cannot read $file" >&2
    exit 1
fi

case "$count" in
words) cat -- "$file" | wc -w | tr -d ' ' ;;
lines) cat -- "$file" | wc -l | tr -d ' ' ;;
esac
