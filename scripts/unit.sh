#!/bin/sh
# Runs go test with the arguments. Packages that pass take a line each; of one that
# fails at most 100 lines are shown, the rest is in a file.
set -u

log=$(mktemp "${TMPDIR:-/tmp}/pushcart-test.XXXXXX")
status=$(mktemp "${TMPDIR:-/tmp}/pushcart-test.XXXXXX")
{
	go test "$@" 2>&1
	echo $? >"$status"
} | tee "$log" | awk '
	/no test files/ { next }
	/^(ok|FAIL)[ \t]/ { print; shown = 0; fflush(); next }
	shown < 100 { print substr($0, 1, 400); fflush() }
	{ shown++ }
'
code=$(cat "$status")
rm -f "$status"
if [ "$code" = 0 ]; then
	rm -f "$log"
else
	echo "all of the output is in $log"
fi
exit "$code"
