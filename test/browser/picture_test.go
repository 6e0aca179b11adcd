package browser

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/kalends/kalends/test/blackbox"
)

const berlin = "BEGIN:VTIMEZONE\r\nTZID:Europe/Berlin\r\n" +
	"BEGIN:DAYLIGHT\r\nDTSTART:19700329T020000\r\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\nEND:DAYLIGHT\r\n" +
	"BEGIN:STANDARD\r\nDTSTART:19701025T030000\r\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n"

// local writes an event of next week in Berlin's time: day 0 is Monday, times
// are "10:00", or "" and a number of days for an event of whole days. Lines are
// more properties.
func local(uid, summary string, dayOf int, from, to string, lines ...string) string {
	d := day(1, dayOf)
	when := ""
	if from == "" {
		var n int
		fmt.Sscan(to, &n)
		when = fmt.Sprintf("DTSTART;VALUE=DATE:%s\r\nDTEND;VALUE=DATE:%s", d.Format("20060102"), d.AddDate(0, 0, n).Format("20060102"))
	} else {
		at := func(clock string) string {
			return d.Format("20060102T") + strings.ReplaceAll(clock, ":", "") + "00"
		}
		when = fmt.Sprintf("DTSTART;TZID=Europe/Berlin:%s\r\nDTEND;TZID=Europe/Berlin:%s", at(from), at(to))
	}
	more := ""
	for _, l := range lines {
		more += l + "\r\n"
	}
	return fmt.Sprintf("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Picture//EN\r\n%sBEGIN:VEVENT\r\nUID:%s\r\nDTSTAMP:%s\r\nSUMMARY:%s\r\n%s\r\n%sEND:VEVENT\r\nEND:VCALENDAR\r\n",
		berlin, uid, time.Now().UTC().Format("20060102T150405Z"), summary, when, more)
}

// guests are ORGANIZER and ATTENDEE lines; the first address organizes.
func guests(addresses ...string) (lines []string) {
	for i, a := range addresses {
		name := strings.ToUpper(a[:1]) + a[1:strings.IndexByte(a, '@')]
		if i == 0 {
			lines = append(lines, "ORGANIZER;CN="+name+":mailto:"+a, "ATTENDEE;CN="+name+";PARTSTAT=ACCEPTED:mailto:"+a)
		} else {
			lines = append(lines, "ATTENDEE;CN="+name+";PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:"+a)
		}
	}
	return lines
}

