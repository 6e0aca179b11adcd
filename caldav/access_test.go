package caldav_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kalends/kalends/storage"
)

const home = "/dav/calendars/user01/"

// ace is an entry; verb is grant or deny, who a handle or the XML of a principal.
func ace(verb, who string, privileges ...string) string {
	if !strings.HasPrefix(who, "<") {
		who = "<D:href>/dav/principals/users/" + who + "/</D:href>"
	}
	var b strings.Builder
	for _, p := range privileges {
		if !strings.HasPrefix(p, "<") {
			p = "<D:" + p + "/>"
		}
		b.WriteString("<D:privilege>" + p + "</D:privilege>")
	}
	return "<D:ace><D:principal>" + who + "</D:principal><D:" + verb + ">" + b.String() + "</D:" + verb + "></D:ace>"
}

const readBusy = `<x:read-busy xmlns:x="urn:kalends:ns"/>`

func (w *world) acl(user, path string, status int, aces ...string) answer {
	w.t.Helper()
	return w.do(user, "ACL", path, "", `<D:acl xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">`+strings.Join(aces, "")+"</D:acl>").want(status)
}

// members are the hrefs of a multistatus, none of anything else.
func (a answer) members() []string {
	if a.StatusCode != 207 {
		return nil
	}
	return a.hrefs()
}

func (w *world) account(handle string) storage.Account {
	w.t.Helper()
	a, err := w.db.AccountByHandle(context.Background(), handle)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func (w *world) rights(handle string, r storage.Rights) {
	w.t.Helper()
	if _, err := w.db.UpdateAccount(context.Background(), w.account(handle).ID, storage.AccountChange{Rights: &r}); err != nil {
		w.t.Fatal(err)
	}
}

// delegates sets the members of a proxy principal as the owner.
func (w *world) delegates(user, mode string, status int, members ...string) answer {
	w.t.Helper()
	var hrefs strings.Builder
	for _, m := range members {
		hrefs.WriteString("<D:href>/dav/principals/users/" + m + "/</D:href>")
	}
	return w.do(user, "PROPPATCH", "/dav/principals/users/user01/calendar-proxy-"+mode+"/", "", propset("<D:group-member-set>"+hrefs.String()+"</D:group-member-set>")).want(status)
}

// RFC 3744 §5.5, §6, §8.1: entries count in their order, calendars inherit those of
// their home, and the owner's stand before all others.
func TestEntries(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		w.do("user01", "PUT", cal+"one.ics", "", event("one", "Plans", "20260105T100000Z")).want(201)
		get := func(user string, status int) { w.t.Helper(); w.do(user, "GET", cal+"one.ics", "", "").want(status) }
		w.acl("user01", cal, 200, ace("deny", "user02", "read"), ace("grant", "<D:authenticated/>", "read"))
		get("user02", 403)
		get("user03", 200)
		w.acl("user01", cal, 200, ace("grant", "<D:all/>", "read"), ace("deny", "user02", "read"))
		get("user02", 200)
		w.do("user01", "PROPFIND", cal, "Depth: 0", propfind("<D:acl/>")).want(207, "<D:principal><D:all/></D:principal>", "<D:deny><D:privilege><D:read/></D:privilege></D:deny>")

		// Denying to all keeps nobody out of his own calendar, and ends what is open by default.
		busy := `<C:free-busy-query xmlns:C="urn:ietf:params:xml:ns:caldav"><C:time-range start="20260101T000000Z" end="20260201T000000Z"/></C:free-busy-query>`
		w.do("user03", "REPORT", cal, "Depth: 1", busy).want(200)
		w.acl("user01", cal, 200, ace("deny", "<D:all/>", "all"))
		get("user01", 200)
		w.do("user03", "REPORT", cal, "Depth: 1", busy).want(403, "read-free-busy")
		w.acl("user01", cal, 403, ace("deny", "<D:property><D:owner/></D:property>", "read")).want(403, "no-protected-ace-conflict")

		// Inheritance: from the home to its calendars, not to the inbox; a calendar's own entries win.
		w.acl("user01", cal, 200)
		get("user02", 403)
		w.acl("user01", home, 200, ace("grant", "user02", "read"))
		get("user02", 200)
		w.do("user02", "PROPFIND", home, "Depth: 1", propfind("<D:displayname/>")).want(207, cal, "/tasks/").lacks("/inbox/", "/outbox/")
		w.do("user02", "PROPFIND", home+"inbox/", "Depth: 0", propfind("<D:displayname/>")).want(403)
		w.do("user01", "PROPFIND", cal, "Depth: 0", propfind("<D:acl/>")).want(207, "<D:inherited><D:href>"+home+"</D:href></D:inherited>")
		w.acl("user01", cal, 200, ace("deny", "user02", "read"))
		get("user02", 403)

		// What was sent back as read is not stored twice.
		w.acl("user01", home, 200)
		w.acl("user01", cal, 200, ace("grant", "user02", "read"))
		shown := w.do("user01", "PROPFIND", cal, "Depth: 0", propfind("<D:acl/>")).want(207).text
		list := shown[strings.Index(shown, "<D:acl>"):strings.Index(shown, "</D:acl>")]
		w.do("user01", "ACL", cal, "", strings.Replace(list, "<D:acl>", `<D:acl xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">`, 1)+"</D:acl>").want(200)
		if again := w.do("user01", "PROPFIND", cal, "Depth: 0", propfind("<D:acl/>")).text; again != shown {
			t.Errorf("the list changed:\n%s\n%s", shown, again)
		}
		// A24: a sharee neither shares further nor sees the other sharees.
		w.acl("user02", cal, 403, ace("grant", "user03", "read")).want(403, "write-acl")
		w.do("user02", "PROPFIND", cal, "Depth: 0", propfind("<D:acl/>")).want(207, "403 Forbidden").lacks("user02/</D:href></D:principal>")
		w.do("user02", "REPORT", cal, "", `<D:acl-principal-prop-set xmlns:D="DAV:"><D:prop><D:displayname/></D:prop></D:acl-principal-prop-set>`).want(403)
	})
}

