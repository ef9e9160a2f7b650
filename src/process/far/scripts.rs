//! What is run on a node, in POSIX sh. Fixed texts: names and paths come as words. Needs git and `/proc`.

/// `root project name owner format carrier`: makes the folders and the repository, and notes who carries; prints the root,
/// then the environment. Refuses a root of another owner: names of runs would be the same there.
pub const GREET: &str = r#"
set -eu
umask 077
unset CDPATH
mkdir -p -- "$1"
cd -- "$1"
[ -s owner ] || echo "$4" >owner
owner=$(cat owner)
if [ "$owner" != "$4" ]; then
  at=$(pwd -P)
  echo "$at belongs to another installation of Orch ($owner): set another root; or, where that is gone, remove $at/owner" >&2
  exit 1
fi
mkdir -p repos worktrees "runs/$3"
echo "$6" >"runs/$3/carrier"
bare=repos/$2.git
if [ ! -e "$bare/HEAD" ]; then
  git init -q --bare --object-format="$5" "$bare" >&2 || [ -e "$bare/HEAD" ]
  git --git-dir="$bare" config gc.auto 0 || :
fi
pwd -P
env
"#;

/// `root project name start prepared carrier`, the prompt on stdin. Works under the run's mark, so that whoever carries
/// after a death ends it first; refuses to where another carries by now, or an agent was started.
pub const CHECK_OUT: &str = r#"
set -eu
umask 077
unset CDPATH
bare=$1/repos/$2.git tree=$1/worktrees/$3 run=$1/runs/$3
export ORCH_RUN_DIR="$run"
exec env sh -c '
set -eu
bare=$1 tree=$2 run=$3
[ "$(cat "$run/carrier")" = "$6" ] || { echo "the run is carried anew by now" >&2; exit 1; }
for mark in started shim.json exit.json; do
  [ ! -e "$run/$mark" ] || { echo "an agent was started there already" >&2; exit 1; }
done
cat >"$run/prompt.md"
rm -rf -- "$tree"
git --git-dir="$bare" -c core.hooksPath=/dev/null -c worktree.useRelativePaths=false worktree add -q --force --detach -- "$tree" "$4" >&2
cd -- "$tree"
git -c core.hooksPath=/dev/null read-tree -u --reset "$5" >&2
git read-tree "$4" >&2
git update-index -q --refresh >&2 || :
' orch "$bare" "$tree" "$run" "$4" "$5" "$6"
"#;

/// `root orch`: prints what is there, and whose the root is, and ends with 1 and what to do where something is missing. Changes nothing.
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
[ ! -s "$1/owner" ] || { printf 'owner ' && cat -- "$1/owner"; }
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

/// `run_dir limit grace end owner`: runs the start script. Not in place of this one: of a program that a signal ended ssh would
/// tell nothing. Its 255 is not that of ssh. After the limit all of the run is ended by the script `end`, whoever is
/// connected.
pub const START: &str = r#"
: >"$1/started" || exit 126
ORCH_RUN_DIR=$1 sh -c 'sleep "$1"; ORCH_RUN_DIR= exec sh -c "$2" orch "$3" "$4" "$5"' orch "$2" "$4" "$1" "$3" "$5" \
  </dev/null >/dev/null 2>&1 &
sh "$1/start.sh"
code=$?
[ "$code" -ne 255 ] || code=254
exit "$code"
"#;

