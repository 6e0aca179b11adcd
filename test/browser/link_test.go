package browser

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/test/blackbox"
)

// answerByLink: somebody without an account opens the link of his mail in a
// browser. Opening it answers nothing, however often and whatever the link says;
// a button does, once; the page that follows can change the answer (A36).
func answerByLink(t *testing.T, w *world) {
	ruth, at := w.alpha.User("ruth"), day(2, 4).Add(10*time.Hour)
	const uid, guest = "by-link", "guest@far.test"
	put(t, ruth, uid+".ics", (blackbox.Event{UID: uid, Start: at, Summary: "Tasting <i>of</i> & wines", Organizer: ruth.Address, Attendees: []string{"mailto:" + guest}}).String())
	m, err := w.mail.Wait(limit, func(m blackbox.Mail) bool { return m.Calendar != nil && m.Calendar.UID() == uid })
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("=\r\n", "", "=3D", "=").Replace(string(m.Raw))
	link := regexp.MustCompile(`https://cal\.alpha\.test:\d+(/rsvp/[a-z2-7]{32}\?a=)accept`).FindStringSubmatch(text)
	if link == nil {
		t.Fatalf("no link in the mail: %s", text)
	}
	partstat := func() string {
		f, err := ruth.Copy(uid)
		if err != nil || f == nil {
			t.Fatal(err)
		}
		p, _ := blackbox.Attendee(f.Object, "mailto:"+guest)
		return p
	}

	// GET shows.
	b := w.tab(t, secure(w.alpha))
	for _, a := range []string{"decline", "maybe", "accept", "accept"} {
		if status := b.open(link[1] + a); status != 200 {
			t.Fatalf("the link: %d", status)
		}
		b.wants("h1", "Tasting <i>of</i> & wines")
		b.wants("main", guest, "invites you", at.Format("Mon 2 Jan 2006"), "Nothing is sent before you press")
		if n := b.count("form.answer button"); n != 3 {
			t.Errorf("%d buttons", n)
		}
		if got := script[string](b, `document.activeElement.value || ""`); got != a {
			t.Errorf("the link for %s offers %q first", a, got)
		}
		if n := b.count(".who, nav a[href='/settings']"); n != 0 {
			t.Error("a stranger is shown the way to a calendar")
		}
	}
	time.Sleep(300 * time.Millisecond)
	if got := partstat(); got != "NEEDS-ACTION" {
		t.Fatalf("looking at the link has answered %s", got)
	}

	// POST acts.
	b.write("input[name=note]", "With my sister")
	if status := b.follow(`form.answer button[value=accept]`); status != 200 {
		t.Fatalf("answered: %d", status)
	}
	b.wants("[role=status]", "Thank you", "accepted")
	answerOf(t, ruth, uid, "mailto:"+guest, "ACCEPTED")
	second := b.path()
	if strings.HasPrefix(second, strings.TrimSuffix(link[1], "?a=")) {
		t.Errorf("the page after the answer is at %s, the link that was used", second)
	}
	b.follow(`form.answer button[value=decline]`)
	b.wants("[role=status]", "declined")
	answerOf(t, ruth, uid, "mailto:"+guest, "DECLINED")

	// The link has been used; another tab cannot use it again.
	c := w.tab(t, secure(w.alpha))
	c.open(link[1] + "accept")
	c.wants("main", "has been used")
	if n := c.count("form.answer button"); n != 0 {
		t.Errorf("a used link offers %d buttons", n)
	}
	c.expect("404")
	if status := c.open("/rsvp/" + strings.Repeat("a", 32)); status != 404 {
		t.Errorf("an invented link: %d", status)
	}
	if got := partstat(); got != "DECLINED" {
		t.Error(fmt.Errorf("in the end it is %s", got))
	}
}
