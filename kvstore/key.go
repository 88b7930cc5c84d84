package kvstore

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"strings"
)

// KeySize is the length of Options.Key in bytes.
const KeySize = 32

// ParseKey reads a key of 32 bytes written in hexadecimal or base64 (with or
// without padding, of either alphabet). Its errors don't repeat the text.
func ParseKey(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	if b, err := hex.DecodeString(text); err == nil && len(b) == KeySize {
		return b, nil
	}
	text = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(text), "=")
	if b, err := base64.RawStdEncoding.Strict().DecodeString(text); err == nil && len(b) == KeySize {
		return b, nil
	}
	return nil, fmt.Errorf("kv key: expected %d bytes in hexadecimal or base64, as openssl rand -hex %d prints them", KeySize, KeySize)
}

// ReadKey reads a key from a file: 32 bytes as they are, or as ParseKey takes them.
func ReadKey(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("kv key: %w", err)
	}
	defer f.Close()
	b := make([]byte, 4*KeySize)
	n, err := f.Read(b)
	if err != nil {
		return nil, fmt.Errorf("kv key: read %s: %w", path, err)
	}
	if n == KeySize {
		return b[:n], nil
	}
	key, err := ParseKey(string(b[:n]))
	if err != nil {
		return nil, fmt.Errorf("%w, in %s", err, path)
	}
	return key, nil
}

// guard seals the frames of one file, and opens them. Both work in place; ad is
// what a frame is bound to.
type guard interface {
	overhead() int
	seal(frame []byte, n frameNonce, ad []byte) []byte
	open(sealed []byte, n frameNonce, ad []byte) ([]byte, error)
}

var errSeal = errors.New("the seal doesn't match")

// checksum is the guard of files that aren't encrypted.
type checksum struct{ id fileID }

func (c checksum) overhead() int { return 4 }

func (c checksum) sum(frame []byte, n frameNonce, ad []byte) uint32 {
	s := crc32.Checksum(c.id[:], castagnoli)
	for _, b := range [][]byte{n[:], ad, frame} {
		s = crc32.Update(s, castagnoli, b)
	}
	return s
}

func (c checksum) seal(frame []byte, n frameNonce, ad []byte) []byte {
	return binary.LittleEndian.AppendUint32(frame, c.sum(frame, n, ad))
}

func (c checksum) open(sealed []byte, n frameNonce, ad []byte) ([]byte, error) {
	frame, sum := sealed[:len(sealed)-4], sealed[len(sealed)-4:]
	if c.sum(frame, n, ad) != binary.LittleEndian.Uint32(sum) {
		return nil, errSeal
	}
	return frame, nil
}

// encryption is the guard of files that are.
type encryption struct{ aead cipher.AEAD }

func (e encryption) overhead() int { return e.aead.Overhead() }

func (e encryption) seal(frame []byte, n frameNonce, ad []byte) []byte {
	return e.aead.Seal(frame[:0], n[:], frame, ad)
}

func (e encryption) open(sealed []byte, n frameNonce, ad []byte) ([]byte, error) {
	return e.aead.Open(sealed[:0], n[:], sealed, ad)
}

// keyring makes the guards of a configured key, or of none.
type keyring struct {
	key []byte
	id  keyID // zeros for no key
}

func newKeyring(key []byte) (keyring, error) {
	k := keyring{key: bytes.Clone(key)}
	if len(key) == 0 {
		return k, nil
	}
	id, err := hkdf.Key(sha256.New, key, nil, "inferflux kvstore key id", len(k.id))
	copy(k.id[:], id)
	return k, err
}

// overhead is that of every guard of the keyring.
func (k keyring) overhead() int {
	if len(k.key) == 0 {
		return checksum{}.overhead()
	}
	return 16
}

// guard makes the guard of a file. Every file has a key of its own, by its
// random id, so that nonces may begin at 0.
func (k keyring) guard(id fileID) (guard, error) {
	if len(k.key) == 0 {
		return checksum{id}, nil
	}
	key, err := hkdf.Key(sha256.New, k.key, id[:], "inferflux kvstore file", KeySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return encryption{aead}, nil
}
