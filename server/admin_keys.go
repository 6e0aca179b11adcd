package server

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kalends/kalends/federation/discover"
	"github.com/kalends/kalends/federation/dkim"
	"github.com/kalends/kalends/storage"
)

// A key's life: next (published, so that everybody can find it), active
// (signs), retired (published still, for what is on its way), revoked
// (published without its key, so that nothing old is believed).
const (
	keyTTL       = time.Hour           // TTL of the records we tell people to publish
	keySettles   = 2 * keyTTL          // from first being seen in the DNS to signing
	keyLingers   = 14 * 24 * time.Hour // retired keys stay published: mail may be verified late
	maxSelectors = 26 * 27
)

// ErrNoNextKey: there is no key that waits to sign.
var ErrNoNextKey = errors.New("server: no next key")

// KeyInfo describes a key to administrators; it never holds the private part.
type KeyInfo struct {
	Domain   string `json:"domain"`
	Purpose  string `json:"purpose"`
	Selector string `json:"selector"`
	State    string `json:"state"`
	Bits     int    `json:"bits"`
	Created  string `json:"created"`
	Changed  string `json:"changed"`
	Name     string `json:"name"`   // where the record is published
	Record   string `json:"record"` // its text
}

func keyInfo(k storage.Key) (KeyInfo, error) {
	out := KeyInfo{Domain: k.Domain, Purpose: k.Purpose, Selector: k.Selector, State: string(k.State), Created: stamp(k.Created), Changed: stamp(k.Changed),
		Name: k.Selector + "._domainkey." + k.Domain + "."}
	if k.State == storage.KeyRevoked {
		out.Record = dkim.RevokedKeyRecord
		return out, nil
	}
	s, err := ParsePrivateKey([]byte(k.PEM))
	if err != nil {
		return out, explained(err, "the key %s of %s cannot be read: %v; rotate it", k.Selector, k.Domain, err)
	}
	out.Record, out.Bits, err = publicRecord(s)
	return out, err
}

// publicRecord is the key record of a private key and its size.
func publicRecord(s crypto.Signer) (record string, bits int, err error) {
	pub, ok := s.Public().(*rsa.PublicKey)
	if !ok {
		return "", 0, errors.New("the key is not an RSA key")
	}
	record, err = dkim.MarshalKeyRecord(pub)
	return record, pub.N.BitLen(), err
}

// newKeyPEM makes a private key of the size that we use.
func newKeyPEM() (string, error) {
	key, err := dkim.GenerateKey(rand.Reader)
	if err != nil {
		return "", fmt.Errorf("making a key: %w", err)
	}
	return keyPEM(key)
}

