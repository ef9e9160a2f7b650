//! What is run on a node, in POSIX sh. Fixed texts: names and paths come as words. Needs git and `/proc`.

/// `root project name format`: makes the folders and the repository; prints the root, then the environment.
pub const GREET: &str = r#"
set -eu
umask 077
unset CDPATH
mkdir -p -- "$1"
cd -- "$1"
mkdir -p repos worktrees "runs/$3"
bare=repos/$2.git
if [ ! -e "$bare/HEAD" ]; then
  git init -q --bare --object-format="$4" "$bare" >&2 || [ -e "$bare/HEAD" ]
  git --git-dir="$bare" config gc.auto 0 || :
fi
pwd -P
env
"#;

/// `root project name start prepared`, the prompt on stdin.
pub const CHECK_OUT: &str = r#"
set -eu
umask 077
unset CDPATH
bare=$1/repos/$2.git tree=$1/worktrees/$3
cat >"$1/runs/$3/prompt.md"
rm -rf -- "$tree"
git --git-dir="$bare" -c core.hooksPath=/dev/null worktree add -q --force --detach -- "$tree" "$4" >&2
cd -- "$tree"
git -c core.hooksPath=/dev/null read-tree -u --reset "$5" >&2
git read-tree "$4" >&2
git update-index -q --refresh >&2 || :
"#;

/// `root orch`: prints what is there, and ends with 1 and what to do where something is missing. Changes nothing.
pub const EXAMINE: &str = r#"
unset CDPATH
fail() { echo "$*" >&2; exit 1; }
for program in git grep sed head tail wc env; do
  command -v "$program" >/dev/null || fail "$program is not in the PATH of a login without a terminal: install it"
done
grep -qsz . /proc/self/environ || fail "/proc, or a grep that knows -z, is missing: agents could not be ended"
place=$1
until [ -e "$place" ]; do
  case $place in */*) place=${place%/*} ;; *) place=. ;; esac
  [ -n "$place" ] || place=/
done
[ -d "$place" ] && [ -w "$place" ] || fail "$place cannot be written: change its owner, or set root"
git --version
[ -z "$2" ] || "$2" --version || fail "$2 does not run there: install it, or correct orch"
"#;

/// `path`, the content on stdin.
pub const PUT: &str = r#"
set -eu
umask 077
cat >"$1.new"
mv -f -- "$1.new" "$1"
"#;

/// Begins a start script: what the login brought along is not the agent's.
pub const CLEAR_ENVIRONMENT: &str = r#"
for name in $(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p'); do
  case $name in PWD|OLDPWD|SHLVL|PPID|UID|EUID|IFS|_) ;; *) unset "$name" ;; esac
done
"#;

/// `run_dir`: runs the start script. Not in place of this one: of a program that a signal ended ssh would tell nothing.
pub const START: &str = r#"
sh "$1/start.sh"
exit $?
"#;

/// `run_dir grace`: TERM to all that carries the run's mark, KILL after the grace.
pub const END: &str = r#"
marked() {
  for file in $(grep -lszxF -e "ORCH_RUN_DIR=$run" /proc/[0-9]*/environ 2>/dev/null); do
    pid=${file#/proc/}
    printf '%s ' "${pid%/environ}"
  done
}
run=$1
kill -TERM $(marked) 2>/dev/null
tries=$(($2 * 5 + 5))
while [ -n "$(marked)" ] && [ "$tries" -gt 0 ]; do
  sleep 0.2
  tries=$((tries - 1))
done
tries=50
while left=$(marked) && [ -n "$left" ]; do
  [ "$tries" -gt 0 ] || { echo "processes do not die: $left" >&2; exit 1; }
  kill -KILL $left 2>/dev/null
  sleep 0.1
  tries=$((tries - 1))
done
exit 0
"#;

