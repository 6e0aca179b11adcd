package dkim

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

// Sizes of RSA keys in bits.
const (
	MinKeyBits = 1024 // RFC 8301 §3.2: less must not be trusted
	OwnKeyBits = 2048 // what we generate
	maxKeyBits = 8192 // more is only a way to burn our processor
)

// KeyRecord is a key record that was read, with what it says about its use.
type KeyRecord struct {
	Key      *rsa.PublicKey
	Hashes   []string // h=; nil means any
	Services []string // s=; nil means any
	Strict   bool     // t=s
	Testing  bool     // t=y, without effect here
}

// ParseKeyRecord reads the text of a key record (RFC 6376 §3.6.1) and refuses
// what §7.5 of ischedule calls unusable, service apart: see
// [KeyRecord.ForISchedule].
func ParseKeyRecord(record string) (*KeyRecord, error) {
	tags, err := parseTags(record)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeySyntax, err)
	}
	k := &KeyRecord{}
	var p string
	hasP := false
	for i, t := range tags {
		switch t.name {
		case "v":
			if t.value != "DKIM1" || i != 0 {
				return nil, fmt.Errorf("%w: v=%q as tag %d", ErrKeyVersion, t.value, i+1)
			}
		case "k":
			if t.value != "rsa" {
				return nil, fmt.Errorf("%w: k=%q", ErrKeyType, t.value)
			}
		case "h":
			k.Hashes = splitList(t.value)
			if !slices.Contains(k.Hashes, "sha256") {
				return nil, fmt.Errorf("%w: h=%q", ErrKeyHash, t.value)
			}
		case "s":
			k.Services = splitList(t.value)
		case "t":
			flags := splitList(t.value)
			k.Strict = slices.Contains(flags, "s")
			k.Testing = slices.Contains(flags, "y")
		case "g":
			// RFC 4871 limited a key to local parts by g=. The tag is gone,
			// but who wrote it wanted less than we would allow (A41).
			if t.value != "*" {
				return nil, fmt.Errorf("%w: g=%q", ErrKeyGranular, t.value)
			}
		case "p":
			p, hasP = t.value, true
		}
	}
	switch {
	case !hasP:
		return nil, fmt.Errorf("%w: no p=", ErrKeySyntax)
	case p == "":
		return nil, ErrKeyRevoked
	}
	der, err := decodeBase64(p)
	if err != nil {
		return nil, fmt.Errorf("%w: p= is not base64", ErrKeySyntax)
	}
	k.Key, err = parsePublicKey(der)
	return k, err
}

// keyMemo remembers the keys of records read before: reading one costs a sixth
// of a verification. A record text always means the same key, so this changes
// no result. Memory is bounded by maxMemo records of maxMemoRecord octets.
type keyMemo struct {
	mu   sync.Mutex
	keys map[string]*KeyRecord
}

const (
	maxMemo       = 256
	maxMemoRecord = 2048
)

var parsedKeys keyMemo

