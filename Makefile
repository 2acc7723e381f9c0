# The two commands that matter: make demo, make test.

.PHONY: demo test simulate mutants scale build packages check fuzz image-test clean

FUZZTIME ?= 30s
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2

# demo runs three agents on this machine, kills the leader and shows what happens.
demo:
	go run ./cmd/agent demo

# test is the whole test suite, with the race detector.
test:
	.ci/test

# simulate runs whole groups in virtual time: 10,000 seeds of available mode,
# SIMTIME of quorum mode, and 5,000 seeds with guests whose clocks stop.
SIMTIME ?= 60s
simulate:
	go test ./seniority/sim -run AvailableMode -sim.seeds 10000 -v -timeout 30m
	go test ./seniority/sim -run QuorumMode -sim.for $(SIMTIME) -v -timeout 30m
	go test ./seniority/sim -run StoppedClocks -sim.seeds 5000 -v -timeout 30m

# mutants breaks the election in every way listed and expects the simulator to
# notice each. It takes some minutes.
mutants:
	go test ./seniority/sim -run Mutants -sim.mutants 60s -v -timeout 60m

# scale measures groups of these sizes in one process, in virtual time; a
# thousand members take ten gigabytes and a quarter of an hour.
SCALE ?= 3,30,300
scale:
	go test ./agent -run 'TestScale$$' -scale.members $(SCALE) -v -timeout 180m

# VERSION is the newest tag, and the commits since; the archive of a release has
# it in a file of that name.
VERSION ?= $(shell cat VERSION 2>/dev/null || { \
	git describe --tags --match 'v[0-9]*' 2>/dev/null || \
	echo "v0.0.0-0-g$$(git rev-parse --short HEAD 2>/dev/null || echo unknown)"; \
	} | sed -e 's/^v//' -e 's/-\([0-9]*\)-g/+\1.g/')

# build makes one static binary, of less than MAXSIZE bytes (16 MB): what is
# copied to many small machines stays small. Left out are HTTP/2, which nobody
# speaks to an agent, and documents that only developers of a command line make;
# functions of the libraries are called instead of being inlined.
TAGS := nethttpomithttp2,urfave_cli_no_docs
SMALL := -gcflags=github.com/...=-l -gcflags=google.golang.org/...=-l -gcflags=go.yaml.in/...=-l
MAXSIZE := 16000000
OUT ?= bin/agent
build:
	CGO_ENABLED=0 go build -trimpath -tags $(TAGS) $(SMALL) -ldflags='-s -w -X doyen/agent.Version=$(VERSION)' -o $(OUT) ./cmd/agent
	@size=$$(stat -c %s $(OUT)); if [ $$size -ge $(MAXSIZE) ]; then \
		echo "$(OUT) has $$size bytes, and should have less than $(MAXSIZE)"; exit 1; fi

# packages makes .deb and .rpm for amd64 and arm64 in dist/. The newest nfpm that
# needs no module from outside the usual proxies.
export NFPM ?= github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
packages:
	VERSION='$(VERSION)' examples/package/build

# check is everything about the source that needs no running.
check:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt: $$unformatted"; exit 1; fi
	go vet ./...
	go run $(STATICCHECK) ./...

# fuzz runs every fuzz target for FUZZTIME.
fuzz:
	.ci/fuzz $(FUZZTIME)

# image-test boots the example image in emulated machines. It needs root and qemu,
# and takes some minutes: something for every night.
image-test:
	examples/image/build dist/image
	go test ./examples/image -boot $(CURDIR)/dist/image -v -count=1 -timeout 30m

clean:
	rm -rf bin dist
