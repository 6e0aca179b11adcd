package abuse

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kalends/kalends/federation/discover/discovertest"
	"github.com/kalends/kalends/test/blackbox"
)

// TestNothingIsFetched: what stands in objects, from one's own program or from
// another organization, makes the server connect to nobody (A48); a peer whose
// address is an inner one is not connected to (A42).
func TestNothingIsFetched(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		hits.Add(1)
		for { // endless, should anybody read it
			if _, err := io.WriteString(w, strings.Repeat("x", 1<<16)); err != nil {
				return
			}
		}
	}), ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			hits.Add(1)
		}
	}}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	at := "http://" + l.Addr().String()

	w, mail := blackbox.NewWorld(t), blackbox.NewCatcher(t)
	alpha := w.Node("alpha.test", "", "KALENDS_SMTP_URL="+mail.URL())
	beta := w.Node("beta.test", "")
	for _, n := range []*blackbox.Node{alpha, beta} {
		n.Start()
		n.Publish()
	}
	alpha.People("alice")
	beta.People("carol")
	alice, carol := alpha.User("alice"), beta.User("carol")
	w.DNS.Change(func(w *discovertest.World) { w.Addr["evil.test"] = []string{"127.0.0.1"} })
	text := strings.Replace((blackbox.Event{UID: "bait", Start: noon, Organizer: alice.Address, Attendees: []string{carol.Address, "mailto:dave@mail.test"}}).String(), "END:VEVENT",
		"ATTACH:"+at+"/a.pdf\r\nATTACH;FMTTYPE=text/html:file:///etc/passwd\r\nATTACH:ftp://127.0.0.1/x\r\nURL:"+at+"/url\r\nCONFERENCE;VALUE=URI:"+at+"/room\r\nIMAGE;VALUE=URI:"+at+"/i.png\r\nX-ALT-DESC;FMTTYPE=text/html:<img src=\""+at+"/t.gif\">\r\n"+
			"BEGIN:VALARM\r\nACTION:AUDIO\r\nTRIGGER:-PT5M\r\nATTACH:"+at+"/s.wav\r\nEND:VALARM\r\nEND:VEVENT", 1)
	if err := alice.MustPut(alice.Path("bait.ics"), text); err != nil {
		t.Fatal(err)
	}
	if _, err := mail.Wait(patience, func(m blackbox.Mail) bool { return m.Calendar != nil && m.Calendar.UID() == "bait" }); err != nil {
		t.Fatal(err)
	}
	blackbox.Must(t, patience, func() error {
		f, err := carol.Copy("bait")
		if err == nil && f == nil {
			err = fmt.Errorf("carol has no copy")
		}
		if err == nil && strings.Contains(string(f.Object.Bytes()), "file:///") { // A55, on the way
			t.Errorf("a local file came to carol: %s", f.Object.Bytes())
		}
		return err
	})

	// Peers at inner addresses: on this machine without leave, and where clouds
	// keep their secrets.
	strict := w.Node("strict.test", "", "KALENDS_DIAL_ALLOW=", "KALENDS_RETRY_EXPIRY=1s")
	strict.Start()
	strict.People("sam")
	sam := strict.User("sam")
	_, port, _ := net.SplitHostPort(l.Addr().String())
	var n uint16
	fmt.Sscan(port, &n)
	inner := map[string]string{"loop.test": "127.0.0.1", "meta.test": "169.254.169.254", "private.test": "10.0.0.1", "mapped.test": "::ffff:127.0.0.1"}
	w.DNS.Change(func(w *discovertest.World) {
		for d, a := range inner {
			w.Addr["cal."+d] = []string{a}
			w.SRV["_ischedules._tcp."+d] = []discovertest.SRV{{Port: n, Target: "cal." + d}}
		}
	})
	for d := range inner {
		begin := time.Now()
		if err := sam.MustPut(sam.Path(d+".ics"), (blackbox.Event{UID: d, Start: noon, Organizer: sam.Address, Attendees: []string{"mailto:x@" + d}}).String()); err != nil {
			t.Fatal(err)
		}
		blackbox.Must(t, patience, func() error {
			o, err := sam.Get(sam.Path(d + ".ics"))
			if err != nil {
				return err
			}
			if _, st := blackbox.Attendee(o, "mailto:x@"+d); !strings.HasPrefix(st, "5.") {
				return fmt.Errorf("%s: SCHEDULE-STATUS %s", d, st)
			}
			return nil
		})
		if took := time.Since(begin); took > 15*time.Second {
			t.Errorf("%s: %v", d, took)
		}
	}
	if hits.Load() != 0 {
		t.Errorf("%d connections were made to what objects and strangers name", hits.Load())
	}
}

