package caldav_test

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

// usual is what programs ask of a home.
const usual = `<D:getetag/><D:resourcetype/><D:displayname/><D:owner/><D:current-user-principal/><D:current-user-privilege-set/><D:supported-report-set/><D:sync-token/><CS:getctag/><CS:source/>` +
	`<D:quota-available-bytes/><D:quota-used-bytes/><C:supported-calendar-component-set/><C:schedule-calendar-transp/><C:schedule-default-calendar-URL/><C:calendar-free-busy-set/>` +
	`<C:calendar-description/><I:calendar-color/><I:calendar-order/><x:note xmlns:x="urn:x"/><P:topic xmlns:P="https://bitfire.at/webdav-push"/>`

type question struct{ user, of, head, body string }

// questions are asked by two people of their own homes and of one another's.
func questions(heads ...string) (out []question) {
	var all strings.Builder
	names := caldav.Properties()
	slices.SortFunc(names, func(a, b [2]string) int { return strings.Compare(a[0]+a[1], b[0]+b[1]) })
	for _, n := range names {
		fmt.Fprintf(&all, `<%s xmlns="%s"/>`, n[1], n[0])
	}
	for _, user := range []string{"user01", "user02"} {
		for _, of := range []string{"user01", "user02"} {
			for _, head := range heads {
				for _, body := range []string{"", propfind(usual), propfind("<D:getetag/>"), propfind("<D:acl/>"), propfind("<C:calendar-timezone/>"), propfind(all.String()), `<propfind xmlns="DAV:"><propname/></propfind>`} {
					out = append(out, question{user, of, head, body})
				}
			}
		}
	}
	return out
}

// told is what an answer says.
type told struct {
	status       int
	header, text string
}

