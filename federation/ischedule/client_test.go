package ischedule

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/federation/discover"
	"github.com/kalends/kalends/federation/discover/discovertest"
	"github.com/kalends/kalends/federation/dkim"
	"github.com/kalends/kalends/scheduling"
)

// Two installations with their own names, keys and certificates on real
// sockets: invitation, answer, free-busy, and a repeat that acts once.
func TestTwoEndpoints(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	type site struct {
		desk   *desk
		client *Client
		seen   []Verdict
		mu     sync.Mutex
	}
	newSite := func(domain, user, keyName, methods string) *site {
		s := &site{desk: newDesk(calendar.Address("mailto:" + user + "@" + domain))}
		key := testKey(t, keyName)
		record, err := dkim.MarshalKeyRecord(&key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		r := w.resolver()
		keys, err := discover.NewKeyLookup(discover.KeyConfig{Resolver: r, Client: w.http(r)})
		if err != nil {
			t.Fatal(err)
		}
		mux := http.NewServeMux()
		h := NewHandler(HandlerConfig{
			Receiver: s.desk, Keys: keys, Serial: &serials{}, Now: time.Now, Local: func(d string) bool { return d == domain },
			Observe: func(v Verdict) { s.mu.Lock(); s.seen = append(s.seen, v); s.mu.Unlock() },
		})
		mux.Handle("/.well-known/ischedule", h)
		mux.Handle(KeyPath, KeyHandler{keyTable{domain + "/k1": {record}}})
		host := "cal." + domain
		port := w.serve(host, mux, nil)
		w.offer(domain, host, 10, port)
		w.dns.Change(func(d *discovertest.World) {
			if methods == "dns/txt" {
				d.TXT["k1._domainkey."+domain] = [][]string{dkim.TXTStrings(record)}
			} else {
				d.SRV["_domainkey_lookup._tcp."+domain] = []discovertest.SRV{{Port: port, Target: host}}
			}
		})
		s.client = w.client(func(c *ClientConfig) {
			c.Signers = signerTable{domain: {Domain: domain, Selector: "k1", Key: key, Methods: []string{methods}}}
		})
		return s
	}
	alpha := newSite("alpha.test", "alice", "k2048", "dns/txt")
	beta := newSite("beta.test", "carol", "kother", "http/well-known")

	p := parcel(carol, "mailto:nobody@beta.test")
	got := alpha.client.Send(t.Context(), p)
	if len(got) != 2 || got[0].Status != "2.0;Success" || got[0].Disposition != Done || got[1].Status != "3.7;Invalid calendar user" || got[1].Disposition != Fail {
		t.Fatalf("%+v", got)
	}
	if got[0].Proof != "alpha.test" || got[0].Transport != "ischedule" || got[0].Retry {
		t.Errorf("%+v", got[0])
	}
	var what []string
	for _, s := range got[0].Trace {
		what = append(what, s.What)
	}
	if !slices.Equal(what, []string{"dns", "capabilities", "post"}) {
		t.Errorf("trace %+v", got[0].Trace)
	}
	if last := got[0].Trace[2].Text; !strings.Contains(last, "HTTP 200") || !strings.Contains(last, "TLS 1.3") || !strings.Contains(last, "alpha.test (k1)") || !strings.Contains(last, "serial 1") {
		t.Errorf("post step %q", last)
	}
	if in := beta.desk.got[0]; in.Originator != "mailto:alice@alpha.test" || in.Proof.Domain != "alpha.test" || in.Message.Method() != "REQUEST" || in.Once.MessageID != "wire-1" {
		t.Errorf("inbound %+v", in)
	}

	// No answer arrived, say; the same message under a new signature.
	if again := alpha.client.Send(t.Context(), p); again[0].Status != "2.0;Success" || beta.desk.count() != 1 {
		t.Errorf("repeat: %+v, applied %d times", again[0], beta.desk.count())
	}

	// The answer travels the other way; its key is found by HTTP.
	reply := scheduling.Parcel{WireID: "wire-2", Originator: carol, Recipients: []calendar.Address{"mailto:alice@alpha.test"}, Domain: "alpha.test",
		Body: []byte(vevent("REPLY", "ORGANIZER:mailto:alice@alpha.test", "ATTENDEE;PARTSTAT=ACCEPTED:"+string(carol)))}
	if got := beta.client.Send(t.Context(), reply); got[0].Status != "2.0;Success" {
		t.Errorf("reply: %+v, verdicts %+v", got[0], alpha.seen)
	}

	q := scheduling.Question{Originator: "mailto:alice@alpha.test", Recipients: []calendar.Address{carol}, Domain: "beta.test",
		Body: []byte(ical("REQUEST", "VFREEBUSY", "DTSTART:20260210T000000Z", "DTEND:20260211T000000Z", "ORGANIZER:mailto:alice@alpha.test", "ATTENDEE:"+string(carol)))}
	if got := alpha.client.FreeBusy(t.Context(), q); got[0].Disposition != Done || !bytes.HasPrefix(got[0].Calendar, []byte("BEGIN:VCALENDAR\r\n")) {
		t.Errorf("free-busy: %+v", got[0])
	}

	// A38: beta cannot speak for alpha's people.
	forged := reply
	forged.Originator, forged.Body = "mailto:mallory@alpha.test", bytes.ReplaceAll(reply.Body, []byte(carol), []byte("mailto:mallory@alpha.test"))
	beta.client.cfg.Signers = signerTable{"alpha.test": {Domain: "beta.test", Selector: "k1", Key: testKey(t, "kother"), Methods: []string{"http/well-known"}}}
	if got := beta.client.Send(t.Context(), forged); got[0].Disposition != Fail || !strings.Contains(got[0].Status, "originator-denied") {
		t.Errorf("forged: %+v", got[0])
	}

	if p, err := alpha.client.Probe(t.Context(), "beta.test"); err != nil || p.Caps.Serial != "1" {
		t.Errorf("probe: %+v %v", p, err)
	}
	if p, err := alpha.client.Probe(t.Context(), "gamma.test"); err == nil || len(p.Trace) != 1 {
		t.Errorf("probe of a domain without service: %v %+v", err, p.Trace)
	}
}

func TestClientDispositions(t *testing.T) {
	t.Parallel()
	response := func(status string) string {
		return string(ResponseDocument([]Result{{Recipient: carol, Status: status}}))
	}
	small := ours()
	small.MaxContentLength = 100
	old := *ours()
	old.Versions = []string{"2.0"}
	for _, c := range []struct {
		name    string
		get     func(http.ResponseWriter, *http.Request)
		post    func(http.ResponseWriter, *http.Request, string)
		status  string // beginning
		want    Disposition
		newWire bool
		posts   int
	}{
		{"success", giveCaps(ours()), success, "2.0;Success", Done, false, 1},
		{"unknown user", giveCaps(ours()), answer(200, response("3.7;who")), "3.7;who", Fail, false, 1},
		{"temporary for this recipient", giveCaps(ours()), answer(200, response("5.1;later")), "5.1;later", Retry, true, 1},
		{"deferred", giveCaps(ours()), answer(200, response("1.0")), "1.0", Retry, true, 1},
		{"unreadable", giveCaps(ours()), answer(200, "<html>"), "5.1", Retry, false, 1},
		{"503", giveCaps(ours()), answer(503, ""), "5.1", Retry, false, 1},
		{"403", giveCaps(ours()), answer(403, string(ErrorDocument(VerificationFailed, ""))), "5.1;verification-failed", Fail, false, 1},
		{"plain 403", giveCaps(ours()), answer(403, "no"), "5.1", Fail, false, 1},
		{"connection lost", giveCaps(ours()), func(http.ResponseWriter, *http.Request, string) { panic(http.ErrAbortHandler) }, "5.1", Retry, false, 1},
		{"limit refused, capabilities unchanged", giveCaps(ours()), answer(403, string(ErrorDocument(MaxContentLength, ""))), "5.1;max-content-length", Mail, false, 1},
		{"capabilities 404", giveStatus(404, ""), success, "5.2", Mail, false, 0},
		{"capabilities 500", giveStatus(500, ""), success, "5.1", Retry, false, 0},
		{"capabilities 503", giveStatus(503, ""), success, "5.1", Retry, false, 0},
		{"first question 500, second known", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Has("action") {
				w.WriteHeader(500)
				return
			}
			giveCaps(ours())(w, r)
		}, success, "2.0", Done, false, 1},
		{"capabilities are a page", giveStatus(200, "<html>It works</html>"), success, "5.2", Mail, false, 0},
		{"capabilities without end", func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, strings.Repeat(" ", MaxCapabilitiesSize+10))
		}, success, "5.2", Mail, false, 0},
		{"draft -01", giveStatus(200, string(ours().DraftDocument())), success, "5.0", Mail, false, 0},
		{"no common version", giveCaps(&old), success, "5.0", Mail, false, 0},
		{"does not fit", giveCaps(small), success, "5.0", Mail, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := &scripted{get: c.get, post: c.post}
			w.peer(s)
			got := w.client(nil).Send(t.Context(), parcel(carol))
			if len(got) != 1 || !strings.HasPrefix(got[0].Status, c.status) || got[0].Disposition != c.want || got[0].NewWire != c.newWire || got[0].Retry != (c.want == Retry) {
				t.Errorf("%+v", got)
			}
			if len(s.posts) != c.posts {
				t.Errorf("%d posts, want %d", len(s.posts), c.posts)
			}
			if c.name == "capabilities 503" && len(s.gets) != 1 {
				t.Errorf("a busy server was asked %d times", len(s.gets))
			}
		})
	}
}