// TestLogsAreDiscreet: with everything logged, neither log nor metrics hold
// passwords, tokens, titles or texts, and the labels of metrics come from closed
// sets whatever is asked (A53).
func TestLogsAreDiscreet(t *testing.T) {
	t.Parallel()
	mail := blackbox.NewCatcher(t)
	w := blackbox.NewWorld(t)
	alpha := w.Node("alpha.test", "", "KALENDS_SMTP_URL="+mail.URL(), "KALENDS_LOG_LEVEL=debug")
	beta := w.Node("beta.test", "", "KALENDS_LOG_LEVEL=debug")
	for _, n := range []*blackbox.Node{alpha, beta} {
		n.Start()
		n.Publish()
	}
	if _, err := alpha.Command("name,emails,password\nalice,alice@alpha.test,correct-horse-battery\n", "user", "import", "-"); err != nil {
		t.Fatal(err)
	}
	beta.People("carol")
	alice, carol := alpha.User("alice"), beta.User("carol")
	alice.Password = "correct-horse-battery"
	secret := strings.Replace((blackbox.Event{UID: "discreet", Start: noon, Summary: "Tumour board", Organizer: alice.Address, Attendees: []string{carol.Address, "mailto:dave@mail.test"}}).String(),
		"END:VEVENT", "DESCRIPTION:About the patient Zwingli\r\nLOCATION:Ward Nightingale\r\nEND:VEVENT", 1)
	if err := alice.MustPut(alice.Path("discreet.ics"), secret); err != nil {
		t.Fatal(err)
	}
	if a, err := alice.Put(alice.Path("broken.ics"), strings.Replace(secret, "DTSTART:", "DTSTART:Tumour", 1)); err != nil || a.OK() {
		t.Errorf("%v %v", a, err)
	}
	m, err := mail.Wait(patience, func(m blackbox.Mail) bool { return m.Calendar != nil })
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`/rsvp/([a-z2-7]{32})`).FindStringSubmatch(strings.ReplaceAll(string(m.Raw), "=\r\n", ""))
	if link == nil {
		t.Fatal("no link in the mail")
	}
	blackbox.Must(t, patience, func() error {
		f, err := carol.Copy("discreet")
		if err == nil && f == nil {
			err = fmt.Errorf("carol has no copy")
		}
		return err
	})
	if err := carol.Answer("discreet", "DECLINED"); err != nil {
		t.Fatal(err)
	}
	if err := alpha.Drained(patience); err != nil {
		t.Error(err)
	}
	wrong := alpha.User("alice")
	wrong.Password = "wrong-horse"
	if a, err := wrong.Do("GET", alice.Path("discreet.ics"), ""); err != nil || a.Status != 401 {
		t.Errorf("%v %v", a, err)
	}
	metrics := func(n *blackbox.Node) string {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", n.Admin))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return string(b)
	}
	before := strings.Count(metrics(alpha), "\nkalends_")
	for i := range 50 { // strangers who try to make labels
		req, _ := http.NewRequest(fmt.Sprintf("M%d", i), fmt.Sprintf("http://127.0.0.1:%d/p%d/q?x=%d", alpha.HTTP, i, i), nil)
		req.Header.Set("Originator", fmt.Sprintf("mailto:x@d%d.test", i))
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
	}
	if after := strings.Count(metrics(alpha), "\nkalends_"); after > before+60 {
		t.Errorf("50 strange requests made %d lines of metrics out of %d", after, before)
	}
	for name, n := range map[string]*blackbox.Node{"alpha": alpha, "beta": beta} {
		for what, text := range map[string]string{"log": n.Log(), "metrics": metrics(n)} {
			for _, private := range []string{"correct-horse", "wrong-horse", "Tumour", "Zwingli", "Nightingale", link[1], "PRIVATE KEY", "Basic "} {
				if strings.Contains(text, private) {
					t.Errorf("the %s of %s holds %q", what, name, private)
				}
			}
		}
		if strings.Contains(metrics(n), "beta.test") || strings.Contains(metrics(n), "alice") {
			t.Errorf("the metrics of %s name domains or people", name)
		}
	}
}