// picture plays the demo's story into a week that somebody could have, and
// looks at it. With KALENDS_PICTURE=FOLDER it writes picture.png and
// picture-delivery.png there, the pictures of the README:
//
//	KALENDS_PICTURE=$PWD/docs go test ./test/browser -run TestPages/picture
func picture(t *testing.T, w *world) {
	alice, bob, carol := w.alpha.User("alice"), w.alpha.User("bob"), w.beta.User("carol")
	for _, c := range []struct{ method, name, title, color string }{{"PROPPATCH", "calendar", "Work", "#2f6fde"}, {"MKCALENDAR", "family", "Family", "#c2410c"}, {"MKCALENDAR", "choir", "Choir", "#15803d"}} {
		body := fmt.Sprintf(`<D:prop><D:displayname>%s</D:displayname><A:calendar-color>%s</A:calendar-color></D:prop></D:set>`, c.title, c.color)
		root := map[string]string{"PROPPATCH": "D:propertyupdate", "MKCALENDAR": "C:mkcalendar"}[c.method]
		a, err := alice.Do(c.method, alice.Home()+c.name+"/", fmt.Sprintf(`<?xml version="1.0"?><%s xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:A="http://apple.com/ns/ical/"><D:set>%s</%s>`, root, body, root), "Content-Type", "application/xml")
		if err != nil || !a.OK() {
			t.Fatalf("%s %s: %v %s", c.method, c.name, err, a)
		}
	}
	events := 0
	store := func(u *blackbox.User, calendar, uid, text string) {
		t.Helper()
		if err := u.MustPut(u.Home()+calendar+"/"+uid+".ics", text); err != nil {
			t.Fatal(err)
		}
		events++
	}
	work := func(uid, summary string, d int, from, to string, lines ...string) {
		t.Helper()
		store(alice, "calendar", uid, local(uid, summary, d, from, to, lines...))
	}
	work("standup", "Stand-up", 0, "09:00", "09:30", "RRULE:FREQ=DAILY;COUNT=5")
	events += 4 // it is on five days
	work("table", "Federation round table", 0, "10:00", "11:30", append(guests("alice@alpha.test", "bob@alpha.test", "carol@beta.test", "dave@mail.test"), "LOCATION:Blue room", "DESCRIPTION:What we schedule together\\, and how.")...)
	work("budget", "Budget review", 0, "14:00", "15:30", "LOCATION:Room 4")
	work("fair", "Trade fair", 1, "", "3")
	events += 2 // and that on three
	work("planning", "Planning", 1, "10:00", "12:00")
	work("printers", "Call with the printers", 1, "13:30", "14:15")
	work("workshop", "Design workshop", 2, "10:00", "12:30", "LOCATION:Studio")
	work("press", "Press call", 2, "11:30", "13:00")
	work("report", "Quarterly report", 3, "13:00", "15:00")
	work("lunch", "Team lunch", 4, "12:00", "13:00", "STATUS:CANCELLED")
	work("release", "Release", 4, "14:00", "16:00")
	store(alice, "family", "dentist", local("dentist", "Dentist", 1, "16:00", "17:00"))
	store(alice, "family", "party", local("party", "Birthday party", 5, "", "1"))
	store(alice, "family", "market", local("market", "Market", 5, "10:00", "11:30"))
	store(alice, "choir", "choir", local("choir", "Rehearsal", 3, "16:30", "18:00", "LOCATION:St Mary"))
	store(alice, "choir", "concert", local("concert", "Concert", 6, "15:00", "17:00", "LOCATION:Town hall"))
	store(bob, "calendar", "plan", local("plan", "Release plan", 2, "15:00", "16:00", guests("bob@alpha.test", "alice@alpha.test")...))
	store(bob, "calendar", "talk", local("talk", "Talk on calendars", 3, "10:00", "11:30", guests("bob@alpha.test", "alice@alpha.test")...))
	for _, answer := range []struct {
		u             *blackbox.User
		uid, partstat string
	}{{bob, "table", "ACCEPTED"}, {carol, "table", "ACCEPTED"}, {alice, "talk", "TENTATIVE"}} {
		blackbox.Must(t, limit+limit, func() error { return answer.u.Answer(answer.uid, answer.partstat) })
	}
	answerOf(t, alice, "table", bob.Address, "ACCEPTED")
	answerOf(t, alice, "table", carol.Address, "ACCEPTED")

	b := w.user(t, "alice")
	b.open("/settings")
	b.write("input[name=zone]", "Europe/Berlin")
	b.follow(`form[action="/settings/profile"] button`)
	// A picture of 1280 by 800 points that shows as much as a usual laptop.
	const scale = 8.0 / 9
	b.do(chromedp.EmulateViewport(1440, 900, chromedp.EmulateScale(scale)))
	b.open(weekOf(day(1, 0)))
	if n := b.count(".week .ev"); n != events {
		t.Errorf("%d events in the week instead of %d", n, events)
	}
	b.wants(".legend", "Work", "Family", "Choir")
	b.wants(".notice.ask", "1 invitation waits")
	b.wants(".ev.pending", "Release plan")
	b.wants(".ev.tentative", "Talk on calendars")
	b.wants(".ev.cancelled", "Team lunch")
	if out := script[string](b, `[...document.querySelectorAll(".times .ev a")].filter(a => a.scrollHeight > a.clientHeight + 2 || a.scrollWidth > a.clientWidth + 2).map(a => a.innerText).join(" | ")`); out != "" {
		t.Errorf("events whose text does not fit: %s", out)
	}
	shoot(b, "picture.png")
	b.do(chromedp.EmulateViewport(960, 840))
	b.open("/event/calendar/table.ics")
	blackbox.Must(t, limit+limit, func() error {
		got := b.text(".people")
		for _, part := range []string{"Bob", "delivered here", "Carol", "server to server (iSchedule)", "Dave", "e-mail", "accepted"} {
			if !strings.Contains(got, part) {
				return fmt.Errorf("no %q among the people: %s", part, got)
			}
		}
		return nil
	})
	script[bool](b, `(scrollBy(0, document.querySelector("#people").getBoundingClientRect().top - 16), true)`)
	shoot(b, "picture-delivery.png")
}

// shoot keeps what the window shows, when somebody wants it.
func shoot(b *tab, name string) {
	b.t.Helper()
	folder := os.Getenv("KALENDS_PICTURE")
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	b.must(err)
	if http.DetectContentType(png) != "image/png" || len(png) < 10<<10 {
		b.t.Errorf("%s: %d octets of %s", name, len(png), http.DetectContentType(png))
	}
	if folder != "" {
		b.must(os.WriteFile(filepath.Join(folder, name), png, 0o644))
	}
}
