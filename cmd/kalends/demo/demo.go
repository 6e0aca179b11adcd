// Package demo plays the story of `kalends demo`: two installations and a mail
// site, each a process of its own on loopback that shares no memory and no
// file with the others, with a DNS server and a throw-away certificate
// authority between them.
//
// It does nothing a user could not do: it runs the program's own commands,
// speaks CalDAV over TLS as a calendar program does, and reads what the servers
// and the mail site say. Every line it prints is what happened. A step that
// does not happen ends the story with an error that names it.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
)

// Options of a run.
type Options struct {
	Exit    bool      // end after the story
	Break   string    // "", "dns", "key", "cert": spoils beta's, to show that the story notices
	Verbose io.Writer // server logs; nil: dropped
	Events  int       // generated events per person: 300
	Out     io.Writer
	Exe     string // the kalends binary; "": this one
}

const adminPassword = "demo-admin"

// ErrStep says that a step of the story did not happen.
var ErrStep = errors.New("the story stopped")

type story struct {
	Options
	ctx         context.Context
	dns         *nameserver
	alpha, beta *site
	trust       *authority
	mail        *mailProcess
	alice, bob  *user
	carol       *user
	n           int
	told        map[string]bool // deliveries that an earlier step was about
	began       time.Time
}

// Run plays the story. Without Exit it stays up until ctx ends.
func Run(ctx context.Context, opt Options) error {
	if opt.Events == 0 {
		opt.Events = 300
	}
	if opt.Exe == "" {
		exe, err := os.Executable()
		if err != nil {
			return err
		}
		opt.Exe = exe
	}
	base, err := os.MkdirTemp("", "kalends-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(base)
	s := &story{Options: opt, ctx: ctx, told: map[string]bool{}, began: time.Now()}
	defer s.close()
	if err := s.set(base); err != nil {
		return fmt.Errorf("%w while it was set up: %w", ErrStep, err)
	}
	if err := s.play(); err != nil {
		return err
	}
	s.say("\nThe whole story took %.1f s.", time.Since(s.began).Seconds())
	s.logins()
	if opt.Exit {
		return nil
	}
	s.say("\nPress ^C to stop; everything is thrown away then.")
	<-ctx.Done()
	return nil
}

func (s *story) say(format string, a ...any) { fmt.Fprintf(s.Out, format+"\n", a...) }

func (s *story) close() {
	var wg sync.WaitGroup
	for _, x := range []*site{s.alpha, s.beta} {
		if x != nil {
			wg.Add(1)
			go func() { defer wg.Done(); x.stop() }()
		}
	}
	wg.Wait()
	if s.mail != nil {
		s.mail.stop()
	}
	if s.dns != nil {
		s.dns.close()
	}
}

// mailProcess is the mail site seen from outside.
type mailProcess struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	ready  mailEvent
	mu     sync.Mutex
	events []mailEvent
}

func startMail(exe, dnsAddr string) (*mailProcess, error) {
	m := &mailProcess{cmd: exec.Command(exe, "demo", "--mail-site", dnsAddr)}
	m.cmd.SysProcAttr = childAttributes()
	m.cmd.Stderr = os.Stderr
	var err error
	if m.stdin, err = m.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	d := json.NewDecoder(out)
	if err := d.Decode(&m.ready); err != nil {
		m.stop()
		return nil, fmt.Errorf("the mail site did not start: %w", err)
	}
	go func() {
		for {
			var e mailEvent
			if d.Decode(&e) != nil {
				return
			}
			m.mu.Lock()
			m.events = append(m.events, e)
			m.mu.Unlock()
		}
	}()
	return m, nil
}

func (m *mailProcess) stop() {
	_ = m.stdin.Close()
	done := make(chan struct{})
	go func() { _ = m.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(3 * time.Second):
		_ = m.cmd.Process.Kill()
		<-done
	}
}

// saw looks for the newest event that matches.
func (m *mailProcess) saw(event, uid, method string, after int) (mailEvent, int, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := after; i < len(m.events); i++ {
		if e := m.events[i]; e.Event == event && e.UID == uid && (method == "" || e.Method == method) {
			return e, i + 1, true
		}
	}
	return mailEvent{}, after, false
}

func (m *mailProcess) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.events)
}