func TestClientDiscovery(t *testing.T) {
	t.Parallel()
	t.Run("no service", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		if got := w.client(nil).Send(t.Context(), parcel(carol)); got[0].Disposition != Mail || got[0].Retry {
			t.Errorf("%+v", got[0])
		}
	})
	t.Run("service absent", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.offer("beta.test", ".", 0, 0)
		if got := w.client(nil).Send(t.Context(), parcel(carol)); got[0].Disposition != Mail {
			t.Errorf("%+v", got[0])
		}
	})
	t.Run("server failure", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.dns.Change(func(d *discovertest.World) { d.Fail = []string{"SRV _ischedules._tcp.beta.test"} })
		if got := w.client(nil).Send(t.Context(), parcel(carol)); got[0].Disposition != Retry || !got[0].Retry || got[0].NewWire {
			t.Errorf("%+v", got[0])
		}
	})
	t.Run("no key of ours", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		c := w.client(func(c *ClientConfig) { c.Signers = signerTable{} })
		if got := c.Send(t.Context(), parcel(carol)); got[0].Disposition != Mail || len(w.dns.Queries()) != 0 {
			t.Errorf("%+v", got[0])
		}
	})
	t.Run("RFC 2782: next target on connect failure", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		closed := uint16(l.Addr().(*net.TCPAddr).Port)
		l.Close()
		w.dns.Change(func(d *discovertest.World) { d.Addr["dead.beta.test"] = []string{"127.0.0.1"} })
		s := &scripted{get: giveCaps(ours()), post: success}
		w.offer("beta.test", "cal.beta.test", 20, w.serve("cal.beta.test", s, nil))
		w.offer("beta.test", "dead.beta.test", 10, closed)
		got := w.client(nil).Send(t.Context(), parcel(carol))
		if got[0].Disposition != Done || len(got[0].Trace) != 4 {
			t.Errorf("%+v", got[0])
		}
	})
	t.Run("next target when the first dies before the POST", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		s := &scripted{get: giveCaps(ours()), post: success}
		w.offer("beta.test", "cal.beta.test", 20, w.serve("cal.beta.test", s, nil))
		w.offer("beta.test", "first.beta.test", 10, 1)
		w.dns.Change(func(d *discovertest.World) { d.Addr["first.beta.test"] = []string{"127.0.0.1"} })
		c := w.client(nil)
		url := "https://first.beta.test:1/.well-known/ischedule"
		c.cache.put("beta.test", url, &peerState{endpoint: url, caps: ours(), until: time.Now().Add(time.Hour)})
		if got := c.Send(t.Context(), parcel(carol)); got[0].Disposition != Done {
			t.Errorf("%+v", got[0])
		}
	})
	t.Run("A44 certificate of another authority", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		s := &scripted{get: giveCaps(ours()), post: success}
		w.offer("beta.test", "cal.beta.test", 10, w.serve("cal.beta.test", s, discovertest.NewAuthority(t)))
		if got := w.client(nil).Send(t.Context(), parcel(carol)); got[0].Disposition != Retry || len(s.gets)+len(s.posts) != 0 {
			t.Errorf("%+v", got[0])
		}
	})
	t.Run("certificate names the domain", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		s := &scripted{get: giveCaps(ours()), post: success}
		port := w.serve("beta.test", s, nil)
		w.dns.Change(func(d *discovertest.World) { d.Addr["hosted.test"] = []string{"127.0.0.1"} })
		w.offer("beta.test", "hosted.test", 10, port)
		if got := w.client(nil).Send(t.Context(), parcel(carol)); got[0].Disposition != Done {
			t.Errorf("%+v", got[0])
		}
	})
}

