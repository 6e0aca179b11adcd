package server

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-webdav/caldav"
	"golang.org/x/net/publicsuffix"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/federation/discover"
	"github.com/kalends/kalends/storage"
)

// Login signs an import in at another server.
type Login struct{ Name, Password string }

const (
	pullTimeout   = 2 * time.Minute
	pullAnswer    = 64 << 20 // octets of one answer
	pullRedirects = 5
	pullParallel  = 6
	pullObjects   = 100_000 // of one calendar
)

// puller is the HTTP client of an import. It follows redirects of every
// method, as discovery by well-known needs it (RFC 6764 §5), signs in only
// where the login belongs, and bounds every answer.
type puller struct {
	client *http.Client
	login  Login
	site   string   // registrable domain, or host, that gets the login
	final  *url.URL // where the last PROPFIND ended after its redirects
}

// newPuller checks the address. Passwords go over https, or to this machine.
func (a *Admin) newPuller(address string, login Login) (*puller, *url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, nil, usage("%q is no web address such as https://dav.example.org/", address)
	}
	if u.User != nil {
		return nil, nil, usage("a password in an address is seen by others; use --login and --password-stdin")
	}
	if ip := net.ParseIP(u.Hostname()); login.Name != "" && u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, nil, usage("the password would go over the network in the clear; use an https address")
	}
	net, err := NewOutgoing(&a.cfg, func(string) bool { return false })
	if err != nil {
		return nil, nil, err
	}
	c := discover.NewHTTPClient(discover.HTTPConfig{Dialer: net.Dialer, RootCAs: net.Roots, Timeout: pullTimeout, MaxConnsPerHost: pullParallel, AllowHTTP: true})
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &puller{client: c, login: login, site: siteOf(u.Hostname())}, u, nil
}

// siteOf is what a host and its siblings have in common: servers send their
// people to other hosts of the same domain.
func siteOf(host string) string {
	host = strings.ToLower(host)
	if net.ParseIP(host) == nil {
		if site, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
			return site
		}
	}
	return host
}

// Do implements webdav.HTTPClient.
func (p *puller) Do(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req.Body.Close()
	}
	for hop := 0; ; hop++ {
		r := req.Clone(req.Context())
		r.Body, r.ContentLength = http.NoBody, int64(len(body))
		if len(body) > 0 {
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		r.Header.Del("Authorization")
		if p.login.Name != "" && siteOf(r.URL.Hostname()) == p.site {
			r.SetBasicAuth(p.login.Name, p.login.Password)
		}
		resp, err := p.client.Do(r)
		if err != nil {
			return nil, err
		}
		switch resp.StatusCode {
		case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		default:
			resp.Body = &boundedBody{resp.Body, pullAnswer}
			if r.Method == "PROPFIND" { // never in parallel
				p.final = r.URL
			}
			return resp, nil
		}
		resp.Body.Close()
		next, err := r.URL.Parse(resp.Header.Get("Location"))
		if err != nil || next.Host == "" || hop == pullRedirects || r.URL.Scheme == "https" && next.Scheme != "https" {
			return nil, fmt.Errorf("%s redirects to %q, which is not followed", r.URL, resp.Header.Get("Location"))
		}
		req = req.Clone(req.Context())
		req.URL, req.Host = next, next.Host
	}
}

// boundedBody fails, rather than ends, after its limit.
type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, discover.ErrTooLarge
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// ImportURL stores the iCalendar file at an address, without signing in.
func (a *Admin) ImportURL(ctx context.Context, address string, o ImportOptions) (ImportReport, error) {
	if err := a.CheckImport(ctx, o); err != nil {
		return ImportReport{}, err
	}
	if rest, ok := strings.CutPrefix(address, "webcal://"); ok {
		address = "https://" + rest
	}
	p, u, err := a.newPuller(address, Login{})
	if err != nil {
		return ImportReport{}, err
	}
	data, err := p.get(ctx, u)
	if err != nil {
		return ImportReport{}, unreachable(u, err)
	}
	return a.ImportICS(ctx, data, o)
}

func unreachable(u *url.URL, err error) error {
	switch {
	case errors.Is(err, discover.ErrForbiddenAddress):
		return explained(err, "%s is at an address that is not public; allow it with dial_allow (KALENDS_DIAL_ALLOW)", u.Hostname())
	case errors.Is(err, errLogin):
		return explained(err, "%s refused the login; many servers want an app password here", u.Hostname())
	}
	return explained(err, "%s cannot be read: %s", u.Redacted(), plain(err))
}

var errLogin = errors.New("the login was refused")