// set builds the world: names, certificates, processes, users, calendars.
func (s *story) set(base string) error {
	var err error
	if s.dns, err = startDNS(); err != nil {
		return err
	}
	if s.trust, err = newAuthority("Kalends demo authority"); err != nil {
		return err
	}
	if s.mail, err = startMail(s.Exe, s.dns.addr); err != nil {
		return err
	}
	betaCA := s.trust
	if s.Break == "cert" {
		if betaCA, err = newAuthority("An authority that nobody trusts"); err != nil {
			return err
		}
	}
	if s.alpha, err = newSite(s.Exe, base, "alpha.test", s.dns.addr, s.mail.ready.Port, s.trust, s.trust); err != nil {
		return err
	}
	if s.beta, err = newSite(s.Exe, base, "beta.test", s.dns.addr, s.mail.ready.Port, betaCA, s.trust); err != nil {
		return err
	}
	people := map[*site]string{
		s.alpha: "name,kind,emails,display_name,password,rights,members,uuid\nalice,user,alice@alpha.test,Alice,alice,,,\nbob,user,bob@alpha.test,Bob,bob,,,\n",
		s.beta:  "name,kind,emails,display_name,password,rights,members,uuid\ncarol,user,carol@beta.test,Carol,carol,,,\n",
	}
	names := map[*site][]string{s.alpha: {"alice", "bob"}, s.beta: {"carol"}}
	zones := map[*site]string{}
	var mu sync.Mutex
	errs := make(chan error, 2)
	for _, x := range []*site{s.alpha, s.beta} {
		go func() {
			errs <- func() error {
				if err := os.WriteFile(x.dir+"/people.csv", []byte(people[x]), 0o600); err != nil {
					return err
				}
				if err := x.start(s.Verbose); err != nil {
					return err
				}
				if _, err := waitFor(20*time.Second, func() error { return x.up() }); err != nil {
					return err
				}
				if _, err := x.command(s.ctx, "", "user", "import", x.dir+"/people.csv"); err != nil {
					return err
				}
				for _, n := range names[x] {
					file := x.dir + "/" + n + ".ics"
					if err := os.WriteFile(file, generate(n, s.Events, time.Now()), 0o600); err != nil {
						return err
					}
					if _, err := x.command(s.ctx, "", "import", file, "--user", n, "--calendar", "calendar"); err != nil {
						return err
					}
				}
				zone, err := x.command(s.ctx, "", "domain", "dns", x.domain)
				mu.Lock()
				zones[x] = zone
				mu.Unlock()
				return err
			}()
		}()
	}
	for range 2 {
		if e := <-errs; e != nil && err == nil {
			err = e
		}
	}
	if err != nil {
		return err
	}
	for x, zone := range zones {
		if err := s.dns.load(zone); err != nil {
			return fmt.Errorf("the records that `kalends domain dns %s` printed: %w", x.domain, err)
		}
		if err := s.dns.load("cal." + x.domain + ". 60 IN A 127.0.0.1\n"); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(s.mail.stdin, `{"Domain":%q,"Addr":"127.0.0.1:%d"}`+"\n", x.domain, x.smtp); err != nil {
			return err
		}
	}
	if err := s.dns.load(`dave._domainkey.mail.test. 60 IN TXT ` + quoteTXT(s.mail.ready.Record) + "\n"); err != nil {
		return err
	}
	switch s.Break {
	case "dns": // beta's SRV record is gone
		s.dns.drop(func(rr dns.RR) bool {
			return rr.Header().Rrtype == dns.TypeSRV && strings.EqualFold(rr.Header().Name, "_ischedules._tcp.beta.test.")
		})
	case "key": // the published key is not the one that signs
		var names []string
		for _, rr := range s.dns.drop(func(rr dns.RR) bool {
			n := strings.ToLower(rr.Header().Name)
			return rr.Header().Rrtype == dns.TypeTXT && strings.HasSuffix(n, "._domainkey.beta.test.") || strings.HasPrefix(n, "_domainkey_lookup.") && strings.HasSuffix(n, ".beta.test.")
		}) {
			if rr.Header().Rrtype == dns.TypeTXT {
				names = append(names, rr.Header().Name)
			}
		}
		for _, n := range names {
			if err := s.dns.load(n + " 60 IN TXT " + quoteTXT(s.mail.ready.Record) + "\n"); err != nil {
				return err
			}
		}
	}
	s.alice = newUser(s.alpha, "alice", "Alice", "alice", s.trust)
	s.bob = newUser(s.alpha, "bob", "Bob", "bob", s.trust)
	s.carol = newUser(s.beta, "carol", "Carol", "carol", betaCA)
	s.say("alpha.test   %s   users alice, bob        own process, own SQLite file", s.alpha.url)
	s.say("beta.test    %s   user carol             own process, own SQLite file", s.beta.url)
	s.say("mail.test    SMTP on port %d                    dave, who has e-mail only", s.mail.ready.Port)
	s.say("Between them: DNS on %s, TLS by a throw-away authority. %d generated events in each calendar. Ready after %.1f s.\n", s.dns.addr, s.Events, time.Since(s.began).Seconds())
	return nil
}

// up asks whether the server answers.
func (s *site) up() error {
	if err := s.alive(); err != nil {
		return err
	}
	return tcpOpen(s.port)
}

func quoteTXT(s string) string {
	var parts []string
	for len(s) > 0 {
		n := min(250, len(s))
		parts = append(parts, `"`+s[:n]+`"`)
		s = s[n:]
	}
	return strings.Join(parts, " ")
}

