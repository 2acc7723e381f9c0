package main

import (
	"bytes"
	"fmt"

	"doyen/gossip/secretfile"
)

// readToken reads the token of the API from a file, nil if none is named. What
// no Authorization header can carry is refused here, for it would never match.
func readToken(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	token, err := secretfile.Read(path)
	if err != nil {
		return nil, fmt.Errorf("--api-token-file: %w", err)
	}
	if token = bytes.TrimSpace(token); len(token) == 0 {
		return nil, fmt.Errorf("--api-token-file: %s holds no token", path)
	}
	for _, b := range token {
		if b <= ' ' || b > '~' {
			return nil, fmt.Errorf("--api-token-file: %s holds more than one word, or a character that no HTTP header carries", path)
		}
	}
	return token, nil
}