// get is ParseKeyRecord; the result is shared and must not be changed.
func (m *keyMemo) get(record string) (*KeyRecord, error) {
	m.mu.Lock()
	k := m.keys[record]
	m.mu.Unlock()
	if k != nil {
		return k, nil
	}
	k, err := ParseKeyRecord(record)
	if err != nil || len(record) > maxMemoRecord {
		return k, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.keys == nil || len(m.keys) >= maxMemo {
		m.keys = make(map[string]*KeyRecord)
	}
	m.keys[strings.Clone(record)] = k
	return k, nil
}

// parsePublicKey takes a SubjectPublicKeyInfo (what everybody publishes, RFC
// 6376 erratum 3017) or a bare RSAPublicKey (what its text says).
func parsePublicKey(der []byte) (*rsa.PublicKey, error) {
	var pub *rsa.PublicKey
	if any, err := x509.ParsePKIXPublicKey(der); err == nil {
		var ok bool
		if pub, ok = any.(*rsa.PublicKey); !ok {
			return nil, fmt.Errorf("%w: not an RSA key", ErrKeyType)
		}
	} else if pub, err = x509.ParsePKCS1PublicKey(der); err != nil {
		return nil, fmt.Errorf("%w: p= is not an RSA public key", ErrKeySyntax)
	}
	if bits := pub.N.BitLen(); bits < MinKeyBits || bits > maxKeyBits {
		return nil, fmt.Errorf("%w: %d bits", ErrKeySize, bits)
	}
	return pub, nil
}

// ForISchedule reports whether s= lets the key be used here: absent, "*" or
// "ischedule"; for a draft -01 peer also that draft's name, "calendar".
func (k *KeyRecord) ForISchedule(draft01 bool) bool {
	return k.Services == nil || slices.ContainsFunc(k.Services, func(s string) bool {
		return s == "*" || s == "ischedule" || draft01 && s == "calendar"
	})
}

// RevokedKeyRecord is what is published in place of a key that was withdrawn.
const RevokedKeyRecord = "v=DKIM1; k=rsa; p="

// MarshalKeyRecord returns the record to publish. It has no s=: some
// verifiers refuse s=ischedule and others a list, none refuses its absence.
func MarshalKeyRecord(pub *rsa.PublicKey) (string, error) {
	if pub == nil || pub.N == nil || pub.N.BitLen() < MinKeyBits || pub.N.BitLen() > maxKeyBits {
		return "", ErrKeySize
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrKeySyntax, err)
	}
	return RevokedKeyRecord + base64.StdEncoding.EncodeToString(der), nil
}

// TXTStrings cuts a record into strings of at most 255 octets, as a TXT record
// needs them (RFC 6376 §3.6.2.2: a verifier joins them without a blank).
func TXTStrings(record string) []string {
	var out []string
	for len(record) > 255 {
		out, record = append(out, record[:255]), record[255:]
	}
	return append(out, record)
}

// KeyDocument returns the text/plain document of /.well-known/domainkey/<d>/<s>:
// one record per CRLF line (draft -05, q=http/well-known).
func KeyDocument(records []string) []byte {
	var b []byte
	for _, r := range records {
		b = append(append(b, r...), '\r', '\n')
	}
	return b
}

// NormalizeConfiguredKey turns a key that an administrator typed or pasted into
// a record for a KeySource. It takes a key record, a bare base64 key, base64url
// in place of base64 (Bedework's key documents) and PEM. Only for keys from our
// own configuration: a published key must be a proper record.
func NormalizeConfiguredKey(text string) (string, error) {
	text = strings.TrimSpace(text)
	if block, _ := pem.Decode([]byte(text)); block != nil {
		pub, err := parsePublicKey(block.Bytes)
		if err != nil {
			return "", err
		}
		return MarshalKeyRecord(pub)
	}
	record := text
	if tags, err := parseTags(text); err == nil {
		if t, ok := findTag(tags, "p"); ok {
			record = text[:t.start] + standardBase64(t.value) + text[t.end:]
		} else {
			record = RevokedKeyRecord + standardBase64(text)
		}
	} else {
		record = RevokedKeyRecord + standardBase64(text)
	}
	if _, err := ParseKeyRecord(record); err != nil {
		return "", err
	}
	return record, nil
}

func findTag(l tagList, name string) (tag, bool) {
	for _, t := range l {
		if t.name == name {
			return t, true
		}
	}
	return tag{}, false
}

// standardBase64 maps the URL alphabet to the standard one, drops white space
// and restores the padding.
func standardBase64(s string) string {
	s = strings.NewReplacer("-", "+", "_", "/", " ", "", "\t", "", "\r", "", "\n", "", "=", "").Replace(s)
	if n := len(s) % 4; n > 0 {
		s += "==="[:4-n]
	}
	return s
}

// GenerateKey makes a signing key of OwnKeyBits. rand is the source of
// randomness, normally crypto/rand.Reader; since Go 1.26 the standard library
// draws from the system's secure source whatever reader it is given.
func GenerateKey(rand io.Reader) (*rsa.PrivateKey, error) {
	return rsa.GenerateKey(rand, OwnKeyBits)
}
