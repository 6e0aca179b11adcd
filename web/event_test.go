package web

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/storage"
)

// meeting is organized by alice; bob lives here, carol and dave elsewhere.
const meeting = `BEGIN:VEVENT
UID:meeting@test
DTSTAMP:20261101T000000Z
DTSTART;TZID=Europe/Berlin:20261123T140000
DTEND;TZID=Europe/Berlin:20261123T150000
RRULE:FREQ=DAILY;COUNT=4
SUMMARY:Budget
ORGANIZER;CN=Alice:mailto:alice@alpha.test
ATTENDEE;CN=Alice;PARTSTAT=ACCEPTED:mailto:alice@alpha.test
ATTENDEE;CN=Bob;PARTSTAT=NEEDS-ACTION:mailto:bob@alpha.test
ATTENDEE;CN=Carol;PARTSTAT=NEEDS-ACTION:mailto:carol@beta.test
ATTENDEE;CN=Dave;PARTSTAT=NEEDS-ACTION;ROLE=OPT-PARTICIPANT:mailto:dave@mail.test
END:VEVENT`

// answerOf is an attendee's PARTSTAT in an object, for the whole or for the
// override of one instance; "-" when there is none.
func answerOf(o *calendar.Object, instance, address string) string {
	for _, c := range o.Components() {
		id := ""
		if p := c.Prop("RECURRENCE-ID"); p != nil {
			if d, err := calendar.ParseDateTime(p); err == nil {
				id = d.Value()
			}
		}
		if id != instance {
			continue
		}
		for _, p := range c.All("ATTENDEE") {
			if calendar.Address(p.Value()).Equal(calendar.Address("mailto:" + address)) {
				return partstatOf(p)
			}
		}
	}
	return "-"
}

func TestAnswerAnInvitation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.account("alice", nil), w.account("bob", nil)
	w.put(alice, "meeting.ics", meeting)
	b := w.signedIn("bob")

	list := b.get("/invitations")
	list.want(t, 200, "Budget", "Mon 23 Nov 2026, 14:00 – 15:00", "every day, 4 times", "from Alice", `value="accept"`)
	row, _ := w.stored(bob, "meeting@test")
	path := "/event/calendar/" + row.Name
	list.want(t, 200, `action="`+path+`"`)
	b.get("/").want(t, 200, "1 invitation waits")

	// The whole series, from the list.
	r := b.post(path, url.Values{"answer": {"accept"}, "shown": {list.field(t, "shown")}, "instance": {""}, "next": {"/invitations"}, "note": {"Gladly\r\nX-EVIL:1"}})
	r.want(t, 303)
	if got := r.header.Get("Location"); got != "/invitations?done=answered" {
		t.Errorf("Location %q", got)
	}
	b.get("/invitations?done=answered").want(t, 200, "Your answer is stored", "No invitation waits")
	_, o := w.stored(alice, "meeting@test")
	if got := answerOf(o, "", "bob@alpha.test"); got != "ACCEPTED" {
		t.Errorf("the organizer has %s", got)
	}
	news := w.signedIn("alice").get("/invitations")
	news.want(t, 200, "Bob: accepted", "Gladly X-EVIL:1")

	// One occurrence.
	page := b.get(path + "?instance=20261124T140000")
	page.want(t, 200, "Tue 24 Nov 2026, 14:00 – 15:00", "now: accepted", "the whole series", "Organizer", "Carol", "no answer yet", "optional")
	page.lacks(t, "Where is my invitation")
	b.post(path, url.Values{"answer": {"decline"}, "shown": {page.field(t, "shown")}, "instance": {"20261124T140000"}, "scope": {"instance"}}).want(t, 303)
	_, o = w.stored(alice, "meeting@test")
	if whole, one := answerOf(o, "", "bob@alpha.test"), answerOf(o, "20261124T140000", "bob@alpha.test"); whole != "ACCEPTED" || one != "DECLINED" {
		t.Errorf("the organizer has %s for the series and %s for Tuesday", whole, one)
	}

	// Put the news away.
	al := w.signedIn("alice")
	news = al.get("/invitations")
	_, rest, _ := strings.Cut(news.body, `action="/invitations/news/`)
	name, _, _ := strings.Cut(rest, `"`)
	al.post("/invitations/news/"+name, url.Values{"do": {"dismiss"}}).want(t, 303)
	if after := al.get("/invitations"); strings.Count(after.body, "/invitations/news/") != strings.Count(news.body, "/invitations/news/")-1 {
		t.Error("the item is still there")
	}
	al.post("/invitations/news/"+name, url.Values{"do": {"dismiss"}}).want(t, 404)
}

func TestAnswerToWhatHasChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.account("alice", nil), w.account("bob", nil)
	w.put(alice, "meeting.ics", meeting)
	b := w.signedIn("bob")
	row, _ := w.stored(bob, "meeting@test")
	path := "/event/calendar/" + row.Name
	page := b.get(path + "?instance=20261124T140000")
	w.put(alice, "meeting.ics", strings.NewReplacer("T14", "T16", "T15", "T17").Replace(meeting))
	form := url.Values{"answer": {"accept"}, "shown": {page.field(t, "shown")}, "instance": {"20261124T140000"}, "scope": {"instance"}}
	r := b.post(path, form)
	r.want(t, 409, "The event was changed meanwhile", "16:00 – 17:00") // that occurrence is gone: the series is shown
	_, o := w.stored(alice, "meeting@test")
	if got := answerOf(o, "", "bob@alpha.test"); got != "NEEDS-ACTION" {
		t.Errorf("the organizer has %s", got)
	}
	form.Set("shown", r.field(t, "shown"))
	form.Set("instance", r.field(t, "instance"))
	b.post(path, form).want(t, 303)
	_, o = w.stored(alice, "meeting@test")
	if got := answerOf(o, "", "bob@alpha.test"); got != "ACCEPTED" {
		t.Errorf("the organizer has %s", got)
	}
}

func TestOnlyOwnEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.account("alice", nil)
	w.account("bob", nil)
	w.account("eve", nil)
	w.put(alice, "meeting.ics", meeting)
	e := w.signedIn("eve")
	e.get("/event/calendar/meeting.ics").want(t, 404)
	e.post("/event/calendar/meeting.ics", url.Values{"answer": {"accept"}}).want(t, 404)
	e.get("/event/inbox/meeting.ics").want(t, 404)
	w.browser().post("/event/calendar/meeting.ics", url.Values{"answer": {"accept"}}).want(t, 403, "not signed in any more")
	al := w.signedIn("alice")
	row, _ := w.stored(alice, "meeting@test")
	al.post("/event/calendar/meeting.ics", url.Values{"answer": {"accept"}, "shown": {row.ScheduleTag}}).want(t, 409, "only somebody invited can answer")
	al.post("/event/calendar/meeting.ics", url.Values{"answer": {"perhaps"}, "shown": {row.ScheduleTag}}).want(t, 400)
}

// What the server writes into the event between looking and answering is no
// reason to ask again; what the organizer or another program writes is.
func TestAnswerWhileOthersAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.account("alice", nil), w.account("bob", nil)
	dora := w.account("dora", nil)
	w.put(alice, "meeting.ics", strings.ReplaceAll(meeting, "carol@beta.test", "dora@alpha.test"))
	b := w.signedIn("bob")
	before, _ := w.stored(bob, "meeting@test")
	path := "/event/calendar/" + before.Name
	page := b.get(path)
	theirs, _ := w.stored(dora, "meeting@test")
	d := w.signedIn("dora")
	d.post("/event/calendar/"+theirs.Name, url.Values{"answer": {"accept"}, "shown": {d.get("/event/calendar/"+theirs.Name).field(t, "shown")}}).want(t, 303)
	later := friday.Add(time.Minute)
	w.now.Store(&later)
	for w.sched.Step(t.Context(), nil) {
	}
	after, o := w.stored(bob, "meeting@test")
	if after.ETag == before.ETag || answerOf(o, "", "dora@alpha.test") != "ACCEPTED" {
		t.Fatal("dora's answer did not reach bob's copy")
	}
	b.post(path, url.Values{"answer": {"accept"}, "shown": {page.field(t, "shown")}}).want(t, 303)
	_, o = w.stored(alice, "meeting@test")
	if got := answerOf(o, "", "bob@alpha.test"); got != "ACCEPTED" {
		t.Errorf("the organizer has %s", got)
	}
}

