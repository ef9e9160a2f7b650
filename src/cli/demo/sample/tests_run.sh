#!/bin/sh
# Runs every tests/*_test.sh, says which check failed, and exits 1 if one did.
set -u
cd "$(dirname "$0")/.." || exit 2
passed=0
failed=0

# is WHAT EXPECTED ACTUAL
is() {
    if [ "$2" = "$3" ]; then
        passed=$((passed + 1))
        echo "ok    $1"
    else
        failed=$((failed + 1))
        echo "FAIL  $1: expected '$2', got '$3'"
    fi
}

for part in tests/*_test.sh; do
    . "./$part"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
