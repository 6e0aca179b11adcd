package blackbox

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
)

// User is a person with a calendar program that speaks CalDAV to one node.
type User struct {
	Name, Password, Address string
	Base                    string // scheme://host:port
	Client                  *http.Client
}

// User signs in at the plain listener. Connections are not shared between
// users.
func (n *Node) User(name string) *User {
	return &User{Name: name, Password: name, Address: "mailto:" + name + "@" + n.Domain, Base: fmt.Sprintf("http://127.0.0.1:%d", n.HTTP),
		Client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 16, Proxy: nil}}}
}

// Answer is a response that was read to its end.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// OK tells whether the server did what it was asked.
func (a Answer) OK() bool { return a.Status/100 == 2 }

func (a Answer) String() string {
	s := strings.Join(strings.Fields(string(a.Body)), " ")
	return fmt.Sprintf("%d %.300s", a.Status, s)
}

// Do sends a request; head is names and values in turn. An error means that no
// answer came.
func (u *User) Do(method, path, body string, head ...string) (Answer, error) {
	req, err := http.NewRequest(method, u.Base+path, strings.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	req.SetBasicAuth(u.Name, u.Password)
	for i := 0; i+1 < len(head); i += 2 {
		req.Header.Set(head[i], head[i+1])
	}
	resp, err := u.Client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return Answer{resp.StatusCode, resp.Header, b}, err
}

// Path is an object of the user's calendar.
func (u *User) Path(name string) string { return "/dav/calendars/" + u.Name + "/calendar/" + name }

// Home is the user's calendar home.
func (u *User) Home() string { return "/dav/calendars/" + u.Name + "/" }

// Put stores a calendar object under its path.
func (u *User) Put(path, text string, head ...string) (Answer, error) {
	return u.Do("PUT", path, text, append([]string{"Content-Type", "text/calendar; charset=utf-8"}, head...)...)
}

// MustPut is Put that must succeed.
func (u *User) MustPut(path, text string) error {
	a, err := u.Put(path, text)
	if err == nil && !a.OK() {
		err = fmt.Errorf("PUT %s: %s", path, a)
	}
	return err
}

// Get reads a calendar object.
func (u *User) Get(path string) (*calendar.Object, error) {
	a, err := u.Do("GET", path, "")
	if err != nil {
		return nil, err
	}
	if a.Status != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", path, a)
	}
	return calendar.Parse(a.Body, calendar.DefaultLimits())
}

// Found is one object of a collection.
type Found struct {
	Href, ETag string
	Object     *calendar.Object
}

// multistatus is what we read of a 207.
type multistatus struct {
	Token     string `xml:"sync-token"`
	Responses []struct {
		Href   string `xml:"href"`
		Status string `xml:"status"`
		ETag   string `xml:"propstat>prop>getetag"`
		Data   string `xml:"propstat>prop>calendar-data"`
	} `xml:"response"`
}

func (u *User) report(path, body string) (multistatus, Answer, error) {
	a, err := u.Do("REPORT", path, body, "Depth", "1", "Content-Type", "application/xml; charset=utf-8")
	if err != nil {
		return multistatus{}, a, err
	}
	if a.Status != http.StatusMultiStatus {
		return multistatus{}, a, fmt.Errorf("REPORT %s: %s", path, a)
	}
	var ms multistatus
	return ms, a, xml.Unmarshal(a.Body, &ms)
}

// List reads all events of a collection of the home, or those with a UID.
func (u *User) List(collection, uid string) ([]Found, error) {
	filter := ""
	if uid != "" {
		filter = `<C:prop-filter name="UID"><C:text-match collation="i;octet">` + uid + `</C:text-match></C:prop-filter>`
	}
	ms, _, err := u.report(u.Home()+collection+"/", `<?xml version="1.0" encoding="utf-8"?><C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><D:getetag/><C:calendar-data/></D:prop>`+
		`<C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT">`+filter+`</C:comp-filter></C:comp-filter></C:filter></C:calendar-query>`)
	if err != nil {
		return nil, err
	}
	var out []Found
	for _, r := range ms.Responses {
		o, err := calendar.Parse([]byte(r.Data), calendar.DefaultLimits())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.Href, err)
		}
		out = append(out, Found{r.Href, r.ETag, o})
	}
	return out, nil
}