// The organizer sees where each invitation is.
func TestWhereIsMyInvitation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.account("alice", nil)
	w.account("bob", nil)
	w.put(alice, "meeting.ics", meeting)
	al := w.signedIn("alice")
	r := al.get("/event/calendar/meeting.ics")
	r.want(t, 200, "Where is my invitation?", "delivered here", "waits to be sent", `data-live="/api/deliveries?uid=meeting%40test"`)

	list, err := w.db.Deliveries(t.Context(), storage.DeliveryFilter{Account: alice.ID, UID: "meeting@test"})
	if err != nil || len(list) != 2 {
		t.Fatalf("%d deliveries, %v", len(list), err)
	}
	if err := w.db.Tx(t.Context(), func(ctx context.Context, tx *storage.Tx) error {
		for i := range list {
			d := &list[i]
			d.Attempts, d.Updated = 1, storage.Micros(friday.Add(time.Second))
			if d.Domain == "beta.test" {
				d.State, d.Transport, d.Status, d.Proof = storage.DeliveryDone, "ischedule", "1.2", "alpha.test"
				d.Trace = `[{"at":"2026-11-20T09:30:01Z","transport":"ischedule","status":"2.0;Success","steps":[{"at":"2026-11-20T09:30:01Z","what":"dns","text":"_ischedules._tcp.beta.test says cal.beta.test:443","took_ns":2000000},{"at":"2026-11-20T09:30:01Z","what":"post","text":"<b>200</b> OK"}]}]`
			} else {
				d.State, d.Transport, d.Status, d.Detail, d.NotBefore = storage.DeliveryQueued, "mail", "1.0", "451 <script>try later", storage.Micros(friday.Add(5*time.Minute))
				d.Trace = `[{"at":"2026-11-20T09:30:01Z","transport":"mail","status":"5.1;x","retry":true,"steps":[{"at":"2026-11-20T09:30:01Z","what":"fallback","text":"no SRV record: by mail"}]}]`
			}
		}
		return tx.UpdateDeliveries(ctx, list)
	}); err != nil {
		t.Fatal(err)
	}
	r = al.get("/event/calendar/meeting.ics?instance=20261124T140000")
	r.want(t, 200, "server to server (iSchedule)", "_ischedules._tcp.beta.test says cal.beta.test:443", "<code>alpha.test</code>", "&lt;b&gt;200&lt;/b&gt; OK", "(2ms)",
		"e-mail", "will be tried again", "no SRV record: by mail", "451 &lt;script&gt;try later", "(in 5 minutes)", "20 Nov 2026, 10:35:00")
	// The same as JSON: for the organizer, and for administrators.
	const trace = `/api/deliveries?uid=meeting%40test`
	al.get(trace).want(t, 200, `"ref":"alice/`, `"state":"done"`, `"transport":"ischedule"`, `"why":"_ischedules._tcp.beta.test says cal.beta.test:443"`, `"proof":"alpha.test"`, `"what":"post"`,
		`"state":"queued"`, `"why":"no SRV record: by mail"`, `"said":"451 \u003cscript\u003etry later"`, `"next":"2026-11-20T09:35:00Z"`, `"more":false`)
	al.get("/api/deliveries").want(t, 400, `"error":"Which event?"`)
	to := al.get(trace + "&recipient=MAILTO:carol@Beta.test")
	to.want(t, 200, `"recipient":"mailto:carol@beta.test"`, `"more":false`)
	to.lacks(t, "dave")
	al.get("/api/deliveries?uid=other").want(t, 200, `"deliveries":[]`)
	al.get("/api/admin/deliveries").want(t, 404)
	w.browser().get(trace).want(t, 403)
	w.account("root", func(a *storage.Account) { a.Rights = storage.RightAdmin })
	root := w.signedIn("root")
	all := root.get("/api/admin/deliveries?user=alice&state=done")
	all.want(t, 200, `"recipient":"mailto:carol@beta.test"`)
	all.lacks(t, "dave", "Budget")
	all = root.get("/api/admin/deliveries?domain=MAIL.test")
	all.want(t, 200, `"recipient":"mailto:dave@mail.test"`)
	all.lacks(t, "carol")
	root.get("/api/admin/deliveries?state=lost").want(t, 400)
	root.get("/api/admin/deliveries?user=nobody").want(t, 404)
	// In a large meeting what others were sent since hides nothing.
	others := make([]storage.Delivery, 1200)
	for i := range others {
		others[i] = list[0]
		others[i].ID, others[i].Recipient = 0, fmt.Sprintf("mailto:p%d@mail.test", i)
		others[i].RecipientKey = others[i].Recipient
	}
	if err := w.db.Tx(t.Context(), func(ctx context.Context, tx *storage.Tx) error { return tx.Enqueue(ctx, nil, others) }); err != nil {
		t.Fatal(err)
	}
	page := al.get("/event/calendar/meeting.ics")
	page.want(t, 200, "server to server (iSchedule)", "will be tried again")
	page.lacks(t, "nothing was sent yet")
	root.get(trace).want(t, 200, `"deliveries":[]`)

	bob := w.signedIn("bob")
	bob.get(trace).want(t, 200, `"deliveries":[]`)
	row, _ := w.stored(w.mustAccount("bob"), "meeting@test")
	bob.get("/event/calendar/"+row.Name).lacks(t, "Where is my invitation", "451", "ischedule")
}