// calendar-proxy: principals of delegation, who is in them and what they may do; what
// is taken back does not hold on the next request (wants 42).
func TestDelegation(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		const principal = "/dav/principals/users/user01/"
		w.do("user01", "PUT", cal+"one.ics", "", event("one", "Plans", "20260105T100000Z")).want(201)
		if dav := w.do("user02", "OPTIONS", cal, "", "").Header.Get("DAV"); !strings.Contains(dav, "calendar-proxy") {
			t.Errorf("DAV: %s", dav)
		}
		w.do("user01", "PROPFIND", principal, "Depth: 1", propfind("<D:resourcetype/>")).want(207, principal+"calendar-proxy-read/", "<CS:calendar-proxy-write/>")
		w.do("user02", "GET", cal+"one.ics", "", "").want(403)
		w.delegates("user02", "write", 403, "user02")

		w.delegates("user01", "read", 207, "user02")
		w.do("user02", "PROPFIND", principal+"calendar-proxy-read/", "Depth: 0", propfind("<D:group-member-set/><D:displayname/>")).want(207, "user02")
		w.do("user02", "PROPFIND", "/dav/principals/users/user02/", "Depth: 0", propfind("<D:group-membership/><CS:calendar-proxy-read-for/>")).want(207,
			"<D:group-membership><D:href>"+principal+"calendar-proxy-read/</D:href>", "<CS:calendar-proxy-read-for><D:href>"+principal+"</D:href>")
		w.do("user02", "REPORT", "/dav/principals/users/user02/", "", `<D:expand-property xmlns:D="DAV:"><D:property name="calendar-proxy-read-for" namespace="http://calendarserver.org/ns/"><D:property name="calendar-home-set" namespace="urn:ietf:params:xml:ns:caldav"/></D:property></D:expand-property>`).want(207, home)
		w.do("user02", "GET", cal+"one.ics", "", "").want(200)
		if got := w.do("user02", "PROPFIND", home, "Depth: 1", propfind("<D:displayname/>")).want(207).hrefs(); !slices.Contains(got, home+"inbox/") || len(got) != 6 {
			t.Errorf("a reading delegate's view of the home: %v", got)
		}
		for _, c := range [][2]string{{"PUT", cal + "two.ics"}, {"DELETE", cal + "one.ics"}, {"MKCALENDAR", home + "new/"}, {"ACL", cal}} {
			w.do("user02", c[0], c[1], "", event("two", "x", "20260105T100000Z")).want(403, "need-privileges")
		}

		w.delegates("user01", "read", 207)
		w.do("user02", "GET", cal+"one.ics", "", "").want(403)
		w.delegates("user01", "write", 207, "user02")
		w.do("user02", "PUT", cal+"two.ics", "", event("two", "x", "20260105T100000Z")).want(201)
		w.do("user02", "MKCALENDAR", home+"new/", "", "").want(201)
		w.do("user02", "PROPPATCH", home+"new/", "", propset("<D:displayname>From the delegate</D:displayname>")).want(207, "200 OK")
		w.do("user01", "PROPFIND", home+"new/", "Depth: 0", propfind("<D:displayname/>")).want(207, "From the delegate")
		w.acl("user02", cal, 403, ace("grant", "user03", "read"))
		w.delegates("user02", "write", 403, "user03")
		w.do("user02", "PROPFIND", cal, "Depth: 0", propfind("<D:acl/><D:current-user-privilege-set/>")).want(207, "<D:bind/>", "403 Forbidden").lacks("<D:write-acl/>")

		// A group of delegates, and groups in it.
		ctx := context.Background()
		g, err := w.db.CreateAccount(ctx, storage.Account{Handle: "office", Kind: storage.KindGroup})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.db.AddMember(ctx, g.ID, w.account("user03").ID); err != nil {
			t.Fatal(err)
		}
		w.do("user01", "PROPPATCH", principal+"calendar-proxy-write/", "", propset("<D:group-member-set><D:href>/dav/principals/groups/office/</D:href></D:group-member-set>")).want(207, "200 OK")
		w.do("user02", "GET", cal+"one.ics", "", "").want(403)
		w.do("user03", "GET", cal+"one.ics", "", "").want(200)
		if err := w.db.RemoveMember(ctx, g.ID, w.account("user03").ID); err != nil {
			t.Fatal(err)
		}
		w.do("user03", "GET", cal+"one.ics", "", "").want(403)

		for name, hrefs := range map[string]string{
			"nobody": "<D:href>/dav/principals/users/nobody/</D:href>", "himself": "<D:href>" + principal + "</D:href>",
			"a wrong folder": "<D:href>/dav/principals/groups/user02/</D:href>", "another server": "<D:href>http://elsewhere.test/dav/principals/users/user02/</D:href>",
			"a proxy principal": "<D:href>/dav/principals/users/user02/calendar-proxy-read/</D:href>", "a calendar": "<D:href>" + cal + "</D:href>",
		} {
			a := w.do("user01", "PROPPATCH", principal+"calendar-proxy-write/", "", propset("<D:group-member-set><D:href>/dav/principals/users/user02/</D:href>"+hrefs+"</D:group-member-set>")).want(207)
			if !strings.Contains(a.text, "recognized-principal") {
				t.Errorf("%s: %s", name, a.text)
			}
		}
		w.do("user02", "GET", cal+"one.ics", "", "").want(403) // nothing of a refused list was stored
		w.do("user01", "PROPPATCH", principal+"calendar-proxy-write/", "", propset("<D:displayname>x</D:displayname>")).want(207, "403")
		w.do("user01", "PROPFIND", "/dav/principals/groups/office/calendar-proxy-read/", "Depth: 0", "").want(404)
	})
}

