package browser

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/kalends/kalends/test/blackbox"
)

// watchSees proves that the other tests are not blind: what they must not find
// is found when it is there.
func watchSees(t *testing.T, w *world) {
	b := w.tab(t, secure(w.alpha))
	b.open("/connect")
	if found := b.found(); len(found) > 0 {
		t.Fatalf("an ordinary page: %q", found)
	}
	script[bool](b, `(() => {
		const style = document.createElement("style"); style.textContent = "h1{color:red}"; document.head.append(style);
		const code = document.createElement("script"); code.textContent = "window.intruder = 1"; document.head.append(code);
		document.createElement("button").setAttribute("onclick", "1");
		console.error("from the page");
		setTimeout(() => { throw new Error("thrown") });
		return true })()`)
	if script[bool](b, `"intruder" in window`) {
		t.Error("the policy let an inline script run")
	}
	// Something that the policy does not stop: the watch itself has to see it.
	script[bool](b, `(location.href = "https://elsewhere.test/", true)`)
	for _, part := range []string{"style-src", "script-src", "console: error", "exception", "another origin: https://elsewhere.test/"} {
		blackbox.Must(t, limit, func() error {
			if !strings.Contains(strings.Join(b.found(), "\n"), part) {
				return fmt.Errorf("the watch has not seen %q: %q", part, b.found())
			}
			return nil
		})
	}
	b.expect("") // all of it was meant
}

func signInAndOut(t *testing.T, w *world) {
	b := w.tab(t, secure(w.alpha))
	b.expect("401") // Chromium notes the status of the refused attempts
	if status := b.open("/settings?x=1"); status != 200 {
		t.Errorf("a page for people: %d", status)
	}
	b.wants("h1", "Sign in")
	if got := script[string](b, `document.activeElement.name`); got != "login" {
		t.Errorf("the cursor is in %q instead of the name", got)
	}
	var refusals []string
	for _, c := range [][2]string{{"alice", "wrong"}, {"nobody-here", "wrong"}, {"admin", "alice"}} {
		b.write("input[name=login]", c[0])
		b.write("input[name=password]", c[1])
		if status := b.follow("main form button"); status != 401 {
			t.Errorf("%s with a wrong password: %d", c[0], status)
		}
		refusals = append(refusals, b.text("#problem"))
		if got := script[string](b, `document.querySelector("input[name=login]").value`); got != c[0] {
			t.Errorf("the name is lost: %q", got)
		}
	}
	if refusals[0] == "" || refusals[1] != refusals[0] || refusals[2] != refusals[0] {
		t.Errorf("refusals tell names apart: %q", refusals)
	}
	// By address, in other letters, with the Enter key; then to where it began.
	b.write("input[name=login]", "Alice@Alpha.test")
	b.write("input[name=password]", "alice")
	if status := b.leave(chromedp.KeyEvent(kb.Enter)); status != 200 || b.path() != "/settings?x=1" {
		t.Fatalf("signed in: %d at %s", status, b.path())
	}
	b.wants(".who", "Alice", "Sign out")
	got, err := chromedp.Call(b.ctx, network.GetCookies, network.GetCookiesParams{})
	b.must(err)
	if len(got.Cookies) != 1 {
		t.Fatalf("%d cookies", len(got.Cookies))
	}
	if c := got.Cookies[0]; c.Name != "__Host-kalends" || !c.HTTPOnly || !c.Secure || c.SameSite != network.CookieSameSiteLax {
		t.Errorf("the cookie: %+v", c)
	}
	b.follow(".who button")
	b.wants("[role=status]", "You are signed out.")
	b.open("/settings")
	b.wants("h1", "Sign in")
}

// signInPlain is the newcomer: `kalends serve` without TLS on loopback.
func signInPlain(t *testing.T, w *world) {
	b := w.tab(t, fmt.Sprintf("http://127.0.0.1:%d", w.plain.HTTP))
	b.expect("401")
	if status := b.signIn("pat", "no"); status != 401 {
		t.Errorf("a wrong password: %d", status)
	}
	if status := b.signIn("pat", "pat"); status != 200 || b.count(".week .day") != 7 {
		t.Fatalf("signed in: %d at %s", status, b.path())
	}
	b.wants(".legend", "not answered yet")
	if status := b.follow(".who button"); status != 200 {
		t.Errorf("signed out: %d", status)
	}
	b.wants("[role=status]", "signed out")
}