func (q question) ask(h http.Handler, login string) told {
	r := httptest.NewRequest("PROPFIND", "/dav/calendars/"+q.of+"/", strings.NewReader(q.body))
	r.SetBasicAuth(login, q.user)
	for line := range strings.SplitSeq(q.head, "\n") {
		k, v, _ := strings.Cut(line, ": ")
		r.Header.Add(k, v)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return told{rec.Code, fmt.Sprint(rec.Result().Header), rec.Body.String()}
}

// polling is two nodes on one database, and a handler that keeps nothing.
type polling struct {
	*world
	nodes  [2]*world
	anew   http.Handler
	now    time.Time
	before []told
}

func newPolling(w *world) *polling {
	p := &polling{world: w, now: time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	handler := func(db *storage.DB) (http.Handler, *scheduling.Service) {
		s := scheduling.New(db, nil, scheduling.Config{Rand: rand.Reader, Log: quiet, Node: "test", RefreshDelay: time.Millisecond})
		return caldav.New(db, s, namePassword{}, caldav.Config{Refusals: caldav.Refusals{Denied: errDenied, Slow: errSlow}, Log: quiet, MaxBody: 1 << 20, Quota: 1 << 20, MaxCalendars: 30,
			Push: &caldav.Push{PublicKey: "key"}, Now: func() time.Time { return p.now }}), s
	}
	for i, db := range []*storage.DB{w.db, storagetest.Second(w.t, w.db)} {
		h, s := handler(db)
		srv := httptest.NewServer(h)
		w.t.Cleanup(srv.Close)
		p.nodes[i] = &world{t: w.t, db: db, sched: s, h: h, srv: srv}
	}
	p.anew, _ = handler(w.db)
	caldav.KeepNothing(p.anew)
	return p
}

// check asks every node every question twice and wants what is true: what a
// handler says that keeps nothing, to somebody whose home storage does not keep
// either (he signs in with his address).
func (p *polling) check(what string, list []question) {
	p.t.Helper()
	var truth []told
	for _, q := range list {
		truth = append(truth, q.ask(p.anew, q.user+"@example.com"))
	}
	for i, n := range p.nodes {
		for round := range 2 {
			for j, q := range list {
				if got := q.ask(n.h, q.user); got != truth[j] {
					p.t.Fatalf("after %s, node %d, round %d, %+v:\n%+v\nwant\n%+v", what, i, round, q, got, truth[j])
				}
			}
		}
		undo := caldav.MarkKept(n.h, "<!-- kept -->")
		for _, q := range list {
			got := q.ask(n.h, q.user)
			kept := strings.HasSuffix(got.text, "<!-- kept -->")
			switch {
			case kept && (q.user != q.of || got.status != 207):
				p.t.Fatalf("after %s: kept is %+v of %+v", what, got, q)
			case !kept && q.user == q.of && got.status == 207 && (q.body == "" || strings.Contains(q.body, "getetag") && len(q.body) < 2000 || strings.Contains(q.body, "propname")):
				p.t.Fatalf("after %s: not kept is the answer to %+v", what, q)
			}
		}
		undo()
	}
	p.before = truth
}

// An answer that was kept is what would be answered now, after every kind of
// change on any node, whoever asks in whatever words.
func TestKeptAnswers(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		p := newPolling(w)
		p.check("nothing", questions("Depth: 0", "Depth: 1", "Depth: 1,noroot", "Depth: infinity", "Depth: 1\nBrief: t", "Depth: 1\nBrief: f", "Depth: 1\nPrefer: return=minimal",
			"Depth: 1\nPrefer: wait=5\nPrefer: depth-noroot, return=minimal", "Depth: 0\nPrefer: return-minimal", "Depth: 2", "X: y"))
		list := questions("Depth: 0", "Depth: 1", "Depth: 1\nPrefer: return=minimal")
		p.check("nothing", list)

		ctx := context.Background()
		change := func(c storage.AccountChange) func(n *world, i int) {
			return func(n *world, _ int) {
				if _, err := n.db.UpdateAccount(ctx, p.account("user01").ID, c); err != nil {
					t.Fatal(err)
				}
			}
		}
		req := func(user, method, path, body string, status int) func(n *world, i int) {
			return func(n *world, i int) {
				n.do(user, method, strings.ReplaceAll(path, "#", fmt.Sprint(i)), "Content-Type: application/xml", strings.ReplaceAll(body, "#", fmt.Sprint(i))).want(status)
			}
		}
		key, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		b64 := base64.RawURLEncoding
		register := `<push-register xmlns="https://bitfire.at/webdav-push"><subscription><web-push-subscription><push-resource>https://push.example/#</push-resource><subscription-public-key type="p256dh">` +
			b64.EncodeToString(key.PublicKey().Bytes()) + `</subscription-public-key><auth-secret>` + b64.EncodeToString(make([]byte, 16)) + `</auth-secret></web-push-subscription></subscription></push-register>`
		share := `<D:acl xmlns:D="DAV:">` + ace("grant", "user02", "read") + ace("grant", "user03", "read", "write") + `</D:acl>`
		invite := event("invited", "Meet #", "20270105T100000Z", "ORGANIZER:mailto:user02@example.com", "ATTENDEE:mailto:user02@example.com", "ATTENDEE:mailto:user01@example.com")
		name, other := "One O'User", []string{"user01@example.com", "also@example.com"}
		tasks := storage.Settings{DefaultCalendar: "tasks"}
		for _, c := range []struct {
			what  string
			shows bool // in an answer to one of the questions
			do    func(n *world, i int)
		}{
			{"PUT", true, func(n *world, i int) {
				n.do("user01", "PUT", fmt.Sprint(cal, i, ".ics"), "", event(fmt.Sprint(i), "x", "20260110T000000Z"))
			}},
			{"PUT of an old object", true, func(n *world, i int) {
				n.do("user01", "PUT", fmt.Sprint(cal, i, ".ics"), "", event(fmt.Sprint(i), "longer", "20260110T000000Z"))
			}},
			{"PROPPATCH of an object", false, req("user01", "PROPPATCH", cal+"#.ics", propset(`<x:note xmlns:x="urn:x">#</x:note>`), 207)},
			{"MOVE", true, func(n *world, i int) {
				n.do("user01", "MOVE", fmt.Sprint(cal, i, ".ics"), fmt.Sprint("Destination: ", n.srv.URL, cal, "moved", i, ".ics"), "").want(201)
			}},
			{"DELETE", true, req("user01", "DELETE", cal+"moved#.ics", "", 204)},
			{"PROPPATCH of the name", true, req("user01", "PROPPATCH", cal, propset("<D:displayname>Work #</D:displayname>"), 207)},
			{"PROPPATCH of the colour", true, req("user01", "PROPPATCH", cal, propset("<I:calendar-color>#00000#</I:calendar-color>"), 207)},
			{"PROPPATCH of the description", true, req("user01", "PROPPATCH", cal, propset("<C:calendar-description>of #</C:calendar-description>"), 207)},
			{"PROPPATCH of a dead property", true, req("user01", "PROPPATCH", cal, propset(`<x:note xmlns:x="urn:x">#</x:note>`), 207)},
			{"PROPPATCH of the home", true, req("user01", "PROPPATCH", home, propset(`<x:note xmlns:x="urn:x">#</x:note>`), 207)},
			{"PROPPATCH of transparency", true, func(n *world, i int) {
				n.do("user01", "PROPPATCH", cal, "", propset("<C:schedule-calendar-transp>"+[]string{"<C:transparent/>", "<C:opaque/>"}[i]+"</C:schedule-calendar-transp>")).want(207)
			}},
			{"MKCALENDAR", true, req("user01", "MKCALENDAR", home+"new#/", "", 201)},
			{"a time zone", true, req("user01", "PROPPATCH", home+"new#/", propset("<C:calendar-timezone-id>Africa/Casablanca</C:calendar-timezone-id>"), 207)},
			{"a year", true, func(*world, int) { p.now = p.now.AddDate(1, 0, 0) }},
			{"DELETE of a calendar", true, req("user01", "DELETE", home+"new#/", "", 204)},
			{"ACL", true, func(n *world, i int) { // other entries each time
				n.do("user01", "ACL", cal, "", strings.Replace(share, `"DAV:">`, `"DAV:">`+strings.Repeat(ace("grant", "user04", "read"), i), 1)).want(200)
			}},
			{"ACL of the home", true, func(n *world, i int) {
				n.do("user01", "ACL", home, "", strings.Replace(share, `"DAV:">`, `"DAV:">`+strings.Repeat(ace("grant", "user04", "read"), i), 1)).want(200)
			}},
			{"another kind of whom an ACL names", true, func(n *world, i int) {
				if _, err := n.db.UpdateAccount(ctx, p.account("user03").ID, storage.AccountChange{Kind: &[]storage.AccountKind{storage.KindRoom, storage.KindUser}[i]}); err != nil {
					t.Fatal(err)
				}
			}},
			{"delegates", true, func(n *world, i int) {
				members := []string{"<D:href>/dav/principals/users/user02/</D:href>", ""}[i]
				n.do("user01", "PROPPATCH", "/dav/principals/users/user01/calendar-proxy-write/", "", propset("<D:group-member-set>"+members+"</D:group-member-set>")).want(207)
			}},
			{"an invitation", true, func(n *world, i int) {
				n.do("user02", "PUT", "/dav/calendars/user02/calendar/meet.ics", "", strings.ReplaceAll(invite, "#", fmt.Sprint(i)))
			}},
			{"a push subscription", false, req("user01", "POST", home, register, 204)},
			{"a name by the administrator", true, func(n *world, i int) {
				s := fmt.Sprint(name, i)
				change(storage.AccountChange{DisplayName: &s})(n, i)
			}},
			{"addresses", false, func(n *world, i int) { c := other[:2-i]; change(storage.AccountChange{Emails: &c})(n, i) }},
			{"the default calendar", true, func(n *world, i int) {
				s := tasks
				if i == 1 {
					s.DefaultCalendar = ""
				}
				change(storage.AccountChange{Settings: &s})(n, i)
			}},
			{"a new count of what is stored", false, func(n *world, i int) {
				if _, err := n.db.RecountBytes(ctx, p.account("user01").ID); err != nil {
					t.Fatal(err)
				}
			}},
		} {
			for i, n := range p.nodes {
				before := p.before
				c.do(n, i)
				p.check(fmt.Sprint(c.what, " on node ", i), list)
				if c.shows && slices.Equal(before, p.before) {
					t.Errorf("%s on node %d shows in no answer", c.what, i)
				}
			}
		}
	})
}

