package web

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/storage"
)

func TestSignInAndOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account("alice", nil)
	b := w.browser()
	b.get("/").want(t, 200, "<h1>Sign in</h1>", `name="password"`, "/dav/", "Thunderbird")

	r := b.post("/sign-in", url.Values{"login": {"alice"}, "password": {"wrong"}})
	r.want(t, 401, "The name or the password is wrong.", `value="alice"`)
	other := b.post("/sign-in", url.Values{"login": {"nobody"}, "password": {"wrong"}})
	if strings.ReplaceAll(r.body, "alice", "nobody") != other.body {
		t.Error("an unknown name is answered differently from a wrong password")
	}
	if c := r.header.Get("Set-Cookie"); c != "" {
		t.Errorf("a wrong password sets a cookie: %s", c)
	}

	r = b.post("/sign-in", url.Values{"login": {"Alice@alpha.test"}, "password": {"alice-secret"}, "next": {"/settings"}})
	r.want(t, 303)
	if got := r.header.Get("Location"); got != "/settings" {
		t.Errorf("Location %q", got)
	}
	cookie := r.header.Get("Set-Cookie")
	for _, part := range []string{"kalends=", "HttpOnly", "SameSite=Lax", "Path=/"} {
		if !strings.Contains(cookie, part) {
			t.Errorf("the cookie lacks %s: %s", part, cookie)
		}
	}
	b.get("/").want(t, 200, "Alice", "16 – 22 November 2026")
	b.post("/sign-out", nil).want(t, 303)
	b.get("/").want(t, 200, "<h1>Sign in</h1>")
	r = b.get("/settings")
	r.want(t, 303)
	if got := r.header.Get("Location"); got != "/?next=%2Fsettings" {
		t.Errorf("Location %q", got)
	}
}

func TestSlowDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account("alice", nil)
	w.auth.slow.Store(true)
	r := w.browser().post("/sign-in", url.Values{"login": {"alice"}, "password": {"alice-secret"}})
	r.want(t, 429, "too many wrong passwords")
	if r.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestCookieOverTLS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.url = "https://calendar.alpha.test"
	w.account("alice", nil)
	r := w.browser().post("/sign-in", url.Values{"login": {"alice"}, "password": {"alice-secret"}})
	c := r.header.Get("Set-Cookie")
	if !strings.HasPrefix(c, "__Host-kalends=") || !strings.Contains(c, "Secure") {
		t.Errorf("cookie %s", c)
	}
	if got := r.header.Get("Referrer-Policy"); got != "no-referrer" {
		t.Errorf("Referrer-Policy %q", got)
	}
}

// A19, A30: another site's page cannot act for who is signed in.
func TestForeignRequestsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account("alice", nil)
	b := w.signedIn("alice")
	form := url.Values{"label": {"Thief"}}
	for name, edit := range map[string]func(*http.Request){
		"Sec-Fetch-Site cross-site": func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"Sec-Fetch-Site same-site":  func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") },
		"foreign Origin": func(r *http.Request) {
			r.Header.Del("Sec-Fetch-Site")
			r.Header.Set("Origin", "https://evil.test")
		},
		"null Origin": func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Set("Origin", "null") },
	} {
		b.do(http.MethodPost, "/settings/app-passwords", form, edit).want(t, 403, "came from another site", "request-0815")
		list, err := w.db.AppPasswords(t.Context(), w.mustAccount("alice").ID)
		if err != nil || len(list) != 0 {
			t.Errorf("%s: %d app passwords, %v", name, len(list), err)
		}
	}
	own := func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Set("Origin", w.srv.URL) }
	b.do(http.MethodPost, "/settings/app-passwords", form, own).want(t, 200, "app-password-shown-once")
}

func TestOriginBehindProxy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.url = "https://calendar.alpha.test"
	w.account("alice", nil)
	edit := func(r *http.Request) {
		r.Header.Del("Sec-Fetch-Site")
		r.Header.Set("Origin", "https://calendar.alpha.test")
	}
	w.browser().do(http.MethodPost, "/sign-in", url.Values{"login": {"alice"}, "password": {"alice-secret"}}, edit).want(t, 303)
}

func TestSessionEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.account("alice", nil)
	out := func(b *browser, why string) {
		t.Helper()
		if r := b.get("/settings"); r.status != 303 {
			t.Errorf("%s: still signed in", why)
		}
	}
	b := w.signedIn("alice")
	b.get("/settings").want(t, 200)
	fresh := "plain:alice-secret"
	if _, err := w.db.UpdateAccount(t.Context(), a.ID, storage.AccountChange{Verifier: ptr("plain:other")}); err != nil {
		t.Fatal(err)
	}
	out(b, "password changed elsewhere")
	if _, err := w.db.UpdateAccount(t.Context(), a.ID, storage.AccountChange{Verifier: &fresh}); err != nil {
		t.Fatal(err)
	}
	out(b, "the old password again is a new version")

	b = w.signedIn("alice")
	if _, err := w.db.UpdateAccount(t.Context(), a.ID, storage.AccountChange{Disabled: ptr(true)}); err != nil {
		t.Fatal(err)
	}
	out(b, "disabled")
	w.browser().post("/sign-in", url.Values{"login": {"alice"}, "password": {"alice-secret"}}).want(t, 401)
	if _, err := w.db.UpdateAccount(t.Context(), a.ID, storage.AccountChange{Disabled: ptr(false)}); err != nil {
		t.Fatal(err)
	}
	b = w.signedIn("alice")
	later := friday.Add(sessionLife + time.Second)
	w.now.Store(&later)
	out(b, "run out")
	b = w.signedIn("alice")
	if err := w.db.RemoveAccount(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	out(b, "removed")
}

