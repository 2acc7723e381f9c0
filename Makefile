# The two commands that matter: make demo, make test.

.PHONY: demo test simulate trials mutants scale store-trial store-bench build packages release repository check cross fuzz image-test ansible-test clean

FUZZTIME ?= 30s
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2

# demo runs three agents on this machine, kills the leader and shows what happens.
demo:
	go run ./cmd/agent demo

# test is the whole test suite, with the race detector.
test:
	.ci/test

# simulate runs whole groups in virtual time: 10,000 seeds of available mode and
# 5,000 with guests whose clocks stop; and for SIMTIME each quorum mode, standing
# topologies and several elections, the last two in both modes.
SIMTIME ?= 60s
simulate:
	go test ./seniority/sim -run AvailableMode -sim.seeds 10000 -v -timeout 30m
	go test ./seniority/sim -run QuorumMode -sim.for $(SIMTIME) -v -timeout 30m
	go test ./seniority/sim -run StandingTopologies -sim.for $(SIMTIME) -v -timeout 30m
	go test ./seniority/sim -run Elections -sim.for $(SIMTIME) -v -timeout 30m
	go test ./seniority/sim -run StoppedClocks -sim.seeds 5000 -v -timeout 30m
	go test ./agent/store -run Simulation -store.seeds 10000 -v -timeout 30m

# trials has every fault that may hit a leader that runs a command, or under which
# agent exec runs one, happen ROUNDS times on two and three hosts, and looks whether two
# ever run it at once. It needs root, and takes an hour or two: something for a night.
ROUNDS ?= 100
trials:
	go test ./cmd/failoverlab -run 'TestCommandOn|TestExecOnHosts' -command.rounds $(ROUNDS) -v -count=1 -timeout 0

# mutants breaks the election in every way listed and expects the simulator to
# notice each; and what surrounds it, and expects one test to notice each, which
# needs root. It takes some minutes.
mutants:
	go test ./seniority/sim -run Mutants -sim.mutants 60s -v -timeout 60m
	go test ./agent -run 'TestMutants$$' -mutants -v -timeout 60m

# scale measures groups of these sizes in one process, in virtual time; a
# thousand members take ten gigabytes and a quarter of an hour.
SCALE ?= 3,30,300
scale:
	go test ./agent -run 'TestScale$$' -scale.members $(SCALE) -v -timeout 180m

# store-trial strikes the leader of a store with each fault ROUNDS times, in the midst of
# 64 writers, and five voters with random faults for CHAOS; and has a voter miss ABSENT
# writes: something for every night. It needs root, for network namespaces.
ROUNDS ?= 100
CHAOS ?= 10m
ABSENT ?= 100000
store-trial:
	go test ./cmd/agent -run 'TestStoreOutlivesItsLeader|TestStoreUnderRandomFaults|TestStoreCatchesUp' \
		-store.rounds $(ROUNDS) -store.chaos $(CHAOS) -store.absent $(ABSENT) -v -timeout 120m

# store-bench measures the store beside etcd, each for BENCH; it needs Debian's etcd-server.
BENCH ?= 10s
store-bench:
	go test ./cmd/agent -run TestStoreBesideEtcd -store.bench $(BENCH) -v -timeout 30m

# VERSION is the newest tag, and the commits since; the archive of a release has
# it in a file of that name.
VERSION ?= $(shell cat VERSION 2>/dev/null || { \
	git describe --tags --match 'v[0-9]*' 2>/dev/null || \
	echo "v0.0.0-0-g$$(git rev-parse --short HEAD 2>/dev/null || echo unknown)"; \
	} | sed -e 's/^v//' -e 's/-\([0-9]*\)-g/+\1.g/')

# build makes one static binary, of less than MAXSIZE bytes (20 MB): what is
# copied to many small machines stays small. Left out are HTTP/2, which no client
# speaks to an agent, and documents that only developers of a command line make;
# functions of the libraries are called instead of being inlined.
TAGS := nethttpomithttp2,urfave_cli_no_docs
SMALL := -gcflags=github.com/...=-l -gcflags=google.golang.org/...=-l -gcflags=go.yaml.in/...=-l
MAXSIZE := 20000000
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

# release makes what is published of the version that CHANGELOG.md names first, in
# dist/: packages, archives, notes, checksums.
release: VERSION = $(shell sed -n 's/^\#\# \[\([0-9][^]]*\)\].*/\1/p' CHANGELOG.md | head -n 1)
release:
	VERSION='$(VERSION)' examples/package/release

# repository makes an apt repository of the .deb files in dist/, signed with the key
# REPO_KEY of gpg, or the first that it has.
export REPO_KEY REPOSITORY
repository:
	examples/package/repository

# check is everything about the source that needs no running.
check:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt: $$unformatted"; exit 1; fi
	go vet ./...
	go run $(STATICCHECK) ./...

# cross builds the commands that ask an agent for systems that no agent runs on.
cross:
	for os in darwin freebsd windows; do GOOS=$$os go build -o /dev/null ./cmd/agent || exit 1; done

# fuzz runs every fuzz target for FUZZTIME.
fuzz:
	.ci/fuzz $(FUZZTIME)

# image-test boots the example image in emulated machines. It needs root and qemu,
# and takes some minutes: something for every night.
image-test:
	examples/image/build dist/image
	go test ./examples/image -boot $(CURDIR)/dist/image -v -count=1 -timeout 30m

# ansible-test runs the playbook of examples/ansible on three machines with systemd: a
# roll-out, an upgrade, and runs that must stop at the first machine. It needs root and
# Debian's ansible-core, openssh-server and sudo, and takes some minutes: something for
# every night.
ansible-test:
	go test ./examples/ansible -ansible.machines -v -count=1 -timeout 60m

clean:
	rm -rf bin dist
