package federation

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/federation/discover/discovertest"
	"github.com/kalends/kalends/storage/storagetest"
	"github.com/kalends/kalends/test/blackbox"
)

// TestPolicies: each policy towards a domain that is there, one that offers no
// iSchedule, and one whose servers stay dead until the message expires. Mail is
// never the answer to a temporary failure before the last try, and with
// ischedule-only it never is, whatever the DNS says or hides (A44).
func TestPolicies(t *testing.T) {
	const expiry = 8 * time.Second
	kinds := []string{"prefer", "ischedule-only", "mail-only", "both"}
	var domains []string
	for _, k := range kinds {
		domains = append(domains, k+".test")
	}
	s := newScene(t, "KALENDS_DOMAINS=beta.test,"+strings.Join(domains, ","))
	s.alpha.Stop()
	s.alpha.Set("KALENDS_RETRY_EXPIRY=" + expiry.String())
	s.mail.Refuse("gone@")
	var emails []string
	for _, d := range domains {
		emails = append(emails, "--add-email", "fred@"+d)
	}
	if out, err := s.beta.Command("", append([]string{"user", "set", "carol"}, emails...)...); err != nil {
		t.Fatal(out, err)
	}
	// Nothing listens on the port of the dead.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := uint16(l.Addr().(*net.TCPAddr).Port)
	l.Close()
	s.w.DNS.Change(func(w *discovertest.World) {
		for _, k := range kinds {
			w.SRV["_ischedules._tcp."+k+".test"] = []discovertest.SRV{{Port: uint16(s.beta.HTTPS), Target: "cal.beta.test"}}
			w.SRV["_ischedules._tcp."+k+"-dead.test"] = []discovertest.SRV{{Port: closed, Target: "cal.beta.test"}}
		}
	})
	for _, k := range kinds {
		for _, d := range []string{k + ".test", k + "-none.test", k + "-dead.test"} {
			if out, err := s.alpha.Command("", "peer", "set", d, "--policy", k); err != nil {
				t.Fatal(out, err)
			}
		}
	}
	s.alpha.Start()
	mailed := func(address string) (n int) {
		for _, m := range s.mail.Mails() {
			if slices.Contains(m.To, address) {
				n++
			}
		}
		return n
	}
	// What is expected: transport, status, mails, and whether carol has a copy.
	cases := []struct {
		policy, address   string
		transport, status string
		mails             int
		arrives, late     bool
	}{
		{"prefer", "fred@prefer.test", "ischedule", "1.2", 0, true, false},
		{"prefer", "fred@prefer-none.test", "mail", "1.1", 1, false, false},
		{"prefer", "fred@prefer-dead.test", "mail", "1.1", 1, false, true},
		{"prefer", "gone@prefer-dead.test", "mail", "3.7", 0, false, true},
		{"ischedule-only", "fred@ischedule-only.test", "ischedule", "1.2", 0, true, false},
		{"ischedule-only", "fred@ischedule-only-none.test", "ischedule", "5.2", 0, false, false},
		{"ischedule-only", "fred@ischedule-only-dead.test", "ischedule", "5.1", 0, false, true},
		{"mail-only", "fred@mail-only.test", "mail", "1.1", 1, false, false},
		{"mail-only", "fred@mail-only-none.test", "mail", "1.1", 1, false, false},
		{"mail-only", "fred@mail-only-dead.test", "mail", "1.1", 1, false, false},
		{"both", "fred@both.test", "ischedule", "1.2", 1, true, false},
		{"both", "fred@both-none.test", "mail", "1.1", 1, false, false},
		{"both", "fred@both-dead.test", "mail", "1.1", 1, false, true},
	}
	uidOf := func(address string) string {
		return "policy-" + strings.NewReplacer("@", "-", ".", "-").Replace(address)
	}
	begin := time.Now()
	for _, c := range cases {
		uid := uidOf(c.address)
		if err := s.alice.MustPut(s.alice.Path(uid+".ics"), (blackbox.Event{UID: uid, Start: monday, Organizer: s.alice.Address, Attendees: []string{"mailto:" + c.address}}).String()); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range cases {
		if c.late {
			d := s.delivery(s.alpha, uidOf(c.address), func(d blackbox.Delivery) bool { return d.Attempts >= 2 })
			if d.State != "queued" && d.State != "in-flight" || d.Transport == "mail" || mailed(c.address) != 0 {
				t.Errorf("before the last try: %+v, %d mails", d, mailed(c.address))
			}
		}
	}
	for _, c := range cases {
		t.Run(c.policy+" "+c.address, func(t *testing.T) {
			s := *s
			s.t = t
			uid := uidOf(c.address)
			path := s.alice.Path(uid + ".ics")
			d := s.delivery(s.alpha, uid, func(d blackbox.Delivery) bool { return d.State == "done" || d.State == "failed" })
			if took := time.Since(begin); c.late && took < expiry-time.Second {
				t.Errorf("final after %v", took)
			}
			if d.Transport != c.transport || !strings.HasPrefix(d.Status, c.status) || (d.State == "done") != strings.HasPrefix(c.status, "1.") {
				t.Errorf("%+v; want %s %s", d, c.transport, c.status)
			}
			if n := mailed(c.address); n != c.mails {
				t.Errorf("%d mails; want %d", n, c.mails)
			}
			blackbox.Must(t, patience, func() error {
				o, err := s.alice.Get(path)
				if err != nil {
					return err
				}
				if _, st := blackbox.Attendee(o, "mailto:"+c.address); !strings.HasPrefix(st, c.status) {
					return fmt.Errorf("SCHEDULE-STATUS is %s; want %s", st, c.status)
				}
				return nil
			})
			if c.arrives {
				s.has(s.carol, uid, nil)
			} else if f, err := s.carol.Copy(uid); err != nil || f != nil {
				t.Errorf("it came to carol: %v %v", f, err)
			}
			shown, err := s.alpha.Command("", "deliveries", "show", d.Ref)
			if err != nil || c.late && c.transport == "mail" && !(strings.Contains(shown, "cannot be reached") && strings.Contains(shown, "mail ")) {
				t.Errorf("what was tried: %v %s", err, shown)
			}
		})
	}
}

// TestDeliveries: what an administrator sees of a message on its way and does
// with it, by the commands, while the server runs.
func TestDeliveries(t *testing.T) {
	for _, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) { testDeliveries(newSceneOn(t, e)) })
	}
}