func TestClientRedirects(t *testing.T) {
	t.Parallel()
	move := func(code int, to string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", to)
			w.WriteHeader(code)
		}
	}
	onlyAt := func(path string, there, elsewhere http.HandlerFunc) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == path {
				there(w, r)
				return
			}
			elsewhere(w, r)
		}
	}
	t.Run("well-known to another path", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		s := &scripted{get: onlyAt("/real", giveCaps(ours()), move(301, "/real?action=capabilities")), post: success}
		w.peer(s)
		c := w.client(nil)
		if got := c.Send(t.Context(), parcel(carol)); got[0].Disposition != Done || s.posts[0].URL.String() != "/real" {
			t.Errorf("%+v, posted to %s", got[0], s.posts[0].URL)
		}
		if c.Send(t.Context(), parcel(carol)); len(s.gets) != 2 {
			t.Errorf("%d GETs: the endpoint was not kept", len(s.gets))
		}
	})
	t.Run("http on the same authority is https", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		s := &scripted{post: success}
		s.get = func(rw http.ResponseWriter, r *http.Request) {
			onlyAt("/real", giveCaps(ours()), move(302, "http://"+r.Host+"/real?action=capabilities"))(rw, r)
		}
		w.peer(s)
		if got := w.client(nil).Send(t.Context(), parcel(carol)); got[0].Disposition != Done {
			t.Errorf("%+v", got[0])
		}
	})
	for name, to := range map[string]string{
		"to plain http elsewhere": "http://other.test/x", "A42 to an inner address": "https://10.0.0.5/x",
		"A42 to a metadata service": "https://169.254.169.254/latest", "no Location": "", "file": "file:///etc/passwd", "endless": "/again",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := &scripted{get: move(302, to), post: success}
			w.peer(s)
			if got := w.client(nil).Send(t.Context(), parcel(carol)); got[0].Disposition != Mail || len(s.posts) != 0 {
				t.Errorf("%+v", got[0])
			}
			if len(s.gets) > 12 {
				t.Errorf("%d GETs", len(s.gets))
			}
		})
	}
	t.Run("POST is sent again, signed anew", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		now := time.Unix(1770000000, 0)
		s := &scripted{get: giveCaps(ours())}
		s.post = func(rw http.ResponseWriter, r *http.Request, body string) {
			if r.URL.Path != "/moved" {
				now = now.Add(time.Second)
				rw.Header().Set("Location", "/moved")
				rw.WriteHeader(307)
				return
			}
			success(rw, r, body)
		}
		w.peer(s)
		c := w.client(func(c *ClientConfig) { c.Now = func() time.Time { return now } })
		if got := c.Send(t.Context(), parcel(carol)); got[0].Disposition != Done || len(s.posts) != 2 || s.body[0] != s.body[1] ||
			s.posts[0].Header.Get("DKIM-Signature") == s.posts[1].Header.Get("DKIM-Signature") {
			t.Errorf("%+v, %d posts", got[0], len(s.posts))
		}
	})
	for name, code := range map[string]int{"303 for a POST": 303, "POST redirected without end": 308} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := &scripted{get: giveCaps(ours()), post: func(rw http.ResponseWriter, r *http.Request, _ string) { move(code, "/again")(rw, r) }}
			w.peer(s)
			if got := w.client(nil).Send(t.Context(), parcel(carol)); got[0].Disposition != Fail || len(s.posts) > 4 {
				t.Errorf("%+v, %d posts", got[0], len(s.posts))
			}
		})
	}
}

