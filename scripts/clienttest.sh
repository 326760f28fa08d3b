#!/bin/sh
# Runs the tests of client/js. What passes takes a line; of what fails the report is
# shown.
set -u

[ -d client/js/node_modules ] || {
	echo "run make tools first: it installs the npm packages of client/js" >&2
	exit 1
}
log=$(mktemp "${TMPDIR:-/tmp}/pushcart-test.XXXXXX")
start=$(date +%s)
if npm test --prefix client/js --silent >"$log" 2>&1; then
	echo "ok  	client/js	$(($(date +%s) - start))s"
	rm -f "$log"
else
	grep -v '^✔' "$log" | tail -100
	echo "FAIL	client/js: all of the output is in $log"
	exit 1
fi