/// `run_dir grace owner`: TERM to all that carries the run's mark, KILL after the grace. In the folder of another owner a
/// run of this name is another run.
pub const END: &str = r#"
marked() {
  for file in $(grep -lszxF -e "ORCH_RUN_DIR=$run" /proc/[0-9]*/environ 2>/dev/null); do
    pid=${file#/proc/}
    printf '%s ' "${pid%/environ}"
  done
}
run=$1
owner=$(cat "${run%/runs/*}/owner" 2>/dev/null) || owner=$3
[ "$owner" = "$3" ] || exit 0
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

/// `root project name owner`: prints the commits of HEAD and of everything; nothing without a worktree. What git knows of the
/// worktree is made again where it was lost. Of what cannot be added only what cannot be read is left out.
pub const COLLECT: &str = r#"
set -eu
unset CDPATH
export LC_ALL=C
bare=$1/repos/$2.git tree=$1/worktrees/$3
fail() { echo "$*" >&2; exit 1; }
owner=$(cat "$1/owner" 2>/dev/null) || owner=$4
[ "$owner" = "$4" ] || exit 0
[ -e "$tree" ] || [ -L "$tree" ] || exit 0
[ -d "$tree" ] || fail "$tree is no folder any more: look at it there, and remove it"
start=$(git --git-dir="$bare" rev-parse -q --verify "refs/orch/runs/$3/start^{commit}") ||
  fail "$bare does not know where the run began: look at $tree there, and remove it"
real=$(cd -- "$tree" && pwd -P)
admin=
for found in "$bare"/worktrees/*; do
  at=$(cat "$found/gitdir" 2>/dev/null) || continue
  if [ "$(cd -- "$found" && cd -- "${at%/.git}" 2>/dev/null && pwd -P)" = "$real" ]; then admin=$found; fi
done
if [ -z "$admin" ]; then
  admin=$bare/worktrees/$3
  [ ! -e "$admin" ] || admin=$admin.again
  mkdir -p -- "$admin"
  echo "$tree/.git" >"$admin/gitdir"
fi
rm -f -- "$admin/index.lock" "$admin/HEAD.lock"
if ! git --git-dir="$admin" rev-parse -q --git-dir >/dev/null 2>&1; then
  echo ../.. >"$admin/commondir"
  git --git-dir="$admin" rev-parse -q --git-dir >/dev/null 2>&1 || echo "$start" >"$admin/HEAD"
fi
cd -- "$tree"
export GIT_DIR="$admin" GIT_WORK_TREE="$tree" GIT_INDEX_FILE="$admin/orch-index"
rm -f -- "$GIT_INDEX_FILE" "$GIT_INDEX_FILE.lock"
head=$(git rev-parse -q --verify 'HEAD^{commit}') || head=$start
add() { said=$(git -c core.hooksPath=/dev/null -c core.fsmonitor=false add -A --ignore-errors -- . 2>&1 >/dev/null); }
left_out='^\(hint\|warning\): \|^error: [a-z]*(".*"): Permission denied$\|^error: unable to index file \|^error: invalid path \|^error: unable to add .* to index$\|^fatal: \(adding\|updating\) files failed$\|does not have a commit checked out$'
cp -- "$admin/index" "$GIT_INDEX_FILE" 2>/dev/null || git read-tree "$head"
add || {
  rm -f -- "$GIT_INDEX_FILE" "$GIT_INDEX_FILE.lock"
  git read-tree "$head"
  add || {
    code=$?
    why=$(printf '%s\n' "$said" | grep -v "$left_out" | head -n 1) || :
    [ -z "$why" ] || fail "$why"
    [ -n "$said" ] && [ "$code" -le 128 ] || fail "git add ended with $code"
  }
}
files=$(git write-tree)
export GIT_AUTHOR_NAME=orch GIT_AUTHOR_EMAIL=orch@localhost GIT_COMMITTER_NAME=orch GIT_COMMITTER_EMAIL=orch@localhost
work=$(echo 'everything uncommitted' | git commit-tree "$files" -p "$head")
rm -f -- "$GIT_INDEX_FILE"
git update-ref "refs/orch/runs/$3/head" "$head"
git update-ref "refs/orch/runs/$3/work" "$work"
echo "$head $work"
"#;

/// `root project name owner`.
pub const FORGET: &str = r#"
bare=$1/repos/$2.git tree=$1/worktrees/$3
owner=$(cat "$1/owner" 2>/dev/null) || owner=$4
[ "$owner" = "$4" ] || exit 0
rm -rf -- "$tree" 2>/dev/null || { chmod -R u+w -- "$tree"; rm -rf -- "$tree"; } || exit 1
for found in "$bare"/worktrees/*; do
  if [ "$(cat "$found/gitdir" 2>/dev/null)" = "$tree/.git" ]; then rm -rf -- "$found"; fi
done
rm -rf -- "$bare/worktrees/$3" "$bare/worktrees/$3.again"
git --git-dir="$bare" for-each-ref --format='delete %(refname)' "refs/orch/runs/$3" |
  git --git-dir="$bare" update-ref --stdin
rm -rf -- "$1/runs/$3"
"#;

/// Before the two that follow: writes down that the run was looked after `$age` seconds ago.
pub const RENEW: &str = r#"
renew() {
  read -r up rest </proc/uptime
  read -r boot </proc/sys/kernel/random/boot_id
  up=$((${up%.*} - age))
  [ "$up" -ge 0 ] || up=0
  printf '{"boot_id":"%s","since_boot":{"secs":%s,"nanos":0}}' "$boot" "$up" >"$run/lease.$$" &&
    mv -f -- "$run/lease.$$" "$run/lease.json"
}
"#;

/// `run_dir age orch`: starts the shim there, once.
pub const LAUNCH: &str = r#"
run=$1 age=$2
renew
started() { [ -e "$run/shim.json" ] || [ -e "$run/exit.json" ]; }
started && exit 0
cd -- "$run" || exit 126
: >"$run/started" || exit 126
ORCH_RUN_DIR=$run "$3" shim "$run" </dev/null >/dev/null 2>"$run/shim.err" &
shim=$! tries=150
gone() { grep -qs '^State:.Z' "/proc/$shim/status" || [ ! -e "/proc/$shim" ]; }
until started; do
  tries=$((tries - 1))
  if gone && ! started; then tries=0; fi
  if [ "$tries" -eq 0 ]; then tail -n 1 "$run/shim.err" >&2; exit 126; fi
  sleep 0.1
done
"#;

/// `run_dir age offset rounds`: prints the log from there until the exit is recorded; ends with 3 when the shim is gone
/// without, and after so many rounds of 0.3 s with 5, with 6 where the agent printed what does not stand in that file any
/// more. Renews once: of a connection that nobody holds any more this side may not hear.
pub const FOLLOW: &str = r#"
run=$1 age=$2 seen=$3 rounds=$4
renew
segments() { wc -c "$run/output.tail.0" "$run/output.tail.1" 2>/dev/null; }
before=$(segments)
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
  rounds=$((rounds - 1))
  if [ "$rounds" -le 0 ]; then
    [ "$(segments)" = "$before" ] || exit 6
    exit 5
  fi
  sleep 0.3
done
"#;

/// `run_dir`: prints the recorded exit.
pub const RESULT: &str = r#"cat -- "$1/exit.json""#;

/// `folder limit longest length`, the hook as a script of so many bytes on stdin. Begins it once, whoever calls again, and
/// follows it to its end: the folder is the mark, and is made when all of the script is there. It goes on without this
/// connection, for as long as the limit. 255 is ssh's, and of a script that came in part; 124 is a hook that was ended at its
/// limit, whatever it says of that; 125 is one that is gone.
pub const HOOK: &str = r#"
set -u
umask 077
unset CDPATH
case $1 in /*) dir=$1 ;; *) dir=$(pwd -P)/$1 ;; esac
command -v setsid >/dev/null || { echo "setsid is not in the PATH of a login without a terminal: install it" >&2; exit 126; }
mkdir -p -- "${dir%/*}" || exit 126
boot() { cat /proc/sys/kernel/random/boot_id 2>/dev/null; }
if [ ! -d "$dir" ]; then
  new=$dir.new.$$
  trap 'rm -f -- "$new"; exit 255' HUP INT TERM
  cat >"$new"
  size=$(wc -c <"$new")
  [ "$((size + 0))" -eq "$4" ] || { rm -f -- "$new"; echo "the hook came in part: nothing was begun" >&2; exit 255; }
  trap - HUP INT TERM
  if mkdir -- "$dir" 2>/dev/null; then
    mv -f -- "$new" "$dir/hook.sh"
    date +%s >"$dir/began"
    boot >"$dir/boot"
    setsid sh -c '
      cd -- "$1" || exit
      (cd -- "$3" && exec setsid sh "$1/hook.sh") >log 2>&1 &
      hook=$!
      echo "$hook" >group
      over() { [ -e exit.new ] || [ -e exit ] || { [ ! -e group ] && ! kill -0 "$$"; }; }
      (
        left=$2
        while [ "$left" -gt 0 ]; do
          sleep 1
          if over; then exit 0; fi
          left=$((left - 1))
        done
        : >late
        kill -s TERM -- "-$hook"
        left=10
        while [ "$left" -gt 0 ]; do
          sleep 1
          if over; then exit 0; fi
          left=$((left - 1))
        done
        kill -s KILL -- "-$hook"
      ) &
      wait "$hook"
      echo $? >exit.new
      [ ! -e late ] || kill -s KILL -- "-$hook"
      rm -f hook.sh
      tail -c 1048576 log >log.new && mv -f log.new log
      mv -f exit.new exit
    ' orch "$dir" "$2" "$PWD" </dev/null >/dev/null 2>&1 &
    echo $! >"$dir/pid"
  else
    rm -f -- "$new"
  fi
fi
echo "orch: the hook is followed"
lives() {
  [ "$(boot)" = "$(cat "$dir/boot" 2>/dev/null)" ] || return 1
  began=$(cat "$dir/began" 2>/dev/null) && [ "$(($(date +%s) - began))" -le "$3" ] || return 1
  pid=$(cat "$dir/pid" 2>/dev/null) && [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && return 0
  group=$(cat "$dir/group" 2>/dev/null) && [ -n "$group" ] && kill -s 0 -- "-$group" 2>/dev/null
}
gone=0
until [ -e "$dir/exit" ]; do
  if lives "$@"; then
    gone=0
  else
    gone=$((gone + 1))
    [ "$gone" -lt 10 ] || { echo "the hook is gone, and left no exit" >&2; exit 125; }
  fi
  sleep 0.2
done
tail -c 16384 -- "$dir/log"
[ ! -e "$dir/late" ] || { echo "the hook was ended after $2 s" >&2; exit 124; }
code=$(cat "$dir/exit")
[ "$code" -ne 255 ] || code=254
exit "$code"
"#;
