package server

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/kalends/kalends/federation/dkim"
	"github.com/kalends/kalends/storage"
)

// keyring reads the keys of our domains from the database and keeps the parsed
// ones; what is active is asked anew each time, so that a rotation on another
// node acts at once.
type keyring struct {
	db       *storage.DB
	httpKeys bool                   // our keys are served by http/well-known too
	hasOurs  func(peer string) bool // got our keys by its administrators; nil: nobody did
	mu       sync.Mutex
	parsed   map[string]crypto.Signer
}

// Purposes of keys.
const (
	PurposeCalendar = "calendar"
	PurposeMail     = "mail"
)

func newKeyring(db *storage.DB, httpKeys bool) *keyring {
	return &keyring{db: db, httpKeys: httpKeys, parsed: map[string]crypto.Signer{}}
}

func (k *keyring) active(ctx context.Context, domain, purpose string) (string, crypto.Signer, error) {
	row, err := k.db.ActiveKey(ctx, domain, purpose)
	if errors.Is(err, storage.ErrNotFound) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	s, err := k.parse(row)
	return row.Selector, s, err
}

func (k *keyring) parse(row storage.Key) (crypto.Signer, error) {
	id := row.Domain + "\x00" + row.Purpose + "\x00" + row.Selector + "\x00" + strconv.FormatInt(row.Created, 10)
	k.mu.Lock()
	defer k.mu.Unlock()
	if s, ok := k.parsed[id]; ok {
		return s, nil
	}
	s, err := ParsePrivateKey([]byte(row.PEM))
	if err != nil {
		return nil, fmt.Errorf("key %s of %s: %w", row.Selector, row.Domain, err)
	}
	if len(k.parsed) > 1000 {
		clear(k.parsed)
	}
	k.parsed[id] = s
	return s, nil
}

// ParsePrivateKey reads an RSA key in PEM, PKCS#1 or PKCS#8.
func ParsePrivateKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("the file holds no PEM block")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("the PEM block holds no private key")
	}
	key, ok := any.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("the key is not an RSA key")
	}
	return key, nil
}

// Signer gives the signer of calendar messages of a domain to a peer.
func (k *keyring) Signer(ctx context.Context, domain, peer string) (*dkim.Signer, error) {
	selector, key, err := k.active(ctx, domain, PurposeCalendar)
	if err != nil || key == nil {
		return nil, err
	}
	methods := []string{"dns/txt"}
	if k.httpKeys {
		methods = append(methods, "http/well-known")
	}
	if k.hasOurs != nil && k.hasOurs(peer) { // ischedule §7.1
		methods = append([]string{"private-exchange"}, methods...)
	}
	return &dkim.Signer{Domain: domain, Selector: selector, Key: key, Methods: methods}, nil
}

// MailKey gives the key that signs mail of a domain.
func (k *keyring) MailKey(ctx context.Context, domain string) (string, crypto.Signer, error) {
	return k.active(ctx, domain, PurposeMail)
}

// PublishedKeys are the records that http/well-known serves for a selector.
func (k *keyring) PublishedKeys(ctx context.Context, domain, selector string) ([]string, error) {
	if !k.httpKeys {
		return nil, nil
	}
	rows, err := k.db.Keys(ctx, domain)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, row := range rows {
		if row.Selector != selector || row.Purpose != PurposeCalendar {
			continue
		}
		if row.State == storage.KeyRevoked {
			out = append(out, dkim.RevokedKeyRecord)
			continue
		}
		rec, err := k.record(row)
		if err != nil {
			return nil, err
		}
		out = append(out, rec)
	}
	return out, nil
}

// record is the TXT record that publishes a key.
func (k *keyring) record(row storage.Key) (string, error) {
	s, err := k.parse(row)
	if err != nil {
		return "", err
	}
	pub, ok := s.Public().(*rsa.PublicKey)
	if !ok {
		return "", fmt.Errorf("key %s of %s is not an RSA key", row.Selector, row.Domain)
	}
	return dkim.MarshalKeyRecord(pub)
}

// serials keeps the serial number of our capabilities in the settings.
type serials struct{ db *storage.DB }

func (s serials) CapabilitiesSerial(ctx context.Context, digest string, now time.Time) (int64, time.Time, error) {
	type record struct {
		Digest string    `json:"digest"`
		Serial int64     `json:"serial"`
		Since  time.Time `json:"since"`
	}
	const name = "ischedule.capabilities"
	var r record
	text, ok, err := s.db.Setting(ctx, name)
	if err != nil {
		return 0, time.Time{}, err
	}
	if ok && json.Unmarshal([]byte(text), &r) == nil && r.Digest == digest {
		return r.Serial, r.Since, nil
	}
	serial, err := s.db.NextCounter(ctx, name+".serial")
	if err != nil {
		return 0, time.Time{}, err
	}
	r = record{Digest: digest, Serial: serial, Since: now.UTC().Truncate(time.Second)}
	b, err := json.Marshal(r)
	if err != nil {
		return 0, time.Time{}, err
	}
	return r.Serial, r.Since, s.db.SetSetting(ctx, name, string(b))
}
