is "counts words" 5 "$(printf 'one two\nthree  four five\n' | sh bin/tally)"
is "an empty text has no words" 0 "$(printf '' | sh bin/tally)"
is "a missing file is an error" 1 "$(sh bin/tally no-such-file 2>/dev/null; echo $?)"
