is "counts lines" 2 "$(printf 'one two\nthree\n' | sh bin/tally --lines)"
is "an unknown option is a usage error" 2 "$(sh bin/tally --sentences </dev/null 2>/dev/null; echo $?)"