// What a request looks like on the wire (ischedule §4, sender form).
func TestClientSenderForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := &scripted{get: giveCaps(ours()), post: success}
	w.peer(s)
	w.client(func(c *ClientConfig) { c.UserAgent = "Kalends, test" }).Send(t.Context(), parcel("mailto:a,b@beta.test", "carol@beta.test"))
	r := s.posts[0]
	for name, want := range map[string]string{
		"Content-Type": "text/calendar; charset=utf-8; component=VEVENT; method=REQUEST", "iSchedule-Version": "1.0", "iSchedule-Message-ID": "wire-1",
		"Originator": "mailto:alice@alpha.test", "Recipient": "mailto:a%2Cb@beta.test,mailto:carol@beta.test",
		"Cache-Control": "no-cache, no-transform", "User-Agent": "Kalends; test",
	} {
		if got := r.Header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if s.body[0] != string(parcel("mailto:a,b@beta.test", "carol@beta.test").Body) {
		t.Error("the body is not the one that was queued")
	}
	sig, err := dkim.ParseSignature(r.Header.Get("DKIM-Signature"))
	if err != nil || sig.Canonicalization != "ischedule-relaxed/simple" || sig.HasLength || sig.Expires-sig.Time != 600 {
		t.Errorf("signature %+v, %v", sig, err)
	}
}