// inDay selects an event in the week by its day.
func inDay(at time.Time) string {
	return fmt.Sprintf(`section[aria-labelledby="d%s"] .ev`, at.Format(time.DateOnly))
}

func week(t *testing.T, w *world) {
	u := w.alpha.User("dora")
	at := day(3, 3).Add(14 * time.Hour) // a Thursday
	put(t, u, "one.ics", blackbox.Event{UID: "week-one", Start: at, Summary: "Rehearsal <b>of</b> & all"}.String())
	put(t, u, "two.ics", blackbox.Event{UID: "week-two", Start: at.Add(-30 * time.Minute), Summary: "Fitting"}.String())
	put(t, u, "many.ics", blackbox.Event{UID: "week-many", Start: at.AddDate(0, 0, -2).Add(3 * time.Hour), Summary: "Daily round", Rule: "FREQ=DAILY;COUNT=3"}.String())
	b := w.user(t, "dora")
	b.open(weekOf(at))
	b.wants("h1", at.Format("2006"))
	if n := b.count(".week .ev"); n != 5 {
		t.Errorf("%d events in the week instead of 5", n)
	}
	b.wants(inDay(at)+":nth-of-type(2)", "14:00", "Rehearsal <b>of</b> & all")
	for i := range 3 {
		d := at.AddDate(0, 0, i-2)
		if !strings.Contains(script[string](b, fmt.Sprintf(`[...document.querySelectorAll(%q)].map(e => e.innerText).join()`, inDay(d))), "Daily round") {
			t.Errorf("no daily round on %s", d.Format(time.DateOnly))
		}
	}
	// Events stand where their hour stands, and beside each other when they overlap.
	type box struct{ Left, Right, Top, Bottom float64 }
	boxOf := func(what string) box {
		return script[box](b, fmt.Sprintf(`(() => { const r = (%s).getBoundingClientRect(); return {Left: r.left, Right: r.right, Top: r.top, Bottom: r.bottom} })()`, what))
	}
	byTitle := func(title string) string {
		return fmt.Sprintf(`[...document.querySelectorAll(%q)].find(e => e.innerText.includes(%q))`, inDay(at), title)
	}
	long, short, hour, head := boxOf(byTitle("Rehearsal")), boxOf(byTitle("Fitting")), boxOf(`document.querySelector("#h14")`), boxOf(fmt.Sprintf(`document.querySelector("#d%s")`, at.Format(time.DateOnly)))
	if long.Left < head.Left-1 || long.Right > head.Right+1 {
		t.Errorf("the event (%+v) is not below its day (%+v)", long, head)
	}
	if d := long.Top - hour.Top; d < -10 || d > 10 {
		t.Errorf("the event begins at %v, its hour at %v", long.Top, hour.Top)
	}
	if short.Left < long.Right-1 && long.Left < short.Right-1 && short.Top < long.Bottom && long.Top < short.Bottom {
		t.Errorf("events cover each other: %+v and %+v", long, short)
	}
	// The event itself, and back.
	if status := b.follow(inDay(at) + `:nth-of-type(2) a`); status != 200 {
		t.Fatalf("the event: %d", status)
	}
	b.wants("h1", "Rehearsal <b>of</b> & all")
	b.wants(".main-facts", at.Format("Mon 2 Jan 2006"), "14:00")
	b.follow(".back a")
	if b.path() != weekOf(at) {
		t.Errorf("back leads to %s", b.path())
	}
}