func testDeliveries(s *scene) {
	t := s.t
	s.alpha.Stop()
	s.alpha.Set("KALENDS_RETRY_MIN=1h", "KALENDS_RETRY_MAX=1h", "KALENDS_RETRY_EXPIRY=48h")
	s.alpha.Start()
	s.beta.Stop()
	requests := map[string]string{} // UID -> the id that the answer to the PUT said
	put := func(uid string) string {
		path := s.alice.Path(uid + ".ics")
		a, err := s.alice.Put(path, (blackbox.Event{UID: uid, Start: monday, Organizer: s.alice.Address, Attendees: []string{s.carol.Address}}).String())
		if err != nil || !a.OK() {
			t.Fatalf("PUT: %s, %v", a, err)
		}
		requests[uid] = a.Header.Get("X-Request-Id")
		return path
	}
	state := func(path, want string) {
		t.Helper()
		blackbox.Must(t, patience, func() error {
			o, err := s.alice.Get(path)
			if err != nil {
				return err
			}
			if _, st := blackbox.Attendee(o, s.carol.Address); !strings.HasPrefix(st, want) {
				return fmt.Errorf("SCHEDULE-STATUS is %s; want %s", st, want)
			}
			return nil
		})
	}
	run := func(args ...string) string {
		t.Helper()
		text, err := s.alpha.Command("", append([]string{"deliveries"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	first, second := put("first"), put("second")
	waits := func(uid string) blackbox.Delivery {
		return s.delivery(s.alpha, uid, func(d blackbox.Delivery) bool { return d.State == "queued" && d.Attempts == 1 })
	}
	one, two := waits("first"), waits("second")

	text := run("list", "--state", "queued", "--domain", "beta.test", "--user", "alice")
	if strings.Count(text, "\n") != 3 || !strings.Contains(text, one.Ref) || !strings.Contains(text, two.Ref) || !strings.Contains(text, s.carol.Address) {
		t.Errorf("list: %s", text)
	}
	text = run("show", one.Ref)
	for _, want := range []string{"REQUEST VEVENT", s.carol.Address, "attempt 1 at", "dns ", "SRV record of beta.test", "capabilities", "next:", "until:"} {
		if !strings.Contains(text, want) {
			t.Errorf("show says nothing of %q: %s", want, text)
		}
	}
	// The id of alice's PUT names the message in the queue.
	if id := requests["first"]; id == "" || id == requests["second"] || !strings.Contains(text, id) {
		t.Errorf("the delivery does not say the request %q: %s", id, text)
	}
	if strings.Contains(text, "BEGIN:VCALENDAR") || !strings.Contains(run("show", "--body", one.Ref), "BEGIN:VCALENDAR") {
		t.Error("the message is shown with --body, and only then")
	}

	// Give one up: its organizer sees it, and it never leaves.
	if text := run("cancel", two.Ref); !strings.Contains(text, "1 delivery given up") {
		t.Errorf("cancel: %s", text)
	}
	state(second, "5.1")
	if _, err := s.alpha.Command("", "deliveries", "cancel", two.Ref); err == nil || !strings.Contains(err.Error(), "only one that waits can be given up") {
		t.Errorf("again: %v", err)
	}
	if _, err := s.alpha.Command("", "deliveries", "cancel", "alice/1"); err == nil {
		t.Error("what is not there was given up")
	}

	// Try the other now instead of in an hour. The peer's pause has passed.
	s.beta.Start()
	run("retry", one.Ref)
	s.has(s.carol, "first", nil)
	state(first, "1.2")
	if d := s.delivery(s.alpha, "first", func(d blackbox.Delivery) bool { return d.State == "done" }); d.Attempts < 2 {
		t.Errorf("%+v", d)
	}
	// And it stands beside the peer's answer in the log.
	blackbox.Must(t, patience, func() error {
		for line := range strings.Lines(s.alpha.Log()) {
			if strings.Contains(line, requests["first"]) && strings.Contains(line, "recipient_domain=beta.test") && strings.Contains(line, "state=done") {
				return nil
			}
		}
		return fmt.Errorf("no line of the log has request %s and what beta.test answered", requests["first"])
	})
	if f, err := s.carol.Copy("second"); err != nil || f != nil {
		t.Errorf("what was given up arrived: %v", err)
	}
	// What was given up can be taken up again.
	run("retry", "--state", "failed", "--domain", "beta.test")
	s.has(s.carol, "second", nil)
	state(second, "1.2")
	if _, err := s.alpha.Command("", "deliveries", "retry", one.Ref); err == nil || !strings.Contains(err.Error(), "cannot be tried again") {
		t.Errorf("what has arrived is tried again: %v", err)
	}
}

// TestPrivateExchange: a domain whose keys are neither in the DNS nor on the web is
// believed when its administrators gave them, and not before (ischedule §7.5).
func TestPrivateExchange(t *testing.T) {
	s := newScene(t)
	var selector string
	s.w.DNS.Change(func(w *discovertest.World) {
		for name, txt := range w.TXT {
			if sel, ok := strings.CutSuffix(name, "._domainkey.alpha.test"); ok && len(txt) > 0 {
				// Which of the keys signs calendar messages is not said here.
				if out, err := s.beta.Command(strings.Join(txt[0], ""), "peer", "set", "alpha.test", "--key", sel+"=/dev/stdin"); err != nil {
					t.Fatal(out, err)
				}
				selector = sel
				delete(w.TXT, name)
			}
		}
		delete(w.SRV, "_domainkey_lookup._tcp.alpha.test")
	})
	if selector == "" {
		t.Fatal("alpha.test has published no key")
	}
	if out, err := s.alpha.Command("", "peer", "set", "beta.test", "--private-exchange", "yes"); err != nil {
		t.Fatal(out, err)
	}
	s.invite("exchanged")
	s.has(s.carol, "exchanged", nil)
	if d := s.delivery(s.alpha, "exchanged", func(d blackbox.Delivery) bool { return d.State == "done" }); d.Transport != "ischedule" {
		t.Errorf("it went by %s", d.Transport)
	}
	// Another key under the name of theirs is no proof.
	list, err := s.beta.Command("", "peer", "list")
	if err != nil || !strings.Contains(list, selector) {
		t.Fatalf("%s %v", list, err)
	}
	if out, err := s.beta.Command("", "peer", "remove", "alpha.test"); err != nil {
		t.Fatal(out, err)
	}
	time.Sleep(6 * time.Second) // acts within seconds
	s.invite("unknown")
	d := s.delivery(s.alpha, "unknown", func(d blackbox.Delivery) bool { return d.Attempts >= 1 && d.State != "in-flight" })
	if f, err := s.carol.Copy("unknown"); err != nil || f != nil {
		t.Errorf("a signature whose key nobody knows was believed: %+v %v", d, err)
	}
}