// Message after message goes to a peer by one connection.
func TestClientReusesConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := &scripted{get: giveCaps(ours()), post: success}
	w.peer(s)
	c := w.client(nil)
	for i := range 5 {
		if d := c.Send(t.Context(), parcel(carol))[0]; d.Disposition != Done {
			t.Fatalf("message %d: %+v", i, d)
		}
	}
	from := map[string]bool{}
	for _, r := range s.posts {
		from[r.RemoteAddr] = true
	}
	if len(s.posts) != 5 || len(from) != 1 {
		t.Errorf("%d messages came by %d connections", len(s.posts), len(from))
	}
}

func TestClientSplit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	caps := ours()
	caps.MaxRecipients = 2
	s := &scripted{get: giveCaps(caps), post: success}
	w.peer(s)
	people := []calendar.Address{"mailto:a@beta.test", "mailto:b@beta.test", "mailto:c@beta.test", "mailto:d@beta.test", "mailto:e@beta.test"}
	c := w.client(nil)
	got := c.Send(t.Context(), parcel(people...))
	for i, d := range got {
		if d.Recipient != people[i] || d.Disposition != Done {
			t.Errorf("%+v", d)
		}
	}
	ids := func(from int) (out []string) {
		for _, r := range s.posts[from:] {
			out = append(out, r.Header.Get("iSchedule-Message-ID"))
		}
		slices.Sort(out)
		return out
	}
	first := ids(0)
	if len(first) != 3 || len(slices.Compact(slices.Clone(first))) != 3 {
		t.Errorf("ids %q", first)
	}
	// A retry repeats the same requests.
	if c.Send(t.Context(), parcel(people...)); !slices.Equal(ids(3), first) {
		t.Errorf("ids of the retry %q, want %q", ids(3), first)
	}

	// Free-busy: each question names only those it goes to.
	lines := []string{"DTSTART:20260210T000000Z", "DTEND:20260211T000000Z", "ORGANIZER:mailto:alice@alpha.test"}
	for _, p := range people {
		lines = append(lines, "ATTENDEE:"+string(p))
	}
	from := len(s.posts)
	c.FreeBusy(t.Context(), scheduling.Question{Originator: "mailto:alice@alpha.test", Recipients: people, Domain: "beta.test", Body: []byte(ical("REQUEST", "VFREEBUSY", lines...))})
	for i, r := range s.posts[from:] {
		o, err := calendar.Parse([]byte(s.body[from+i]), calendar.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		var rs []calendar.Address
		for v := range strings.SplitSeq(r.Header.Get("Recipient"), ",") {
			rs = append(rs, calendar.Address(v))
		}
		if err := Match("VFREEBUSY", "REQUEST", partiesOf(o), "mailto:alice@alpha.test", rs); err != nil {
			t.Errorf("part %d: %v", i, err)
		}
	}
	if len(s.posts) != from+3 {
		t.Errorf("%d questions", len(s.posts)-from)
	}

	// One Recipient header has at most 4000 octets.
	long := make([]calendar.Address, 40)
	for i := range long {
		long[i] = calendar.Address(fmt.Sprintf("mailto:%s%d@beta.test", strings.Repeat("x", 200), i))
	}
	caps.MaxRecipients, caps.Serial = 100, "43"
	j := &job{recipients: long, peer: &peerState{caps: caps}, c: c, wireID: "w"}
	total := 0
	for _, p := range j.parts(long) {
		total += len(p.recipients)
		if n := len(recipientList(p.recipients)); n > maxRecipientHeader {
			t.Errorf("Recipient header of %d octets", n)
		}
	}
	if total != len(long) {
		t.Errorf("%d of %d recipients", total, len(long))
	}
}

