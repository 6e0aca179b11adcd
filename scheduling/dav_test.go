package scheduling_test

import (
	"context"
	"encoding/xml"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"

	"github.com/kalends/kalends/caldav"
	"github.com/kalends/kalends/caldav/acl"
	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/storage"
)

var errDenied = errors.New("denied")

// anybody signs in by his name.
type anybody struct{}

func (anybody) Check(_ context.Context, a *storage.Account, _, _ string, _ netip.Addr) error {
	if a == nil || a.Disabled {
		return errDenied
	}
	return nil
}

func (anybody) Knows(*storage.Account, string) bool { return false }

// request asks the CalDAV side of the installation; path is below
// /dav/calendars/.
func (s *script) request(user, method, path, body string) *httptest.ResponseRecorder {
	h := caldav.New(s.w.db, s.w.svc, anybody{}, caldav.Config{Refusals: caldav.Refusals{Denied: errDenied}, Now: s.w.clock.Now, Limits: calendar.DefaultLimits(), Log: slog.New(slog.DiscardHandler)})
	r := httptest.NewRequestWithContext(bg, method, "http://127.0.0.1/dav/calendars/"+path, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:1"
	r.SetBasicAuth(user, user)
	if body != "" {
		r.Header.Set("Content-Type", "application/xml")
	}
	r.Header.Set("Depth", "1")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// dav: dav USER METHOD PATH STATUS [FILE]: what a client asks for, with FILE as the
// body.
func (s *script) dav(f []string) {
	body := ""
	if len(f) > 4 {
		body = s.file(f[4])
	}
	w := s.request(f[0], f[1], f[2], body)
	if strconv.Itoa(w.Code) != f[3] {
		s.fail("status %d\n%s", w.Code, w.Body)
	}
}

// share: share OWNER CALENDAR NAME read|busy: NAME may read it, or see when the
// owner is busy.
func (s *script) share(f []string) {
	s.check(s.w.db.Tx(bg, func(ctx context.Context, tx *storage.Tx) error {
		c, err := s.w.db.CollectionByName(bg, s.w.account(f[0]).ID, f[1])
		if err != nil {
			return err
		}
		grant := map[string]acl.Set{"read": acl.Read, "busy": acl.ReadBusy | acl.ReadFreeBusy}[f[3]]
		c.ACL = append(c.ACL, acl.ACE{Principal: acl.Principal{Kind: acl.Account, ID: int64(s.w.account(f[2]).ID)}, Grant: grant})
		return tx.UpdateCollection(ctx, c)
	}))
}

const queryAll = `<C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><C:calendar-data/></D:prop><C:filter><C:comp-filter name="VCALENDAR">FILTER</C:comp-filter></C:filter></C:calendar-query>`

// sees: sees NAME OWNER/CALENDAR FILE|nothing by=get|export|query [from= to=] [word=W]:
// what somebody reads there: each object by GET, the whole calendar as one file, or
// by a calendar-query, of a span of time or for a word in SUMMARY.
func (s *script) sees(f []string, opt map[string]string) {
	owner, name, _ := strings.Cut(f[1], "/")
	path := f[1] + "/"
	whole := calendar.NewObject("")
	add := func(text string) {
		whole.Children = append(whole.Children, s.w.parse(text).Children...)
	}
	switch opt["by"] {
	case "get":
		for o, err := range s.w.db.List(bg, s.w.key(owner, name+"/x").CollectionKey, storage.ColumnsMeta) {
			s.check(err)
			if w := s.request(f[0], "GET", path+o.Name, ""); w.Code == http.StatusOK {
				add(w.Body.String())
			}
		}
	case "export":
		w := s.request(f[0], "GET", path, "")
		if w.Code == http.StatusOK {
			add(w.Body.String())
		}
	case "query":
		filter := `<C:comp-filter name="VEVENT">`
		if opt["from"] != "" {
			filter += `<C:time-range start="` + opt["from"] + `" end="` + opt["to"] + `"/>`
		}
		if word := opt["word"]; word != "" {
			filter += `<C:prop-filter name="SUMMARY"><C:text-match>` + word + `</C:text-match></C:prop-filter>`
		}
		w := s.request(f[0], "REPORT", path, strings.Replace(queryAll, "FILTER", filter+`</C:comp-filter>`, 1))
		var found struct {
			Data []string `xml:"response>propstat>prop>calendar-data"`
		}
		if w.Code == http.StatusMultiStatus {
			s.check(xml.Unmarshal(w.Body.Bytes(), &found))
		}
		for _, text := range found.Data {
			add(text)
		}
	default:
		s.fail("by=%s", opt["by"])
	}
	if f[2] == "nothing" {
		if len(whole.Components()) > 0 {
			s.fail("%s sees\n%s", f[0], normal(whole))
		}
		return
	}
	if len(whole.Components()) == 0 {
		s.fail("%s sees nothing", f[0])
	}
	s.compare(f[2], whole)
}
