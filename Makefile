# make help shows what there is. Everything works on a machine with Go, Node and
# apt; what is missing is installed where that is allowed.

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.7.0
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.1.4
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  := $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
export GOFLAGS := -buildvcs=false

.PHONY: help demo build client release test check lint unit integration chaos fuzz bench tools

help: ## show the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  \1\t/' | expand -t 16

demo: ## the sidecar, an example app and a page: open the address it prints
	@$(MAKE) --no-print-directory -s build
	@exec bin/pushcart demo

build: ## one static binary, bin/pushcart
	@echo "building bin/pushcart (a minute or two the first time) …"
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/pushcart ./cmd/pushcart

client: ## client/js/dist: the JavaScript client, built of its sources
	@npm run build --prefix client/js --silent

release: ## dist/: archives for Linux and macOS, .deb, SBOMs, checksums; the same bytes on every machine
	@rm -rf dist
	@sh scripts/release.sh dist

test: tools lint unit ## set up and run all tests, integration included

check: lint unit ## the same without setting anything up

tools:
	@sh scripts/tools.sh

lint: ## gofmt, vet, staticcheck, and govulncheck where it reaches its database
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt would change:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...
	@sh scripts/vulncheck.sh $(GOVULNCHECK)

# Once with the race detector. Once more without, as users run it, where that makes a
# difference: raw system calls on sockets, counted allocations, the largest messages.
# A test of internal/house holds the list to the code. The limit is for machines that
# are much slower than these packages' minute or two.
WITHOUT_RACE := ./broker/memory ./broker/redisbroker/access ./hub ./integration ./integration/redisfailures ./internal/accesslog ./internal/epoll ./internal/glob ./internal/httpclient ./internal/requestid ./internal/sidecartest ./internal/sockio ./internal/takeover ./proxy ./push ./ws

unit:
	@sh scripts/clienttest.sh
	@sh scripts/unit.sh -race -timeout 25m ./...
	@sh scripts/unit.sh -timeout 25m $(WITHOUT_RACE)

integration: tools ## only the tests that run the real binary
	@sh scripts/unit.sh -race -timeout 25m -count=1 ./integration/...

chaos: tools ## the tests that break things, for CHAOS (60s) each
	PUSHCART_CHAOS=$(or $(CHAOS),60s) go test -race -count=1 -timeout 60m -run Chaos ./integration
	PUSHCART_CHAOS=$(or $(CHAOS),60s) go test -count=1 -timeout 60m -run Chaos ./integration/redisfailures

fuzz: ## every fuzz test for FUZZTIME (30s) each
	@sh scripts/fuzz.sh $(or $(FUZZTIME),30s)

bench: ## the figures of docs/benchmarks.md
	go run ./bench all
