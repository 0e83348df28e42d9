# Steps with names and durations, for .ci/run and .ci/nightly. Sourced, not run.

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

trap '[ -z "$current" ] || echo "FAILED: $current" >&2' EXIT