func TestClientCapabilityCache(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	now := time.Unix(1770000000, 0)
	caps := ours()
	serial := "42"
	s := &scripted{get: func(rw http.ResponseWriter, r *http.Request) { giveCaps(caps)(rw, r) }}
	s.post = func(rw http.ResponseWriter, r *http.Request, body string) {
		rw.Header().Set("iSchedule-Capabilities", serial)
		success(rw, r, body)
	}
	w.peer(s)
	c := w.client(func(c *ClientConfig) { c.Now = func() time.Time { return now } })
	send := func(wantGets int, wantCondition string) {
		t.Helper()
		c.Send(t.Context(), parcel(carol))
		if len(s.gets) != wantGets {
			t.Fatalf("%d GETs, want %d", len(s.gets), wantGets)
		}
		if got := s.gets[wantGets-1].Header.Get("If-None-Match"); got != wantCondition {
			t.Fatalf("If-None-Match %q, want %q", got, wantCondition)
		}
	}
	send(1, "")
	send(1, "") // fresh
	now = now.Add(11 * time.Minute)
	send(2, `"caps-42"`) // max-age=600 is over; not modified
	send(2, `"caps-42"`)
	serial = "43" // seen in the answer to this POST
	send(2, `"caps-42"`)
	caps = ours()
	caps.Serial = "43"
	send(3, `"caps-42"`) // and the document is read again before the next one
	send(3, `"caps-42"`)

	// A limit that was not known: read again, adapt, send again at once.
	caps = ours()
	caps.Serial, caps.MaxInstances = "44", 7
	refused := false
	s.post = func(rw http.ResponseWriter, r *http.Request, body string) {
		if !refused {
			refused = true
			answer(403, string(ErrorDocument(MaxInstances, "")))(rw, r, body)
			return
		}
		success(rw, r, body)
	}
	posts := len(s.posts)
	if got := c.Send(t.Context(), parcel(carol)); got[0].Disposition != Done || len(s.posts) != posts+2 {
		t.Errorf("%+v, %d posts", got[0], len(s.posts)-posts)
	}

	// Fewer recipients at a time than before.
	caps = ours()
	caps.Serial, caps.MaxRecipients = "45", 1
	posts, s.post = len(s.posts), func(rw http.ResponseWriter, r *http.Request, body string) {
		if strings.Contains(r.Header.Get("Recipient"), ",") {
			answer(403, string(ErrorDocument(MaxRecipients, "")))(rw, r, body)
			return
		}
		success(rw, r, body)
	}
	if got := c.Send(t.Context(), parcel(carol, "mailto:dave@beta.test")); got[0].Disposition != Done || got[1].Disposition != Done || len(s.posts) != posts+3 {
		t.Errorf("%+v, %d posts", got, len(s.posts)-posts)
	}

	// That a peer has nothing is kept as well, but not for long.
	w2 := newWorld(t)
	none := &scripted{get: giveStatus(404, ""), post: success}
	w2.peer(none)
	c2 := w2.client(func(c *ClientConfig) { c.Now = func() time.Time { return now } })
	c2.Send(t.Context(), parcel(carol))
	c2.Send(t.Context(), parcel(carol))
	if len(none.gets) != 2 { // both questions, once
		t.Errorf("%d GETs", len(none.gets))
	}
	now = now.Add(11 * time.Minute)
	if c2.Send(t.Context(), parcel(carol)); len(none.gets) != 4 {
		t.Errorf("%d GETs after the memory ran out", len(none.gets))
	}
}