// What is asked in very many words, or answered with, is not kept.
func TestKeptAnswersAreSmall(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		p := newPolling(w)
		kept := func(q question) bool {
			t.Helper()
			want := q.ask(p.anew, q.user)
			for range 3 {
				if got := q.ask(p.nodes[0].h, q.user); got != want || got.status != 207 {
					t.Fatalf("%+v: %+v, want %+v", q, got, want)
				}
			}
			defer caldav.MarkKept(p.nodes[0].h, "!")()
			return strings.HasSuffix(q.ask(p.nodes[0].h, q.user).text, "!")
		}
		long := propfind("<D:getetag/>" + strings.Repeat(" ", 8<<10))
		short := question{"user01", "user01", "Depth: 1", propfind(usual)}
		if !kept(short) || kept(question{"user01", "user01", "Depth: 1", long}) {
			t.Error("a long question is kept, or a short one is not")
		}
		w.do("user01", "PROPPATCH", cal, "", propset(`<x:note xmlns:x="urn:x">`+strings.Repeat("note ", 10_000)+`</x:note>`)).want(207)
		if kept(short) || !kept(question{"user01", "user01", "Depth: 0", short.body}) {
			t.Error("a long answer is kept, or a short one is not")
		}
	})
}

// Many people and programs at once, while calendars change: nobody gets what
// is somebody else's, or older than his own change.
func TestKeptAnswersBesideWriters(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		p := newPolling(w)
		done := make(chan string)
		users := []string{"user01", "user02", "user03", "user04"}
		for i, user := range users {
			go func() {
				h := p.nodes[i%2].h
				for n := range 15 {
					name := fmt.Sprintf("%s's %d", user, n)
					r := httptest.NewRequest("PROPPATCH", "/dav/calendars/"+user+"/calendar/", strings.NewReader(propset("<D:displayname>"+name+"</D:displayname>")))
					r.SetBasicAuth(user, user)
					h.ServeHTTP(httptest.NewRecorder(), r)
					for _, h := range []http.Handler{p.nodes[0].h, p.nodes[1].h, p.nodes[0].h} {
						got := question{user, user, "Depth: 1", propfind("<D:displayname/>")}.ask(h, user)
						if got.status != 207 || !strings.Contains(got.text, ">"+name+"<") {
							done <- fmt.Sprintf("%s: %+v", name, got)
							return
						}
					}
				}
				done <- ""
			}()
		}
		for range users {
			if problem := <-done; problem != "" {
				t.Error(problem)
			}
		}
	})
}

