#!/bin/sh
# govulncheck, where its database can be reached.
set -u
out=$(go run "$1" ./... 2>&1)
code=$?
case "$out" in
*"no such host"* | *"dial tcp"* | *"connection refused"* | *"Forbidden"* | *"i/o timeout"*)
	echo "govulncheck: its database cannot be reached from here; skipped"
	exit 0
	;;
esac
[ "$code" = 0 ] || echo "$out"
exit "$code"
