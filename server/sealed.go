package server

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/kalends/kalends/storage"
)

// sealer encrypts private keys with a secret from the configuration, so that a
// copy of the database alone signs nothing. Without a secret keys lie as they
// are; what was encrypted before can then not be read, and the error says so.
type sealer struct{ secret string }

const (
	sealedPrefix = "kalends-sealed-1:"
	minKeySecret = 32
)

// errSealed: a private key is encrypted with a secret that we do not have.
var errSealed = errors.New("server: the private key is encrypted")

func isSealed(text string) bool { return strings.HasPrefix(text, sealedPrefix) }

// aead is AES-256-GCM with a key for this use of the secret only.
func (s sealer) aead() (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, []byte(s.secret), nil, "kalends private keys of domains", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// place binds a text to its row: a key moved to another domain does not open.
func place(k storage.Key) []byte {
	return []byte(k.Domain + "\x00" + k.Purpose + "\x00" + k.Selector)
}

// Seal implements storage.KeyCodec.
func (s sealer) Seal(k storage.Key) (string, error) {
	if s.secret == "" || k.PEM == "" || isSealed(k.PEM) {
		return k.PEM, nil
	}
	a, err := s.aead()
	if err != nil {
		return "", err
	}
	return sealedPrefix + base64.StdEncoding.EncodeToString(a.Seal(nil, nil, []byte(k.PEM), place(k))), nil
}

// Open implements storage.KeyCodec.
func (s sealer) Open(k storage.Key) (string, error) {
	if !isSealed(k.PEM) {
		return k.PEM, nil
	}
	if s.secret == "" {
		return "", explained(errSealed, "the private key %s of %s is encrypted and key_secret is not set; set KALENDS_KEY_SECRET (or KALENDS_KEY_SECRET_FILE) to the secret it was encrypted with", k.Selector, k.Domain)
	}
	a, err := s.aead()
	if err != nil {
		return "", err
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(k.PEM, sealedPrefix))
	if err == nil {
		raw, err = a.Open(nil, nil, raw, place(k))
	}
	if err != nil {
		return "", explained(errSealed, "the private key %s of %s cannot be decrypted: key_secret is not the secret it was encrypted with; set the right one, or import the key again", k.Selector, k.Domain)
	}
	return string(raw), nil
}

// opener reads keys with one secret and writes them with none: `kalends key
// decrypt`.
type opener struct{ sealer }

func (opener) Seal(k storage.Key) (string, error) { return k.PEM, nil }

var _, _ storage.KeyCodec = sealer{}, opener{}

// sealKeys encrypts what lies in the database in the clear, when there is a
// secret. The server does it at its start.
func sealKeys(ctx context.Context, db *storage.DB, cfg *Config) (int, error) {
	if cfg.KeySecret == "" {
		return 0, nil
	}
	return db.ResealKeys(ctx, func(stored string) bool { return stored != "" && !isSealed(stored) })
}

// EncryptKeys encrypts the private keys that lie in the database in the clear.
func (a *Admin) EncryptKeys(ctx context.Context) (int, error) {
	if a.cfg.KeySecret == "" {
		return 0, explained(nil, "key_secret is not set; make a secret with `openssl rand -hex 32`, keep it apart from the database, and set KALENDS_KEY_SECRET for the server and for this command")
	}
	n, err := sealKeys(ctx, a.db, &a.cfg)
	if err != nil {
		return 0, err
	}
	return n, a.audit(ctx, "key.encrypt", "all", fmt.Sprint(n))
}

// DecryptKeys writes all private keys in the clear, before key_secret is taken
// away or changed. The server's next start encrypts them again while it is set.
func (a *Admin) DecryptKeys(ctx context.Context) (int, error) {
	plain, err := storage.Open(ctx, a.cfg.DatabaseURL, storage.Options{MaxConns: 2, Log: a.log, Keys: opener{sealer{a.cfg.KeySecret}}})
	if err != nil {
		return 0, err
	}
	defer plain.Close()
	n, err := plain.ResealKeys(ctx, isSealed)
	if err != nil {
		return 0, err
	}
	return n, a.audit(ctx, "key.decrypt", "all", fmt.Sprint(n))
}
