package server

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/kalends/kalends/federation/dkim"
	"github.com/kalends/kalends/federation/ischedule"
	"github.com/kalends/kalends/storage"
)

// PeerInfo describes the settings of another domain; secrets are left out.
type PeerInfo struct {
	Name string `json:"name"`
	PeerSettings
	HasPassword bool   `json:"has_password"`
	Changed     string `json:"changed"`
}

// PeerChange sets what is not nil.
type PeerChange struct {
	Policy, Dialect, Endpoint, FreeBusy         *string
	HasOurs                                     *string           // yes, or empty
	Keys                                        map[string][]byte // by selector; set, or removed when empty
	Signers                                     *[]string
	Blocked                                     *bool
	Messages, Questions, QuestionsPerDay        *int
	Networks                                    *[]string
	Certificates                                [][]byte // PEM, added
	NewPassword, DropPassword, DropCertificates bool
}

// peerName reads the domain of another organization, or *.
func (a *Admin) peerName(ctx context.Context, name string) (string, error) {
	if name == storage.EveryPeer {
		return name, nil
	}
	d := storage.NormalEmail("x@" + name)
	if d == "" || !strings.Contains(d, ".") || strings.ContainsAny(name, "@/: ") {
		return "", usage("%q is no domain name; write it as example.org, or * for all domains without settings of their own", name)
	}
	list, err := a.db.ListDomains(ctx)
	if err != nil {
		return "", err
	}
	if slices.ContainsFunc(list, func(x storage.Domain) bool { return x.Name == d[2:] }) {
		return "", usage("%s is our own domain; peers are other organizations", d[2:])
	}
	return d[2:], nil
}

// Peers lists the settings of other domains.
func (a *Admin) Peers(ctx context.Context) ([]PeerInfo, error) {
	rows, err := a.db.Peers(ctx)
	if err != nil {
		return nil, err
	}
	out := []PeerInfo{}
	for _, r := range rows {
		p, err := readPeer(r.Settings)
		if err != nil {
			return nil, explained(err, "the settings of %s cannot be read: %v; remove them with `kalends peer remove %s` and set them again", r.Name, err, r.Name)
		}
		out = append(out, peerInfo(r, p))
	}
	return out, nil
}

func peerInfo(r storage.Peer, p PeerSettings) PeerInfo {
	out := PeerInfo{Name: r.Name, PeerSettings: p, HasPassword: p.PasswordHash != "", Changed: stamp(r.Changed)}
	out.PasswordHash = ""
	return out
}

// SetPeer changes the settings of another domain. secret is the new shared
// password, which is shown once and never again.
func (a *Admin) SetPeer(ctx context.Context, name string, c PeerChange) (info PeerInfo, secret string, err error) {
	if name, err = a.peerName(ctx, name); err != nil {
		return info, "", err
	}
	rows, err := a.db.Peers(ctx)
	if err != nil {
		return info, "", err
	}
	var p PeerSettings
	for _, r := range rows {
		if r.Name == name {
			if p, err = readPeer(r.Settings); err != nil {
				return info, "", explained(err, "the settings of %s cannot be read: %v; remove them first", name, err)
			}
		}
	}
	if secret, err = p.change(name, c); err != nil {
		return info, "", err
	}
	text, err := json.Marshal(p)
	if err != nil {
		return info, "", err
	}
	if err := a.db.SetPeer(ctx, name, string(text)); err != nil {
		return info, "", err
	}
	info = peerInfo(storage.Peer{Name: name, Changed: storage.Micros(a.db.Now())}, p)
	p.PasswordHash = ""
	shown, _ := json.Marshal(p) // what the audit trail may know
	return info, secret, a.audit(ctx, "peer.set", name, string(shown))
}

