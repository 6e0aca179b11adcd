package web

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

const stranger = `METHOD:REQUEST
BEGIN:VEVENT
UID:dinner@evil.test
DTSTAMP:20261101T000000Z
DTSTART:20261124T180000Z
DTEND:20261124T200000Z
SUMMARY:Dinner <b>now</b>
LOCATION:Town
ORGANIZER;CN=Sam:mailto:sam@far.test
ATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:alice@alpha.test
END:VEVENT`

func (w *world) hold(a storage.Account, from, body string) storage.Quarantined {
	w.t.Helper()
	if strings.HasPrefix(body, "METHOD") {
		body = string(ics(body))
	}
	q, err := w.db.AddQuarantine(w.t.Context(), storage.Quarantined{Account: a.ID, From: from, Reason: "unproven: no DKIM signature of far.test", Body: body})
	if err != nil {
		w.t.Fatal(err)
	}
	return q
}

func TestHeldMail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.account("alice", nil)
	w.account("bob", nil)
	b := w.signedIn("alice")
	b.get("/held").want(t, 200, "Nothing is held back")
	q := w.hold(alice, "mailto:other@far.test", stranger)
	junk := w.hold(alice, "mailto:x@spam.test", "Win!\n\nClick http://spam.test/<script>alert(1)</script>")
	b.get("/").want(t, 200, "2 mails are", "held back until you decide")
	page := b.get("/held")
	page.want(t, 200, "Wants to invite you", "Dinner &lt;b&gt;now&lt;/b&gt;", "Tue 24 Nov 2026, 19:00 – 21:00", "other@far.test", "sam@far.test", "another address than the sender", "no DKIM signature of far.test",
		"A mail without a usable calendar part", "Click http://spam.test/&lt;script&gt;")
	page.lacks(t, "<script>alert", `href="http://spam`)

	// Only its owner decides.
	path := fmt.Sprintf("/held/%d", q.ID)
	w.signedIn("bob").post(path, url.Values{"do": {"apply"}}).want(t, 404)
	b.post(fmt.Sprintf("/held/%d", junk.ID), url.Values{"do": {"apply"}}).want(t, 409, "nothing to apply")
	b.post(fmt.Sprintf("/held/%d", junk.ID), url.Values{"do": {"ignore"}}).want(t, 303)
	if list, err := w.db.Deliveries(t.Context(), storage.DeliveryFilter{Account: alice.ID}); err != nil || len(list) != 0 { // A32
		t.Errorf("what was ignored is answered by %d messages, %v", len(list), err)
	}
	b.post(path, url.Values{"do": {"burn"}}).want(t, 400)
	b.post(path, url.Values{"do": {"apply"}}).want(t, 303)
	_, o := w.stored(alice, "dinner@evil.test")
	if got := answerOf(o, "", "alice@alpha.test"); got != "NEEDS-ACTION" {
		t.Errorf("the copy says %s", got)
	}
	b.get("/held?done=applied").want(t, 200, "was applied to your calendar", "Nothing is held back")
	b.get("/invitations").want(t, 200, "Dinner")
	b.post(path, url.Values{"do": {"apply"}}).want(t, 404, "not held any more")

	// A change of what is known is shown beside what is there.
	w.hold(alice, "mailto:sam@far.test", strings.NewReplacer("T18", "T19", "LOCATION:Town", "LOCATION:Harbour", "DTSTAMP:20261101", "DTSTAMP:20261102").Replace(stranger))
	b.get("/held").want(t, 200, "Wants to change an event in your calendar", "<td>Tue 24 Nov 2026, 19:00 – 21:00</td><td>Tue 24 Nov 2026, 20:00 – 21:00</td>", "<td>Town</td><td>Harbour</td>")
	w.hold(alice, "mailto:sam@far.test", strings.NewReplacer("METHOD:REQUEST", "METHOD:CANCEL", "dinner@", "unknown@").Replace(stranger))
	b.get("/held").want(t, 200, "Wants to cancel an event", "there is nothing to cancel")
}

// proposal is bob's, for another time of meeting.
const proposal = `METHOD:COUNTER
BEGIN:VEVENT
UID:meeting@test
DTSTAMP:20261102T000000Z
DTSTART;TZID=Europe/Berlin:20261123T160000
DTEND;TZID=Europe/Berlin:20261123T170000
SUMMARY:Budget
COMMENT:I have a train
ORGANIZER:mailto:alice@alpha.test
ATTENDEE;CN=Bob;PARTSTAT=TENTATIVE:mailto:bob@alpha.test
END:VEVENT`

