package server

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/federation/discover/discovertest"
	"github.com/kalends/kalends/federation/dkim"
	"github.com/kalends/kalends/storage/storagetest"
)

// BenchmarkInbound compares a signed POST that delivers to one local user with
// a PUT by one of our own people that invites one local user, in turns on the
// same installation. post/put is the ratio of their rates; the goal is 0.5.
func BenchmarkInbound(b *testing.B) {
	b.Run(string(engine), func(b *testing.B) { benchInbound(b, engine) })
}

func benchInbound(b *testing.B, e storagetest.Engine) {
	key, err := newKeyPEM()
	if err != nil {
		b.Fatal(err)
	}
	signer, err := ParsePrivateKey([]byte(key))
	if err != nil {
		b.Fatal(err)
	}
	record, _, err := publicRecord(signer)
	if err != nil {
		b.Fatal(err)
	}
	dns, err := discovertest.New(discovertest.World{TXT: map[string][][]string{"k1._domainkey.beta.test": {dkim.TXTStrings(record)}}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(dns.Close)
	cfg := DefaultConfig()
	cfg.DNSResolver, cfg.DataDir, cfg.ExternalURL = List{dns.Addr()}, b.TempDir(), "https://cal.alpha.test"
	db := storagetest.Open(b, e)
	ctx := context.Background()
	a := NewAdmin(db, cfg, "bench", slog.New(slog.DiscardHandler))
	if _, err := a.AddDomain(ctx, "alpha.test"); err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"alice", "bob"} {
		if _, _, err := a.AddUser(ctx, UserSpec{Name: name, Emails: []string{name + "@alpha.test"}, Password: "a long enough password"}); err != nil {
			b.Fatal(err)
		}
	}
	plenty := 1 << 30
	if _, _, err := a.SetPeer(ctx, "beta.test", PeerChange{Messages: &plenty}); err != nil {
		b.Fatal(err)
	}
	s, err := assemble(ctx, &a.cfg, db, a.log)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.fed.close)

	event := func(uid, organizer, attendee, method string) string {
		m := ""
		if method != "" {
			m = "METHOD:" + method + "\r\n"
		}
		return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//bench//EN\r\n" + m + "BEGIN:VEVENT\r\nUID:" + uid + "\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20270101T100000Z\r\nDTEND:20270101T110000Z\r\nSUMMARY:Bench\r\n" +
			"ORGANIZER:mailto:" + organizer + "\r\nATTENDEE;PARTSTAT=ACCEPTED:mailto:" + organizer + "\r\nATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:" + attendee + "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
	}
	do := func(r *http.Request, want int) time.Duration {
		w := httptest.NewRecorder()
		start := time.Now()
		s.public.ServeHTTP(w, r)
		took := time.Since(start)
		if w.Code != want || want == 200 && !strings.Contains(w.Body.String(), "<request-status>2.0") {
			b.Fatalf("%s %s: HTTP %d %s", r.Method, r.URL, w.Code, w.Body)
		}
		return took
	}
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("alice:a long enough password"))
	put := func(i int) time.Duration {
		r := httptest.NewRequest("PUT", fmt.Sprintf("/dav/calendars/alice/calendar/%d.ics", i), strings.NewReader(event(fmt.Sprint("put-", i), "alice@alpha.test", "bob@alpha.test", "")))
		r.TLS = &tls.ConnectionState{}
		r.Header.Set("Authorization", basic)
		r.Header.Set("Content-Type", "text/calendar")
		return do(r, 201)
	}
	sign := &dkim.Signer{Domain: "beta.test", Selector: "k1", Key: signer}
	post := func(i int) time.Duration {
		body := event(fmt.Sprint("post-", i), "carol@beta.test", "bob@alpha.test", "REQUEST")
		h := []dkim.Header{{Name: "Content-Type", Value: "text/calendar; charset=utf-8; component=VEVENT; method=REQUEST"}, {Name: "iSchedule-Version", Value: "1.0"}, {Name: "iSchedule-Message-ID", Value: fmt.Sprint("id-", i)},
			{Name: "Originator", Value: "mailto:carol@beta.test"}, {Name: "Recipient", Value: "mailto:bob@alpha.test"}}
		sig, err := sign.Sign(h, []byte(body), time.Now())
		if err != nil {
			b.Fatal(err)
		}
		r := httptest.NewRequest("POST", "/ischedule", strings.NewReader(body))
		r.TLS = &tls.ConnectionState{}
		for _, f := range append(h, sig) {
			r.Header.Add(f.Name, f.Value)
		}
		return do(r, 200)
	}
	put(-1)
	post(-1)
	var puts, posts []time.Duration
	for i := 0; b.Loop(); i++ {
		puts, posts = append(puts, put(i)), append(posts, post(i))
	}
	slices.Sort(puts)
	slices.Sort(posts)
	b.ReportMetric(float64(puts[len(puts)/2])/float64(posts[len(posts)/2]), "post/put")
	b.ReportMetric(float64(posts[len(posts)/2]), "post-ns")
	b.ReportMetric(float64(puts[len(puts)/2]), "put-ns")
}
