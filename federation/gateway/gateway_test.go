package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
)

// round answers requests without a network.
type round func(*http.Request) (*http.Response, error)

func (f round) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func newClient(code int, body string, err error) (*Client, *http.Request) {
	seen := &http.Request{}
	return &Client{Now: time.Now, HTTP: &http.Client{Transport: round(func(r *http.Request) (*http.Response, error) {
		*seen = *r
		if err != nil {
			return nil, err
		}
		return &http.Response{StatusCode: code, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	})}, Find: func(_ context.Context, domain string) (Backend, bool, error) {
		return Backend{Domain: domain, URL: "https://backend.test/itip", Secret: "s3cret"}, domain == "gate.test", nil
	}}, seen
}

const gina, greg = calendar.Address("mailto:gina@gate.test"), calendar.Address("mailto:greg@gate.test")

// What a backend says, and what becomes of it: nothing is taken for delivered
// that it did not take, and nothing is lost that may come right.
func TestBackendAnswers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code   int
		body   string
		err    error
		status string // of gina
		retry  bool
	}{
		"taken":             {200, `{"results":[{"recipient":"MAILTO:Gina@gate.test","status":"2.0;Success"},{"recipient":"mailto:greg@gate.test","status":"3.7"}]}`, nil, "2.0;Success", false},
		"unknown":           {200, `{"results":[{"recipient":"mailto:gina@gate.test","status":"3.7;Nobody"}]}`, nil, "3.7;Nobody", false},
		"no body":           {204, ``, nil, "1.1;Sent", false},
		"left out":          {200, `{"results":[]}`, nil, "5.1", true},
		"no JSON":           {200, `<html>`, nil, "5.1", true},
		"no status":         {200, `{"results":[{"recipient":"mailto:gina@gate.test","status":"fine\r\nX: y"}]}`, nil, "5.1", false},
		"wrong secret":      {401, ``, nil, "5.1", true},
		"busy":              {429, ``, nil, "5.1", true},
		"broken":            {500, ``, nil, "5.1", true},
		"refused":           {422, ``, nil, "5.1", false},
		"away":              {0, ``, errors.New("connection refused"), "5.1", true},
		"an endless answer": {200, strings.Repeat(" ", maxAnswer+2), nil, "5.1", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cl, seen := newClient(c.code, c.body, c.err)
			p := scheduling.Parcel{Method: "REQUEST", Component: "VEVENT", Originator: "mailto:a\r\nX: y@alpha.test", Recipients: []calendar.Address{gina, greg}, Domain: "gate.test", WireID: "w1", Body: []byte("BEGIN:VCALENDAR")}
			got, err := cl.Send(t.Context(), p)
			if err != nil || len(got) != 2 || !strings.HasPrefix(got[0].Status, c.status) || got[0].Retry != c.retry || got[0].Transport != "gateway" || len(got[0].Trace) != 1 {
				t.Errorf("%+v %v", got, err)
			}
			h := seen.Header
			if h.Get("Authorization") != "Bearer s3cret" || h.Get("Kalends-Message-ID") != "w1" || len(h.Values("Recipient")) != 2 || strings.ContainsAny(h.Get("Originator"), "\r\n") {
				t.Errorf("header %v", h)
			}
			for _, r := range got { // A53
				if strings.Contains(r.Detail+r.Trace[0].Text, "s3cret") || strings.ContainsAny(r.Status+r.Detail, "\r\n") {
					t.Errorf("%+v", r)
				}
			}
			// A question is answered with times or honestly not at all.
			busy, err := cl.FreeBusy(t.Context(), scheduling.Question{Originator: "mailto:a@alpha.test", Recipients: []calendar.Address{gina}, Domain: "gate.test"})
			if err != nil || len(busy) != 1 || busy[0].Calendar != nil || busy[0].Status[0] != '3' && busy[0].Status[0] != '5' {
				t.Errorf("%+v %v", busy, err)
			}
		})
	}
	cl, _ := newClient(200, "", nil)
	if got, err := cl.Send(t.Context(), scheduling.Parcel{Domain: "other.test", Recipients: []calendar.Address{"mailto:x@other.test"}}); err != nil || got[0].Status[:3] != "5.2" || got[0].Retry {
		t.Errorf("%+v %v", got, err)
	}
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"https://h.test/itip": true, "lmtp://127.0.0.1:24": true, "http://h.test/": false, "lmtp://h.test": false, "lmtp://h.test:24/x": false,
		"https://user:pw@h.test/": false, "file:///etc/passwd": false, "": false, "https://": false, "https://h.test/#f": false} {
		if got := CheckURL(text) == nil; got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// submitter keeps what it is given.
type submitter struct{ got []scheduling.Submission }

func (s *submitter) Submit(_ context.Context, in scheduling.Submission) ([]scheduling.RecipientResult, error) {
	s.got = append(s.got, in)
	out := make([]scheduling.RecipientResult, len(in.Recipients))
	for i, a := range in.Recipients {
		out[i] = scheduling.RecipientResult{Recipient: a, Status: "1.1;Queued"}
	}
	return out, nil
}

func (s *submitter) FreeBusy(_ context.Context, q scheduling.FreeBusy) ([]scheduling.RecipientResult, error) {
	return nil, nil
}

func newHandler(s *submitter) *Handler {
	return &Handler{Token: func(_ context.Context, d, tok string) (bool, error) { return d == "gate.test" && tok == "t0ken", nil }, Submitter: s,
		Limits: calendar.DefaultLimits(), RequestID: func(context.Context) string { return "r" }, Log: slog.New(slog.DiscardHandler)}
}

func request(method, organizer string, attendees ...string) string {
	text := "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//t//EN\nMETHOD:" + method + "\nBEGIN:VEVENT\nUID:u\nDTSTAMP:20261101T000000Z\nDTSTART:20261123T100000Z\nSUMMARY:s\nORGANIZER:" + organizer + "\n"
	for _, a := range attendees {
		text += "ATTENDEE:" + a + "\n"
	}
	return strings.ReplaceAll(text+"END:VEVENT\nEND:VCALENDAR\n", "\n", "\r\n")
}

// A33, A38, A46: a backend speaks for its own people and nobody else.
func TestSubmissions(t *testing.T) {
	t.Parallel()
	s := &submitter{}
	h := newHandler(s)
	do := func(edit func(*http.Request), body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/gateway/gate.test", strings.NewReader(body))
		r.Header.Set("Content-Type", "text/calendar; charset=utf-8")
		r.Header.Set("Authorization", "Bearer t0ken")
		if edit != nil {
			edit(r)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	set := func(k, v string) func(*http.Request) { return func(r *http.Request) { r.Header.Set(k, v) } }
	good := request("REQUEST", string(gina), string(gina), string(greg), "mailto:x@other.test")
	for name, c := range map[string]struct {
		edit func(*http.Request)
		body string
		want int
	}{
		"good":                   {nil, good, 200},
		"by GET":                 {func(r *http.Request) { r.Method = http.MethodGet }, good, 405},
		"without token":          {func(r *http.Request) { r.Header.Del("Authorization") }, good, 401},
		"wrong token":            {set("Authorization", "Bearer x"), good, 401},
		"another domain":         {func(r *http.Request) { r.URL.Path = "/gateway/other.test" }, good, 401},
		"no calendar":            {set("Content-Type", "text/plain"), good, 415},
		"not valid":              {nil, "BEGIN:VCALENDAR\r\n", 422},
		"too long":               {nil, strings.Repeat("x", maxBody+1), 413},
		"somebody else's":        {nil, request("REQUEST", "mailto:x@other.test", string(gina)), 403},
		"under a name of ours":   {set("Originator", string(gina)), request("REQUEST", "mailto:x@other.test", string(gina)), 403},
		"an answer of another":   {set("Originator", string(gina)), request("REPLY", "mailto:x@other.test", "mailto:y@other.test"), 403},
		"a sub-domain":           {nil, request("REQUEST", "mailto:gina@sub.gate.test", "mailto:x@other.test"), 403},
		"a recipient is nothing": {set("Recipient", "mailto:"), good, 422},
		"to nobody":              {nil, request("REQUEST", string(gina), string(gina)), 422},
	} {
		if w := do(c.edit, c.body); w.Code != c.want {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if len(s.got) != 1 || len(s.got[0].Recipients) != 1 || s.got[0].Originator != gina || s.got[0].Domain != "gate.test" {
		t.Errorf("submitted %+v", s.got)
	}
	h.Allow = func(domain string) bool { return domain != "gate.test" } // A46
	if w := do(nil, good); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" || len(s.got) != 1 {
		t.Errorf("beyond the limit: %d, %d submitted", w.Code, len(s.got))
	}
	if w := do(func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, good); w.Code != 401 {
		t.Errorf("the limit is told to strangers: %d", w.Code)
	}
	h.Allow = nil
	if w := do(nil, good); !strings.Contains(w.Body.String(), "5.3;That person is the backend's own") || !strings.Contains(w.Body.String(), "1.1;Queued") {
		t.Error(w.Body)
	}
}

// FuzzBackendAnswer reads what a backend may say.
func FuzzBackendAnswer(f *testing.F) {
	for _, s := range []string{"", "{}", `{"results":[{"recipient":"mailto:gina@gate.test","status":"2.0;Success","calendar":"BEGIN:VCALENDAR"}]}`, `{"results":[{"recipient":"","status":"9"}]}`, `{"results":null}`, `[`} {
		f.Add([]byte(s))
	}
	c := &Client{Now: time.Now}
	f.Fuzz(func(t *testing.T, text []byte) {
		got := c.read([]calendar.Address{gina, greg}, text)
		if len(got) != 2 || got[0].Recipient != gina || got[1].Recipient != greg {
			t.Fatalf("%+v", got)
		}
		for _, r := range got {
			if len(r.Status) < 3 || strings.ContainsAny(r.Status+r.Detail, "\r\n\x00") {
				t.Fatalf("status %q, detail %q", r.Status, r.Detail)
			}
		}
	})
}

// FuzzSubmission reads what a backend may submit: whatever passes speaks for
// its own domain.
func FuzzSubmission(f *testing.F) {
	f.Add([]byte(request("REQUEST", string(gina), "mailto:x@other.test")), "", "")
	f.Add([]byte(request("REPLY", "mailto:x@other.test", string(gina))), string(gina), "mailto:x@other.test, mailto:y@other.test")
	f.Add([]byte(request("REQUEST", "mailto:x@other.test", string(gina))), "MAILTO:Gina@GATE.test", ",")
	h := newHandler(&submitter{})
	f.Fuzz(func(t *testing.T, body []byte, originator, recipient string) {
		header := http.Header{}
		if originator != "" {
			header.Set("Originator", originator)
		}
		if recipient != "" {
			header.Set("Recipient", recipient)
		}
		in, status, _ := h.understand("gate.test", body, header)
		if status != 0 {
			return
		}
		if in.Originator.Domain() != "gate.test" || len(in.Recipients) == 0 || len(in.Recipients) > maxRecipients || !speaks(in.Message, in.Originator, attendeeMethod(in.Message.Method())) {
			t.Fatalf("%+v", in)
		}
	})
}
