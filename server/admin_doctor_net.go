package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/federation/discover"
	"github.com/kalends/kalends/federation/dkim"
	"github.com/kalends/kalends/federation/imip"
	"github.com/kalends/kalends/federation/ischedule"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

// checkSubmission signs in at the mail server as a delivery does.
func checkSubmission(ctx context.Context, cfg *Config, out *Outgoing) error {
	s, err := imip.NewSubmitter(imip.SubmitConfig{URL: cfg.SMTPURL, Dial: (&federationParts{out: out, s: &server{cfg: cfg}}).dialMail,
		TLS: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: out.Roots}, Now: time.Now})
	if err != nil {
		return err
	}
	return errors.Join(s.Check(ctx), s.Close())
}

// dialProblem explains why a connection did not come about.
func dialProblem(err error) (text, fix string) {
	if errors.Is(err, discover.ErrForbiddenAddress) {
		return "its address is not public, and others cannot reach it either", "publish the public address; in a private federation allow the network with dial_allow"
	}
	return plain(err), "check the address record, the firewall and that the server listens"
}

// certificate checks the TLS of the external endpoint.
func (d *doctor) certificate(ctx context.Context, check, host string, port int) bool {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	conn, err := d.out.Dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		text, fix := dialProblem(err)
		d.broken(check, fix, "cannot be reached: %s", text)
		return false
	}
	defer conn.Close()
	c := tls.Client(conn, &tls.Config{ServerName: host, RootCAs: d.out.Roots, MinVersion: tls.VersionTLS12})
	if err := c.HandshakeContext(ctx); err != nil {
		d.broken(check, "serve a certificate for "+host+" with its whole chain from an authority that others trust", "TLS fails: %s", plain(err))
		return false
	}
	left := time.Until(c.ConnectionState().PeerCertificates[0].NotAfter)
	if left < certificateIn {
		d.warn(check, "renew the certificate; Kalends reads changed files by itself", "the certificate ends in %d days", int(left.Hours()/24))
		return true
	}
	d.ok(check, "the certificate is good for %d days", int(left.Hours()/24))
	return true
}

// capabilities checks that our receiver answers from outside.
func (d *doctor) capabilities(ctx context.Context, check, at string) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	const fix = "let the proxy pass /ischedule to Kalends and list it under trusted_proxies"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at+"?action=capabilities", nil)
	if err != nil {
		d.broken(check, fix, "%s", plain(err))
		return
	}
	resp, err := d.out.HTTP.Do(req)
	if err != nil {
		d.broken(check, fix, "/ischedule cannot be read: %s", plain(err))
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode == http.StatusOK {
		_, err = ischedule.ParseCapabilities(body)
	}
	if err != nil || resp.StatusCode != http.StatusOK {
		text := resp.Status
		if err != nil {
			text = plain(err)
		}
		d.broken(check, fix, "/ischedule does not tell its capabilities: %s", text)
		return
	}
	d.ok(check, "/ischedule tells its capabilities")
}

// domain compares what the DNS has for one of our domains with what it should.
func (d *doctor) domain(ctx context.Context, domain string) {
	check := "dns " + domain
	keys, err := d.a.db.Keys(ctx, domain)
	if err != nil {
		d.unreadable("key "+domain, err)
		return
	}
	want, err := dnsRecords(ctx, d.a.db, &d.a.cfg, domain)
	if err != nil {
		d.broken("key "+domain, "make a new key with `kalends key rotate "+domain+"`", "%s", plain(err))
		return
	}
	for _, r := range want {
		if r.Type == "SRV" {
			d.srv(ctx, check, r)
		} else if !strings.Contains(r.Name, "._domainkey.") {
			d.path(ctx, check, r)
		}
	}
	d.mailPath(ctx, domain)
	d.backend(ctx, domain)
	active := map[string]bool{}
	for _, k := range keys {
		active[k.Purpose] = active[k.Purpose] || k.State == storage.KeyActive
		d.key(ctx, "key "+domain, k)
	}
	for _, purpose := range []string{PurposeCalendar, PurposeMail} {
		if !active[purpose] {
			d.broken("key "+domain, "`kalends domain add "+domain+"` makes one", "there is no active %s key, so nothing can be signed", purpose)
		}
	}
}