// Copy is the one object with a UID in the user's calendar; nil when there is
// none, an error when there are more.
func (u *User) Copy(uid string) (*Found, error) {
	list, err := u.List("calendar", uid)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	if len(list) > 1 {
		return nil, fmt.Errorf("%s has %d objects with the UID %s", u.Name, len(list), uid)
	}
	return &list[0], nil
}

// Changes is what a sync-collection report says.
type Changes struct {
	Token   string
	ETags   map[string]string // by the last part of the href
	Removed map[string]bool
	More    bool // truncated: ask again with Token
}

// Sync asks what changed in the user's calendar since a token (RFC 6578).
func (u *User) Sync(token string) (Changes, error) {
	ms, _, err := u.report(u.Home()+"calendar/", `<?xml version="1.0" encoding="utf-8"?><D:sync-collection xmlns:D="DAV:"><D:sync-token>`+token+`</D:sync-token><D:sync-level>1</D:sync-level><D:prop><D:getetag/></D:prop></D:sync-collection>`)
	if err != nil {
		return Changes{}, err
	}
	c := Changes{Token: ms.Token, ETags: map[string]string{}, Removed: map[string]bool{}}
	for _, r := range ms.Responses {
		href, err := url.PathUnescape(r.Href)
		if err != nil {
			return c, err
		}
		name := path.Base(href)
		switch {
		case strings.HasSuffix(href, "/"):
			c.More = c.More || strings.Contains(r.Status, " 507")
		case strings.Contains(r.Status, " 404"):
			c.Removed[name] = true
		default:
			c.ETags[name] = r.ETag
		}
	}
	return c, nil
}

// Answer sets the user's PARTSTAT in the copy of an event, which is all that a
// calendar program does to accept.
func (u *User) Answer(uid, partstat string) error {
	f, err := u.Copy(uid)
	if err != nil {
		return err
	}
	if f == nil {
		return fmt.Errorf("%s has no copy of %s", u.Name, uid)
	}
	for _, c := range f.Object.Components() {
		for _, p := range c.All("ATTENDEE") {
			if calendar.Address(p.Value()).Equal(calendar.Address(u.Address)) {
				p.SetParam("PARTSTAT", partstat)
				p.DelParam("RSVP")
			}
		}
	}
	return u.MustPut(f.Href, string(f.Object.Bytes()))
}

// Attendee reads PARTSTAT and SCHEDULE-STATUS of a person in the first
// component that names him.
func Attendee(o *calendar.Object, address string) (partstat, status string) {
	for _, c := range o.Components() {
		for _, p := range c.All("ATTENDEE") {
			if calendar.Address(p.Value()).Equal(calendar.Address(address)) {
				return p.Param("PARTSTAT"), p.Param("SCHEDULE-STATUS")
			}
		}
	}
	return "", ""
}

// Event is a calendar object with one event of an hour.
type Event struct {
	UID       string
	Start     time.Time // UTC
	Rule      string    // RRULE
	Organizer string
	Attendees []string
	Summary   string
	Sequence  int
}

// String is the event as a client writes it.
func (e Event) String() string {
	const utc = "20060102T150405Z"
	var b bytes.Buffer
	line := func(format string, a ...any) { fmt.Fprintf(&b, format+"\r\n", a...) }
	line("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Black box//EN\r\nBEGIN:VEVENT\r\nUID:%s", e.UID)
	line("DTSTAMP:%s", time.Now().UTC().Format(utc))
	line("DTSTART:%s\r\nDTEND:%s", e.Start.UTC().Format(utc), e.Start.Add(time.Hour).UTC().Format(utc))
	if e.Rule != "" {
		line("RRULE:%s", e.Rule)
	}
	summary := e.Summary
	if summary == "" {
		summary = "Meeting"
	}
	line("SUMMARY:%s", summary)
	if e.Sequence > 0 {
		line("SEQUENCE:%d", e.Sequence)
	}
	if e.Organizer != "" {
		line("ORGANIZER:%s", e.Organizer)
		line("ATTENDEE;PARTSTAT=ACCEPTED:%s", e.Organizer)
	}
	for _, a := range e.Attendees {
		line("ATTENDEE;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:%s", a)
	}
	line("END:VEVENT\r\nEND:VCALENDAR")
	return b.String()
}