/// `root project name`: prints the commits of HEAD and of everything; nothing without a worktree.
pub const COLLECT: &str = r#"
set -eu
unset CDPATH
bare=$1/repos/$2.git tree=$1/worktrees/$3
[ -d "$tree" ] || exit 0
admin=
for found in "$bare"/worktrees/*; do
  if [ "$(cat "$found/gitdir" 2>/dev/null)" = "$tree/.git" ]; then admin=$found; fi
done
[ -n "$admin" ] || exit 0
cd -- "$tree"
export GIT_DIR="$admin" GIT_WORK_TREE="$tree" GIT_INDEX_FILE="$admin/orch-index"
rm -f -- "$admin/index.lock" "$admin/HEAD.lock" "$GIT_INDEX_FILE" "$GIT_INDEX_FILE.lock"
head=$(git rev-parse -q --verify 'HEAD^{commit}') || head=$(git rev-parse -q --verify "refs/orch/runs/$3/start^{commit}")
add() { git -c core.hooksPath=/dev/null -c core.fsmonitor=false add -A --ignore-errors -- . >&2; }
cp -- "$admin/index" "$GIT_INDEX_FILE" 2>/dev/null || git read-tree "$head"
add || { rm -f -- "$GIT_INDEX_FILE"; git read-tree "$head"; add || :; }
files=$(git write-tree)
export GIT_AUTHOR_NAME=orch GIT_AUTHOR_EMAIL=orch@localhost GIT_COMMITTER_NAME=orch GIT_COMMITTER_EMAIL=orch@localhost
work=$(echo 'everything uncommitted' | git commit-tree "$files" -p "$head")
rm -f -- "$GIT_INDEX_FILE"
git update-ref "refs/orch/runs/$3/head" "$head"
git update-ref "refs/orch/runs/$3/work" "$work"
echo "$head $work"
"#;

/// `root project name`.
pub const FORGET: &str = r#"
bare=$1/repos/$2.git tree=$1/worktrees/$3
rm -rf -- "$tree" 2>/dev/null || { chmod -R u+w -- "$tree"; rm -rf -- "$tree"; } || exit 1
for found in "$bare"/worktrees/*; do
  if [ "$(cat "$found/gitdir" 2>/dev/null)" = "$tree/.git" ]; then rm -rf -- "$found"; fi
done
git --git-dir="$bare" for-each-ref --format='delete %(refname)' "refs/orch/runs/$3" |
  git --git-dir="$bare" update-ref --stdin
rm -rf -- "$1/runs/$3"
"#;

/// Before the two that follow: writes down that the run is looked after.
pub const RENEW: &str = r#"
renew() {
  read -r up rest </proc/uptime
  read -r boot </proc/sys/kernel/random/boot_id
  printf '{"boot_id":"%s","since_boot":{"secs":%s,"nanos":0}}' "$boot" "${up%.*}" >"$run/lease.$$" &&
    mv -f -- "$run/lease.$$" "$run/lease.json"
}
"#;

/// `run_dir orch`: starts the shim there, once.
pub const LAUNCH: &str = r#"
run=$1
renew
started() { [ -e "$run/shim.json" ] || [ -e "$run/exit.json" ]; }
started && exit 0
cd -- "$run" || exit 126
ORCH_RUN_DIR=$run "$2" shim "$run" </dev/null >/dev/null 2>"$run/shim.err" &
tries=150
until started; do
  tries=$((tries - 1))
  if [ "$tries" -eq 0 ]; then tail -n 1 "$run/shim.err" >&2; exit 126; fi
  sleep 0.1
done
"#;

/// `run_dir offset`: prints the log from there until the exit is recorded; ends with 3 when the shim is gone without, and
/// with 5 after about a minute: of a connection that nobody holds any more this side may not hear.
pub const FOLLOW: &str = r#"
run=$1 seen=$2 rounds=200
lives() {
  pid=$(sed -n 's/.*"pid":\([0-9][0-9]*\).*/\1/p' "$run/shim.json" 2>/dev/null)
  [ -n "$pid" ] && grep -qszxF -e "ORCH_RUN_DIR=$run" "/proc/$pid/environ"
}
while :; do
  over=
  if [ -e "$run/exit.json" ]; then over=0; elif ! lives && [ ! -e "$run/exit.json" ]; then over=3; fi
  size=$(wc -c 2>/dev/null <"$run/output.log" || echo 0)
  size=$((size + 0))
  if [ "$size" -gt "$seen" ]; then
    tail -c "+$((seen + 1))" "$run/output.log" | head -c "$((size - seen))" || exit 4
    seen=$size
  fi
  if [ "$over" = 3 ] && [ -e "$run/exit.json" ]; then continue; fi
  [ -z "$over" ] || exit "$over"
  [ $((rounds % 3)) -ne 0 ] || renew
  rounds=$((rounds - 1))
  [ "$rounds" -gt 0 ] || exit 5
  sleep 0.3
done
"#;

/// `run_dir`: prints the recorded exit.
pub const RESULT: &str = r#"cat -- "$1/exit.json""#;
