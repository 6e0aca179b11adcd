# Everything a contributor does. `make` alone lists the targets.

GO          ?= go
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK ?= golang.org/x/vuln/cmd/govulncheck@v1.1.4
VULNDB      ?= https://vuln.go.dev
FUZZTIME    ?= 30s
TESTTIME    ?= 20m
BENCHTIME   ?= 1s
PKG         ?= ./...
# The race detector watches our code. In the SQLite engine, which is one large
# machine-made program of others, it would find nothing and take most of the
# time. Only that package: what uses atomics or generic types must be watched.
RACE         = -race -gcflags='modernc.org/sqlite/lib=-race=false'
SEEDS       ?= 10000
FIRST       ?= 1
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

.DEFAULT_GOAL := help
.PHONY: help build demo test check fmt vet lint vuln unit seeds sim short bench ratios fuzz image clean

help: ## this list
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## the binary, ./kalends
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags="-s -w" -o kalends ./cmd/kalends

demo: ## two installations and a mail site on this machine
	$(GO) run ./cmd/kalends demo

# The order is cheap to dear: a wrong format shows in a second.
test: check unit seeds vuln ## everything: format, vet, linter, all tests with -race, known vulnerabilities

check: fmt vet lint ## format, vet and linter only

fmt:
	@bad=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard -- '*.go')); \
	if [ -n "$$bad" ]; then echo "gofmt -w these files:"; echo "$$bad"; exit 1; fi

vet:
	$(GO) vet ./...

lint:
	$(GO) run $(STATICCHECK) ./...

# All Go tests, once: the suites of storage, scheduling and caldav run on SQLite
# and on PostgreSQL by themselves, test/ runs the real binary and the browser.
unit:
	$(GO) test $(RACE) -timeout $(TESTTIME) $(PKG)

# 1,000 worlds of the deterministic simulation. A world is one goroutine, so
# the race detector has seen in the 30 of `unit` what there is for it to see.
seeds:
	$(GO) test -timeout $(TESTTIME) ./test/simulation -run TestSeeds -v -args -seeds=1000

sim: ## the simulation with SEEDS=10000 from FIRST=1 on, and whether it finds planted bugs
	$(GO) test -timeout 3h ./test/simulation -v -args -seeds=$(SEEDS) -first=$(FIRST) -mutants

short: ## the Go tests without the race detector, cached
	$(GO) test -timeout $(TESTTIME) $(PKG)

# The database of known vulnerabilities is on the network. Where it cannot be
# reached that is said; where it can, a finding fails the run.
vuln:
	@if curl -fsS -m 15 -o /dev/null $(VULNDB)/index/db.json 2>/dev/null; then \
		$(GO) run $(GOVULNCHECK) -db $(VULNDB) ./...; \
	else echo "govulncheck not run: $(VULNDB) cannot be reached from here"; fi

bench: ## benchmarks of parsing, queries and PUT, on both engines (BENCHTIME=1s, PKG=./...)
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) $(PKG) | grep -v 'no test files\|^ok .*no tests\|^PASS$$'

# The medians of both sides are measured in turns, so that a busy machine
# changes the figures but hardly the ratios.
ratios: ## federation: signing, receiving and a queue with dead peers, as ratios (goals: 1.3, 0.5, 0.9)
	$(GO) test -run '^$$' -bench 'Sign|Verify' -benchtime 3s ./federation/dkim
	$(GO) test -run '^$$' -bench Inbound -benchtime 5s ./server
	$(GO) test -run '^$$' -bench Queue -benchtime 1x -timeout 20m ./federation

# go test fuzzes one target of one package at a time.
fuzz: ## every fuzz target for FUZZTIME=30s each (PKG=./... for all)
	@set -e; $(GO) list -f '{{.ImportPath}} {{.Dir}}' $(PKG) | while read -r pkg dir; do \
		for f in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$dir/*_test.go 2>/dev/null); do \
			echo "== $$pkg $$f"; \
			$(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg </dev/null; \
		done; done

image: ## the container image kalends:VERSION
	docker build -t kalends:$(VERSION) -t kalends:latest .

clean: ## removes what make built here
	rm -f kalends coverage.*
