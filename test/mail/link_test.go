package mail

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/kalends/kalends/test/blackbox"
)

// TestLinks: dave has no calendar; he answers by a link in his mail (want 23,
// A36). The link's secret stands in no log and no metric (A53).
func TestLinks(t *testing.T) {
	s := newScene(t, "KALENDS_LOG_LEVEL=debug")
	const dave, carl = "mailto:dave@mail.test", "mailto:carl@mail.test"
	path := s.invite("links", dave, carl)
	m := s.arrived("links", "REQUEST")
	for m.To[0] != "dave@mail.test" {
		var err error
		if m, err = s.outside.Wait(patience, func(m blackbox.Mail) bool {
			return m.Calendar != nil && m.Calendar.UID() == "links" && m.To[0] == "dave@mail.test"
		}); err != nil {
			t.Fatal(err)
		}
	}
	text := strings.NewReplacer("=\r\n", "", "=3D", "=").Replace(string(m.Raw))
	found := regexp.MustCompile(`https://cal\.alpha\.test:\d+(/rsvp/([a-z2-7]{32}))\?a=(accept|maybe|decline)`).FindAllStringSubmatch(text, -1)
	if len(found) != 6 || found[0][2] != found[5][2] { // three in the text, three in the HTML
		t.Fatalf("links in the mail: %v", found)
	}
	secret := found[0][2]
	at := fmt.Sprintf("http://127.0.0.1:%d%s", s.n.HTTP, found[0][1])
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	look := func(want int, part string) {
		t.Helper()
		r, err := client.Get(at + "?a=accept")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, _ := io.ReadAll(r.Body)
		if r.StatusCode != want || !strings.Contains(string(body), part) || r.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%d, %v: %q is missing in\n%s", r.StatusCode, r.Header, part, body)
		}
	}
	look(200, "Nothing is sent before")
	s.status(path, dave, func(p, st string) bool { return p == "NEEDS-ACTION" })
	r, err := client.PostForm(at, url.Values{"answer": {"accept"}, "note": {"by link"}})
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != 303 {
		t.Fatalf("the answer was answered by %s", r.Status)
	}
	s.status(path, dave, func(p, st string) bool { return p == "ACCEPTED" && strings.HasPrefix(st, "2.0") })
	s.status(path, carl, func(p, st string) bool { return p == "NEEDS-ACTION" })
	look(200, "has been used")

	log := s.n.Log()
	if !strings.Contains(log, "/rsvp/…") || !strings.Contains(log, "an answer by link") {
		t.Error("the log knows nothing of the link")
	}
	next := strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Location"), "/rsvp/"), "?done=rsvp")
	metrics, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", s.n.Admin))
	if err != nil {
		t.Fatal(err)
	}
	defer metrics.Body.Close()
	counted, _ := io.ReadAll(metrics.Body)
	for what, text := range map[string]string{"the log": log, "the metrics": string(counted)} {
		for _, private := range []string{secret, next, strings.ToUpper(secret), "Authorization", "by link "} {
			if strings.Contains(text, private) {
				t.Errorf("%s holds %q", what, private)
			}
		}
	}
	if strings.Contains(string(counted), "links") || strings.Contains(string(counted), "mail.test") {
		t.Error("metrics name an event or a domain")
	}
}
