#!/bin/sh
# tally: counts the words of a text.
set -eu

usage() {
    echo "usage: tally [FILE]" >&2
    exit 2
}

case "${1-}" in
-?*) usage ;;
esac
[ $# -le 1 ] || usage
file=${1:--}
if [ "$file" != - ] && [ ! -r "$file" ]; then
    echo "tally: cannot read $file" >&2
    exit 1
fi

cat -- "$file" | wc -w | tr -d ' '
