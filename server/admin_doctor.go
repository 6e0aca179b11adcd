package server

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kalends/kalends/storage"
)

// Levels of findings.
const (
	FindingOK      = "ok"
	FindingWarning = "warning"
	FindingBroken  = "broken"
)

// Finding is one line of a check.
type Finding struct {
	Level string `json:"level"`
	Check string `json:"check"` // what was looked at, such as "dns example.org"
	Text  string `json:"text"`
	Fix   string `json:"fix,omitempty"` // what to do
}

// String is the finding on one line.
func (f Finding) String() string {
	s := fmt.Sprintf("%-7s  %s: %s", f.Level, f.Check, f.Text)
	if f.Fix != "" {
		s += ". Fix: " + f.Fix
	}
	return s
}

// Broken tells whether something does not work.
func Broken(list []Finding) bool {
	for _, f := range list {
		if f.Level == FindingBroken {
			return true
		}
	}
	return false
}

// Limits of the checks.
const (
	checkTimeout  = 15 * time.Second // of one step that asks somebody
	clockWarn     = 30 * time.Second
	clockBroken   = 5 * time.Minute // what receivers of signatures allow (ischedule §7)
	certificateIn = 14 * 24 * time.Hour
)

// doctor collects findings.
type doctor struct {
	a     *Admin
	out   *Outgoing
	peers *peerList
	found []Finding
	now   time.Time
}

func (d *doctor) add(level, check, fix, format string, args ...any) {
	d.found = append(d.found, Finding{level, check, strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " "), fix})
}
func (d *doctor) ok(check, format string, args ...any) { d.add(FindingOK, check, "", format, args...) }
func (d *doctor) warn(check, fix, format string, args ...any) {
	d.add(FindingWarning, check, fix, format, args...)
}
func (d *doctor) broken(check, fix, format string, args ...any) {
	d.add(FindingBroken, check, fix, format, args...)
}

// Doctor checks the installation: the schema, the configuration, the way in
// from outside, mail, and the DNS and keys of one of our domains ("": all).
// With a domain that is not ours it checks the way to that peer instead. It
// changes nothing except that it notes which new keys the DNS shows.
func (a *Admin) Doctor(ctx context.Context, domain string) ([]Finding, error) {
	d := &doctor{a: a, now: a.db.Now(), peers: &peerList{db: a.db}}
	if !d.schema(ctx) {
		return d.found, nil
	}
	list, err := a.db.ListDomains(ctx)
	if err != nil {
		return nil, err
	}
	ours := map[string]bool{}
	for _, x := range list {
		ours[x.Name] = true
	}
	if d.out, err = newOutgoing(&a.cfg, func(name string) bool { return ours[name] }, d.peers.endpoint); err != nil {
		return nil, err
	}
	if domain != "" {
		name := storage.NormalEmail("x@" + domain)
		if name == "" || !strings.Contains(name, ".") {
			return nil, usage("%q is no domain name; write it as example.org", domain)
		}
		name = name[2:]
		if !ours[name] {
			d.peer(ctx, name)
			return d.found, nil
		}
		list = []storage.Domain{{Name: name}}
	}
	d.configuration(len(ours))
	d.mail(ctx)
	d.outside(ctx)
	for _, x := range list {
		d.domain(ctx, x.Name)
	}
	d.queue(ctx)
	return d.found, nil
}

// schema tells whether the database can be used at all.
func (d *doctor) schema(ctx context.Context) bool {
	const check = "database"
	ctx, cancel := context.WithTimeout(ctx, 2*checkTimeout)
	defer cancel()
	st, err := d.a.SchemaStatus(ctx)
	switch {
	case err != nil:
		d.broken(check, "check database_url and that the database runs", "%s cannot be used: %s", redactURL(d.a.cfg.DatabaseURL), plain(err))
	case st.Dirty:
		d.broken(check, fmt.Sprintf("put the schema right, then `kalends migrate force %d`", st.Version), "a migration stopped half way at version %d", st.Version)
	case st.Version > st.Latest:
		d.broken(check, "use the newer binary", "the schema has version %d, this binary knows %d", st.Version, st.Latest)
	case st.Version == 0:
		d.broken(check, "start the server once, or run `kalends migrate up`", "the database is empty")
	case st.Version < st.Latest:
		d.broken(check, "make a backup, then run `kalends migrate up` or start the new server", "the schema has version %d, this binary needs %d", st.Version, st.Latest)
	default:
		d.ok(check, "%s, schema version %d", st.Engine, st.Version)
		return true
	}
	return false
}