func (p *puller) get(ctx context.Context, u *url.URL) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/calendar, */*;q=0.1")
	resp, err := p.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return io.ReadAll(resp.Body)
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, errLogin
	}
	return nil, fmt.Errorf("the server answered %s", resp.Status)
}

// ImportAccount copies all calendars of an account on another CalDAV server,
// with their names, colours and component sets, object by object with the
// octets as they are. Subscriptions, inbox and outbox are left out; nobody is
// told of anything. tell is called for each calendar.
func (a *Admin) ImportAccount(ctx context.Context, address string, login Login, o ImportOptions, tell func(string)) (ImportReport, error) {
	var rep ImportReport
	acc, err := a.calendarOwner(ctx, o.User)
	if err != nil {
		return rep, err
	}
	p, u, err := a.newPuller(address, login)
	if err != nil {
		return rep, err
	}
	home, err := p.home(ctx, u)
	if err != nil {
		return rep, unreachable(u, err)
	}
	list, err := p.calendars(ctx, home)
	if err != nil {
		return rep, unreachable(home, err)
	}
	if len(list) == 0 {
		return rep, explained(nil, "%s has no calendars at %s; give the address of the account", u.Hostname(), home.Path)
	}
	for _, c := range list {
		name := o.Calendar
		if name == "" {
			name = c.name
		} else if len(list) > 1 {
			name += "-" + c.name
		}
		objects, problems, err := p.objects(ctx, c.url, a.importLimits())
		if err != nil {
			return rep, unreachable(c.url, err)
		}
		got, err := a.store(ctx, acc, name, c.look, objects)
		got.Problems = append(problems, got.Problems...)
		rep.add(got)
		if err != nil {
			return rep, err
		}
		tell(fmt.Sprintf("%s: %d objects", name, len(objects)))
	}
	return rep, a.audit(ctx, "import", o.User, fmt.Sprintf("%s: %d created, %d changed, %d unchanged, %d refused", u.Hostname(), rep.Created, rep.Changed, rep.Unchanged, len(rep.Problems)))
}

// home finds the calendar home of who signs in (RFC 6764 §6, RFC 5397): from
// the address itself, else by the well-known path.
func (p *puller) home(ctx context.Context, u *url.URL) (*url.URL, error) {
	starts := []*url.URL{u}
	if u.Path == "" || u.Path == "/" {
		starts = []*url.URL{u.JoinPath("/.well-known/caldav"), u}
	}
	var failed error
	for _, s := range starts {
		c, err := caldav.NewClient(p, s.String())
		if err != nil {
			return nil, err
		}
		principal, err := c.FindCurrentUserPrincipal(ctx)
		if err == nil {
			// A redirect may have led to another host, where the paths count.
			if c, err = caldav.NewClient(p, p.final.String()); err != nil {
				return nil, err
			}
			var home string
			if home, err = c.FindCalendarHomeSet(ctx, principal); err == nil {
				return p.final.Parse((&url.URL{Path: home}).String())
			}
		}
		if failed = err; isStatus(err, http.StatusUnauthorized) || isStatus(err, http.StatusForbidden) {
			return nil, errLogin
		}
	}
	return nil, failed
}

func isStatus(err error, status int) bool {
	return err != nil && strings.Contains(err.Error(), fmt.Sprint(status)+" ")
}

// remoteCalendar is a calendar on the other server.
type remoteCalendar struct {
	url  *url.URL
	name string
	look storage.Collection
}

const calendarsRequest = `<?xml version="1.0" encoding="utf-8"?>
<propfind xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:A="http://apple.com/ns/ical/"><prop>
<resourcetype/><displayname/><C:calendar-description/><C:supported-calendar-component-set/><C:schedule-calendar-transp/><A:calendar-color/><A:calendar-order/>
</prop></propfind>`

// multistatus is as much of DAV:multistatus as calendars needs.
type multistatus struct {
	Responses []struct {
		Href  string `xml:"DAV: href"`
		Stats []struct {
			Status string `xml:"DAV: status"`
			Prop   struct {
				Type struct {
					Calendar   *struct{} `xml:"urn:ietf:params:xml:ns:caldav calendar"`
					Collection *struct{} `xml:"DAV: collection"`
				} `xml:"DAV: resourcetype"`
				Name        string `xml:"DAV: displayname"`
				Description string `xml:"urn:ietf:params:xml:ns:caldav calendar-description"`
				Components  struct {
					List []struct {
						Name string `xml:"name,attr"`
					} `xml:"urn:ietf:params:xml:ns:caldav comp"`
				} `xml:"urn:ietf:params:xml:ns:caldav supported-calendar-component-set"`
				Transp struct {
					Transparent *struct{} `xml:"urn:ietf:params:xml:ns:caldav transparent"`
				} `xml:"urn:ietf:params:xml:ns:caldav schedule-calendar-transp"`
				Color string `xml:"http://apple.com/ns/ical/ calendar-color"`
				Order string `xml:"http://apple.com/ns/ical/ calendar-order"`
			} `xml:"DAV: prop"`
		} `xml:"DAV: propstat"`
	} `xml:"DAV: response"`
}

// propfind asks for properties of a collection and what is in it.
func (p *puller) propfind(ctx context.Context, at *url.URL, body string) (*multistatus, error) {
	req, err := http.NewRequestWithContext(ctx, "PROPFIND", at.String(), strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Depth", "1")
	req.Header.Set("Content-Type", "application/xml; charset=utf-8")
	resp, err := p.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusUnauthorized {
		return nil, errLogin
	}
	if resp.StatusCode != http.StatusMultiStatus {
		return nil, fmt.Errorf("the server answered %s", resp.Status)
	}
	var ms multistatus
	if err := xml.NewDecoder(resp.Body).Decode(&ms); err != nil {
		return nil, fmt.Errorf("the answer is no list: %w", err)
	}
	return &ms, nil
}

func (p *puller) calendars(ctx context.Context, home *url.URL) ([]remoteCalendar, error) {
	ms, err := p.propfind(ctx, home, calendarsRequest)
	if err != nil {
		return nil, fmt.Errorf("the list of calendars: %w", err)
	}
	var out []remoteCalendar
	for _, r := range ms.Responses {
		u, err := home.Parse(strings.TrimSpace(r.Href))
		if err != nil {
			continue
		}
		for _, s := range r.Stats {
			if !strings.Contains(s.Status, " 200") || s.Prop.Type.Calendar == nil {
				continue
			}
			c := remoteCalendar{url: u, name: path.Base(strings.TrimSuffix(u.Path, "/"))}
			c.look = storage.Collection{DisplayName: s.Prop.Name, Description: s.Prop.Description, Color: strings.TrimSpace(s.Prop.Color),
				Order: strings.TrimSpace(s.Prop.Order), Transparent: s.Prop.Transp.Transparent != nil}
			var comps []string
			for _, comp := range s.Prop.Components.List {
				comps = append(comps, comp.Name)
			}
			c.look.Components = componentsOf(comps)
			if calendarName(c.name) != nil {
				c.name = strings.TrimSuffix(objectName(u.Path), ".ics")
			}
			out = append(out, c)
		}
	}
	return out, nil
}

const objectsRequest = `<?xml version="1.0" encoding="utf-8"?>
<propfind xmlns="DAV:"><prop><resourcetype/><getetag/></prop></propfind>`

// objects reads every object of a calendar by GET, for that alone gives the
// octets as they are stored.
func (p *puller) objects(ctx context.Context, at *url.URL, lim calendar.Limits) (out []*calendar.Object, problems []string, err error) {
	ms, err := p.propfind(ctx, at, objectsRequest)
	if err != nil {
		return nil, nil, err
	}
	var files []*url.URL
	for _, r := range ms.Responses {
		u, err := at.Parse(strings.TrimSpace(r.Href))
		if err != nil || u.Host != at.Host || strings.TrimSuffix(u.Path, "/") == strings.TrimSuffix(at.Path, "/") {
			continue
		}
		folder := false
		for _, s := range r.Stats {
			folder = folder || s.Prop.Type.Collection != nil
		}
		if !folder {
			files = append(files, u)
		}
	}
	if len(files) > pullObjects {
		return nil, nil, fmt.Errorf("the calendar has more than %d objects", pullObjects)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	texts, errs := make([][]byte, len(files)), make([]error, len(files))
	slots := make(chan struct{}, pullParallel)
	var wg sync.WaitGroup
	for i, f := range files {
		slots <- struct{}{}
		wg.Add(1)
		go func() {
			defer func() { <-slots; wg.Done() }()
			if texts[i], errs[i] = p.get(ctx, f); errors.Is(errs[i], discover.ErrForbiddenAddress) {
				cancel()
			}
		}()
	}
	wg.Wait()
	for i, f := range files {
		if err := errs[i]; err != nil {
			if ctx.Err() != nil {
				return nil, nil, err
			}
			problems = append(problems, fmt.Sprintf("%s: %s", f.Path, plain(err)))
			continue
		}
		parts, err := calendar.ParseAll(texts[i], lim)
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s: %s", f.Path, plain(err)))
			continue
		}
		for _, o := range parts {
			out = append(out, calendar.Split(o)...)
		}
	}
	return out, problems, nil
}
