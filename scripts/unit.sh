#!/bin/sh
# Runs go test with the arguments. Packages that pass take a line each; of one that
# fails at most 100 lines are shown, the rest is in a file.
set -u

log=$(mktemp "${TMPDIR:-/tmp}/pushcart-test.XXXXXX")
status=$(mktemp "${TMPDIR:-/tmp}/pushcart-test.XXXXXX")
{
	go test "$@" 2>&1
	echo $? >"$status"
} | tee "$log" | {
	# A loop, as some awks hold lines back until there are many.
	shown=0
	while IFS= read -r line; do
		case $line in
		*"no test files"*) ;;
		ok* | FAIL*)
			printf '%s\n' "$line"
			shown=0
			;;
		*)
			shown=$((shown + 1))
			[ $shown -gt 100 ] || printf '%.400s\n' "$line"
			;;
		esac
	done
}
code=$(cat "$status")
rm -f "$status"
if [ "$code" = 0 ]; then
	rm -f "$log"
else
	echo "all of the output is in $log"
fi
exit "$code"
