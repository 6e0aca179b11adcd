package standards

import (
	"slices"
	"strings"
	"testing"
)

// RFC 3744 §9.2 to §9.5, RFC 3253 §3.8, calendarserver-principal-search.
func TestPrincipalReports(t *testing.T) {
	engines(t, func(w *world) {
		search := func(prop, match, attr string) string {
			return report("D:principal-property-search"+attr, "<D:property-search><D:prop>"+prop+"</D:prop>"+match+"</D:property-search><D:prop><D:displayname/></D:prop>")
		}
		w.do("alice", "REPORT", "/dav/principals/", "Depth: 0", search("<D:displayname/>", "<D:match>birch</D:match>", "")).want(207, "Bob Birch").wantHrefs("/dav/principals/users/bob/")
		w.do("alice", "REPORT", "/dav/principals/", "", search("<C:calendar-user-type/>", `<D:match match-type="equals">ROOM</D:match>`, "")).want(207, "Room One").wantHrefs("/dav/principals/locations/room1/")
		w.do("alice", "REPORT", "/dav/principals/users/", "", search("<C:calendar-user-address-set/>", "<D:match>example.com</D:match>", "")).want(207).
			wantHrefs("/dav/principals/users/alice/", "/dav/principals/users/bob/", "/dav/principals/users/carol/")
		w.do("alice", "REPORT", cal, "", search("<D:displayname/>", "<D:match>b</D:match>", "")).want(207).wantHrefs()
		w.do("alice", "REPORT", "/dav/principals/", "", report("D:principal-search-property-set", "")).want(200, "<D:principal-search-property>", "<D:displayname/>", "<C:calendar-user-address-set/>")
		w.do("bob", "REPORT", "/dav/principals/", "", report("D:principal-match", "<D:self/><D:prop><D:displayname/></D:prop>")).want(207, "The Team").
			wantHrefs("/dav/principals/users/bob/", "/dav/principals/groups/team/")
		w.do("alice", "REPORT", "/dav/principals/", "", report(`CS:calendarserver-principal-search context="attendee"`, "<CS:search-token>car</CS:search-token><CS:search-token>ced</CS:search-token><D:prop><D:displayname/></D:prop>")).
			want(207, "Carol Cedar").wantHrefs("/dav/principals/users/carol/")
		w.do("alice", "ACL", cal, "", report("D:acl", "<D:ace><D:principal><D:href>/dav/principals/users/bob/</D:href></D:principal><D:grant><D:privilege><D:read/></D:privilege></D:grant></D:ace>")).want(200)
		w.do("alice", "REPORT", cal, "", report("D:acl-principal-prop-set", "<D:prop><D:displayname/></D:prop>")).want(207, "Bob Birch", "Alice Alder")
		w.do("bob", "REPORT", "/dav/principals/users/bob/", "Depth: 0", report("D:expand-property",
			`<D:property name="calendar-home-set" namespace="urn:ietf:params:xml:ns:caldav"><D:property name="displayname"/><D:property name="owner"><D:property name="principal-URL"/></D:property></D:property><D:property name="displayname"/>`)).
			want(207, "Bob Birch", "<C:calendar-home-set><D:response><D:href>/dav/calendars/bob/</D:href>", "<D:owner><D:response><D:href>/dav/principals/users/bob/</D:href>")
		w.do("alice", "REPORT", cal, "", report("D:version-tree", "")).want(403, "supported-report")
	})
}