func keyboard(t *testing.T, w *world) {
	b := w.user(t, "emil")
	from := day(2, 0)
	b.open(weekOf(from))
	for _, c := range []struct {
		key  string
		want string
	}{{kb.ArrowRight, weekOf(from.AddDate(0, 0, 7))}, {kb.ArrowRight, weekOf(from.AddDate(0, 0, 14))}, {kb.ArrowLeft, weekOf(from.AddDate(0, 0, 7))}, {"t", "/"}} {
		if status := b.leave(chromedp.KeyEvent(c.key)); status != 200 || b.path() != c.want {
			t.Errorf("%q leads to %s (%d) instead of %s", c.key, b.path(), status, c.want)
		}
	}
	if n := b.count(".day.today"); n != 1 {
		t.Errorf("%d days are today", n)
	}
	// The first stop of the Tab key leads over the menu to the content.
	b.do(chromedp.KeyEvent(kb.Tab))
	if got := script[string](b, `document.activeElement.className`); got != "skip" {
		t.Errorf("the first stop is %q", got)
	}
	if !script[bool](b, `(r => r.width > 50 && r.height > 10)(document.activeElement.getBoundingClientRect())`) {
		t.Error("the way over the menu is not visible when it has the focus")
	}
	b.do(chromedp.KeyEvent(kb.Enter))
	if got := script[string](b, `document.activeElement.id`); got != "main" {
		t.Errorf("the way over the menu leads to %q", got)
	}
	// Everything else that takes the focus shows it.
	for range 8 {
		b.do(chromedp.KeyEvent(kb.Tab))
		if script[bool](b, `document.activeElement === document.body`) {
			break // the end of the page
		}
		if !script[bool](b, `(s => s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 1)(getComputedStyle(document.activeElement))`) {
			t.Errorf("no focus ring around %q", script[string](b, `document.activeElement.outerHTML.slice(0, 80)`))
		}
	}
}

// invite lets one of alpha invite another; it returns the event's UID and the
// attendee's address.
func invite(t *testing.T, w *world, organizer, attendee, summary string, weeks int) (uid, address string) {
	t.Helper()
	o, a := w.alpha.User(organizer), w.alpha.User(attendee)
	uid = "invite-" + attendee
	put(t, o, uid+".ics", blackbox.Event{UID: uid, Start: day(weeks, 1).Add(9 * time.Hour), Organizer: o.Address, Attendees: []string{a.Address}, Summary: summary}.String())
	return uid, a.Address
}

func invitation(t *testing.T, w *world) {
	uid, pia := invite(t, w, "olga", "pia", "Round table", 3)
	olga := w.alpha.User("olga")
	b := w.user(t, "pia")
	b.wants(".notice.ask", "1 invitation waits")
	b.follow(".notice.ask a")
	b.wants(".invitation", "Round table", "olga@alpha.test", day(3, 1).Format("Mon 2 Jan 2006"))
	if status := b.follow(`.invitation button[value=accept]`); status != 200 {
		t.Fatalf("accepted: %d", status)
	}
	b.wants("[role=status]", "Your answer is stored")
	b.wants(".empty-state", "No invitation waits")
	answerOf(t, olga, uid, pia, "ACCEPTED")
	if script[bool](b, `location.search.includes("done")`) {
		t.Error("loading the page again would repeat the confirmation")
	}
	// In the week it is an ordinary event now; there the answer can be changed.
	b.open(weekOf(day(3, 1)))
	if n := b.count(".ev.pending"); n != 0 {
		t.Errorf("%d events still wait for an answer", n)
	}
	b.follow(inDay(day(3, 1)) + " a")
	b.wants("#your-answer", "accepted")
	b.write("input[name=note]", "Train is cancelled")
	if status := b.follow(`button[value=decline]`); status != 200 {
		t.Fatalf("declined: %d", status)
	}
	b.wants("[role=status]", "Your answer is stored")
	b.wants("#your-answer", "declined")
	answerOf(t, olga, uid, pia, "DECLINED")
	// The organizer sees both.
	a := w.user(t, "olga")
	a.open("/event/calendar/" + uid + ".ics")
	a.wants(".people", "pia@alpha.test", "declined")
	a.open("/invitations")
	a.wants("main", "pia@alpha.test: declined", "pia@alpha.test: accepted", "Train is cancelled", "Round table")
	for a.count(".news button[value=dismiss]") > 0 {
		a.follow(".news button[value=dismiss]")
	}
	a.wants("main", "No invitation waits")
}