func TestUnseal(t *testing.T) {
	t.Parallel()
	s := &site{key: sessionKey([]byte(strings.Repeat("a", 32)))}
	other := &site{key: sessionKey([]byte(strings.Repeat("b", 32)))}
	in := session{account: 42, version: 7, issued: friday, expires: friday.Add(time.Hour)}
	good := s.seal(in)
	got, ok := s.unseal(good, friday)
	if !ok || got.account != 42 || got.version != 7 || !got.expires.Equal(in.expires) {
		t.Fatalf("unseal: %+v %v", got, ok)
	}
	if s.seal(in) == good {
		t.Error("two sessions have one cookie")
	}
	if _, ok := other.unseal(good, friday); ok {
		t.Error("another secret's cookie is taken")
	}
	raw, _ := base64.RawURLEncoding.DecodeString(good)
	for i := range raw {
		bad := append([]byte(nil), raw...)
		bad[i] ^= 1
		if _, ok := s.unseal(base64.RawURLEncoding.EncodeToString(bad), friday); ok {
			t.Fatalf("octet %d changed: still taken", i)
		}
	}
	for _, bad := range []string{"", "x", good[:len(good)-1], good + "A", strings.Repeat("A", 1<<16)} {
		if _, ok := s.unseal(bad, friday); ok {
			t.Errorf("%.20q is taken", bad)
		}
	}
	if _, ok := s.unseal(good, friday.Add(time.Hour)); ok {
		t.Error("taken after its end")
	}
	if _, ok := s.unseal(good, friday.Add(-time.Hour)); ok {
		t.Error("taken an hour before it was given")
	}
}

func FuzzUnseal(f *testing.F) {
	s := &site{key: sessionKey([]byte(strings.Repeat("a", 32)))}
	f.Add("")
	f.Add(s.seal(session{account: 1, issued: friday, expires: friday.Add(time.Hour)})[1:])
	f.Fuzz(func(t *testing.T, text string) {
		if t2, ok := s.unseal(text, friday); ok && s.key != nil && t2.account != 1 {
			t.Errorf("%q opens account %d", text, t2.account)
		}
	})
}

func TestHere(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"/": "/", "/event/a/b?instance=1": "/event/a/b?instance=1", "": "/", "//evil.test/": "/", "https://evil.test/": "/",
		`/\evil.test`: "/", "/\t/evil.test": "/", "javascript:alert(1)": "/", "evil": "/", "/a\r\nSet-Cookie: x": "/",
	} {
		if got := here(in); got != want {
			t.Errorf("here(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.account("alice", nil)
	b := w.signedIn("alice")
	for _, path := range []string{"/", "/settings", "/no-such-page", "/connect", "/event/calendar/none.ics"} {
		r := b.get(path)
		csp := r.header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: Content-Security-Policy %q", path, csp)
		}
		for k, v := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "same-origin"} {
			if got := r.header.Get(k); got != v {
				t.Errorf("%s: %s %q, want %q", path, k, got, v)
			}
		}
		r.lacks(t, " style=", "onclick", "http://fonts", "//cdn")
	}
	b.get("/no-such-page").want(t, 404, "There is no such page", "request-0815")
	page := b.get("/").body
	_, rest, _ := strings.Cut(page, `href="/assets/`)
	version, _, _ := strings.Cut(rest, "/")
	r := b.get("/assets/" + version + "/style.css")
	r.want(t, 200, ":root")
	if !strings.Contains(r.header.Get("Cache-Control"), "immutable") || !strings.HasPrefix(r.header.Get("Content-Type"), "text/css") {
		t.Errorf("asset headers %v", r.header)
	}
	b.get("/assets/"+version+"/none.css").want(t, 404)
	b.get("/assets/"+version+"/..%2ftemplates%2flayout.html").want(t, 404)
}

func TestNewRefusesBadConfig(t *testing.T) {
	t.Parallel()
	if _, err := New(nil, nil, Config{Secret: []byte("short")}); err == nil {
		t.Error("a short secret is taken")
	}
	if _, err := New(nil, nil, Config{Secret: make([]byte, 32)}); err == nil {
		t.Error("a configuration without an Authenticator is taken")
	}
}

func ptr[T any](v T) *T { return &v }

func (w *world) mustAccount(handle string) storage.Account {
	w.t.Helper()
	a, err := w.db.AccountByHandle(w.t.Context(), handle)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}
