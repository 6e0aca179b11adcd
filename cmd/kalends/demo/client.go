package demo

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
)

// user is a person with a calendar program: it speaks CalDAV over TLS to the
// person's own server, as Thunderbird or a phone does.
type user struct {
	name, password, address, display string
	site                             *site
	http                             *http.Client
}

func newUser(s *site, name, display, password string, trust *authority) *user {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(trust.pem)
	addr := fmt.Sprintf("127.0.0.1:%d", s.port)
	return &user{name: name, display: display, password: password, address: "mailto:" + name + "@" + s.domain, site: s,
		http: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) { // the demo's names are in no public DNS
				return new(net.Dialer).DialContext(ctx, network, addr)
			}}}}
}

func (u *user) home() string { return "/dav/calendars/" + u.name + "/" }

// do sends a request and reads the whole answer.
func (u *user) do(ctx context.Context, method, path string, head map[string]string, body []byte) (int, http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.site.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	req.SetBasicAuth(u.name, u.password)
	for k, v := range head {
		req.Header.Set(k, v)
	}
	resp, err := u.http.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 32<<20))
	return resp.StatusCode, resp.Header, b, err
}

func (u *user) put(ctx context.Context, path string, o *calendar.Object) error {
	status, _, b, err := u.do(ctx, "PUT", path, map[string]string{"Content-Type": "text/calendar; charset=utf-8"}, o.Bytes())
	if err != nil {
		return err
	}
	if status/100 != 2 {
		return fmt.Errorf("PUT %s by %s: status %d: %s", path, u.name, status, firstLine(b))
	}
	return nil
}

func (u *user) get(ctx context.Context, path string) (*calendar.Object, error) {
	status, _, b, err := u.do(ctx, "GET", path, nil, nil)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("GET %s by %s: status %d: %s", path, u.name, status, firstLine(b))
	}
	return calendar.Parse(b, calendar.DefaultLimits())
}

// find looks for the object with a UID in a collection, as a client does after
// a notification; "" when it is not there.
func (u *user) find(ctx context.Context, collection, uid string) (path string, o *calendar.Object, err error) {
	body := `<?xml version="1.0" encoding="utf-8"?><C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><D:getetag/><C:calendar-data/></D:prop>` +
		`<C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"><C:prop-filter name="UID"><C:text-match collation="i;octet">` + uid + `</C:text-match></C:prop-filter></C:comp-filter></C:comp-filter></C:filter></C:calendar-query>`
	status, _, b, err := u.do(ctx, "REPORT", u.home()+collection+"/", map[string]string{"Depth": "1", "Content-Type": "application/xml; charset=utf-8"}, []byte(body))
	if err != nil {
		return "", nil, err
	}
	if status != http.StatusMultiStatus {
		return "", nil, fmt.Errorf("REPORT by %s: status %d: %s", u.name, status, firstLine(b))
	}
	var ms struct {
		Responses []struct {
			Href string `xml:"href"`
			Data string `xml:"propstat>prop>calendar-data"`
		} `xml:"response"`
	}
	if err := xml.Unmarshal(b, &ms); err != nil {
		return "", nil, err
	}
	if len(ms.Responses) == 0 {
		return "", nil, nil
	}
	r := ms.Responses[0]
	o, err = calendar.Parse([]byte(r.Data), calendar.DefaultLimits())
	return r.Href, o, err
}

// answer sets the person's own PARTSTAT in the copy, which is all a client does
// to accept.
func (u *user) answer(ctx context.Context, uid, partstat string) error {
	path, o, err := u.find(ctx, "calendar", uid)
	if err != nil {
		return err
	}
	if path == "" {
		return fmt.Errorf("%s has no copy to answer", u.name)
	}
	for _, c := range o.Components() {
		for _, p := range c.All("ATTENDEE") {
			if calendar.Address(p.Value()).Equal(calendar.Address(u.address)) {
				p.SetParam("PARTSTAT", partstat)
				p.DelParam("RSVP")
			}
		}
	}
	return u.put(ctx, path, o)
}

// busy is the answer of one recipient to a free/busy question.
type busy struct {
	recipient, status string
	periods           []string
}

// askBusy posts a free/busy question to the outbox (RFC 6638 §5).
func (u *user) askBusy(ctx context.Context, from, to time.Time, people []string) ([]busy, error) {
	o := calendar.NewObject("-//Kalends//Demo//EN")
	o.Add(calendar.NewProperty("METHOD", "REQUEST"))
	c := calendar.NewComponent("VFREEBUSY")
	const utc = "20060102T150405Z"
	for _, p := range []*calendar.Property{
		calendar.NewProperty("UID", "demo-freebusy"), calendar.NewProperty("DTSTAMP", time.Now().UTC().Format(utc)),
		calendar.NewProperty("DTSTART", from.UTC().Format(utc)), calendar.NewProperty("DTEND", to.UTC().Format(utc)), calendar.NewProperty("ORGANIZER", u.address),
	} {
		c.Add(p)
	}
	for _, a := range people {
		c.Add(calendar.NewProperty("ATTENDEE", a))
	}
	o.Children = append(o.Children, c)
	status, _, b, err := u.do(ctx, "POST", u.home()+"outbox/", map[string]string{"Content-Type": "text/calendar; charset=utf-8"}, o.Bytes())
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("POST to the outbox: status %d: %s", status, firstLine(b))
	}
	var sr struct {
		Responses []struct {
			Recipient string `xml:"recipient>href"`
			Status    string `xml:"request-status"`
			Data      string `xml:"calendar-data"`
		} `xml:"response"`
	}
	if err := xml.Unmarshal(b, &sr); err != nil {
		return nil, err
	}
	var out []busy
	for _, r := range sr.Responses {
		x := busy{recipient: r.Recipient, status: r.Status}
		if r.Data != "" {
			reply, err := calendar.Parse([]byte(r.Data), calendar.DefaultLimits())
			if err != nil {
				return nil, fmt.Errorf("the answer about %s cannot be read: %w", r.Recipient, err)
			}
			for _, k := range reply.ChildrenNamed("VFREEBUSY") {
				for _, p := range k.All("FREEBUSY") {
					x.periods = append(x.periods, strings.Split(p.Value(), ",")...)
				}
			}
			slices.Sort(x.periods)
		}
		out = append(out, x)
	}
	return out, nil
}

// attendee reads PARTSTAT and SCHEDULE-STATUS of a person in an object.
func attendee(o *calendar.Object, address string) (partstat, status string) {
	for _, c := range o.Components() {
		for _, p := range c.All("ATTENDEE") {
			if calendar.Address(p.Value()).Equal(calendar.Address(address)) {
				return p.Param("PARTSTAT"), p.Param("SCHEDULE-STATUS")
			}
		}
	}
	return "", ""
}

func firstLine(b []byte) string {
	s := strings.Join(strings.Fields(string(b)), " ")
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	return s
}