func keyPEM(key *rsa.PrivateKey) (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("writing a key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

// nextSelector is the first free name such as cal2026a, mail2026b.
func nextSelector(purpose string, have []storage.Key, now time.Time) (string, error) {
	prefix := "cal"
	if purpose == PurposeMail {
		prefix = "mail"
	}
	prefix += now.UTC().Format("2006")
	for i := range maxSelectors {
		name := prefix
		if i >= 26 {
			name += string(rune('a' + i/26 - 1))
		}
		name += string(rune('a' + i%26))
		if !slices.ContainsFunc(have, func(k storage.Key) bool { return k.Selector == name }) {
			return name, nil
		}
	}
	return "", explained(nil, "all selectors of the year are used; import a key with --selector")
}

// ensureKeys gives a domain an active key for each purpose that has none. Of
// several nodes that do it at once one wins: all decide and choose the selector
// by one reading, so that who comes late meets the same name.
func ensureKeys(ctx context.Context, db *storage.DB, domain string, now time.Time) (made bool, err error) {
	have, err := db.Keys(ctx, domain)
	if err != nil {
		return false, err
	}
	for _, purpose := range []string{PurposeCalendar, PurposeMail} {
		if slices.ContainsFunc(have, func(k storage.Key) bool { return k.Purpose == purpose && k.State == storage.KeyActive }) {
			continue
		}
		selector, err := nextSelector(purpose, have, now)
		if err != nil {
			return made, err
		}
		text, err := newKeyPEM()
		if err != nil {
			return made, err
		}
		err = db.AddKey(ctx, storage.Key{Domain: domain, Purpose: purpose, Selector: selector, PEM: text, State: storage.KeyActive})
		if err != nil && !errors.Is(err, storage.ErrExists) {
			return made, fmt.Errorf("key of %s: %w", domain, err)
		}
		made = made || err == nil
	}
	return made, nil
}

// domainOf finds one of our domains.
func (a *Admin) domainOf(ctx context.Context, name string) (string, error) {
	want := storage.NormalEmail("x@" + name)
	if want == "" {
		return "", usage("%q is no domain name; write it as example.org", name)
	}
	want = want[2:]
	list, err := a.db.ListDomains(ctx)
	if err != nil {
		return "", err
	}
	for _, d := range list {
		if d.Name == want {
			return want, nil
		}
	}
	return "", explained(storage.ErrNotFound, "%s is none of our domains; add it with `kalends domain add %s`", want, want)
}

// Keys lists the keys of one domain, or of all when domain is "".
func (a *Admin) Keys(ctx context.Context, domain string) ([]KeyInfo, error) {
	var domains []string
	if domain != "" {
		d, err := a.domainOf(ctx, domain)
		if err != nil {
			return nil, err
		}
		domains = []string{d}
	} else {
		list, err := a.db.ListDomains(ctx)
		if err != nil {
			return nil, err
		}
		for _, d := range list {
			domains = append(domains, d.Name)
		}
	}
	out := []KeyInfo{}
	for _, d := range domains {
		rows, err := a.db.Keys(ctx, d)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			k, err := keyInfo(r)
			if err != nil {
				return nil, err
			}
			out = append(out, k)
		}
	}
	return out, nil
}

func checkPurpose(purpose string) error {
	if purpose != PurposeCalendar && purpose != PurposeMail {
		return usage("--purpose is calendar or mail, not %q", purpose)
	}
	return nil
}

// keysOf checks what a key is for and reads all keys of a domain, whose name it
// gives in its stored form.
func (a *Admin) keysOf(ctx context.Context, domain, purpose string) (string, []storage.Key, error) {
	if err := checkPurpose(purpose); err != nil {
		return "", nil, err
	}
	domain, err := a.domainOf(ctx, domain)
	if err != nil {
		return "", nil, err
	}
	have, err := a.db.Keys(ctx, domain)
	return domain, have, err
}

// RotateKey makes the next key of a domain, or gives the one that waits
// already. It does not sign before ActivateKey, or before the server has seen
// its record in the DNS for twice the TTL.
func (a *Admin) RotateKey(ctx context.Context, domain, purpose string) (KeyInfo, error) {
	domain, have, err := a.keysOf(ctx, domain, purpose)
	if err != nil {
		return KeyInfo{}, err
	}
	for _, k := range have {
		if k.Purpose == purpose && k.State == storage.KeyNext {
			return keyInfo(k)
		}
	}
	selector, err := nextSelector(purpose, have, a.db.Now())
	if err != nil {
		return KeyInfo{}, err
	}
	text, err := newKeyPEM()
	if err != nil {
		return KeyInfo{}, err
	}
	return a.addKey(ctx, storage.Key{Domain: domain, Purpose: purpose, Selector: selector, PEM: text, State: storage.KeyNext}, "key.rotate")
}

// ActivateKey lets the next key of a domain sign from now on; the one before
// stays published for a while. Unless force, it is refused while the DNS does not
// show the key: others would refuse everything that it signs.
func (a *Admin) ActivateKey(ctx context.Context, domain, purpose string, force bool) (KeyInfo, error) {
	domain, have, err := a.keysOf(ctx, domain, purpose)
	if err != nil {
		return KeyInfo{}, err
	}
	for _, k := range have {
		if k.Purpose != purpose || k.State != storage.KeyNext {
			continue
		}
		if !force {
			if err := a.findable(ctx, k); err != nil {
				return KeyInfo{}, explained(err, "others cannot verify what the key %s of %s signs, for %s; publish its record (`kalends domain dns %s`), or let it sign all the same with --force", k.Selector, domain, plain(err), domain)
			}
		}
		if err := a.db.SetKeyState(ctx, domain, purpose, k.Selector, storage.KeyActive); err != nil {
			return KeyInfo{}, err
		}
		k.State = storage.KeyActive
		info, err := keyInfo(k)
		if err != nil {
			return info, err
		}
		return info, a.audit(ctx, "key.activate", domain, purpose+" "+k.Selector)
	}
	return KeyInfo{}, explained(ErrNoNextKey, "%s has no next %s key; make one with `kalends key rotate %s --purpose %s` and publish its record first", domain, purpose, domain, purpose)
}

// findable tells why others cannot find a key in the DNS; nil when they can.
func (a *Admin) findable(ctx context.Context, k storage.Key) error {
	out, err := newOutgoing(&a.cfg, func(string) bool { return false }, nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	texts, err := publishedBy(out.Resolver)(ctx, k.Domain, k.Selector)
	switch {
	case errors.Is(err, discover.ErrNotFound):
		return errors.New("the DNS does not show it yet")
	case err != nil:
		return err
	case !isPublished(ctx, k, func(context.Context, string, string) ([]string, error) { return texts, nil }):
		return errors.New("the DNS shows another key under its name")
	}
	return nil
}

// RevokeKey ends the life of a key that signs no more before its two weeks are
// over, such as one that somebody else has got hold of: from now on it is
// published as revoked, and nothing that it signed is believed (RFC 6376 §3.6.1,
// empty p=).
func (a *Admin) RevokeKey(ctx context.Context, domain, selector string) (KeyInfo, error) {
	domain, err := a.domainOf(ctx, domain)
	if err != nil {
		return KeyInfo{}, err
	}
	have, err := a.db.Keys(ctx, domain)
	if err != nil {
		return KeyInfo{}, err
	}
	var found []storage.Key // one key may have both purposes
	for _, k := range have {
		if k.Selector != strings.ToLower(selector) {
			continue
		}
		if k.State == storage.KeyActive {
			return KeyInfo{}, explained(nil, "the key %s of %s is the one that signs; make another with `kalends key rotate %s --purpose %s`, publish it and add --activate, then revoke this one", k.Selector, domain, domain, k.Purpose)
		}
		found = append(found, k)
	}
	if len(found) == 0 {
		return KeyInfo{}, explained(storage.ErrNotFound, "%s has no key %q; `kalends key list %s` shows those it has", domain, selector, domain)
	}
	for i := range found {
		if found[i].State == storage.KeyRevoked {
			continue
		}
		if err := a.db.SetKeyState(ctx, domain, found[i].Purpose, found[i].Selector, storage.KeyRevoked); err != nil {
			return KeyInfo{}, err
		}
		found[i].State = storage.KeyRevoked
		if err := a.audit(ctx, "key.revoke", domain, found[i].Purpose+" "+found[i].Selector); err != nil {
			return KeyInfo{}, err
		}
	}
	return keyInfo(found[0])
}

var selectorForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)

// ImportKey takes an existing RSA key in PEM over as the active key. The same
// key under the same selector twice is no error.
func (a *Admin) ImportKey(ctx context.Context, domain, purpose, selector string, pemText []byte) (KeyInfo, error) {
	if err := checkPurpose(purpose); err != nil {
		return KeyInfo{}, err
	}
	selector = strings.ToLower(selector)
	if !selectorForm.MatchString(selector) || len(selector) > 200 {
		return KeyInfo{}, usage("--selector %q is no selector; it is the part before ._domainkey, such as cal2026a", selector)
	}
	domain, err := a.domainOf(ctx, domain)
	if err != nil {
		return KeyInfo{}, err
	}
	signer, err := ParsePrivateKey(pemText)
	if err != nil {
		return KeyInfo{}, explained(err, "the key cannot be taken: %v; give an RSA private key in PEM", err)
	}
	key := signer.(*rsa.PrivateKey)
	if bits := key.N.BitLen(); bits < dkim.MinKeyBits {
		return KeyInfo{}, explained(dkim.ErrKeySize, "the key has %d bits and nobody would trust it; make one of 2048 bits with `kalends key rotate %s`", bits, domain)
	}
	text, err := keyPEM(key)
	if err != nil {
		return KeyInfo{}, err
	}
	have, err := a.db.Keys(ctx, domain)
	if err != nil {
		return KeyInfo{}, err
	}
	for _, k := range have {
		if k.Selector != selector {
			continue
		}
		other, err := ParsePrivateKey([]byte(k.PEM))
		if err != nil || !key.Equal(other) || k.State == storage.KeyRevoked {
			return KeyInfo{}, explained(storage.ErrExists, "the selector %s of %s names another key; choose another --selector", selector, domain)
		}
		if k.Purpose != purpose {
			continue // one key for both purposes, as one record
		}
		if k.State != storage.KeyActive {
			if err := a.db.SetKeyState(ctx, domain, purpose, selector, storage.KeyActive); err != nil {
				return KeyInfo{}, err
			}
			k.State = storage.KeyActive
		}
		return keyInfo(k)
	}
	return a.addKey(ctx, storage.Key{Domain: domain, Purpose: purpose, Selector: selector, PEM: text, State: storage.KeyActive}, "key.import")
}

func (a *Admin) addKey(ctx context.Context, k storage.Key, action string) (KeyInfo, error) {
	if err := a.db.AddKey(ctx, k); err != nil {
		if errors.Is(err, storage.ErrExists) {
			return KeyInfo{}, explained(err, "somebody else made the key %s of %s just now; run the command again", k.Selector, k.Domain)
		}
		return KeyInfo{}, err
	}
	rows, err := a.db.Keys(ctx, k.Domain)
	if err != nil {
		return KeyInfo{}, err
	}
	for _, r := range rows {
		if r.Selector == k.Selector && r.Purpose == k.Purpose {
			k = r
		}
	}
	info, err := keyInfo(k)
	if err != nil {
		return info, err
	}
	return info, a.audit(ctx, action, k.Domain, k.Purpose+" "+k.Selector)
}

// Published looks up the texts that the DNS has for a selector of a domain.
type Published func(ctx context.Context, domain, selector string) ([]string, error)

// AdvanceKeys moves the keys of all domains on in their lives; the server's
// janitor calls it. A next key whose record the DNS shows is noted as seen,
// and signs twice the TTL later when it is still there: who forgot to publish
// a record keeps the key that works. A retired key is revoked after two weeks.
func AdvanceKeys(ctx context.Context, db *storage.DB, now time.Time, published Published) error {
	domains, err := db.ListDomains(ctx)
	if err != nil {
		return err
	}
	var failed []error
	for _, d := range domains {
		keys, err := db.Keys(ctx, d.Name)
		if err != nil {
			return err
		}
		for _, k := range keys {
			to := storage.KeyState("")
			since := now.Sub(time.UnixMicro(k.Changed))
			switch k.State {
			case storage.KeyNext:
				if published == nil || !isPublished(ctx, k, published) {
					continue
				}
				if seen := k.Changed > k.Created; !seen {
					to = storage.KeyNext // the time of the change is when it was first seen
				} else if since >= keySettles {
					to = storage.KeyActive
				}
			case storage.KeyRetired:
				if since >= keyLingers {
					to = storage.KeyRevoked
				}
			}
			if to == "" {
				continue
			}
			if err := db.SetKeyState(ctx, k.Domain, k.Purpose, k.Selector, to); err != nil {
				failed = append(failed, fmt.Errorf("key %s of %s: %w", k.Selector, k.Domain, err))
				continue
			}
			if to != k.State {
				failed = append(failed, db.Audit(ctx, "server", "key."+string(to), k.Domain, k.Purpose+" "+k.Selector))
			}
		}
	}
	return errors.Join(failed...)
}

// RetireKeys is AdvanceKeys where no DNS can be asked: next keys wait for
// ActivateKey.
func RetireKeys(ctx context.Context, db *storage.DB, now time.Time) error {
	return AdvanceKeys(ctx, db, now, nil)
}

// isPublished tells whether the DNS shows the very key.
func isPublished(ctx context.Context, k storage.Key, published Published) bool {
	s, err := ParsePrivateKey([]byte(k.PEM))
	if err != nil {
		return false
	}
	texts, err := published(ctx, k.Domain, k.Selector)
	if err != nil {
		return false
	}
	return showsKey(texts, s.Public())
}

// showsKey tells whether a public key is among published records.
func showsKey(texts []string, key crypto.PublicKey) bool {
	return slices.ContainsFunc(texts, func(t string) bool {
		rec, err := dkim.ParseKeyRecord(t)
		return err == nil && rec.Key.Equal(key)
	})
}