func TestFreshness(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, value string
		want        time.Duration
	}{
		{"Cache-Control", "max-age=3600", time.Hour},
		{"Cache-Control", "public, Max-Age=60", time.Minute},
		{"Cache-Control", "max-age=99999999", maxFresh},
		{"Cache-Control", "max-age=-1", 0},
		{"Cache-Control", "max-age=99999999999999999999", 0},
		{"Cache-Control", "no-cache", 0},
		{"Cache-Control", "no-store, max-age=60", 0},
		{"Expires", "Sat, 21 Nov 2026 02:00:00 GMT", 2 * time.Hour},
		{"Expires", "0", 0},
		{"Expires", "Sat, 21 Nov 2020 02:00:00 GMT", 0},
		{"X", "", maxFresh},
	} {
		if got := freshness(http.Header{c.name: {c.value}}, now); got != c.want {
			t.Errorf("%s: %s: %s, want %s", c.name, c.value, got, c.want)
		}
	}
}

// ischedule §11: a draft -01 peer gets its own dialect, when we are told to.
func TestClientDraft01(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := newDesk(carol, "mailto:dave@beta.test")
	key := testKey(t, "k2048")
	record, err := dkim.MarshalKeyRecord(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	var canon []string
	inner := NewHandler(HandlerConfig{Receiver: d, Keys: zone{private: map[string]string{"k1._domainkey.alpha.test": record}}, Serial: &serials{}, Now: time.Now,
		Local: func(string) bool { return false }, Peer: func(string) Peer { return Peer{Dialect: DialectDraft01} }})
	w.offer("beta.test", "cal.beta.test", 10, w.serve("cal.beta.test", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			if r.URL.RawQuery != "query=capabilities" {
				http.Error(rw, "what?", http.StatusNotFound)
				return
			}
			rw.Write(ours().DraftDocument())
			return
		}
		sig, err := dkim.ParseSignature(r.Header.Get("DKIM-Signature"))
		if err != nil {
			t.Error(err)
			return
		}
		canon = append(canon, sig.Canonicalization)
		if sig.Canonicalization != "simple/simple" {
			http.Error(rw, "DKIM signature invalid", http.StatusPreconditionFailed)
			return
		}
		inner.ServeHTTP(rw, r)
	}), nil))

	c := w.client(func(c *ClientConfig) { c.Draft01 = true })
	got := c.Send(t.Context(), parcel(carol, "mailto:dave@beta.test"))
	if got[0].Status != "2.0;Success" || got[1].Status != "2.0;Success" || !slices.Equal(canon, []string{"simple/simple", "simple/simple"}) {
		t.Errorf("%+v, %q", got, canon)
	}
	// A configured dialect that is wrong is corrected by one refusal.
	canon = nil
	c = w.client(func(c *ClientConfig) {
		c.Draft01 = true
		c.Dialect = func(string) (Dialect, bool) { return DialectFinal, true }
	})
	if got := c.Send(t.Context(), parcel(carol)); got[0].Status != "2.0;Success" || !slices.Equal(canon, []string{"ischedule-relaxed/simple", "simple/simple"}) {
		t.Errorf("%+v, %q", got, canon)
	}
}