// publish is the fix that the zone text gives.
func publish(r DNSRecord) string { return "publish: " + r.Line() }

func (d *doctor) srv(ctx context.Context, check string, want DNSRecord) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	name := strings.TrimSuffix(want.Name, ".")
	got, _, err := d.out.Resolver.LookupSRV(ctx, name)
	if err != nil {
		if errors.Is(err, discover.ErrNotFound) {
			d.broken(check, publish(want), "%s SRV is missing", name)
		} else {
			d.broken(check, "check dns_resolver and the name servers of the domain", "%s SRV cannot be looked up: %s", name, plain(err))
		}
		return
	}
	host, port, _ := endpoint(&d.a.cfg)
	var seen []string
	for _, r := range got {
		seen = append(seen, net.JoinHostPort(r.Target, strconv.Itoa(int(r.Port))))
		if r.Target == host && int(r.Port) == port {
			d.ok(check, "%s leads to %s:%d", name, host, port)
			return
		}
	}
	d.broken(check, publish(want), "%s leads to %s and not to external_url", name, strings.Join(seen, ", "))
}

func (d *doctor) path(ctx context.Context, check string, want DNSRecord) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	name := strings.TrimSuffix(want.Name, ".")
	path := strings.TrimPrefix(want.Data[0], "path=")
	got, _, err := d.out.Resolver.LookupTXT(ctx, name)
	switch {
	case errors.Is(err, discover.ErrNotFound):
		// Without the record peers use the well-known path, which works too.
		d.warn(check, publish(want), "%s TXT is missing", name)
	case err != nil:
		d.broken(check, "check dns_resolver and the name servers of the domain", "%s TXT cannot be looked up: %s", name, plain(err))
	case discover.TXTPath(got) == path:
		d.ok(check, "%s has the path %s", name, path)
	default:
		d.broken(check, publish(want), "%s TXT has the path %q", name, discover.TXTPath(got))
	}
}

// key checks that the DNS shows a key as it is, and that what it signs can be
// verified with what is published.
func (d *doctor) key(ctx context.Context, check string, k storage.Key) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	info, err := keyInfo(k)
	if err != nil {
		d.broken(check, "rotate the key with `kalends key rotate "+k.Domain+"`", "%s", plain(err))
		return
	}
	want := DNSRecord{Name: info.Name, Type: "TXT", Data: dkim.TXTStrings(info.Record)}
	texts, err := d.published(ctx, k.Domain, k.Selector)
	missing := d.broken
	switch k.State {
	case storage.KeyNext:
		missing = d.warn // it does not sign yet
	case storage.KeyRetired, storage.KeyRevoked:
		d.oldKey(check, k, want, texts, err)
		return
	}
	if err != nil {
		if errors.Is(err, discover.ErrNotFound) {
			missing(check, publish(want), "the %s key %s (%s) is not published", k.Purpose, k.Selector, k.State)
		} else {
			missing(check, "check dns_resolver and the name servers of the domain", "the %s key %s cannot be looked up: %s", k.Purpose, k.Selector, plain(err))
		}
		return
	}
	same := isPublished(ctx, k, func(context.Context, string, string) ([]string, error) { return texts, nil })
	if !same {
		missing(check, publish(want), "what is published as %s is another key than ours", k.Selector)
		return
	}
	if k.State == storage.KeyNext {
		if k.Changed == k.Created { // now it has been seen: see AdvanceKeys
			_ = d.a.db.SetKeyState(ctx, k.Domain, k.Purpose, k.Selector, storage.KeyNext)
		}
		d.ok(check, "the next %s key %s is published; it signs %s after it was first seen", k.Purpose, k.Selector, keySettles)
		return
	}
	if k.Purpose != PurposeCalendar {
		d.ok(check, "the %s key %s is published", k.Purpose, k.Selector)
		return
	}
	if err := probe(ctx, k, texts); err != nil {
		d.broken(check, publish(want), "a signature by %s is not verified with the published record: %s", k.Selector, plain(err))
		return
	}
	d.ok(check, "the calendar key %s is published and a signature by it is verified", k.Selector)
	if _, _, ok := endpoint(&d.a.cfg); ok && d.a.cfg.ISchedule && d.a.cfg.KeyLookup {
		d.keyDocument(ctx, check, k)
	}
}