// withoutJavaScript: the comforts are gone, everything else works.
func withoutJavaScript(t *testing.T, w *world) {
	uid, gus := invite(t, w, "fay", "gus", "Proof reading", 4)
	b := w.tab(t, secure(w.alpha))
	_, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.must(err)
	if status := b.signIn("gus", "gus"); status != 200 {
		t.Fatalf("signed in: %d", status)
	}
	b.open("/connect")
	if b.count("[data-copy]") == 0 || b.count("button.copy") != 0 {
		t.Fatal("scripts run although they are switched off")
	}
	b.open(weekOf(day(4, 1)))
	b.follow(`a[rel=next]`)
	b.follow(`a[rel=prev]`)
	b.follow(inDay(day(4, 1)) + " a")
	b.wants("h1", "Proof reading")
	if status := b.follow(`button[value=maybe]`); status != 200 {
		t.Fatalf("answered: %d", status)
	}
	b.wants("[role=status]", "Your answer is stored")
	answerOf(t, w.alpha.User("fay"), uid, gus, "TENTATIVE")
	b.open("/settings")
	b.write("input[name=label]", "Tablet")
	b.follow(`form[action="/settings/app-passwords"] button`)
	if len(b.text(".fresh code")) != 40 {
		t.Error("no app password is shown")
	}
	b.follow(".who button")
	b.wants("[role=status]", "signed out")
}

// delivery: an organizer sees what became of each invitation, and the page
// keeps up by itself.
func delivery(t *testing.T, w *world) {
	u := w.alpha.User("hedy")
	w.beta.Stop()
	at := day(3, 2).Add(10 * time.Hour)
	put(t, u, "meet.ics", blackbox.Event{UID: "delivery-one", Start: at, Organizer: u.Address, Summary: "Joint review",
		Attendees: []string{"mailto:ivo@alpha.test", "mailto:carol@beta.test", "mailto:dave@mail.test"}}.String())
	b := w.user(t, "hedy")
	b.open(weekOf(at))
	b.follow(inDay(at) + " a")
	b.wants("#people-head", "Where is my invitation?")
	person := func(name string) string {
		return script[string](b, fmt.Sprintf(`[...document.querySelectorAll(".people > li")].find(e => e.innerText.includes(%q))?.innerText ?? ""`, name))
	}
	becomes := func(name string, parts ...string) {
		t.Helper()
		blackbox.Must(t, limit+limit, func() error {
			got := person(name)
			for _, p := range parts {
				if !strings.Contains(got, p) {
					return fmt.Errorf("what %s's invitation says lacks %q: %q", name, p, got)
				}
			}
			return nil
		})
	}
	before := b.documents()
	becomes("ivo@alpha.test", "delivered here", "no answer yet")
	becomes("carol@beta.test", "will be tried again", "Next try")
	becomes("dave@mail.test", "sent", "e-mail", "1.1")
	if err := w.beta.Run(); err != nil {
		t.Fatal(err)
	}
	if err := w.beta.Ready(limit); err != nil {
		t.Fatal(err)
	}
	becomes("carol@beta.test", "delivered", "server to server (iSchedule)", "signed or proven as alpha.test", "1.2")
	if n := b.documents(); n != before {
		t.Errorf("the page was loaded %d times more; it was to keep up by itself", n-before)
	}
	b.open(b.path())
	b.do(click(".people details summary"))
	becomes("carol@beta.test", "handed over")
	// The answer comes back the same way.
	carol := w.beta.User("carol")
	blackbox.Must(t, limit, func() error { return carol.Answer("delivery-one", "ACCEPTED") })
	answerOf(t, u, "delivery-one", "mailto:carol@beta.test", "ACCEPTED")
	b.open(b.path())
	becomes("carol@beta.test", "accepted")
	// Carol is told who was invited, and nothing about their deliveries.
	c := w.tab(t, secure(w.beta))
	c.signIn("carol@beta.test", "carol")
	c.open(weekOf(at))
	c.follow(inDay(at) + " a")
	c.wants("#people-head", "Invited")
	if n := c.count(".delivery"); n != 0 {
		t.Errorf("an attendee sees %d deliveries", n)
	}
}

// dav tells how CalDAV answers to a name with a password.
func dav(t *testing.T, w *world, name, password string) int {
	t.Helper()
	u := w.alpha.User(name)
	u.Password = password
	a, err := u.Do("PROPFIND", u.Home(), `<?xml version="1.0"?><propfind xmlns="DAV:"><prop><displayname/></prop></propfind>`, "Depth", "0")
	if err != nil {
		t.Fatal(err)
	}
	return a.Status
}

