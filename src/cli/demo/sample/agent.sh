#!/bin/sh
# A scripted agent for every role: does each role's work in the sample project with sh and git alone.
# It knows what an agent is told by its environment and its prompt, and nothing else.
set -eu

docs=$ORCH_ARTIFACTS_DIR
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
production=$(cd "$(dirname "$0")" && pwd)/production

say() { echo "$ORCH_ROLE: $*"; }

commit() {
    git add -A
    if git diff --cached --quiet; then return; fi
    git -c "user.name=$ORCH_ROLE" -c "user.email=$ORCH_ROLE@demo.invalid" -c commit.gpgsign=false \
        commit --quiet --message "$ORCH_WORK_ITEM: $1"
}

analyst() {
    cat >"$docs/01-brd.md" <<END
---
work_item: $ORCH_WORK_ITEM
status: READY
---
# What is wanted

Writers repeat themselves. \`tally --top N\` shows them the words they use most.
END
    cat >"$docs/02-trz.md" <<END
---
work_item: $ORCH_WORK_ITEM
---
# What is to be built

An option \`--top N\` of \`bin/tally\`: N lines, each a count, a space and a word; the most frequent first.
END
    cat >"$docs/03-acceptance-criteria.md" <<END
---
work_item: $ORCH_WORK_ITEM
---
1. \`--top N\` prints at most N lines, the most frequent word first, ties in alphabetical order.
2. Punctuation is no part of a word.
3. A word counts as one word however it is capitalised.
4. \`--top\` without a number is a usage error: exit code 2.
END
    cat >"$docs/04-test-plan.yaml" <<END
work_item: $ORCH_WORK_ITEM
command: sh tests/run.sh
cases:
  - {criterion: 1, input: "b a b", arguments: "--top 1", expect: "2 b"}
  - {criterion: 2, input: "a, a. b", arguments: "--top 1", expect: "2 a"}
  - {criterion: 3, input: "The the THE", arguments: "--top 1", expect: "3 the"}
  - {criterion: 4, arguments: "--top", expect_exit: 2}
END
    say "four acceptance criteria, four test cases"
    # Left uncommitted: Orch commits what an agent leaves.
}

architect() {
    mkdir -p "$docs/06-adr"
    cat >"$docs/06-adr/ADR-001-a-pipeline-of-standard-tools.md" <<END
---
work_item: $ORCH_WORK_ITEM
status: ACCEPTED
---
# A pipeline of standard tools

\`tr\`, \`sort\`, \`uniq -c\` and \`head\` do it in one pass over a text of any size. No dependency is added.
END
    say "ADR-001: a pipeline of standard tools"
    commit "decide how words are ranked"
}

write_feature() {
    cat >bin/tally <<'END'
#!/bin/sh
# tally: counts the words of a text, or its lines, or shows its most frequent words.
set -eu

usage() {
    echo "usage: tally [--lines | --top N] [FILE]" >&2
    exit 2
}

count=words
case "${1-}" in
--lines)
    count=lines
    shift
    ;;
--top)
    count=top
    case "${2-}" in
    '' | 0* | *[!0-9]*) usage ;;
    esac
    top=$2
    shift 2
    ;;
-?*) usage ;;
esac
[ $# -le 1 ] || usage
file=${1:--}
if [ "$file" != - ] && [ ! -r "$file" ]; then
    echo "tally: cannot read $file" >&2
    exit 1
fi

ranked() {
    tr -cs '[:alpha:]' '\n' | sed '/^$/d' | sort | uniq -c | sort -k1,1nr -k2
}

case "$count" in
words) cat -- "$file" | wc -w | tr -d ' ' ;;
lines) cat -- "$file" | wc -l | tr -d ' ' ;;
top) cat -- "$file" | ranked | sed 's/^ *//' | sed "${top}q" ;;
esac
END
    cat >tests/top_test.sh <<'END'
is "the most frequent word comes first" "2 b" "$(printf 'b a b\n' | sh bin/tally --top 1)"
is "punctuation is no part of a word" "2 a" "$(printf 'a, a. b\n' | sh bin/tally --top 1)"
is "--top needs a number" 2 "$(sh bin/tally --top </dev/null 2>/dev/null; echo $?)"
END
}

fold_case() {
    sed "s/^    tr -cs /    tr '[:upper:]' '[:lower:]' | tr -cs /" bin/tally >bin/tally.new
    mv bin/tally.new bin/tally
    cat >>tests/top_test.sh <<'END'
is "a word is one word however it is capitalised" "3 the" "$(printf 'The the THE\n' | sh bin/tally --top 1)"
END
}

finding='F1: --top counts "The" and "the" apart'

developer() {
    if ! grep -q -e '--top)' bin/tally; then
        write_feature
        commit "show the most frequent words with --top N"
        printf '\nThe words used most: `sh bin/tally --top 3 FILE`\n' >>README.md
        commit "describe --top"
        say "--top N written, with tests"
    elif grep -qs 'F1: --top counts' "${ORCH_PROMPT_FILE:-/dev/null}" "$docs/12-review.md" && ! grep -q upper bin/tally; then
        say "the review found F1; folding case, with a test for it"
        fold_case
        commit "count a word once however it is capitalised"
    else
        say "nothing is left to do"
    fi
    sh tests/run.sh
}

# Judges what the code does, criterion by criterion. Prints findings; none means that it is right.
findings() {
    [ "$(printf 'b a b\n' | sh bin/tally --top 1)" = "2 b" ] || echo "F2: the most frequent word is not first"
    [ "$(printf 'a, a. b\n' | sh bin/tally --top 1)" = "2 a" ] || echo "F3: punctuation is counted"
    [ "$(printf 'The the THE\n' | sh bin/tally --top 1)" = "3 the" ] ||
        echo "$finding (acceptance criterion 3); fold case before counting, and test it"
    grep -q -e '--top' tests/*_test.sh || echo "F4: --top has no test"
}

# A YAML list of the lines given; an empty one where there are none.
listed() {
    if [ -z "$1" ]; then
        echo " []"
    else
        echo
        echo "$1" | sed "s/.*/  - '&'/"
    fi
}

reviewer() {
    git diff --stat "$ORCH_MAIN...HEAD" -- bin tests README.md
    found=$(findings)
    verdict=APPROVED
    if [ -n "$found" ]; then verdict=REQUEST_CHANGES; fi
    cat >"$docs/12-review.md" <<END
---
work_item: $ORCH_WORK_ITEM
verdict: $verdict
findings:$(listed "$found")
---
# What was tried

Every acceptance criterion, against \`bin/tally\` as it is on this branch. The production caller of the new
code is \`bin/tally\` itself.
END
    say "$verdict"
    echo "$found"
}

tester() {
    if output=$(sh tests/run.sh 2>&1); then result=PASS; else result=FAIL; fi
    echo "$output"
    cat >"$docs/13-test-report.md" <<END
---
work_item: $ORCH_WORK_ITEM
result: $result
---
# sh tests/run.sh

$(echo "$output" | sed 's/^/    /')
END
    say "$result"
    commit "report the tests"
}

deployer() {
    mkdir -p "$production"
    cp bin/tally "$production/tally"
    git rev-parse HEAD >"$production/revision"
    status=FAILED
    if [ "$(printf 'To be or not to be\n' | sh "$production/tally" --top 1)" = "2 be" ]; then status=SUCCESS; fi
    cat >"$docs/14-deploy-log.md" <<END
---
work_item: $ORCH_WORK_ITEM
deploy_status: $status
revision: $(git rev-parse HEAD)
---
Copied \`bin/tally\` of $(git rev-parse --short HEAD) to production and ran it there once.
END
    say "$status"
}

# With faults, the demo holds an agent at its work until it has done to it what it wanted.
hold=$(dirname "$production")/hold-$ORCH_ROLE
if [ -e "$hold" ]; then
    echo $$ >"$hold.new"
    mv "$hold.new" "$hold.by"
    while [ -e "$hold" ]; do sleep 0.05; done
fi

mkdir -p "$docs"
say "$ORCH_WORK_ITEM, stage $ORCH_STAGE"
case "$ORCH_ROLE" in
analyst) analyst ;;
architect) architect ;;
developer) developer ;;
reviewer) reviewer ;;
tester) tester ;;
deployer) deployer ;;
*)
    echo "no such role: $ORCH_ROLE" >&2
    exit 2
    ;;
esac
