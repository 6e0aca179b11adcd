package clients

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/federation/discover/discovertest"
	"github.com/kalends/kalends/test/blackbox"
)

// Want 38: a program that has subscribed hears of a change within two seconds, whether
// the server that pushes made it or another process on the same database.
func TestPushWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	w := blackbox.NewWorld(t)
	n := w.Node("alpha.test", "")
	n.Start()
	n.People("alice", "bob")
	p := &program{T: t, node: n, base: fmt.Sprintf("http://127.0.0.1:%d", n.HTTP), user: "alice", head: map[string]string{"User-Agent": "DAVx5/4.5"}}

	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	w.CA.Issue(t, "push.alpha.test", certFile, keyFile)
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	arrived := make(chan time.Time, 100)
	service := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Header.Get("Content-Encoding") != "aes128gcm" || !strings.HasPrefix(r.Header.Get("Authorization"), "vapid ") {
			t.Errorf("a push without encryption or signature: %v", r.Header)
		}
		rw.WriteHeader(http.StatusCreated)
		arrived <- time.Now()
	}))
	service.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	service.StartTLS()
	t.Cleanup(service.Close)
	w.DNS.Change(func(d *discovertest.World) { d.Addr["push.alpha.test"] = []string{"127.0.0.1"} })

	const cal = "/dav/calendars/alice/calendar/"
	port := service.URL[strings.LastIndexByte(service.URL, ':')+1:]
	body := report("P:push-register", `<P:subscription><P:web-push-subscription><P:push-resource>https://push.alpha.test:`+port+`/up/alice</P:push-resource><P:subscription-public-key type="p256dh">BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4</P:subscription-public-key><P:auth-secret>BTBZMqHH6r4Tts7J_aSIgg</P:auth-secret></P:web-push-subscription></P:subscription><P:trigger><P:content-update><D:depth>1</D:depth></P:content-update></P:trigger><P:expires>`+
		time.Now().Add(72*time.Hour).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")+`</P:expires>`)
	p.do("POST", cal, "", body).want(204)

	// A machine that is busy with other things may be slow once: the best of some
	// counts, and all are shown.
	measure := func(what string, change func(i int)) {
		t.Helper()
		var took []time.Duration
		for i := range 3 {
			time.Sleep(1200 * time.Millisecond) // a subscription gets one push a second
			for len(arrived) > 0 {
				<-arrived
			}
			start := time.Now()
			change(i)
			select {
			case at := <-arrived:
				took = append(took, at.Sub(start).Round(time.Millisecond))
			case <-time.After(30 * time.Second):
				t.Fatalf("%s: no push\n%s", what, n.Log())
			}
		}
		t.Logf("%s: a push after %v", what, took)
		if best := slices.Min(took); best > 2*time.Second {
			t.Errorf("%s: the best push took %v", what, best)
		}
	}
	measure("a change by PUT", func(i int) {
		p.do("PUT", fmt.Sprintf("%spush%d.ics", cal, i), "", event(fmt.Sprint("push", i))).want(201)
	})
	measure("an invitation", func(i int) {
		text := event(fmt.Sprint("invited", i), "ORGANIZER:mailto:bob@alpha.test", "ATTENDEE:mailto:bob@alpha.test", "ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:alice@alpha.test")
		p.as("bob").do("PUT", fmt.Sprintf("/dav/calendars/bob/calendar/invited%d.ics", i), "", text).want(201)
	})
	measure("a change by another process", func(i int) {
		if _, err := n.Command(event(fmt.Sprint("imported", i)), "import", "--user", "alice", "-"); err != nil {
			t.Fatal(err)
		}
	})
}
