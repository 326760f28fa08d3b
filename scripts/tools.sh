#!/bin/sh
# Installs what the tests need beside Go: redis-server, chromium, the languages of
# examples/ and docs/, npm's packages, and the tools of make release. Says what to install
# where it may not.
set -eu

missing=""
command -v redis-server >/dev/null 2>&1 || missing="$missing redis-server"
command -v chromium >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 || missing="$missing chromium"
# apt installs Flask and Sinatra for the system's Python and Ruby, others may be first in PATH.
command -v php >/dev/null 2>&1 || missing="$missing php-cli"
PATH=/usr/bin:$PATH python3 -c 'import flask' >/dev/null 2>&1 || missing="$missing python3-flask"
PATH=/usr/bin:$PATH ruby -e 'require "sinatra/base"; require "puma"' >/dev/null 2>&1 || missing="$missing ruby-sinatra puma"

if [ -n "$missing" ]; then
	sudo=""
	if [ "$(id -u)" != 0 ]; then
		command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null && sudo="sudo -n"
	fi
	if command -v apt-get >/dev/null 2>&1 && { [ "$(id -u)" = 0 ] || [ -n "$sudo" ]; }; then
		echo "installing$missing"
		export DEBIAN_FRONTEND=noninteractive
		$sudo apt-get update -qq
		# shellcheck disable=SC2086
		$sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
	else
		echo "please install first:$missing" >&2
		exit 1
	fi
fi

sh scripts/release.sh --tools || echo "the tools of make release cannot be had: its tests are skipped" >&2

for dir in integration/node client/js examples/express; do
	# npm keeps a copy of the lock file that it installed by.
	lock=$dir/package-lock.json
	installed=$dir/node_modules/.package-lock.json
	if [ -f $lock ] && { [ ! -f $installed ] || [ $lock -nt $installed ]; }; then
		if command -v npm >/dev/null 2>&1; then
			npm ci --prefix $dir --silent --no-audit --no-fund
		else
			echo "please install first: nodejs npm" >&2
			exit 1
		fi
	fi
done