// RFC 3744 §5.3 to §5.8, RFC 3253 §3.1.5.
func TestPrivilegeProperties(t *testing.T) {
	engines(t, func(w *world) {
		w.do("alice", "PUT", cal+"a.ics", "", event("a", 5)).want(201)
		props := propfind("<D:supported-privilege-set/><D:current-user-privilege-set/><D:acl-restrictions/><D:inherited-acl-set/><D:owner/><D:supported-report-set/><D:acl/>")
		w.do("alice", "PROPFIND", cal, "Depth: 0", props).want(207, "<C:read-free-busy/>", "<D:write-content/>", "<D:bind/>", "<D:acl-restrictions><D:no-invert/></D:acl-restrictions>",
			"<D:inherited-acl-set><D:href>/dav/calendars/alice/</D:href><D:href>/dav/calendars/</D:href></D:inherited-acl-set>",
			"<D:owner><D:href>/dav/principals/users/alice/</D:href>", "<C:calendar-query/>", "<D:sync-collection/>", "<D:protected/>")
		w.do("alice", "PROPFIND", "/dav/calendars/alice/inbox/", "Depth: 0", props).want(207, "<C:schedule-deliver/>", "<C:schedule-deliver-invite/>")
		w.do("alice", "PROPFIND", "/dav/calendars/alice/outbox/", "Depth: 0", props).want(207, "<C:schedule-send/>", "<C:schedule-send-freebusy/>")
		w.do("alice", "PROPFIND", cal+"a.ics", "Depth: 0", props).want(207, "<D:inherited-acl-set><D:href>"+cal+"</D:href>", "<D:inherited>")
		grant := "<D:ace><D:principal><D:href>/dav/principals/groups/team/</D:href></D:principal><D:grant><D:privilege><D:read/></D:privilege></D:grant></D:ace>"
		w.do("alice", "ACL", cal, "", report("D:acl", grant)).want(200)
		w.do("bob", "GET", cal+"a.ics", "", "").want(200)
		w.do("bob", "DELETE", cal+"a.ics", "", "").want(403, "<D:unbind/>")
		w.do("bob", "PROPFIND", cal, "Depth: 0", propfind("<D:acl/>")).want(207, "403")
		w.do("carol", "GET", cal+"a.ics", "", "").want(403)
		for cond, ace := range map[string]string{
			"no-protected-ace-conflict": strings.Replace(strings.ReplaceAll(grant, "grant>", "deny>"), "groups/team", "users/alice", 1),
			"allowed-principal":         strings.Replace(grant, "groups/team/", "users/bob/calendar-proxy-read/", 1),
			"no-invert":                 strings.Replace(strings.Replace(grant, "<D:principal>", "<D:invert><D:principal>", 1), "</D:principal>", "</D:principal></D:invert>", 1),
			"not-supported-privilege":   strings.Replace(grant, "<D:read/>", "<D:fly/>", 1),
			"recognized-principal":      strings.Replace(grant, "groups/team", "users/nobody", 1),
		} {
			w.do("alice", "ACL", cal, "", report("D:acl", ace)).want(403, cond)
		}
	})
}

// RFC 8144 §2, §3, RFC 7240 §4.2, and the Brief header of Apple's programs.
func TestPrefer(t *testing.T) {
	engines(t, func(w *world) {
		for _, h := range []string{"Prefer: return=minimal", "Prefer: return-minimal", "Brief: t"} {
			w.do("alice", "PROPFIND", cal, "Depth: 0\n"+h, propfind("<D:resourcetype/><D:nonsense/>")).want(207, "<C:calendar/>").lacks("404 Not Found").header("Preference-Applied", "return=minimal")
		}
		w.do("alice", "PROPFIND", cal, "Depth: 0", propfind("<D:resourcetype/><D:nonsense/>")).want(207, "404", "nonsense")
		if a := w.do("alice", "PROPPATCH", cal, "Prefer: return=minimal", proppatch("<D:displayname>Work</D:displayname>")); a.StatusCode/100 != 2 {
			w.Errorf("PROPPATCH: %d", a.StatusCode)
		} else {
			a.lacks("displayname")
		}
		w.do("alice", "PROPFIND", "/dav/calendars/alice/", "Depth: 1\nPrefer: depth-noroot", propfind("<D:resourcetype/>")).want(207).lacks("<D:href>/dav/calendars/alice/</D:href>")
		w.do("alice", "PUT", cal+"a.ics", "Prefer: return=representation", event("a", 5)).want(201, "SUMMARY:About a").header("Preference-Applied", "return=representation").header("Content-Location", cal+"a.ics")
		a := w.do("alice", "PUT", cal+"a.ics", "If-Match: \"old\"\nPrefer: return=representation", event("a", 6)).want(412, "DTSTART:20260105").header("Preference-Applied", "return=representation")
		w.do("alice", "PUT", cal+"a.ics", "If-Match: "+a.Header.Get("ETag"), event("a", 6)).want(204)
		w.do("alice", "MKCALENDAR", "/dav/calendars/alice/more/", "Prefer: return=minimal", "").want(201).header("Preference-Applied", "return=minimal")
	})
}