// oldKey looks at a key that signs no more: what it signed may be on its way
// for two weeks, and after that nobody should believe it.
func (d *doctor) oldKey(check string, k storage.Key, want DNSRecord, texts []string, err error) {
	if err != nil && !errors.Is(err, discover.ErrNotFound) {
		d.warn(check, "check dns_resolver and the name servers of the domain", "the old %s key %s cannot be looked up: %s", k.Purpose, k.Selector, plain(err))
		return
	}
	usable := slices.ContainsFunc(texts, func(t string) bool { _, err := dkim.ParseKeyRecord(t); return err == nil })
	until := time.UnixMicro(k.Changed).Add(keyLingers).UTC().Format(time.DateOnly)
	switch {
	case k.State == storage.KeyRetired && !usable:
		d.warn(check, publish(want), "the %s key %s signed until lately and is not published any more; mail that is on its way will be refused until %s", k.Purpose, k.Selector, until)
	case k.State == storage.KeyRetired:
		d.ok(check, "the %s key %s signs no more and stays published until %s", k.Purpose, k.Selector, until)
	case usable:
		d.warn(check, "take the record "+strings.TrimSuffix(want.Name, ".")+" out of the DNS", "the %s key %s is revoked and still published", k.Purpose, k.Selector)
	}
}

// keyDocument checks that servers which look for keys by https find ours
// (ischedule §7.5).
func (d *doctor) keyDocument(ctx context.Context, check string, k storage.Key) {
	const fix = "let the proxy pass /.well-known/domainkey/ to Kalends, or set ischedule_http_keys to false"
	at := ischedule.KeyPath + k.Domain + "/" + k.Selector
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.a.cfg.ExternalURL+at, nil)
	if err != nil {
		d.broken(check, fix, "%s", plain(err))
		return
	}
	resp, err := d.out.HTTP.Do(req)
	if err != nil {
		d.broken(check, fix, "%s cannot be read: %s", at, plain(err))
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	switch {
	case err != nil:
		d.broken(check, fix, "%s cannot be read: %s", at, plain(err))
	case resp.StatusCode != http.StatusOK:
		d.broken(check, fix, "%s answers %s", at, resp.Status)
	case !isPublished(ctx, k, func(context.Context, string, string) ([]string, error) {
		return strings.Split(strings.ReplaceAll(string(body), "\r", ""), "\n"), nil
	}):
		d.broken(check, fix, "%s holds another key than ours", at)
	default:
		d.ok(check, "the calendar key %s is found by https too", k.Selector)
	}
}

// unreadable tells of keys that the database does not give.
func (d *doctor) unreadable(check string, err error) {
	fix := "check the database"
	if errors.Is(err, errSealed) {
		fix = "run this command with the key_secret (KALENDS_KEY_SECRET) that the server has"
	}
	d.broken(check, fix, "%s", plain(err))
}

// backend checks that the calendar system behind a gateway domain can be
// reached.
func (d *doctor) backend(ctx context.Context, domain string) {
	row, ok, err := domainRow(ctx, d.a.db, domain)
	if err != nil || !ok || row.Role != storage.RoleGateway {
		return
	}
	check := "backend " + domain
	u, err := url.Parse(row.Backend)
	if err != nil || u.Host == "" {
		d.broken(check, "`kalends domain add "+domain+" --role gateway --backend URL`", "its address %q cannot be read", row.Backend)
		return
	}
	port, err := strconv.Atoi(cmp.Or(u.Port(), "443"))
	if err != nil {
		d.broken(check, "`kalends domain add "+domain+" --role gateway --backend URL`", "its address %q cannot be read", row.Backend)
		return
	}
	dial, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	conn, err := d.out.Dialer.DialContext(dial, "tcp", net.JoinHostPort(u.Hostname(), strconv.Itoa(port)))
	switch {
	case errors.Is(err, discover.ErrForbiddenAddress):
		d.broken(check, "allow its network with dial_allow (KALENDS_DIAL_ALLOW)", "%s is an inner address, where the server does not go by itself", u.Host)
		return
	case err != nil:
		d.broken(check, "start the backend, or tell its new address with `kalends domain add "+domain+" --role gateway --backend URL`", "%s cannot be reached: %s", u.Host, plain(err))
		return
	}
	_ = conn.Close()
	if u.Scheme != "https" || d.certificate(ctx, check, u.Hostname(), port) {
		d.ok(check, "%s can be reached", u.Host)
	}
}

