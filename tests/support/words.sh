# What every role's script can use. $out is a folder outside of all worktrees that the test reads.
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
docs=$ORCH_ARTIFACTS_DIR
mkdir -p "$docs"

# commit MESSAGE: everything that changed.
commit() {
    git add -A
    if git diff --cached --quiet; then return; fi
    git -c "user.name=$ORCH_ROLE" -c user.email=agent@example.invalid commit -q -m "$ORCH_WORK_ITEM: $1"
}
# front FILE KEY VALUE: an artifact with front matter.
front() { printf -- '---\nwork_item: %s\n%s: %s\n---\nWritten by the %s.\n' "$ORCH_WORK_ITEM" "$2" "$3" "$ORCH_ROLE" >"$docs/$1"; }
# verdict APPROVED|REQUEST_CHANGES
verdict() { front 12-review.md verdict "$1"; }
# tested PASS|FAIL
tested() { front 13-test-report.md result "$1"; }
# deployed SUCCESS|FAILED
deployed() { front 14-deploy-log.md deploy_status "$1"; }
# analysed: the four artifacts of the analysis.
analysed() {
    for f in 01-brd.md 02-trz.md 03-acceptance-criteria.md 04-test-plan.yaml; do echo "text: of $f" >"$docs/$f"; done
}
# decided: one decision record.
decided() { mkdir -p "$docs/06-adr"; echo "# Plainly" >"$docs/06-adr/ADR-001-plainly.md"; }
# asked QUESTION: parks the task.
asked() { printf -- '---\nstatus: NEEDS_INPUT\nquestion: %s\n---\n' "$1" >"$docs/question.md"; }
# stamp WORD: a line in agents.log with the time, this process and its folder.
stamp() { echo "$1 $(date +%s%N) $$ $(pwd -P) $ORCH_WORK_ITEM $ORCH_ROLE" >>"$out/agents.log"; }
# Which run of this role for this task it is: 1, 2, 3 …
nth=$(($(cat "$out/$ORCH_WORK_ITEM.$ORCH_ROLE.runs" 2>/dev/null || echo 0) + 1))
echo "$nth" >"$out/$ORCH_WORK_ITEM.$ORCH_ROLE.runs"
cp "$ORCH_PROMPT_FILE" "$out/$ORCH_WORK_ITEM.$ORCH_ROLE.$nth.prompt"
# here NAME: tells the test that the agent is here. until_told NAME: waits until the test says so.
here() { echo "$$ $(pwd -P)" >"$out/$1.new"; mv "$out/$1.new" "$out/$1"; }
until_told() { while [ ! -e "$out/$1" ]; do sleep 0.02; done; }
