// Package clients plays what calendar programs send, request by request in
// their order and with their bodies, against the real server: one file per
// program. The numbers are those of the list of what clients need (clients.md)
// and of what users ask for (wants).
package clients

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/kalends/kalends/test/blackbox"
)

func TestMain(m *testing.M) { blackbox.Main(m) }

// program is a calendar program of one user.
type program struct {
	*testing.T
	node *blackbox.Node
	base string
	user string            // "" asks without a password
	head map[string]string // what the program sends with each request
}

// start runs a server with alice and bob, and gives alice's program.
func start(t *testing.T, agent string, env ...string) *program {
	t.Helper()
	n := blackbox.NewWorld(t).Node("alpha.test", "", env...)
	n.Start()
	n.People("alice", "bob", "carol", "blue:room")
	return &program{T: t, node: n, base: fmt.Sprintf("http://127.0.0.1:%d", n.HTTP), user: "alice", head: map[string]string{"User-Agent": agent}}
}

// as is the same program of somebody else ("" is nobody).
func (p *program) as(user string) *program {
	q := *p
	q.user = user
	return &q
}

type answer struct {
	p      *program
	what   string
	Status int
	Header http.Header
	text   string
}

// do sends a request; head holds lines "Name: value". Redirects are not followed.
func (p *program) do(method, path, head, body string) answer {
	p.Helper()
	req, err := http.NewRequest(method, p.base+path, strings.NewReader(body))
	if err != nil {
		p.Fatal(err)
	}
	if p.user != "" {
		req.SetBasicAuth(p.user, p.user)
	}
	for k, v := range p.head {
		req.Header.Set(k, v)
	}
	switch {
	case strings.HasPrefix(body, "BEGIN:"):
		req.Header.Set("Content-Type", "text/calendar; charset=utf-8")
	case body != "":
		req.Header.Set("Content-Type", "application/xml; charset=utf-8")
	}
	for line := range strings.Lines(head) {
		if k, v, ok := strings.Cut(line, ":"); ok {
			req.Header.Set(strings.TrimSpace(k), strings.TrimSpace(v))
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		p.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.Fatal(err)
	}
	return answer{p, method + " " + path, resp.StatusCode, resp.Header, string(b)}
}

var client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// want checks the status and that the answer holds every part.
func (a answer) want(status int, parts ...string) answer {
	a.p.Helper()
	if a.Status != status {
		a.p.Fatalf("%s: status %d, want %d: %s", a.what, a.Status, status, a.text)
	}
	for _, s := range parts {
		if !strings.Contains(a.text, s) {
			a.p.Errorf("%s: the answer lacks %q: %s", a.what, s, a.text)
		}
	}
	return a
}

func (a answer) lacks(parts ...string) answer {
	a.p.Helper()
	for _, s := range parts {
		if strings.Contains(a.text, s) {
			a.p.Errorf("%s: the answer holds %q: %s", a.what, s, a.text)
		}
	}
	return a
}

// response is one DAV:response.
type response struct {
	Href   string `xml:"href"`
	Status string `xml:"status"`
	Stats  []struct {
		Prop struct {
			All []element `xml:",any"`
		} `xml:"prop"`
		Status string `xml:"status"`
	} `xml:"propstat"`
}

type element struct {
	XMLName xml.Name
	Attrs   []xml.Attr `xml:",any,attr"`
	Inner   string     `xml:",innerxml"`
	Text    string     `xml:",chardata"`
	Kids    []element  `xml:",any"`
}

type multistatus struct {
	XMLName   xml.Name   `xml:"DAV: multistatus"`
	Responses []response `xml:"DAV: response"`
	Token     string     `xml:"DAV: sync-token"`
}

// parsed reads a multistatus as a program does.
func (a answer) parsed() multistatus {
	a.p.Helper()
	a.want(207)
	var m multistatus
	if err := xml.Unmarshal([]byte(a.text), &m); err != nil {
		a.p.Fatalf("%s: no multistatus: %v: %s", a.what, err, a.text)
	}
	for _, r := range m.Responses { // clients.md 0: absolute path, one spelling
		if !strings.HasPrefix(r.Href, "/") || strings.Contains(r.Href, "//") {
			a.p.Errorf("%s: href %q", a.what, r.Href)
		}
	}
	return m
}

func (a answer) of(href string) response {
	a.p.Helper()
	m := a.parsed()
	for _, r := range m.Responses {
		if r.Href == href {
			return r
		}
	}
	a.p.Fatalf("%s: no response for %s: %s", a.what, href, a.text)
	return response{}
}

// hrefs are those of the responses, in order.
func (a answer) hrefs() (out []string) {
	a.p.Helper()
	for _, r := range a.parsed().Responses {
		out = append(out, r.Href)
	}
	return out
}

func (a answer) wantHrefs(want ...string) answer {
	a.p.Helper()
	got := a.hrefs()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		a.p.Errorf("%s: hrefs %v, want %v", a.what, got, want)
	}
	return a
}