// step runs one step of the story and prints what came of it.
func (s *story) step(title string, f func() (string, error)) error {
	s.n++
	start := time.Now()
	result, err := f()
	took := time.Since(start)
	if err != nil {
		s.say("%2d  %s\n    FAILED after %s: %v", s.n, title, round(took), err)
		return fmt.Errorf("%w at step %d (%s): %w", ErrStep, s.n, title, err)
	}
	s.say("%2d  %s\n    %s  [%s]", s.n, title, strings.ReplaceAll(result, "\n", "\n    "), round(took))
	return nil
}

func round(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

const dave = "mailto:dave@mail.test"

// delivery is what `kalends deliveries list --json` says about one recipient.
type delivery struct {
	Ref       string `json:"ref"`
	UID       string `json:"uid"`
	Recipient string `json:"recipient"`
	State     string `json:"state"`
	Transport string `json:"transport"`
	Proof     string `json:"proof"`
	Status    string `json:"status"`
	Detail    string `json:"detail"`
	Attempts  int    `json:"attempts"`
	Created   string `json:"created"`
}

// deliveries asks a site's own command what became of its messages about a UID.
func (s *story) deliveries(x *site, uid string) ([]delivery, error) {
	text, err := x.command(s.ctx, "", "deliveries", "list", "--uid", uid, "--json")
	if err != nil {
		return nil, err
	}
	var list []delivery
	return list, json.Unmarshal([]byte(text), &list)
}

// delivered waits until the newest message to a recipient is done, and checks
// the way it took.
func (s *story) delivered(x *site, uid, recipient, method, transport string) (delivery, error) {
	var d delivery
	_, err := waitFor(8*time.Second, func() error {
		list, err := s.deliveries(x, uid)
		if err != nil {
			return err
		}
		for _, e := range list { // newest first
			if !strings.EqualFold(e.Recipient, recipient) {
				continue
			}
			if s.told[e.Ref] {
				break // the one of an earlier step
			}
			d = e
			switch {
			case (e.State == "done" || e.State == "failed") && e.Transport != transport:
				return final{fmt.Errorf("the %s to %s went by %s instead of %s: %s", method, recipient, e.Transport, transport, s.why(x, e))}
			case e.State == "failed":
				return final{fmt.Errorf("the %s to %s failed: %s", method, recipient, s.why(x, e))}
			case e.State != "done":
				return fmt.Errorf("the %s to %s is %s after %d attempts: %s", method, recipient, e.State, e.Attempts, e.Detail)
			}
			return nil
		}
		return fmt.Errorf("no %s to %s was queued", method, recipient)
	})
	s.told[d.Ref] = true
	return d, err
}

// why reads the trace of a delivery: what the servers found out on the way.
func (s *story) why(x *site, d delivery) string {
	text, err := x.command(s.ctx, "", "deliveries", "show", d.Ref, "--json")
	var show struct {
		Trace []scheduling.Attempt `json:"trace"`
	}
	if err != nil || json.Unmarshal([]byte(text), &show) != nil {
		return d.Detail
	}
	var parts []string
	for _, a := range show.Trace[max(0, len(show.Trace)-1):] {
		for _, st := range a.Steps {
			parts = append(parts, st.What+": "+st.Text)
		}
	}
	return strings.Join(append(parts, d.Detail), "; ")
}

// invitation builds the event: a weekly meeting in Berlin.
func (s *story) invitation(uid string, start time.Time) *calendar.Object {
	text := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Alice's calendar program//EN\r\n" + zonesICS["Europe/Berlin"] +
		"BEGIN:VEVENT\r\nUID:" + uid + "\r\nDTSTAMP:" + time.Now().UTC().Format("20060102T150405Z") + "\r\nSUMMARY:Federation round table\r\nLOCATION:Room 1\r\n" +
		"DTSTART;TZID=Europe/Berlin:" + start.Format("20060102T150405") + "\r\nDTEND;TZID=Europe/Berlin:" + start.Add(time.Hour).Format("20060102T150405") + "\r\nRRULE:FREQ=WEEKLY;COUNT=6\r\n" +
		"ORGANIZER;CN=Alice:mailto:alice@alpha.test\r\nATTENDEE;CN=Alice;PARTSTAT=ACCEPTED:mailto:alice@alpha.test\r\n" +
		"ATTENDEE;CN=Bob;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:bob@alpha.test\r\nATTENDEE;CN=Carol;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:carol@beta.test\r\n" +
		"ATTENDEE;CN=Dave;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:dave@mail.test\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
	o, err := calendar.Parse([]byte(text), calendar.DefaultLimits())
	if err != nil {
		panic(err) // the text above is a constant but for dates
	}
	return o
}

func (s *story) logins() {
	s.say("\nLook around (the certificates are the demo's own):")
	s.say("  %s/   alice / alice, bob / bob, admin / %s", s.alpha.local(), adminPassword)
	s.say("  %s/   carol / carol, admin / %s", s.beta.local(), adminPassword)
	s.say("  Calendar programs: the same addresses with /dav/ at the end.")
}

// local is an address that works without the demo's DNS.
func (s *site) local() string { return fmt.Sprintf("https://localhost:%d", s.port) }