// A43: a peer that hangs is left alone for a while; others are not concerned.
func TestClientSlowPeer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var mu sync.Mutex
	now := time.Unix(1770000000, 0)
	hang := true
	s := &scripted{post: success}
	s.get = func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if hang { // the clock is ours: half a minute passes
			now = now.Add(30 * time.Second)
			panic(http.ErrAbortHandler)
		}
		giveCaps(ours())(rw, r)
	}
	w.peer(s)
	c := w.client(func(c *ClientConfig) {
		c.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	})
	advance := func(d time.Duration) { mu.Lock(); now = now.Add(d); mu.Unlock() }
	for range slowTries {
		c.Send(t.Context(), parcel(carol))
	}
	asked := len(s.gets)
	got := c.Send(t.Context(), parcel(carol))
	if len(s.gets) != asked || !got[0].Retry || !strings.Contains(got[0].Detail, "slow") {
		t.Errorf("%d requests in the pause, %+v", len(s.gets)-asked, got[0])
	}
	mu.Lock()
	hang = false
	mu.Unlock()
	advance(longPause)
	if got := c.Send(t.Context(), parcel(carol)); got[0].Disposition != Done {
		t.Errorf("after the pause: %+v", got[0])
	}
	if err := c.slow.allow("beta.test", now); err != nil {
		t.Errorf("after an answer: %v", err)
	}

	b := newBreaker()
	for range 50 {
		b.report("x.test", now, now.Add(time.Minute), errConnect)
	}
	if b.allow("x.test", now.Add(longPause)) == nil || b.allow("x.test", now.Add(longPause+time.Minute)) != nil || b.allow("x.test", now.Add(longPause+time.Minute)) == nil {
		t.Error("pause is not bounded, or more than one probe passes")
	}
	b.report("y.test", now, now.Add(time.Second), errConnect)
	if len(b.peers) != 1 {
		t.Error("a quick failure counts")
	}
}

func TestClientConcurrent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := 0
	s := &scripted{get: giveCaps(ours())}
	s.post = func(rw http.ResponseWriter, r *http.Request, body string) {
		n++
		rw.Header().Set("iSchedule-Capabilities", strconv.Itoa(40+n%3))
		success(rw, r, body)
	}
	w.peer(s)
	c := w.client(nil)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if got := c.Send(t.Context(), parcel(calendar.Address(fmt.Sprintf("mailto:u%d@beta.test", i)))); got[0].Disposition != Done {
				t.Errorf("%+v", got[0])
			}
		})
	}
	wg.Wait()
}
