package caldav_test

import (
	"context"
	"slices"
	"testing"

	"github.com/kalends/kalends/storage"
)

// RFC 3744 §4, RFC 6638 §2.4: everybody who signed in reads other people's
// principals (addresses, kind, inbox), and changes only the own.
func TestPrincipalsOfOthers(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		ctx := context.Background()
		id := map[string]storage.AccountID{}
		for _, h := range []string{"user01", "user02", "user03"} {
			a, err := w.db.AccountByHandle(ctx, h)
			if err != nil {
				t.Fatal(err)
			}
			id[h] = a.ID
		}
		for _, name := range []string{"inner", "outer"} {
			a, err := w.db.CreateAccount(ctx, storage.Account{Handle: name, Kind: storage.KindGroup, DisplayName: "Group " + name})
			if err != nil {
				t.Fatal(err)
			}
			id[name] = a.ID
		}
		for _, m := range [][2]string{{"inner", "user02"}, {"outer", "inner"}, {"outer", "user03"}} {
			if err := w.db.AddMember(ctx, id[m[0]], id[m[1]]); err != nil {
				t.Fatal(err)
			}
		}
		const other = "/dav/principals/users/user02/"
		w.do("user01", "PROPFIND", other, "Depth: 0", propfind("<D:displayname/><C:calendar-user-address-set/><C:calendar-user-type/><C:schedule-inbox-URL/><D:current-user-privilege-set/>")).want(207,
			"User 02", "mailto:user02@example.com", "INDIVIDUAL", "/dav/calendars/user02/inbox/", "<D:read/>").lacks("404 Not Found", "<D:write/>")
		w.do("user01", "PROPPATCH", other, "", `<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><x xmlns="urn:x">1</x></D:prop></D:set></D:propertyupdate>`).want(403, "need-privileges")
		w.do("user01", "PROPPATCH", "/dav/principals/users/user01/", "", `<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><x xmlns="urn:x">1</x></D:prop></D:set></D:propertyupdate>`).want(207, "200 OK")

		expand := func(name, space string) string {
			return `<D:expand-property xmlns:D="DAV:"><D:property name="` + name + `" namespace="` + space + `"><D:property name="displayname"/></D:property></D:expand-property>`
		}
		const cs = "http://calendarserver.org/ns/"
		w.do("user01", "REPORT", "/dav/principals/groups/outer/", "", expand("group-member-set", "DAV:")).want(207, "Group inner", "User 03").lacks("User 02")
		w.do("user01", "REPORT", "/dav/principals/groups/outer/", "", expand("expanded-group-member-set", cs)).want(207, "Group inner", "User 02", "User 03")
		w.do("user01", "REPORT", other, "", expand("group-membership", "DAV:")).want(207, "Group inner").lacks("Group outer")
		w.do("user01", "REPORT", other, "", expand("expanded-group-membership", cs)).want(207, "Group inner", "Group outer")

		// RFC 3744 §9.3: self is the user and all groups he is in.
		got := w.do("user02", "REPORT", "/dav/principals/", "Depth: 0", `<D:principal-match xmlns:D="DAV:"><D:self/><D:prop><D:displayname/></D:prop></D:principal-match>`).want(207).hrefs()
		slices.Sort(got)
		if want := []string{"/dav/principals/groups/inner/", "/dav/principals/groups/outer/", other}; !slices.Equal(got, want) {
			t.Errorf("principal-match self: %v", got)
		}
	})
}

// RFC 3744 §9.3: principal-match by any property whose value names the user, and
// RFC 3253 §3.8: expand-property follows the hrefs of dead properties, as far as
// the user may read.
func TestHrefsInDeadProperties(t *testing.T) {
	t.Parallel()
	engines(t, func(w *world) {
		const home = "/dav/calendars/user01/"
		set := func(xml string) string {
			return `<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop>` + xml + `</D:prop></D:set></D:propertyupdate>`
		}
		w.do("user01", "PROPPATCH", cal, "", set("<D:whoami><D:href>/dav/principals/users/user01/</D:href></D:whoami>")).want(207, "200 OK")
		w.do("user01", "PROPPATCH", home+"tasks/", "", set("<D:whoami><D:href>/dav/principals/users/user02/</D:href></D:whoami>")).want(207, "200 OK")
		match := `<D:principal-match xmlns:D="DAV:"><D:principal-property><D:whoami/></D:principal-property><D:prop><D:displayname/></D:prop></D:principal-match>`
		if got := w.do("user01", "REPORT", home, "", match).want(207).hrefs(); !slices.Equal(got, []string{cal}) {
			t.Errorf("principal-match whoami: %v", got)
		}
		w.do("user02", "REPORT", home, "", match).want(403)

		expand := `<D:expand-property xmlns:D="DAV:"><D:property name="details"><D:property name="resourcetype"/></D:property></D:expand-property>`
		w.do("user01", "PROPPATCH", home, "", set("<D:details><D:href>"+cal+"</D:href></D:details>")).want(207, "200 OK")
		w.do("user01", "REPORT", home, "", expand).want(207, "<D:collection/>", "<C:calendar/>")
		w.do("user01", "PROPPATCH", home, "", set("<D:details><D:href>/dav/calendars/user02/calendar/</D:href></D:details>")).want(207, "200 OK")
		w.do("user01", "REPORT", home, "", expand).want(207, "403 Forbidden").lacks("<D:collection/>")

		// Attributes that mean nothing are refused.
		for _, attr := range [][2]string{{` type="bogus"`, ""}, {"", ` caseless="bogus"`}, {"", ` match-type="bogus"`}} {
			w.do("user01", "REPORT", "/dav/principals/", "", `<D:principal-property-search xmlns:D="DAV:"`+attr[0]+`><D:property-search><D:prop><D:displayname/></D:prop><D:match`+attr[1]+`>x</D:match></D:property-search><D:prop><D:displayname/></D:prop></D:principal-property-search>`).want(400)
		}

		// python-caldav.md, principal-search: that client writes the properties
		// beside an empty DAV:prop, lists everybody by a search for nothing, and
		// takes it that everybody has a calendar home.
		if _, err := w.db.CreateAccount(t.Context(), storage.Account{Handle: "inner", Kind: storage.KindGroup, DisplayName: "Group inner"}); err != nil {
			t.Fatal(err)
		}
		beside := func(search string) answer {
			return w.do("user01", "REPORT", "/dav/principals/", "", `<D:principal-property-search xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">`+search+`<D:prop/><C:calendar-home-set/><D:displayname/></D:principal-property-search>`)
		}
		beside("").want(207, "/dav/calendars/user01/", "/dav/calendars/user02/", "User 03").lacks("404 Not Found", "Group inner")
		beside(`<D:property-search><D:prop><D:displayname/></D:prop><D:match>User 02</D:match></D:property-search>`).want(207, "/dav/calendars/user02/").lacks("User 03")
		w.do("user01", "REPORT", "/dav/principals/", "", `<D:principal-property-search xmlns:D="DAV:" test="anyof"><D:prop><D:displayname/></D:prop></D:principal-property-search>`).want(207, "User 02", "Group inner")
	})
}