// RFC 5995 §3, RFC 5842 §3.1.
func TestAddMember(t *testing.T) {
	engines(t, func(w *world) {
		w.do("alice", "PROPFIND", cal, "Depth: 0", propfind("<D:add-member/><D:resource-id/>")).want(207, "<D:add-member><D:href>"+cal+"?action=add-member</D:href>", "<D:resource-id><D:href>urn:uuid:")
		a := w.do("alice", "POST", cal+"?action=add-member", "", event("a", 5)).want(201)
		where := a.Header.Get("Location")
		if !strings.HasPrefix(where, cal) || !strings.HasSuffix(where, ".ics") {
			w.Fatalf("Location %q", where)
		}
		w.do("alice", "GET", where, "", "").want(200, "UID:a").header("ETag", a.Header.Get("ETag"))
		w.do("alice", "POST", cal+"?action=add-member", "", event("a", 5)).want(403, "no-uid-conflict")
		w.do("alice", "POST", cal, "", event("b", 5)).want(400)
		w.do("bob", "POST", cal+"?action=add-member", "", event("c", 5)).want(403)
	})
}

// RFC 6578 §3.3 on a home: level 1 lists changed calendars, infinite their
// members as well.
func TestHomeSync(t *testing.T) {
	engines(t, func(w *world) {
		home := "/dav/calendars/alice/"
		// sync returns the next token; the home itself may be listed or not.
		sync := func(token, level string, want ...string) string {
			a := w.do("alice", "REPORT", home, "", report("D:sync-collection", "<D:sync-token>"+token+"</D:sync-token><D:sync-level>"+level+"</D:sync-level><D:prop><D:getetag/></D:prop>")).want(207)
			got := slices.DeleteFunc(a.hrefs(), func(h string) bool { return h == home })
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				w.Errorf("level %s: %v, want %v", level, got, want)
			}
			return a.token()
		}
		token := sync("", "1", home+"calendar/", home+"tasks/", home+"inbox/", home+"outbox/", home+"notification/")
		deep := sync("", "infinite", home+"calendar/", home+"tasks/", home+"inbox/", home+"outbox/", home+"notification/")
		sync(token, "1")
		w.do("alice", "PUT", cal+"a.ics", "", event("a", 5)).want(201)
		w.do("alice", "MKCALENDAR", home+"more/", "", "").want(201)
		token = sync(token, "1", home+"calendar/", home+"more/")
		sync(deep, "infinite", home+"calendar/", home+"calendar/a.ics", home+"more/")
		w.do("alice", "DELETE", home+"more/", "", "").want(204)
		sync(token, "1", home+"more/ 404")
		w.do("alice", "REPORT", home, "", report("D:sync-collection", "<D:sync-token>urn:x</D:sync-token><D:sync-level>1</D:sync-level><D:prop><D:getetag/></D:prop>")).want(403, "valid-sync-token")
	})
}

// RFC 3744 §4: the directory is open to everybody who signed in.
func TestOtherPrincipals(t *testing.T) {
	engines(t, func(w *world) {
		w.do("alice", "PROPFIND", "/dav/principals/users/bob/", "Depth: 0", propfind("<D:displayname/><C:calendar-user-address-set/>")).want(207, "Bob Birch", "mailto:bob@example.com")
		w.do("bob", "REPORT", "/dav/principals/users/bob/", "Depth: 0", report("D:expand-property", `<D:property name="group-membership"><D:property name="displayname"/></D:property>`)).
			want(207, "<D:group-membership><D:response><D:href>/dav/principals/groups/team/</D:href>", "The Team")
	})
}