// prop is a property with status 200; nil when it has none.
func (r response) prop(local string) *element {
	for _, s := range r.Stats {
		if !strings.Contains(s.Status, " 200 ") {
			continue
		}
		for i := range s.Prop.All {
			if s.Prop.All[i].XMLName.Local == local {
				return &s.Prop.All[i]
			}
		}
	}
	return nil
}

// text is the property's character data or the text of its one href.
func (r response) text(local string) string {
	e := r.prop(local)
	if e == nil {
		return ""
	}
	if len(e.Kids) == 1 && e.Kids[0].XMLName.Local == "href" {
		return strings.TrimSpace(e.Kids[0].Text)
	}
	return strings.TrimSpace(e.Text)
}

// texts are the hrefs in a property.
func (r response) texts(local string) (out []string) {
	if e := r.prop(local); e != nil {
		for _, k := range e.Kids {
			out = append(out, strings.TrimSpace(k.Text))
		}
	}
	return out
}

// statuses are the status codes of the propstats and how many properties each has.
func (r response) statuses() map[string]int {
	out := map[string]int{}
	for _, s := range r.Stats {
		if f := strings.Fields(s.Status); len(f) > 1 {
			out[f[1]] += len(s.Prop.All)
		}
	}
	return out
}

const namespaces = ` xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:CS="http://calendarserver.org/ns/" xmlns:I="http://apple.com/ns/ical/" xmlns:M="http://me.com/_namespace/" xmlns:P="https://bitfire.at/webdav-push"`

func propfind(props string) string {
	return `<?xml version="1.0" encoding="UTF-8"?><D:propfind` + namespaces + "><D:prop>" + props + "</D:prop></D:propfind>"
}

func proppatch(props string) string {
	return `<?xml version="1.0" encoding="UTF-8"?><D:propertyupdate` + namespaces + "><D:set><D:prop>" + props + "</D:prop></D:set></D:propertyupdate>"
}

func report(root, inside string) string {
	name, _, _ := strings.Cut(root, " ")
	return `<?xml version="1.0" encoding="UTF-8"?><` + root + namespaces + ">" + inside + "</" + name + ">"
}

func sync(token, level, props string) string {
	return report("D:sync-collection", "<D:sync-token>"+token+"</D:sync-token><D:sync-level>"+level+"</D:sync-level><D:prop>"+props+"</D:prop>")
}

func multiget(props string, hrefs ...string) string {
	return report("C:calendar-multiget", "<D:prop>"+props+"</D:prop><D:href>"+strings.Join(hrefs, "</D:href><D:href>")+"</D:href>")
}

func event(uid string, more ...string) string {
	return ics("VEVENT", uid, append([]string{"DTSTART:20270104T100000Z", "DURATION:PT1H"}, more...)...)
}

func ics(component, uid string, more ...string) string {
	return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nBEGIN:" + component + "\r\nUID:" + uid + "\r\nDTSTAMP:20261201T000000Z\r\nSUMMARY:About " + uid + "\r\n" +
		strings.Join(append(more, ""), "\r\n") + "END:" + component + "\r\nEND:VCALENDAR\r\n"
}

const (
	principal = "/dav/principals/users/alice/"
	home      = "/dav/calendars/alice/"
	cal       = home + "calendar/"
	tasks     = home + "tasks/"
	inbox     = home + "inbox/"
	outbox    = home + "outbox/"
)
