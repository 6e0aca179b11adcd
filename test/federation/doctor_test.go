package federation

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/federation/discover/discovertest"
	"github.com/kalends/kalends/test/blackbox"
)

// finding is a line of `kalends doctor --json`.
type finding struct{ Level, Check, Text, Fix string }

// doctor asks, and tells whether the exit code said that something is broken.
func (s *scene) doctor(n *blackbox.Node, domain string) (list []finding, broken bool) {
	s.t.Helper()
	text, err := n.Command("", "doctor", domain, "--json")
	if at := strings.IndexByte(text, '['); at < 0 || json.NewDecoder(strings.NewReader(text[at:])).Decode(&list) != nil {
		s.t.Fatalf("kalends doctor %s --json: %v\n%s", domain, err, text)
	}
	for _, f := range list {
		if f.Level != "ok" && f.Fix == "" {
			s.t.Errorf("no fix for %+v", f)
		}
		if strings.Contains(f.Text+f.Fix, "\n") {
			s.t.Errorf("more than a line: %+v", f)
		}
		broken = broken || f.Level == "broken"
	}
	if broken != (err != nil) {
		s.t.Errorf("the exit code says %v, the findings %+v", err, list)
	}
	return list, broken
}

// says tells whether one of the findings has a level and a text.
func says(list []finding, level, text string) bool {
	for _, f := range list {
		if f.Level == level && strings.Contains(f.Text, text) {
			return true
		}
	}
	return false
}

// TestDoctor: an installation that is as it should be, as an outsider sees it;
// the way to a peer, with a signed question that the peer believes; and what is
// said when something is not as it should be.
func TestDoctor(t *testing.T) {
	s := newScene(t)
	s.alpha.Set("KALENDS_LMTP_LISTEN=127.0.0.1:24")
	expect := func(list []finding, level string, texts ...string) {
		t.Helper()
		for _, text := range texts {
			if !says(list, level, text) {
				t.Errorf("no finding %s %q in %+v", level, text, list)
			}
		}
	}
	records := func(spf, dmarc string) {
		s.w.DNS.Change(func(w *discovertest.World) {
			w.TXT["alpha.test"], w.TXT["_dmarc.alpha.test"] = [][]string{{"some-site-verification=x"}, {spf}}, [][]string{{dmarc}}
		})
	}
	records("v=spf1 ip4:192.0.2.1 -all", "v=DMARC1; p=reject")
	list, broken := s.doctor(s.alpha, "alpha.test")
	if broken {
		t.Errorf("all is right, and yet: %+v", list)
	}
	expect(list, "ok", "takes our mail", "/.well-known/caldav leads to /dav/", "/ischedule tells its capabilities", "agrees with the server at the external address",
		"_ischedules._tcp.alpha.test leads to", "has the path /ischedule", "a signature by it is verified", "the mail key", "SPF is", "DMARC asks for reject")

	expect(list, "warning", "the certificate ends in 0 days")

	// The way to a live peer, to the end.
	list, broken = s.doctor(s.alpha, "beta.test")
	if broken {
		t.Errorf("the peer is there, and yet: %+v", list)
	}
	expect(list, "ok", "iSchedule 1.0 at https://cal.beta.test:", "agrees with the server of beta.test", "believes a question signed by alpha.test; about its postmaster it says 3.7")

	// A domain with mail only.
	if list, broken = s.doctor(s.alpha, "mail.test"); broken {
		t.Errorf("%+v", list)
	}
	expect(list, "ok", "invitations go by mail")

	// Mail records that receivers trip over.
	for _, c := range []struct{ spf, dmarc, level, text string }{
		{"", "", "warning", "has no SPF record"},
		{"", "", "warning", "has no DMARC record"},
		{"v=spf1 -all", "v=DMARC1; p=none", "broken", "SPF allows nobody"},
		{"v=spf1 +all", "v=DMARC1; p=none", "warning", "SPF allows everybody"},
		{"v=spf1 mx ~all", "v=DMARC1; p=maybe", "broken", "no policy that receivers know"},
	} {
		records(c.spf, c.dmarc)
		time.Sleep(1100 * time.Millisecond) // the records live for a second
		list, _ := s.doctor(s.alpha, "alpha.test")
		expect(list, c.level, c.text)
	}

	// A peer whose clock is wrong, and one that does not believe us since our
	// key is not the published one.
	f := newFront(t, s.beta, &fault{serve: func(f *front, w http.ResponseWriter, _ *http.Request, answer func() *http.Response) {
		resp := answer()
		resp.Header.Set("Date", time.Now().Add(-10*time.Minute).UTC().Format(http.TimeFormat))
		pass(w, resp)
	}})
	s.w.DNS.Change(func(w *discovertest.World) {
		w.SRV["_ischedules._tcp.beta.test"] = []discovertest.SRV{{Port: f.port, Target: "cal.beta.test"}}
		for name := range w.TXT {
			if strings.HasSuffix(name, "._domainkey.alpha.test") {
				w.TXT[name] = w.TXT["cal"+strings.TrimPrefix(strings.TrimSuffix(name, "alpha.test"), "cal")+"beta.test"]
			}
		}
		delete(w.SRV, "_domainkey_lookup._tcp.alpha.test")
	})
	s.beta.Stop() // it remembers the key for a minute
	s.beta.Start()
	list, broken = s.doctor(s.alpha, "beta.test")
	if !broken {
		t.Errorf("a peer that refuses us passes: %+v", list)
	}
	expect(list, "broken", "from the clock here; signatures will be refused", "refuses a question signed by alpha.test")
	list, _ = s.doctor(s.alpha, "alpha.test")
	expect(list, "broken", "is another key than ours", "_domainkey_lookup._tcp.alpha.test SRV is missing")

	// Nobody is there.
	s.beta.Stop()
	f.fault.Store(&fault{serve: func(*front, http.ResponseWriter, *http.Request, func() *http.Response) { panic(http.ErrAbortHandler) }})
	if list, broken = s.doctor(s.alpha, "beta.test"); !broken {
		t.Errorf("a peer that is away passes: %+v", list)
	}
	// And the same in words, a line each.
	text, err := s.alpha.Command("", "doctor", "alpha.test")
	if err == nil || !strings.Contains(text, "Fix: publish: ") {
		t.Errorf("%v %s", err, text)
	}
}