func (d *doctor) configuration(domains int) {
	const check = "configuration"
	for _, w := range d.a.cfg.Warnings() {
		d.warn(check, w.Fix, "%s", w.Text)
	}
	if domains == 0 {
		d.warn(check, "`kalends domain add example.org`, or set KALENDS_DOMAINS", "no domain is ours, so scheduling is local only")
	}
	if path := filepath.Join(d.a.cfg.DataDir, adminFile); fileExists(path) {
		d.warn(check, "change the password with `kalends user passwd admin` and delete the file", "the first password of admin still lies in %s", path)
	}
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Warnings are settings that work but that a person should know of.
func (c *Config) Warnings() []Finding {
	var out []Finding
	add := func(fix, text string) {
		out = append(out, Finding{FindingWarning, "configuration", text, fix})
	}
	if c.ExternalURL == "" {
		add("set external_url (KALENDS_EXTERNAL_URL) to the https address of the server", "external_url is not set, so links follow the listener and the DNS records cannot be told")
	} else if strings.HasPrefix(c.ExternalURL, "http://") {
		add("use https, by tls_cert and tls_key or by a proxy", "external_url is not https: calendar programs refuse passwords and other servers do not connect")
	}
	if c.SMTPURL == "" {
		add("set smtp_url (KALENDS_SMTP_URL)", "smtp_url is not set, so invitations to people without iSchedule fail")
	}
	if !c.ISchedule {
		add("set ischedule to true", "iSchedule is off: other organizations get mail only")
	}
	for _, n := range c.DialAllow {
		if n.Bits() == 0 {
			add("list only the networks of the servers you federate with", "dial_allow opens every address, inner ones too, to requests that strangers cause")
		}
	}
	for _, n := range c.Proxies {
		if n.Bits() == 0 {
			add("list only your proxies", "trusted_proxies believes everybody's forwarded headers")
		}
	}
	return out
}

// mail checks the way to the submission server, without sending anything.
func (d *doctor) mail(ctx context.Context) {
	const check = "mail"
	if d.a.cfg.SMTPURL == "" {
		return // a warning of the configuration
	}
	host := "the mail server"
	if u, err := url.Parse(d.a.cfg.SMTPURL); err == nil {
		host = u.Host
	}
	ctx, cancel := context.WithTimeout(ctx, 2*checkTimeout)
	defer cancel()
	if err := checkSubmission(ctx, &d.a.cfg, d.out); err != nil {
		d.broken(check, "check smtp_url: host, port, user and password, and that the server offers TLS", "%s takes no mail from us: %s", host, plain(err))
		return
	}
	d.ok(check, "%s takes our mail", host)
	if d.a.cfg.SMTPListen == "" && d.a.cfg.LMTPListen == "" {
		d.warn(check, "set lmtp_listen and route the intake address to it, see docs/mail.md", "there is no listener for mail, so answers and bounces do not come back into the calendar")
	}
}

// queue looks at what could not be delivered lately.
func (d *doctor) queue(ctx context.Context) {
	const check = "deliveries"
	failed, err := d.a.db.Deliveries(ctx, storage.DeliveryFilter{State: storage.DeliveryFailed, Limit: 200})
	if err != nil {
		d.broken(check, "check the database", "the queue cannot be read: %s", plain(err))
		return
	}
	since := d.now.Add(-24 * time.Hour).UnixMicro()
	n := 0
	for _, f := range failed {
		if f.Updated >= since {
			n++
		}
	}
	if n > 0 {
		d.warn(check, "`kalends deliveries list --state failed` shows them, `kalends deliveries retry --state failed` tries again", "%d failed in the last day", n)
		return
	}
	d.ok(check, "none failed in the last day")
}

// outside checks what the world sees at external_url.
func (d *doctor) outside(ctx context.Context) {
	host, port, ok := endpoint(&d.a.cfg)
	if !ok {
		return // a warning of the configuration
	}
	check := "https " + d.a.cfg.ExternalURL
	if !d.certificate(ctx, check, host, port) {
		return
	}
	d.wellKnown(ctx, check)
	if d.a.cfg.ISchedule {
		d.capabilities(ctx, check, d.a.cfg.ExternalURL+"/ischedule")
	}
}

// wellKnown checks that programs find /dav/ from the host name (RFC 6764 §5),
// and the clock on the way.
func (d *doctor) wellKnown(ctx context.Context, check string) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	const fix = "let the proxy pass everything to Kalends, /.well-known/caldav too"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.a.cfg.ExternalURL+"/.well-known/caldav", nil)
	if err != nil {
		d.broken(check, "set external_url to the address of the server", "%s", plain(err))
		return
	}
	start := time.Now()
	resp, err := d.out.HTTP.Transport.RoundTrip(req) // the redirect itself is what is looked at
	if err != nil {
		d.broken(check, fix, "/.well-known/caldav cannot be read: %s", plain(err))
		return
	}
	resp.Body.Close()
	d.clock("the server at the external address", resp.Header.Get("Date"), start, time.Now())
	to, err := req.URL.Parse(resp.Header.Get("Location"))
	switch {
	case resp.StatusCode/100 != 3 || resp.Header.Get("Location") == "":
		d.broken(check, fix, "/.well-known/caldav answers %s instead of a redirect to /dav/", resp.Status)
	case err != nil || to.Path != "/dav/":
		d.broken(check, fix, "/.well-known/caldav leads to %q instead of /dav/", resp.Header.Get("Location"))
	case to.Scheme != "https" || !strings.EqualFold(to.Host, req.URL.Host):
		d.broken(check, "set external_url to what the outside uses, and list the proxy under trusted_proxies", "/.well-known/caldav leads to %s, another place than external_url", to)
	default:
		d.ok(check, "/.well-known/caldav leads to /dav/")
	}
}

// clock compares the Date of an answer (RFC 9110 §6.6.1) with ours: signatures
// live for minutes. The Date is of some moment between the question and the
// answer, cut to seconds.
func (d *doctor) clock(who, said string, asked, answered time.Time) {
	const check, fix = "clock", "synchronize the clocks (NTP); `date -u` here and there shows which is wrong"
	date, err := http.ParseTime(said)
	if err != nil {
		d.warn(check, "nothing, if its clock is known to be right", "%s does not tell its time", who)
		return
	}
	var off time.Duration
	switch {
	case date.Before(asked.Truncate(time.Second)):
		off = date.Sub(asked.Truncate(time.Second))
	case date.After(answered):
		off = date.Sub(answered).Round(time.Second)
	}
	switch {
	case off.Abs() > clockBroken:
		d.broken(check, fix, "%s is %s from the clock here; signatures will be refused", who, off)
	case off.Abs() > clockWarn:
		d.warn(check, fix, "%s is %s from the clock here", who, off)
	default:
		d.ok(check, "agrees with %s", who)
	}
}