// published reads the key records of a selector from the DNS.
func (d *doctor) published(ctx context.Context, domain, selector string) ([]string, error) {
	return publishedBy(d.out.Resolver)(ctx, domain, selector)
}

// PublishedInDNS asks a resolver, for AdvanceKeys.
func PublishedInDNS(o *Outgoing) Published { return publishedBy(o.Resolver) }

func publishedBy(r *discover.Resolver) Published {
	return func(ctx context.Context, domain, selector string) ([]string, error) {
		got, _, err := r.LookupTXT(ctx, selector+"._domainkey."+domain)
		var out []string
		for _, s := range got {
			out = append(out, strings.Join(s, ""))
		}
		return out, err
	}
}

// fixedKeys is a key source of records at hand.
type fixedKeys []string

// Keys gives the records whatever is asked for.
func (f fixedKeys) Keys(context.Context, string, string, []string) ([]string, error) { return f, nil }

// probe signs a request with our key and verifies it with the published texts.
func probe(ctx context.Context, k storage.Key, texts []string) error {
	key, err := ParsePrivateKey([]byte(k.PEM))
	if err != nil {
		return err
	}
	h := []dkim.Header{{Name: "Content-Type", Value: "text/calendar; charset=utf-8; method=REQUEST; component=VEVENT"}, {Name: "iSchedule-Version", Value: ischedule.Version},
		{Name: "Originator", Value: "mailto:doctor@" + k.Domain}, {Name: "Recipient", Value: "mailto:doctor@" + k.Domain}}
	body, now := []byte("BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"), time.Now()
	sig, err := (&dkim.Signer{Domain: k.Domain, Selector: k.Selector, Key: key}).Sign(h, body, now)
	if err != nil {
		return err
	}
	_, err = dkim.Verify(ctx, append(h, sig), body, now, fixedKeys(texts), dkim.Policy{})
	return err
}

// peer checks the way to another organization.
func (d *doctor) peer(ctx context.Context, domain string) {
	ctx, cancel := context.WithTimeout(ctx, 4*checkTimeout)
	defer cancel()
	check := "peer " + domain
	signers := newKeyring(d.a.db, d.a.cfg.KeyLookup)
	signers.hasOurs = d.peers.hasOurs
	c := ischedule.NewClient(ischedule.ClientConfig{Locator: d.out.Finder, Signers: signers, HTTP: d.out.HTTP.Transport, Now: time.Now, Draft01: true, Dialect: d.peers.dialect})
	found, err := c.Probe(ctx, domain)
	caps := found.Caps
	d.way(check, found.Trace, err == nil)
	if err != nil {
		decision := d.out.Finder.DiscoverDomain(ctx, domain)
		switch decision.Kind {
		case discover.Mail:
			if srv, _, err := d.out.Resolver.LookupSRV(ctx, "_ischedules._tcp."+domain); err == nil && !decision.Absent && len(srv) > 0 {
				d.broken(check, "ask the administrator there for a public address, or allow the network with dial_allow", "offers iSchedule where we cannot go: %s; invitations go by mail", decision.Reason)
				return
			}
			d.ok(check, "offers no iSchedule (%s); invitations go by mail", decision.Reason)
		case discover.Temporary:
			d.broken(check, "check dns_resolver, or try again later", "cannot be looked up: %s", decision.Reason)
		default:
			text, fix := peerProblem(err)
			d.broken(check, fix, "%s", text)
		}
		return
	}
	d.ok(check, "iSchedule %s at %s", strings.Join(caps.Versions, ", "), found.Endpoint)
	d.clock("the server of "+domain, found.Date, found.Asked, found.Answered)
	if !caps.Allows("VEVENT", "REQUEST") {
		d.warn(check, "nothing; such messages go by mail", "takes no invitations to events")
	}
	if limit := caps.MaxContentLength; limit > 0 {
		d.ok(check, "takes messages up to %s", fmt.Sprint(limit, " octets"))
	}
	d.dryRun(ctx, check, domain, c)
}

