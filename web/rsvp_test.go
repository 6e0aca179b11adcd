package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

const guestMeeting = `BEGIN:VEVENT
UID:guests@test
DTSTAMP:20261101T000000Z
DTSTART;TZID=Europe/Berlin:20261123T150000
DTEND;TZID=Europe/Berlin:20261123T160000
SUMMARY:Party <b>now</b>
LOCATION:Garden <script>alert(1)</script>
DESCRIPTION:Bring https://cake.test/recipe
URL:javascript:alert(1)
ORGANIZER;CN=Alice:mailto:alice@alpha.test
ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:dave@mail.test
ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:secret-guest@mail.test
END:VEVENT`

// link is the token of the mail that invited somebody to alice's meeting.
func (w *world) link(a storage.Account, to calendar.Address, body string) string {
	w.t.Helper()
	o, err := calendar.Parse(ics("METHOD:REQUEST\n"+body), calendar.Limits{})
	if err != nil {
		w.t.Fatal(err)
	}
	token, err := w.sched.Link(w.t.Context(), scheduling.Parcel{WireID: "w1@alpha.test", Account: a.ID, Method: "REQUEST", UID: o.UID(), Originator: "mailto:alice@alpha.test", Body: o.Bytes()}, to)
	if err != nil || token == "" {
		w.t.Fatalf("link %q: %v", token, err)
	}
	return token
}

// A29, A36, want 23: a stranger answers by a link, without an account and without a
// script; looking changes nothing and the address goes nowhere.
func TestAnswerByLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.account("alice", nil)
	w.put(alice, "guests.ics", guestMeeting)
	path := "/rsvp/" + w.link(alice, "mailto:dave@mail.test", guestMeeting)
	stranger := w.browser()
	partstat := func() string {
		_, o := w.stored(alice, "guests@test")
		return answerOf(o, "", "dave@mail.test")
	}
	for _, q := range []string{"", "?a=accept", "?a=decline"} {
		page := stranger.get(path + q)
		page.want(t, 200, "Party &lt;b&gt;now&lt;/b&gt;", "Alice", "dave@mail.test", "Mon 23 Nov 2026, 15:00 – 16:00", "Europe/Berlin", "Nothing is sent before", `href="https://cake.test/recipe"`)
		page.lacks(t, "<script>alert", "javascript:", "secret-guest", "Sign in", `name="password"`)
		if got := page.header.Get("Referrer-Policy"); got != "no-referrer" {
			t.Errorf("Referrer-Policy %q", got)
		}
		if page.header.Get("Cache-Control") != "no-store" || !strings.Contains(page.header.Get("X-Robots-Tag"), "noindex") {
			t.Errorf("headers %v", page.header)
		}
	}
	stranger.do(http.MethodHead, path, nil, nil)
	if got := partstat(); got != "NEEDS-ACTION" {
		t.Fatalf("looking made it %s", got)
	}
	stranger.post(path, url.Values{"answer": {"burn"}}).want(t, 400)
	// A browser sends "Origin: null" from a page with no-referrer.
	r := stranger.do(http.MethodPost, path, url.Values{"answer": {"accept"}, "note": {"with\r\ncake"}}, withHeader("Origin", "null"))
	r.want(t, 303)
	next := r.header.Get("Location")
	if got := partstat(); got != "ACCEPTED" || !strings.HasPrefix(next, "/rsvp/") || strings.HasPrefix(next, path) {
		t.Fatalf("%s, then %s", got, next)
	}
	stranger.get(next).want(t, 200, "Thank you", "accepted", "Changed your mind?")
	stranger.get(path).want(t, 200, "has been used", "a link answers once", "write to Alice")
	stranger.get(path).lacks(t, `method="post"`)
	stranger.post(path, url.Values{"answer": {"decline"}}).want(t, 409, "has been used")
	if got := partstat(); got != "ACCEPTED" {
		t.Errorf("a used link made it %s", got)
	}
	next, _, _ = strings.Cut(next, "?")
	stranger.post(next, url.Values{"answer": {"decline"}}).want(t, 303)
	if got := partstat(); got != "DECLINED" {
		t.Errorf("changed to %s", got)
	}
	// Alice reads it among her news.
	w.signedIn("alice").get("/invitations").want(t, 200, "dave@mail.test")

	stranger.get("/rsvp/"+strings.Repeat("a", 32)).want(t, 404, "This link does not work", "Nothing was changed")
	stranger.post("/rsvp/short", url.Values{"answer": {"accept"}}).want(t, 404)
	stranger.get("/rsvp/").want(t, 404)
}

// A link that is old says so kindly and shows how things stand.
func TestOldLinkPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.account("alice", nil)
	w.put(alice, "guests.ics", guestMeeting)
	path := "/rsvp/" + w.link(alice, "mailto:dave@mail.test", guestMeeting)
	moved := strings.NewReplacer("20261123T15", "20261124T17", "20261123T16", "20261124T18", "DTSTAMP", "SEQUENCE:1\nDTSTAMP").Replace(guestMeeting)
	w.put(alice, "guests.ics", moved)
	b := w.browser()
	page := b.get(path)
	page.want(t, 200, "changed after this link was sent", "Tue 24 Nov 2026, 17:00 – 18:00")
	page.lacks(t, `method="post"`)
	b.post(path, url.Values{"answer": {"accept"}}).want(t, 409, "changed after this link")
	newer := "/rsvp/" + w.link(alice, "mailto:dave@mail.test", moved)
	b.get(newer).want(t, 200, `method="post"`)
	w.put(alice, "guests.ics", strings.Replace(moved, "SUMMARY", "STATUS:CANCELLED\nSUMMARY", 1))
	b.get(newer).want(t, 200, "it was cancelled", "You need not answer")
	w.put(alice, "guests.ics", strings.Replace(moved, "ATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:dave@mail.test\n", "", 1))
	page = b.get(newer)
	page.want(t, 200, "not on the list of guests any more")
	page.lacks(t, "Party", "Garden")
	w.put(alice, "guests.ics", strings.Replace(moved, "SEQUENCE:1", "SEQUENCE:9", 1))
	again := "/rsvp/" + w.link(alice, "mailto:dave@mail.test", strings.Replace(moved, "SEQUENCE:1", "SEQUENCE:9", 1))
	b.get(again).want(t, 200, `method="post"`)
	later := friday.AddDate(0, 0, 6)
	w.now.Store(&later)
	b.get(again).want(t, 200, "This is over", "cannot be answered")
	later = friday.Add(400 * 24 * time.Hour)
	w.now.Store(&later)
	b.get(again).want(t, 404, "This link does not work")
}
