package gossip

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"doyen/gossip/secretfile"

	"github.com/hashicorp/memberlist"
)

// readKeys reads a keyring: one base64 key of 16, 24 or 32 bytes a line, the
// first encrypts; empty lines and lines that begin with # do not count. A file
// that is wrong anywhere is refused whole, so that a typing error can not
// silently leave a node with half of its keys; so is one that others can read.
func readKeys(path string) ([][]byte, error) {
	text, err := secretfile.Read(path)
	if err != nil {
		return nil, fmt.Errorf("encrypt-key-file: %w", err)
	}
	var keys [][]byte
	at := map[string]int{} // the line of each key
	for i, line := range strings.Split(string(text), "\n") {
		n := i + 1
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		// The error of the decoder would quote the key, so it is not wrapped.
		key, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			return nil, fmt.Errorf("encrypt-key-file %s: line %d is not base64", path, n)
		}
		if memberlist.ValidateKey(key) != nil {
			return nil, fmt.Errorf("encrypt-key-file %s: line %d holds a key of %d bytes, not of 16, 24 or 32", path, n, len(key))
		}
		// A key that is written twice was meant to be another, which would be missed.
		if first, twice := at[string(key)]; twice {
			return nil, fmt.Errorf("encrypt-key-file %s: line %d holds the same key as line %d", path, n, first)
		}
		at[string(key)] = n
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("encrypt-key-file %s holds no key", path)
	}
	return keys, nil
}

// CheckKeyFile reports what is wrong with a keyring, without keeping its keys.
func CheckKeyFile(path string) error {
	_, err := readKeys(path)
	return err
}

// openKeyring returns the keyring of a file, or nil if there is none.
func openKeyring(path string) (*memberlist.Keyring, error) {
	if path == "" {
		return nil, nil
	}
	keys, err := readKeys(path)
	if err != nil {
		return nil, err
	}
	return memberlist.NewKeyring(keys, keys[0])
}

// Rekey reads the keyring again: new keys are added, the first encrypts from
// now on, and keys that are gone are no longer taken. On an error nothing has
// changed. To change a key without losing a member, add the new one as the
// last line everywhere and reload, then move it to the first line everywhere
// and reload, then take the old one out.
func (g *Gossip) Rekey() error {
	if g.keyring == nil {
		return nil
	}
	keys, err := readKeys(g.cfg.KeyFile)
	if err != nil {
		return err
	}
	return rekey(g.keyring, keys)
}

// rekey makes ring hold exactly keys, in their order.
func rekey(ring *memberlist.Keyring, keys [][]byte) error {
	for _, key := range keys {
		if err := ring.AddKey(key); err != nil {
			return err
		}
	}
	// UseKey moves a key to the front of a fresh copy. Going backwards leaves
	// the new keys in order and those that are gone at the end, where RemoveKey
	// moves none of the keys that memberlist is reading meanwhile.
	for i := len(keys) - 1; i >= 0; i-- {
		if err := ring.UseKey(keys[i]); err != nil {
			return err
		}
	}
	for all := ring.GetKeys(); !contains(keys, all[len(all)-1]); all = ring.GetKeys() {
		if err := ring.RemoveKey(all[len(all)-1]); err != nil {
			return err
		}
	}
	return nil
}

func contains(keys [][]byte, key []byte) bool {
	for _, k := range keys {
		if bytes.Equal(k, key) {
			return true
		}
	}
	return false
}

// errSealed is returned for what no key opens.
var errSealed = errors.New("encrypted with a key unknown here, or not at all")

// seal encrypts with the first key of ring, and binds the result to context;
// without a ring it does nothing.
func seal(ring *memberlist.Keyring, plain, context []byte) ([]byte, error) {
	if ring == nil {
		return plain, nil
	}
	aead, err := newAEAD(ring.GetPrimaryKey())
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plain)+aead.Overhead())
	rand.Read(nonce)
	return aead.Seal(nonce, nonce, plain, context), nil
}

// open is the inverse of seal; any key of ring may have sealed.
func open(ring *memberlist.Keyring, sealed, context []byte) ([]byte, error) {
	if ring == nil {
		return sealed, nil
	}
	for _, key := range ring.GetKeys() {
		aead, err := newAEAD(key)
		if err != nil {
			return nil, err
		}
		if len(sealed) < aead.NonceSize() {
			break
		}
		nonce, text := sealed[:aead.NonceSize()], sealed[aead.NonceSize():]
		if plain, err := aead.Open(nil, nonce, text, context); err == nil {
			return plain, nil
		}
	}
	return nil, errSealed
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
