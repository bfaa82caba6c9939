# Shared by the run-* scripts (sourced). A suite's sources, environment and results are under $SUITES_CACHE, never in a
# checkout. run-all sets AMQP_HOST, AMQP_PORT, when it owns the broker's process BROKER_DIR, and when it repeats some
# tests SUITE_ONLY.
set -uo pipefail
: "${SUITES_CACHE:=${XDG_CACHE_HOME:-$HOME/.cache}/amqpd-suites}" "${RESULTS:=$SUITES_CACHE/results}"
: "${AMQP_HOST:=127.0.0.1}" "${AMQP_PORT:=5672}" "${AMQP_USER:=guest}" "${AMQP_PASS:=guest}" "${SUITE_TIMEOUT:=600}"
export SUITES_CACHE RESULTS AMQP_HOST AMQP_PORT AMQP_USER AMQP_PASS
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SUPPORT=$HERE/support
export HERE PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
export PATH="$SUPPORT/bin:$PATH" # where `rabbitmqctl` stops and starts the broker under test
mkdir -p "$RESULTS"

# begin NAME: sets NAME, DIR, LOG, SUITE_REPORT and empties the old result files
begin() {
  NAME=$1 DIR=$SUITES_CACHE/$1 LOG=$RESULTS/$1.log SUITE_REPORT=$RESULTS/$1.jsonl
  export NAME DIR LOG SUITE_REPORT
  mkdir -p "$DIR"; : >"$SUITE_REPORT"; : >"$LOG"
}

# pysdist PROJECT VERSION: unpacks that PyPI sdist, tests and all, in $DIR/src (once)
pysdist() {
  [[ -f $DIR/src/.done-$2 ]] && return 0
  rm -rf "$DIR/src" "$DIR/dl"; mkdir -p "$DIR/src" "$DIR/dl"
  python3 -m pip download -q --no-deps --no-binary "$1" -d "$DIR/dl" "$1==$2" >>"$LOG" 2>&1 &&
    tar xzf "$DIR"/dl/*.tar.gz -C "$DIR/src" --strip-components=1 && touch "$DIR/src/.done-$2"
}

# venv REQ...: a virtual environment of the suite's own in $DIR/venv (made anew when the requirements change)
venv() {
  [[ -f $DIR/venv/.done && "$(cat "$DIR/venv/.done")" == "$*" ]] && return 0
  python3 -m venv --clear "$DIR/venv" && "$DIR/venv/bin/pip" install -q "$@" >>"$LOG" 2>&1 &&
    echo "$*" >"$DIR/venv/.done"
}

# py_suite ARG...: pytest in $PWD under the plugin `report`, with a limit for the whole run. A test that runs at the
# limit, and those not reached, count as failed; after one that could not be stopped (exit status 99) pytest starts
# again on the tests left.
py_suite() {
  local end=$((SECONDS + SUITE_TIMEOUT)) rc=99
  while ((rc == 99 && SECONDS < end)); do
    PYTHONPATH="$HERE:$SUPPORT${PYTHONPATH:+:$PYTHONPATH}" timeout -k 5 $((end - SECONDS)) "$DIR/venv/bin/python" -m pytest \
      -p report -p no:cacheprovider -p no:warnings -q -o log_cli=false "$@" >>"$LOG" 2>&1 </dev/null
    rc=$?
    echo "pytest exit status $rc" >>"$LOG"
  done
}

# finish: the closing line, from the outcomes written during the run
finish() { python3 "$HERE/report.py" "$NAME" "$SUITE_REPORT"; }
setup_failed() { echo "$NAME: set-up failed, see $LOG" >&2; tail -5 "$LOG" >&2; exit 2; }
