package web

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"

	"github.com/kalends/kalends/storage"
)

func TestProfile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account("alice", nil)
	b := w.signedIn("alice")
	b.get("/settings").want(t, 200, `value="Alice"`, `value="Europe/Berlin"`, `name="busy" value="1" checked`, `name="reminders" value="1" checked`, "alice@alpha.test")
	form := url.Values{"name": {"Alice <A>"}, "calendar": {"calendar"}, "zone": {"america/new_york"}, "intake": {"known"}, "no-mail": {"1"}}
	b.post("/settings/profile", form).want(t, 303)
	a := w.mustAccount("alice")
	if a.DisplayName != "Alice <A>" || !a.Settings.HideFreeBusy || a.Settings.MailIntake != "known" || a.Settings.DefaultCalendar != "calendar" || a.Settings.EmailAlarms != "nobody" || !a.Settings.NoMail {
		t.Errorf("stored: %+v", a)
	}
	c, err := w.db.CollectionByName(t.Context(), a.ID, "calendar")
	if err != nil || c.TimezoneID != "America/New_York" || !strings.Contains(c.Timezone, "TZID:America/New_York") {
		t.Errorf("zone %q %q %v", c.TimezoneID, c.Timezone, err)
	}
	page := b.get("/settings?done=saved")
	page.want(t, 200, "Saved.", "Alice &lt;A&gt;", `name="busy" value="1">`, `name="no-mail" value="1" checked`, "America/New_York")
	for _, bad := range []url.Values{{"calendar": {"tasks"}}, {"calendar": {"none"}}, {"zone": {"Mars/Base"}}} {
		f := url.Values{"name": {"A"}, "calendar": {"calendar"}, "intake": {"known"}}
		for k, v := range bad {
			f[k] = v
		}
		b.post("/settings/profile", f).want(t, 422, `class="problem"`)
	}
	f := url.Values{"name": {"A"}, "calendar": {"calendar"}, "intake": {"pirates"}}
	b.post("/settings/profile", f).want(t, 400)
}

// Abuse A45: who is asked about sees by whom, and nobody else does.
func TestWhoAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.account("alice", nil)
	w.account("bob", nil)
	w.signedIn("alice").get("/settings").lacks(t, "Who asked when you are busy")
	for _, asker := range []string{"eve@far.test", "<i>sam</i>@far.test"} {
		if err := w.db.NoteBusyQuestion(t.Context(), "far.test", asker, []storage.AccountID{alice.ID}); err != nil {
			t.Fatal(err)
		}
	}
	page := w.signedIn("alice").get("/settings")
	page.want(t, 200, "Who asked when you are busy", "far.test", "2 times, last", "&lt;i&gt;sam&lt;/i&gt;@far.test")
	page.lacks(t, "eve@", "<i>sam")
	w.signedIn("bob").get("/settings").lacks(t, "far.test")
}

func TestPassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account("alice", nil)
	b, other := w.signedIn("alice"), w.signedIn("alice")
	change := func(old, fresh, again string) reply {
		return b.post("/settings/password", url.Values{"old": {old}, "new": {fresh}, "again": {again}})
	}
	change("alice-secret", "long enough 1", "long enough 2").want(t, 422, "not the same")
	change("alice-secret", "short", "short").want(t, 422, "at least 10")
	change("alice-secret", "ALICE@alpha.test", "ALICE@alpha.test").want(t, 422, "must not be your name")
	change("wrong", "long enough 1", "long enough 1").want(t, 403, "present password is wrong")
	change("alice-secret", "long enough 1", "long enough 1").want(t, 303)
	if got := w.mustAccount("alice").Verifier; got != "plain:long enough 1" {
		t.Errorf("verifier %s", got)
	}
	b.get("/settings?done=password").want(t, 200, "Your password is changed")
	if r := other.get("/settings"); r.status != 303 {
		t.Error("the other browser is still signed in")
	}
}

func TestAppPasswords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.account("alice", nil)
	w.account("bob", nil)
	b := w.signedIn("alice")
	b.post("/settings/app-passwords", url.Values{"label": {"  "}}).want(t, 422, "which program or device")
	b.post("/settings/app-passwords", url.Values{"label": {"Phone <1>"}}).want(t, 200, "app-password-shown-once", "Phone &lt;1&gt;", "alice@alpha.test")
	page := b.get("/settings")
	page.want(t, 200, "Phone &lt;1&gt;", "never used")
	page.lacks(t, "app-password-shown-once", "hash-of-it")
	list, err := w.db.AppPasswords(t.Context(), a.ID)
	if err != nil || len(list) != 1 || list[0].Hash != "hash-of-it" {
		t.Fatalf("stored %+v %v", list, err)
	}
	path := fmt.Sprintf("/settings/app-passwords/%d/revoke", list[0].ID)
	w.signedIn("bob").post(path, nil).want(t, 404)
	b.post(path, nil).want(t, 303)
	b.get("/settings?done=revoked").want(t, 200, "does not work any more") // and still signed in
	if list, _ := w.db.AppPasswords(t.Context(), a.ID); len(list) != 0 {
		t.Error("it is still there")
	}
}

func TestAppleProfile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.url = "https://calendar.alpha.test:8443"
	w.account("alice", func(a *storage.Account) { a.DisplayName = `</string>&"` })
	if r := w.browser().get("/apple.mobileconfig"); r.status != 303 {
		t.Errorf("status %d for nobody", r.status)
	}
	// A cookie jar gives __Host- cookies back over https only.
	b := w.browser()
	in := b.post("/sign-in", url.Values{"login": {"alice"}, "password": {"alice-secret"}})
	cookie, _, _ := strings.Cut(in.header.Get("Set-Cookie"), ";")
	get := func(path string) reply { return b.do("GET", path, nil, withHeader("Cookie", cookie)) }
	r := get("/apple.mobileconfig")
	r.want(t, 200, "<string>calendar.alpha.test</string>", "<integer>8443</integer>", "<key>CalDAVUseSSL</key>\n\t<true/>", "<string>/dav/principals/users/alice/</string>", "<string>alice@alpha.test</string>", "com.apple.caldav.account")
	r.lacks(t, "alice-secret")
	d := xml.NewDecoder(strings.NewReader(r.body))
	for {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("not XML: %v", err)
		}
	}
	if r.header.Get("Content-Type") != "application/x-apple-aspen-config" || r.header.Get("Content-Disposition") != `attachment; filename="kalends.mobileconfig"` {
		t.Errorf("headers %v", r.header)
	}
	if again := get("/apple.mobileconfig"); again.body != r.body {
		t.Error("a second download is another profile")
	}
	// A18: links come from the configured address, whatever Host says.
	evil := b.do("GET", "/connect", nil, withHeader("Cookie", cookie, "X-Forwarded-Host", "evil.test"))
	evil.want(t, 200, "https://calendar.alpha.test:8443/dav/", "Thunderbird", "DAVx", "Evolution", "iPhone", "/apple.mobileconfig")
	evil.lacks(t, "evil.test")
	w.browser().get("/connect").want(t, 200, "https://calendar.alpha.test:8443/dav/")
}