func TestTakeOverAProposal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.account("alice", nil), w.account("bob", nil)
	w.put(alice, "meeting.ics", strings.Replace(meeting, "RRULE:FREQ=DAILY;COUNT=4\n", "", 1))
	w.receive(bob, alice, proposal)
	b := w.signedIn("alice")
	page := b.get("/invitations")
	page.want(t, 200, "Bob proposes another time or place", "16:00 – 17:00", "I have a train", "Take it over")
	_, rest, _ := strings.Cut(page.body, `action="/invitations/news/`)
	name, _, _ := strings.Cut(rest, `"`)
	b.post("/invitations/news/"+name, url.Values{"do": {"take"}}).want(t, 303)
	for _, a := range []storage.Account{alice, bob} { // want 17: both sides
		_, o := w.stored(a, "meeting@test")
		if got := o.Master().Value("DTSTART"); got != "20261123T160000" {
			t.Errorf("%s has DTSTART %s", a.Handle, got)
		}
	}
	b.get("/invitations").lacks(t, "Take it over")
}

func TestDeclineAProposal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.account("alice", nil), w.account("bob", nil)
	w.put(alice, "meeting.ics", strings.Replace(meeting, "RRULE:FREQ=DAILY;COUNT=4\n", "", 1))
	decline := func() reply {
		page := w.signedIn("alice").get("/invitations")
		page.want(t, 200, "Decline it")
		_, rest, _ := strings.Cut(page.body, `action="/invitations/news/`)
		name, _, _ := strings.Cut(rest, `"`)
		return w.signedIn("alice").post("/invitations/news/"+name, url.Values{"do": {"decline"}})
	}
	w.receive(bob, alice, proposal)
	r := decline()
	r.want(t, 303)
	if got := r.header.Get("Location"); got != "/invitations?done=declined" {
		t.Errorf("Location %q", got)
	}
	after := w.signedIn("alice").get("/invitations?done=declined")
	after.want(t, 200, "The proposal was declined")
	after.lacks(t, "Decline it")
	_, o := w.stored(alice, "meeting@test")
	if got := o.Master().Value("DTSTART"); got != "20261123T140000" {
		t.Errorf("alice has DTSTART %s", got)
	}
	w.signedIn("bob").get("/invitations").want(t, 200, "Alice declined your proposal")

	// The proposal may have outlived the event.
	w.receive(bob, alice, strings.Replace(proposal, "DTSTAMP:20261102", "DTSTAMP:20261103", 1))
	c, err := w.db.CollectionByName(t.Context(), alice.ID, "calendar")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.sched.Delete(t.Context(), scheduling.Delete{Actor: scheduling.Actor{Account: alice, By: alice}, Key: storage.ObjectKey{CollectionKey: c.CollectionKey, Name: "meeting.ics"}}); err != nil {
		t.Fatal(err)
	}
	decline().want(t, 409, "The event is gone")
}

// Abuse A32: block once, and nothing of that sender is seen again; the sender
// learns nothing.
func TestBlockSender(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.account("alice", nil)
	w.account("bob", nil)
	b := w.signedIn("alice")
	q := w.hold(alice, "mailto:Sam@Far.test", stranger)
	w.hold(alice, "mailto:sam@far.test", "Buy\n\nnow")
	kept := w.hold(alice, "mailto:carl@far.test", "Hello\n\nyou")
	nobody := w.hold(alice, "", "Hello\n\nfrom nobody")
	b.post(fmt.Sprintf("/held/%d", nobody.ID), url.Values{"do": {"block"}}).want(t, 409, "nobody to block")
	w.signedIn("bob").post(fmt.Sprintf("/held/%d", q.ID), url.Values{"do": {"block"}}).want(t, 404)
	b.post(fmt.Sprintf("/held/%d", q.ID), url.Values{"do": {"block"}}).want(t, 303)
	page := b.get("/held?done=blocked")
	page.want(t, 200, "The sender is blocked", "Blocked senders", "carl@far.test", "since 20 November 2026")
	page.lacks(t, "Dinner", "Buy")
	if list, err := w.db.Deliveries(t.Context(), storage.DeliveryFilter{Account: alice.ID}); err != nil || len(list) != 0 {
		t.Errorf("the sender is told by %d messages, %v", len(list), err)
	}
	if blocked, err := w.db.SenderBlocked(t.Context(), alice.ID, "mailto:sam@far.test"); err != nil || !blocked {
		t.Errorf("blocked: %v %v", blocked, err)
	}
	b.post("/held/unblock", url.Values{"sender": {"mailto:sam@far.test"}}).want(t, 303)
	b.get("/held").lacks(t, "Blocked senders")
	_ = kept
}