// wants 41, A24: private objects are not there for sharees, confidential ones only
// take time, on every path; so does everything for who may see busy times only.
func TestClassification(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		put := func(uid, class string) {
			w.t.Helper()
			w.do("user01", "PUT", cal+uid+".ics", "", event(uid, "Secret "+uid, "20260105T100000Z", "CLASS:"+class, "LOCATION:Hidden place", "ATTENDEE:mailto:someone@example.com", "ORGANIZER:mailto:user01@example.com")).want(201)
		}
		put("open", "PUBLIC")
		put("conf", "CONFIDENTIAL")
		put("priv", "PRIVATE")
		put("odd", "X-TOP-SECRET")
		// one private instance makes the object private
		w.do("user01", "PUT", cal+"mixed.ics", "", strings.Replace(event("mixed", "Secret mixed", "20260105T100000Z", "RRULE:FREQ=DAILY;COUNT=3"), "END:VCALENDAR",
			"BEGIN:VEVENT\r\nUID:mixed\r\nDTSTAMP:20260101T000000Z\r\nRECURRENCE-ID:20260106T100000Z\r\nDTSTART:20260106T110000Z\r\nDURATION:PT1H\r\nCLASS:private\r\nSUMMARY:Secret part\r\nEND:VEVENT\r\nEND:VCALENDAR", 1)).want(201)
		w.acl("user01", cal, 200, ace("grant", "user02", "read", "write"), ace("grant", "user03", readBusy))

		const secret = "Secret conf"
		hidden := []string{secret, "Secret priv", "Secret odd", "Secret mixed", "Secret part"}
		multiget := `<C:calendar-multiget xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><D:getetag/><C:calendar-data/></D:prop>`
		for _, n := range []string{"open", "conf", "priv", "odd", "mixed"} {
			multiget += "<D:href>" + cal + n + ".ics</D:href>"
		}
		multiget += "</C:calendar-multiget>"
		text := func(s string) string {
			return calendarQuery("<C:calendar-data/>", `><C:comp-filter name="VEVENT"><C:prop-filter name="SUMMARY"><C:text-match>`+s+`</C:text-match></C:prop-filter></C:comp-filter>`, "")
		}
		all := calendarQuery("<C:calendar-data/>", `><C:comp-filter name="VEVENT"><C:time-range start="20260101T000000Z" end="20260301T000000Z"/></C:comp-filter>`, "")
		expanded := calendarQuery(`<C:calendar-data><C:expand start="20260101T000000Z" end="20260301T000000Z"/></C:calendar-data>`, `><C:comp-filter name="VEVENT"/>`, "")
		syncData := strings.Replace(syncBody("", ""), "<D:getetag/>", "<D:getetag/><C:calendar-data xmlns:C=\"urn:ietf:params:xml:ns:caldav\"/>", 1)
		for _, user := range []string{"user02", "user03"} {
			hide := hidden
			if user == "user03" {
				hide = append(slices.Clone(hidden), "Secret open", "Hidden place", "someone@")
			}
			for name, a := range map[string]answer{
				"GET of the calendar":   w.do(user, "GET", cal, "", "").want(200, "SUMMARY:Busy"),
				"PROPFIND":              w.do(user, "PROPFIND", cal, "Depth: 1", propfind("<D:getetag/><C:calendar-data/>")).want(207, "SUMMARY:Busy"),
				"multiget":              w.do(user, "REPORT", cal, "", multiget).want(207, "SUMMARY:Busy"),
				"query by time":         w.do(user, "REPORT", cal, "Depth: 1", all).want(207, "SUMMARY:Busy"),
				"query with expand":     w.do(user, "REPORT", cal, "Depth: 1", expanded).want(207, "SUMMARY:Busy"),
				"query for a title":     w.do(user, "REPORT", cal, "Depth: 1", text("secret")).want(207),
				"sync":                  w.do(user, "REPORT", cal, "", syncData).want(207),
				"GET of a confidential": w.do(user, "GET", cal+"conf.ics", "", "").want(200, "SUMMARY:Busy", "DTSTART"),
				"GET of one as JSON":    w.do(user, "GET", cal+"conf.ics", "Accept: application/calendar+json", "").want(200, `"Busy"`),
				"GET of one as XML":     w.do(user, "GET", cal+"conf.ics", "Accept: application/calendar+xml", "").want(200, ">Busy<"),
				"GET of all as JSON":    w.do(user, "GET", cal, "Accept: application/calendar+json", "").want(200, `"Busy"`),
				"GET of all as XML":     w.do(user, "GET", cal, "Accept: application/calendar+xml", "").want(200, ">Busy<"),
				"query for JSON":        w.do(user, "REPORT", cal, "Depth: 1", strings.Replace(all, "<C:calendar-data/>", `<C:calendar-data content-type="application/calendar+json" version="2.0"/>`, 1)).want(207, `"Busy"`),
				"query for XML":         w.do(user, "REPORT", cal, "Depth: 1", strings.Replace(expanded, "<C:calendar-data>", `<C:calendar-data content-type="application/calendar+xml" version="2.0">`, 1)).want(207, "&gt;Busy&lt;"),
				"conditional GET":       w.do(user, "GET", cal+"conf.ics", "If-None-Match: \"x\"", "").want(200, "SUMMARY:Busy"),
				"PROPFIND of one":       w.do(user, "PROPFIND", cal+"conf.ics", "Depth: 0", propfind("<C:calendar-data/>")).want(207, "SUMMARY:Busy"),
				"query of one":          w.do(user, "REPORT", cal+"conf.ics", "Depth: 0", text("secret")).want(207),
			} {
				for _, h := range hide {
					if strings.Contains(a.text, h) {
						t.Errorf("%s by %s shows %q:\n%s", name, user, h, a.text)
					}
				}
				for _, h := range a.members() {
					if !strings.HasSuffix(h, " 404") && (strings.Contains(h, "priv") || strings.Contains(h, "odd") || strings.Contains(h, "mixed")) {
						t.Errorf("%s by %s lists %s", name, user, h)
					}
				}
			}
			if n := w.do(user, "HEAD", cal+"conf.ics", "", "").want(200).ContentLength; n != int64(len(w.do(user, "GET", cal+"conf.ics", "", "").text)) {
				t.Errorf("HEAD says %d octets", n)
			}
			for _, n := range []string{"priv", "odd", "mixed"} {
				w.do(user, "GET", cal+n+".ics", "", "").want(404)
				w.do(user, "PROPFIND", cal+n+".ics", "Depth: 0", "").want(404)
			}
			// The time is taken all the same.
			w.do(user, "REPORT", cal, "Depth: 1", `<C:free-busy-query xmlns:C="urn:ietf:params:xml:ns:caldav"><C:time-range start="20260106T000000Z" end="20260107T000000Z"/></C:free-busy-query>`).want(200, "20260106T110000Z/")
		}
		// Titles of what is shown in full are found, those of what is hidden are not.
		if got := w.do("user02", "REPORT", cal, "Depth: 1", text("secret")).hrefs(); !slices.Equal(got, []string{cal + "open.ics"}) {
			t.Errorf("a search finds %v", got)
		}
		// What one does not see one cannot change, copy or take away.
		for _, n := range []string{"conf", "priv"} {
			w.do("user02", "PUT", cal+n+".ics", "", event(n, "Changed", "20260105T100000Z")).want(403, "need-privileges")
			for _, m := range []string{"DELETE", "COPY", "MOVE"} {
				status := 403
				if n == "priv" {
					status = 404
				}
				w.do("user02", m, cal+n+".ics", "Destination: /dav/calendars/user02/calendar/"+n+m+".ics", "").want(status)
			}
		}
		w.do("user01", "GET", cal+"priv.ics", "", "").want(200, "Secret priv", "Hidden place")
		// Who acts for the owner sees what he sees.
		w.delegates("user01", "write", 207, "user04")
		w.do("user04", "GET", cal+"priv.ics", "", "").want(200, "Secret priv")

		// What becomes private goes away, what becomes public comes.
		token := w.do("user02", "REPORT", cal, "", syncBody("", "")).token()
		w.do("user01", "PUT", cal+"open.ics", "", event("open", "Now hidden", "20260105T100000Z", "CLASS:PRIVATE")).want(204)
		w.do("user01", "PUT", cal+"odd.ics", "", event("odd", "Now shown", "20260105T100000Z")).want(204)
		got := w.do("user02", "REPORT", cal, "", syncBody(token, "")).want(207).hrefs()
		slices.Sort(got)
		if want := []string{cal + "odd.ics", cal + "open.ics 404"}; !slices.Equal(got, want) {
			t.Errorf("sync after the changes: %v", got)
		}
		if got := w.do("user02", "REPORT", home, "", homeSync("", "infinite", "")); got.StatusCode != 403 {
			t.Errorf("a sharee's sync of the home: %d", got.StatusCode)
		}
	})
}

