# Sourced: shows one line that moves while a command talks, and appends all it said to a file.

# show_progress NAME LOG PATTERN [TOTAL] < output-of-a-command
# PATTERN is an extended regular expression; each line that it matches is a step. Its first two
# groups, if they are numbers, are the step and the total.
show_progress() {
    local name=$1 log=$2 pattern=$3 total=${4:-0} step=0 line cells started=$SECONDS
    mkdir -p "$(dirname "$log")"
    while IFS= read -r line; do
        printf '%s\n' "$line" >>"$log"
        if [[ $line =~ $pattern ]]; then
            step=$((step + 1))
            case ${BASH_REMATCH[2]:-} in
                '' | *[!0-9]*) ;;
                *) step=${BASH_REMATCH[1]} total=${BASH_REMATCH[2]} ;;
            esac
            [ -t 2 ] || printf '%s: %.80s\n' "$name" "$line" >&2
        fi
        if [ -t 2 ]; then
            cells=$((total > 0 ? 20 * (step < total ? step : total) / total : 0))
            printf '\r\033[K%s [%-20.*s] %s/%s %.44s' \
                "$name" "$cells" '####################' "$step" "$total" "$line" >&2
        fi
    done
    [ ! -t 2 ] || printf '\r\033[K' >&2
    printf '%s: %s s\n' "$name" $((SECONDS - started)) >&2
}
