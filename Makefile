# The two commands that matter: make demo, make test.

.PHONY: demo test build check fuzz clean

FUZZTIME ?= 30s
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2

# demo runs three agents on this machine, kills the leader and shows what happens.
demo:
	go run ./cmd/agent demo

# test is the whole test suite, with the race detector.
test:
	go test -race ./...

# build makes one static binary.
build:
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/agent ./cmd/agent

# check is everything about the source that needs no running.
check:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt: $$unformatted"; exit 1; fi
	go vet ./...
	go run $(STATICCHECK) ./...

# fuzz runs every fuzz target for FUZZTIME.
fuzz:
	.ci/fuzz $(FUZZTIME)

clean:
	rm -rf bin dist