// The right read-all opens everything and is written down; admin alone opens nothing.
func TestReadAllIsAudited(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		ctx := context.Background()
		w.do("user01", "PUT", cal+"one.ics", "", event("one", "Plans", "20260105T100000Z", "CLASS:PRIVATE")).want(201)
		w.rights("user02", storage.RightAdmin)
		for _, m := range []string{"GET", "PROPFIND", "DELETE"} {
			w.do("user02", m, cal+"one.ics", "Depth: 0", "").want(403)
		}
		w.rights("user03", storage.RightReadAll)
		lines := func() (out []string) {
			list, err := w.db.AuditTrail(ctx, 100)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range list {
				if strings.HasPrefix(e.Action, "read-all") {
					out = append(out, fmt.Sprint(e.Actor, " ", e.Action, " ", e.Subject, " ", e.Detail))
				}
			}
			slices.Sort(out)
			return out
		}
		for range 3 {
			w.do("user03", "GET", cal+"one.ics", "", "").want(200, "Plans")
		}
		w.do("user03", "GET", "/dav/calendars/user03/calendar/", "", "").want(200)
		for i := range 2 {
			w.do("user03", "PUT", fmt.Sprintf("%snew%d.ics", cal, i), "", event(fmt.Sprint("new", i), "x", "20260105T100000Z")).want(201)
		}
		want := []string{"user03 read-all GET user01 " + cal + "one.ics", "user03 read-all PUT user01 " + cal + "new0.ics", "user03 read-all PUT user01 " + cal + "new1.ics"}
		if got := lines(); !slices.Equal(got, want) {
			t.Errorf("the audit trail: %q", got)
		}
		w.rights("user03", 0)
		w.do("user03", "GET", cal+"one.ics", "", "").want(403)
	})
}