func (p *PeerSettings) change(name string, c PeerChange) (secret string, err error) {
	word := func(to *string, v *string, what string, allowed ...string) error {
		if v == nil {
			return nil
		}
		if *v != "" && !slices.Contains(allowed, *v) {
			return usage("%s is %s, not %q", what, strings.Join(allowed, ", "), *v)
		}
		*to = *v
		return nil
	}
	if err := errors.Join(
		word(&p.Policy, c.Policy, "--policy", "prefer", "ischedule-only", "mail-only", "both"),
		word(&p.Dialect, c.Dialect, "--dialect", ischedule.DialectFinal.String(), ischedule.DialectDraft01.String()),
		word(&p.FreeBusy, c.FreeBusy, "--freebusy", "yes", "no"),
		word(&p.HasOurs, c.HasOurs, "--private-exchange", "yes")); err != nil {
		return "", err
	}
	if c.Endpoint != nil {
		u, err := url.Parse(*c.Endpoint)
		if *c.Endpoint != "" && (err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "") {
			return "", usage("--endpoint is an address such as https://cal.example.org/ischedule, not %q", *c.Endpoint)
		}
		p.Endpoint = *c.Endpoint
	}
	if err := p.changeKeys(c.Keys); err != nil {
		return "", err
	}
	if c.Signers != nil {
		p.Signers = nil
		for _, s := range *c.Signers {
			d := storage.NormalEmail("x@" + s)
			if d == "" || !strings.Contains(d, ".") {
				return "", usage("--signer %q is no domain name", s)
			}
			p.Signers = append(p.Signers, d[2:])
		}
	}
	if c.Blocked != nil {
		p.Blocked = *c.Blocked
	}
	for _, n := range []struct {
		to, v *int
	}{{&p.Messages, c.Messages}, {&p.Questions, c.Questions}, {&p.QuestionsPerDay, c.QuestionsPerDay}} {
		if n.v != nil {
			if *n.v < 0 {
				return "", usage("a quota is a positive number, or 0 for the default")
			}
			*n.to = *n.v
		}
	}
	if c.Networks != nil {
		if err := p.Networks.UnmarshalText([]byte(strings.Join(*c.Networks, ","))); err != nil {
			return "", usage("--network %v", err)
		}
		p.NetworkList = nil
		for _, n := range p.Networks {
			p.NetworkList = append(p.NetworkList, n.String())
		}
	}
	if c.DropCertificates {
		p.Certificates = nil
	}
	for _, text := range c.Certificates {
		block, _ := pem.Decode(text)
		if block == nil || block.Type != "CERTIFICATE" {
			return "", usage("--certificate is a PEM file with the certificate that the peer presents")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return "", usage("--certificate: %v", err)
		}
		if f := fingerprint(cert.RawSubjectPublicKeyInfo); !slices.Contains(p.Certificates, f) {
			p.Certificates = append(p.Certificates, f)
		}
	}
	if c.DropPassword {
		p.PasswordHash = ""
	}
	if c.NewPassword {
		if len(p.Networks) == 0 {
			return "", usage("a shared password counts from the peer's networks only; add --network")
		}
		if secret, err = newPeerSecret(); err != nil {
			return "", err
		}
		p.PasswordHash = hashSecret(secret)
	}
	if p.PasswordHash != "" && len(p.Networks) == 0 {
		return "", usage("a shared password counts from the peer's networks only; keep a --network or add --no-password")
	}
	if name == storage.EveryPeer && (len(p.Certificates) > 0 || p.PasswordHash != "" || p.Endpoint != "" || len(p.Signers) > 0 || p.Dialect != "" || p.Blocked || p.FreeBusy != "" || len(p.Keys) > 0 || p.HasOurs != "") {
		return "", usage("for * only --policy and the quotas can be set; all else is said about one domain")
	}
	return secret, nil
}

// maxPeerKeys is for some years of keys that nobody removed.
const maxPeerKeys = 20

// changeKeys sets and removes keys of the peer.
func (p *PeerSettings) changeKeys(keys map[string][]byte) error {
	for selector, text := range keys {
		name := strings.ToLower(selector)
		if d := storage.NormalEmail("x@" + name + ".example"); d != "x@"+name+".example" || len(name) > 200 {
			return usage("--key %q: a selector is a name such as cal2026, as s= of the signatures says", selector)
		}
		if len(text) == 0 {
			delete(p.Keys, name)
			continue
		}
		record, err := dkim.NormalizeConfiguredKey(string(text))
		if err != nil {
			return usage("--key %s: %v; it is a PEM file with a public key, or the text of a _domainkey record", selector, err)
		}
		if p.Keys == nil {
			p.Keys = map[string]string{}
		}
		p.Keys[name] = record
	}
	if len(p.Keys) > maxPeerKeys {
		return usage("at most %d keys of one domain are kept; remove old ones with --no-key SELECTOR", maxPeerKeys)
	}
	return nil
}

// RemovePeer forgets the settings of another domain.
func (a *Admin) RemovePeer(ctx context.Context, name string) error {
	name, err := a.peerName(ctx, name)
	if err != nil {
		return err
	}
	if err := a.db.RemovePeer(ctx, name); err != nil {
		if errors.Is(err, storage.ErrNotFound) {
			return explained(err, "%s has no settings; `kalends peer list` shows those that there are", name)
		}
		return err
	}
	return a.audit(ctx, "peer.remove", name, "")
}