// The held mails by JSON, as the page has them.
func TestHeldJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.account("alice", nil)
	q := w.hold(alice, "mailto:sam@far.test", stranger)
	w.browser().get("/api/held").want(t, 403, `"error":"You are not signed in any more"`)
	b := w.signedIn("alice")
	b.get("/api/held").want(t, 200, fmt.Sprintf(`"id":"%d"`, q.ID), `"from":"sam@far.test"`, `"title":"Dinner \u003cb\u003enow\u003c/b\u003e"`, `"usable":true`, `"blocked":[]`)
	send := func(path, body string, edit func(*http.Request)) reply {
		return b.do(http.MethodPost, path, nil, func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
			r.Header.Set("Content-Type", "application/json")
			if edit != nil {
				edit(r)
			}
		})
	}
	path := fmt.Sprintf("/api/held/%d", q.ID)
	send(path, `{"do":"burn"}`, nil).want(t, 400, `"error"`)
	send(path, `{"do`, nil).want(t, 400)
	send("/api/held/x", `{}`, nil).want(t, 404, `"error"`)
	send(path, `{"do":"apply"}`, withHeader("Sec-Fetch-Site", "cross-site", "Origin", "https://evil.test")).want(t, 403)
	r := send(path, `{"do":"apply"}`, nil)
	r.want(t, 200, `{"done":"applied"}`)
	if got := r.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	send(path, `{"do":"apply"}`, nil).want(t, 404, "not held any more")
	w.stored(alice, "dinner@evil.test")
}

// Want 20, A37: a part that contradicts itself is a file to save, not a page;
// what cannot be read says kindly what to do.
func TestHeldFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.account("alice", nil)
	w.account("bob", nil)
	b := w.signedIn("alice")
	keep := func(reason, file string) storage.Quarantined {
		q, err := w.db.AddQuarantine(t.Context(), storage.Quarantined{Account: alice.ID, From: "mailto:sam@far.test", Reason: reason, Body: "Meeting\n\n<b>see file</b>", File: file})
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	q := keep("unusable: imip: METHOD and method parameter disagree: \"CANCEL\" and \"REPLY\"", "BEGIN:VCALENDAR\r\n<script>alert(1)</script>\r\n")
	keep("unusable: imip: content is in a winmail.dat", "")
	page := b.get("/held")
	page.want(t, 200, "one thing outside and another inside", "Save the file", "Ask the sender to answer again as plain text", "&lt;b&gt;see file")
	page.lacks(t, "Apply it", "<script>alert")
	path := fmt.Sprintf("/held/%d/file", q.ID)
	f := b.get(path)
	f.want(t, 200, "<script>")
	for name, want := range map[string]string{"Content-Type": "text/calendar; charset=utf-8", "Content-Disposition": `attachment; filename="held.ics"`, "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox"} {
		if got := f.header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	w.signedIn("bob").get(path).want(t, 404)
	b.get(fmt.Sprintf("/held/%d/file", q.ID+1)).want(t, 404)
}

// What is published becomes an event of the reader's own, without the strings
// that a stranger put on it (A55), and never touches a meeting.
func TestTakePublished(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.account("alice", nil)
	b := w.signedIn("alice")
	published := strings.NewReplacer("METHOD:REQUEST", "METHOD:PUBLISH", "dinner@evil.test", "concert@far.test", "ATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:alice@alpha.test\n", "ATTACH:file:///etc/passwd\n").Replace(stranger)
	q := w.hold(alice, "mailto:sam@far.test", published)
	b.get("/held").want(t, 200, "Publishes an event", "an event of your own")
	b.post(fmt.Sprintf("/held/%d", q.ID), url.Values{"do": {"apply"}}).want(t, 303)
	row, o := w.stored(alice, "concert@far.test")
	text := string(o.Bytes())
	if row.Flags&storage.FlagScheduling != 0 || strings.Contains(text, "METHOD") || strings.Contains(text, "ORGANIZER") || strings.Contains(text, "file:") {
		t.Errorf("stored:\n%s", text)
	}
	q = w.hold(alice, "mailto:sam@far.test", strings.Replace(published, "LOCATION:Town", "LOCATION:Harbour", 1))
	b.post(fmt.Sprintf("/held/%d", q.ID), url.Values{"do": {"apply"}}).want(t, 303)
	if _, o := w.stored(alice, "concert@far.test"); o.Master().Text("LOCATION") != "Harbour" {
		t.Error("a newer publication changed nothing")
	}
	w.put(alice, "meeting.ics", meeting)
	q = w.hold(alice, "mailto:sam@far.test", strings.Replace(published, "concert@far.test", "meeting@test", 1))
	b.get("/held").want(t, 200, "cannot change that")
	b.post(fmt.Sprintf("/held/%d", q.ID), url.Values{"do": {"apply"}}).want(t, 409, "meeting with others")
}