// nowhere takes an answer.
type nowhere struct {
	header http.Header
	status int
}

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) WriteHeader(s int)           { n.status = s }
func (n *nowhere) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkPoll is what programs ask most of all: what is new in a home, mostly
// nothing, with and without the answers that are kept.
func BenchmarkPoll(b *testing.B) {
	for _, e := range storagetest.Engines(b) {
		w := newWorld(b, storagetest.Open(b, e))
		for i := range 4 {
			w.do("user01", "MKCALENDAR", fmt.Sprintf("%snew%d/", home, i), "", "").want(201)
		}
		for _, mode := range []string{"kept", "anew"} {
			if mode == "anew" {
				caldav.KeepNothing(w.h)
			}
			for _, c := range []struct{ name, depth, body string }{{"home", "1", propfind(usual)}, {"tokens", "1", propfind("<D:sync-token/>")}, {"token", "0", propfind("<D:sync-token/>")}} {
				b.Run(string(e)+"/"+c.name+"/"+mode, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						r := httptest.NewRequest("PROPFIND", home, strings.NewReader(c.body))
						r.SetBasicAuth("user01", "user01")
						r.Header.Set("Depth", c.depth)
						out := &nowhere{header: http.Header{}}
						if w.h.ServeHTTP(out, r); out.status != 207 {
							b.Fatal(out.status)
						}
					}
				})
			}
		}
	}
}
