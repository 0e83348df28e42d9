# Steps with names and durations, and what several of the scripts beside it need. Sourced, not run.

current=""
started=$SECONDS
done_steps=()
skipped=()

# step NAME COMMAND...: runs the command, says how long it took; a failure ends the script.
step() {
    current=$1
    shift
    echo "==> $current: $*"
    local from=$SECONDS
    "$@"
    done_steps+=("$current: $((SECONDS - from)) s")
    echo "<== $current: $((SECONDS - from)) s"
    current=""
}

# skip WHAT: says so now and again in the summary.
skip() {
    echo "SKIPPED: $*"
    skipped+=("SKIPPED: $*")
}

# summary SENTENCE: every step with its duration, then one closing line.
summary() {
    printf '    %s\n' "${done_steps[@]}" "${skipped[@]}"
    echo "$*: ${#done_steps[@]} steps in $((SECONDS - started)) s, ${#skipped[@]} skipped"
}

# Packages of Debian's.
install() {
    local sudo=""
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    $sudo apt-get update -q
    $sudo apt-get install -q -y --no-install-recommends "$@"
}

# A report without the seconds that cells took.
timeless() {
    python3 -c '
import json, sys
def strip(x):
    if isinstance(x, dict): return {k: strip(v) for k, v in x.items() if k != "seconds"}
    return [strip(v) for v in x] if isinstance(x, list) else x
json.dump(strip(json.load(open(sys.argv[1]))), sys.stdout, indent=1)' "$1"
}

trap '[ -z "$current" ] || echo "FAILED: $current" >&2' EXIT