// way tells how the service was looked for. What was tried in vain before
// something was found is a warning; what was the end of it stands in the finding
// that follows.
func (d *doctor) way(check string, trace []scheduling.Step, found bool) {
	for i, s := range trace {
		switch {
		case s.What == "dns" && found:
			d.ok(check, "DNS: %s", s.Text)
		case s.What == "capabilities" && found && i == len(trace)-1:
			d.ok(check, "capabilities: %s", s.Text)
		case s.What == "capabilities" && i < len(trace)-1:
			d.warn(check, "nothing here; the administrator there may want to know", "one way was tried in vain: %s", s.Text)
		}
	}
}

// peerProblem explains why no server of a domain could be asked.
func peerProblem(err error) (text, fix string) {
	const there = "ask the administrator there"
	var bad *tls.CertificateVerificationError
	switch {
	case errors.As(err, &bad):
		return fmt.Sprintf("its certificate is not believed: %s", plain(bad.Err)), there + " for a certificate with the name of the server from an authority that everybody trusts; an authority of your own federation is told by tls_extra_ca (KALENDS_TLS_EXTRA_CA)"
	case errors.Is(err, discover.ErrNotFound):
		return "its SRV record names a server that has no address", there + " to correct the record"
	}
	return plain(err), there + "; invitations wait and then go by mail"
}

// answered puts the status and the words of a peer together.
func answered(status, detail string) string {
	if detail == "" || strings.HasSuffix(status, detail) {
		return status
	}
	return status + " " + detail
}

// dryRun asks for the busy time of the postmaster there, signed: whatever is
// answered about a person says that the signature is believed. Nothing is
// stored on either side.
func (d *doctor) dryRun(ctx context.Context, check, domain string, c *ischedule.Client) {
	from := d.signingDomain(ctx)
	if from == "" {
		d.warn(check, "`kalends domain add example.org`", "no domain is ours, so nothing can be signed and no question was asked")
		return
	}
	us, them := calendar.Address("mailto:postmaster@"+from), calendar.Address("mailto:postmaster@"+domain)
	start := d.now.UTC().Truncate(time.Hour)
	const utc = "20060102T150405Z"
	body := strings.Join([]string{"BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Kalends//Doctor//EN", "METHOD:REQUEST", "BEGIN:VFREEBUSY", "UID:doctor-" + newRequestID(),
		"DTSTAMP:" + d.now.UTC().Format(utc), "DTSTART:" + start.Format(utc), "DTEND:" + start.Add(time.Hour).Format(utc),
		"ORGANIZER:" + string(us), "ATTENDEE:" + string(them), "END:VFREEBUSY", "END:VCALENDAR", ""}, "\r\n")
	for _, r := range c.FreeBusy(ctx, scheduling.Question{Originator: us, Recipients: []calendar.Address{them}, Domain: domain, Body: []byte(body)}) {
		for _, s := range r.Trace {
			if s.What == "post" || s.What == "note" {
				d.ok(check, "asked: %s", s.Text)
			}
		}
		code, _, _ := strings.Cut(r.Status, ";")
		switch {
		case r.Disposition == ischedule.Done, strings.HasPrefix(code, "3."):
			d.ok(check, "believes a question signed by %s; about its postmaster it says %s", from, r.Status)
		case r.Disposition == ischedule.Retry:
			d.broken(check, "try again later; if it stays, ask the administrator there", "takes no question now: %s", answered(r.Status, r.Detail))
		case r.Disposition == ischedule.Mail:
			d.warn(check, "nothing; invitations that do not fit go by mail", "takes no such question: %s", r.Status)
		default:
			d.broken(check, "run `kalends doctor "+from+"` and see that the key's record can be looked up from outside, then ask the administrator there", "refuses a question signed by %s: %s", from, answered(r.Status, r.Detail))
		}
	}
}

// signingDomain is the first of our domains that can sign.
func (d *doctor) signingDomain(ctx context.Context) string {
	list, err := d.a.db.ListDomains(ctx)
	if err != nil {
		return ""
	}
	for _, x := range list {
		if _, err := d.a.db.ActiveKey(ctx, x.Name, PurposeCalendar); err == nil {
			return x.Name
		}
	}
	return ""
}
