#!/bin/sh
# release.sh FOLDER [GOOS/GOARCH]...: what a release consists of. Each system has an archive and an SBOM (CycloneDX);
# Linux a Debian package besides; SHA256SUMS is over all. The same commit gives the same bytes, wherever it is built
# (with the Go of go.mod, GNU tar and gzip): a test of integration/deploy builds twice.
#
# release.sh --tools: makes its tools only, for a machine that is being set up.
set -eu
out=$1
shift
[ $# -gt 0 ] || set -- linux/amd64 linux/arm64 darwin/amd64 darwin/arm64

cyclonedx=github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
nfpm=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2

if [ "$out" = --tools ]; then
	go run "$cyclonedx" version >/dev/null
	go run "$nfpm" --version >/dev/null
	exit
fi

VERSION=${VERSION:-$(git describe --tags --always --dirty)}
COMMIT=${COMMIT:-$(git rev-parse --short HEAD)}
# Every file is as old as the commit.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
# v0.3.0-rc.1 comes before v0.3.0, and v0.3.0-5-gabc1234 after it; without a tag there is only a hash.
DEB_VERSION=$(printf %s "$VERSION" | sed -E 's/^v([0-9])/\1/; s/-([0-9]+)-g([0-9a-f]+)/+\1.g\2/; s/-/~/g; s/^([^0-9])/0~\1/; s/^([0-9a-f]{7,40})(~|$)/0~g\1\2/')
export VERSION COMMIT SOURCE_DATE_EPOCH DEB_VERSION
export CGO_ENABLED=0 LC_ALL=C

mkdir -p "$out"
out=$(cd "$out" && pwd)
STAGE=$(mktemp -d)
export STAGE
trap 'rm -rf "$STAGE"' EXIT INT TERM
umask 022

build() { go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION -X main.commit=$COMMIT" -o "$1" ./cmd/pushcart; }

# The scripts for shells come from a binary of this machine.
build "$STAGE/here"
mkdir "$STAGE/completions"
"$STAGE/here" completion bash >"$STAGE/completions/pushcart.bash"
"$STAGE/here" completion zsh >"$STAGE/completions/_pushcart"
"$STAGE/here" completion fish >"$STAGE/completions/pushcart.fish"

# What is compiled in, under its own terms: the modules of the binary $1, and Go.
licenses() {
	cat LICENSE
	# shellcheck disable=SC2046
	go list -m -f '{{.Path}} {{.Dir}}' $(go version -m "$1" | awk '$1 == "dep" { print $2 }') | while read -r module dir; do
		printf '\n\n==== %s ====\n\n' "$module"
		find "$dir" -maxdepth 1 -type f \( -iname 'LICENSE*' -o -iname 'COPYING*' -o -iname 'NOTICE*' \) | sort | xargs cat
	done
	printf '\n\n==== Go ====\n\n'
	cat "$(go env GOROOT)/LICENSE"
}

for target in "$@"; do
	GOOS=${target%/*} ARCH=${target#*/}
	export ARCH
	name=pushcart_${VERSION}_${GOOS}_$ARCH
	echo "$name" >&2
	if [ "$target" = "$(go env GOHOSTOS)/$(go env GOHOSTARCH)" ]; then
		cp "$STAGE/here" "$STAGE/pushcart"
	else
		GOOS=$GOOS GOARCH=$ARCH build "$STAGE/pushcart"
	fi
	licenses "$STAGE/pushcart" >"$STAGE/THIRD-PARTY-LICENSES"

	folder=$STAGE/$name
	mkdir -p "$folder/deploy"
	cp "$STAGE/pushcart" "$STAGE/THIRD-PARTY-LICENSES" "$folder"
	cp -R "$STAGE/completions" LICENSE CHANGELOG.md config.example.yaml pushcart.schema.json client/js/dist/pushcart.js docs "$folder"
	cp -R deploy/systemd deploy/sysctl deploy/kubernetes deploy/prometheus deploy/grafana "$folder/deploy"
	tar --sort=name --format=ustar --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=u+rw,go+r-w,a+X \
		-C "$STAGE" -cf - "$name" | gzip -n >"$out/$name.tar.gz"

	# The modules' licenses are in their files; without a proxy, it does not ask for pushcart's own as a module.
	go run -exec 'env GOPROXY=off' "$cyclonedx" bin -json -noserial -notimestamp -licenses -assert-licenses -version "$VERSION" \
		-output "$out/$name.sbom.json" "$STAGE/pushcart" 2>"$STAGE/log" || { cat "$STAGE/log" >&2; exit 1; }

	if [ "$GOOS" = linux ]; then
		go run "$nfpm" package --config deploy/package/nfpm.yaml --packager deb --target "$out" >"$STAGE/log" || { cat "$STAGE/log" >&2; exit 1; }
	fi
done
(cd "$out" && find . -maxdepth 1 -type f -name 'pushcart*' -printf '%f\n' | sort | xargs sha256sum >SHA256SUMS)