func appPasswords(t *testing.T, w *world) {
	b := w.user(t, "jan")
	b.follow(`nav a[href="/settings"]`)
	b.write("input[name=label]", "My phone")
	b.follow(`form[action="/settings/app-passwords"] button`)
	b.wants(".fresh", "My phone", "not shown again", "jan")
	password := b.text(".fresh code[data-copy]")
	if len(password) != 40 {
		t.Fatalf("the password is %q", password)
	}
	if status := dav(t, w, "jan", password); status != 207 {
		t.Errorf("the app password over CalDAV: %d", status)
	}
	b.open("/settings")
	if strings.Contains(script[string](b, `document.documentElement.outerHTML`), password) {
		t.Error("the app password is shown again")
	}
	b.wants("[aria-labelledby=apps]", "My phone", "last used")
	// It is for programs: it opens no pages, and does not change the password.
	other := w.tab(t, secure(w.alpha))
	other.expect("401")
	if status := other.signIn("jan", password); status != 401 {
		t.Errorf("the app password at the sign-in page: %d", status)
	}
	b.write("input[name=old]", password)
	b.write("input[name=new]", "a longer password")
	b.write("input[name=again]", "a longer password")
	b.expect("403")
	b.follow(`form[action="/settings/password"] button`)
	b.wants("[aria-labelledby=password] .problem", "wrong")
	b.follow(`button[aria-label="Revoke My phone"]`)
	b.wants("[role=status]", "does not work any more")
	if status := dav(t, w, "jan", password); status != 401 {
		t.Errorf("the revoked app password over CalDAV: %d", status)
	}
}

func settings(t *testing.T, w *world) {
	other := w.user(t, "kim")
	b := w.user(t, "kim")
	b.open("/settings")
	b.write("input[name=name]", "Kim <script>alert(1)</script> Ö")
	b.write("input[name=zone]", "Asia/Tokyo")
	b.do(click(`input[name=intake][value=known]`))
	b.follow(`form[action="/settings/profile"] button`)
	b.wants("[role=status]", "Saved")
	b.wants(".who .name", "Kim <script>alert(1)</script> Ö")
	at := day(3, 4).Add(20 * time.Hour) // in Tokyo it is the next morning
	put(t, w.alpha.User("kim"), "late.ics", blackbox.Event{UID: "late", Start: at, Summary: "Early call"}.String())
	b.open(weekOf(at))
	b.wants(inDay(at.AddDate(0, 0, 1)), "05:00", "Early call")
	b.wants(".weekfoot", "Asia/Tokyo")

	b.open("/settings")
	b.write("input[name=old]", "kim")
	b.write("input[name=new]", "four words are better")
	b.write("input[name=again]", "four words are better")
	b.follow(`form[action="/settings/password"] button`)
	b.wants("[role=status]", "Your password is changed")
	if status := dav(t, w, "kim", "kim"); status != 401 {
		t.Errorf("the old password over CalDAV: %d", status)
	}
	if status := dav(t, w, "kim", "four words are better"); status != 207 {
		t.Errorf("the new password over CalDAV: %d", status)
	}
	b.open("/settings")
	b.wants("h1", "Settings") // the browser that changed it stays signed in
	other.open("/settings")
	other.wants("h1", "Sign in")
}

// administration is for administrators, and shows no calendar.
func administration(t *testing.T, w *world) {
	b := w.user(t, "nora")
	b.expect("404")
	if b.count(`nav a[href="/admin"]`) != 0 || b.open("/admin") != 404 {
		t.Error("somebody else sees the administration")
	}
	b.wants(".error-page", "Request id")
	a := w.tab(t, secure(w.alpha))
	a.signIn("admin", "secret")
	a.follow(`nav a[href="/admin"]`)
	a.wants("main", "alpha.test", "Audit trail")
	a.follow(`a[href="/admin/accounts"]`)
	a.write("input[name=q]", "nora")
	a.leave(chromedp.KeyEvent(kb.Enter))
	a.wants("tbody", "nora@alpha.test")
	if n := a.count("tbody tr"); n != 1 {
		t.Errorf("%d accounts found", n)
	}
	a.follow(`a[href="/admin/queue"]`)
	a.wants("h1", "Delivery queue")
	a.expect("404")
	if status := a.open("/event/calendar/week-one.ics"); status != 404 {
		t.Errorf("an event of somebody else: %d", status)
	}
}