func TestViewDelivery(t *testing.T) {
	t.Parallel()
	at := calendar.NewProperty
	for name, c := range map[string]struct {
		prop  *calendar.Property
		list  []storage.Delivery
		local bool
		state string
		class string
		open  bool
	}{
		"client's own":       {at("ATTENDEE", "mailto:a@b.test", calendar.NewParam("SCHEDULE-AGENT", "CLIENT")), nil, true, "not sent by this server", "past", false},
		"local":              {at("ATTENDEE", "mailto:a@b.test", calendar.NewParam("SCHEDULE-STATUS", "1.2")), nil, true, "delivered here", "done", false},
		"local refused":      {at("ATTENDEE", "mailto:a@b.test", calendar.NewParam("SCHEDULE-STATUS", "5.3")), nil, true, "failed", "failed", false},
		"unknown":            {at("ATTENDEE", "mailto:a@b.test", calendar.NewParam("SCHEDULE-STATUS", "3.7")), nil, false, "failed", "failed", false},
		"answered elsewhere": {at("ATTENDEE", "mailto:a@b.test", calendar.NewParam("SCHEDULE-STATUS", "2.0")), nil, false, "received", "done", false},
		"nothing":            {at("ATTENDEE", "mailto:a@b.test"), nil, false, "nothing was sent yet", "past", false},
		"held":               {at("ATTENDEE", "mailto:a@b.test"), []storage.Delivery{{State: storage.DeliveryHeld}}, false, "waits a moment, in case you take it back", "waiting", true},
		"flying":             {at("ATTENDEE", "mailto:a@b.test"), []storage.Delivery{{State: storage.DeliveryInFlight}}, false, "being sent now", "waiting", true},
		"mailed":             {at("ATTENDEE", "mailto:a@b.test"), []storage.Delivery{{State: storage.DeliveryDone, Status: "1.1", Transport: "mail"}}, false, "sent", "done", false},
		"failed":             {at("ATTENDEE", "mailto:a@b.test"), []storage.Delivery{{State: storage.DeliveryFailed, Status: "5.1"}, {State: storage.DeliveryDone}}, false, "failed", "failed", false},
		"broken trace":       {at("ATTENDEE", "mailto:a@b.test"), []storage.Delivery{{State: storage.DeliveryDone, Status: "1.2", Trace: "{"}}, false, "delivered", "done", false},
		"superseded":         {at("ATTENDEE", "mailto:a@b.test"), []storage.Delivery{{State: storage.DeliverySuperseded}}, false, "replaced by a newer message", "past", false},
	} {
		v := viewDelivery(c.prop, c.list, c.local, friday, time.UTC)
		if v.State != c.state || v.Class != c.class || v.Open != c.open {
			t.Errorf("%s: %q %q %v, want %q %q %v", name, v.State, v.Class, v.Open, c.state, c.class, c.open)
		}
		if len(c.list) > 1 && len(v.Earlier) != len(c.list)-1 {
			t.Errorf("%s: %d earlier messages", name, len(v.Earlier))
		}
	}
	for _, transport := range []string{"ischedule", "mail", "local", "gateway"} {
		if v := oneDelivery(storage.Delivery{Transport: transport}, friday, time.UTC); v.Way == transport || v.Way == "" {
			t.Errorf("the way %q is told as %q", transport, v.Way)
		}
	}
}
