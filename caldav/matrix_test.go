package caldav_test

import (
	"context"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/kalends/kalends/storage"
	"github.com/kalends/kalends/storage/storagetest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The roles of the matrix, by who plays them.
var matrixRoles = []struct{ name, user string }{
	{"owner", "user01"}, {"write delegate", "user02"}, {"read delegate", "user03"}, {"reader", "reader"}, {"writer", "writer"}, {"busy only", "busy"},
	{"other user", "user04"}, {"anonymous", ""}, {"admin", "boss"}, {"read-all", "auditor"},
}

// What is asked for. Each thing that exists has one beside it that does not.
var matrixTargets = []struct{ name, path string }{
	{"root", "/dav/"}, {"principals", "/dav/principals/"}, {"principal folder", "/dav/principals/users/"},
	{"principal", "/dav/principals/users/user01/"}, {"no principal", "/dav/principals/users/nobody/"},
	{"proxy principal", "/dav/principals/users/user01/calendar-proxy-write/"},
	{"calendars", "/dav/calendars/"}, {"home", "/dav/calendars/user01/"}, {"no home", "/dav/calendars/nobody/"},
	{"calendar", "/dav/calendars/user01/calendar/"}, {"no calendar", "/dav/calendars/user01/none/"}, {"no calendar of nobody", "/dav/calendars/nobody/calendar/"},
	{"inbox", "/dav/calendars/user01/inbox/"}, {"outbox", "/dav/calendars/user01/outbox/"}, {"free/busy address", "/dav/calendars/user01/freebusy/"}, {"notifications", "/dav/calendars/user01/notification/"},
	{"object", "/dav/calendars/user01/calendar/one.ics"}, {"no object", "/dav/calendars/user01/calendar/none.ics"}, {"private object", "/dav/calendars/user01/calendar/private.ics"},
	{"object of no calendar", "/dav/calendars/user01/none/one.ics"}, {"inbox item", "/dav/calendars/user01/inbox/one.ics"}, {"nothing", "/dav/elsewhere/"},
}

var matrixMethods = []string{"OPTIONS", "GET", "HEAD", "PROPFIND", "PROPPATCH", "REPORT query", "REPORT free-busy", "PUT", "DELETE", "POST", "COPY", "MOVE", "MKCALENDAR", "MKCOL", "ACL", "LOCK"}

// A21: every method on every kind of thing by everybody, compared with a table
// (testdata/access.txt; -update writes it). For those who may not look, what is there
// and what is not answer alike.
func TestAccessMatrix(t *testing.T) {
	t.Parallel()
	for i, e := range storagetest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			testAccessMatrix(t, newWorld(t, storagetest.Open(t, e)), *update && i == 0)
		})
	}
}

func testAccessMatrix(t *testing.T, w *world, update bool) {
	ctx := context.Background()
	for name, rights := range map[string]storage.Rights{"reader": 0, "writer": 0, "busy": 0, "boss": storage.RightAdmin, "auditor": storage.RightReadAll} {
		if _, err := w.db.CreateAccount(ctx, storage.Account{Handle: name, Kind: storage.KindUser, Emails: []string{name + "@example.com"}, Verifier: "x", Rights: rights}); err != nil {
			t.Fatal(err)
		}
	}
	w.delegates("user01", "write", 207, "user02")
	w.delegates("user01", "read", 207, "user03")
	restore := func() { // what a request may have changed
		w.acl("user01", cal, 200, ace("grant", "reader", "read"), ace("grant", "writer", "read", "write"), ace("grant", "busy", readBusy))
		for _, p := range []string{"/dav/calendars/user01/none/", cal + "none.ics", cal + "to.ics"} {
			w.serve("user01", "DELETE", p, "", "")
		}
		for name, class := range map[string]string{"one": "PUBLIC", "private": "PRIVATE"} {
			if a := w.serve("user01", "PUT", cal+name+".ics", "", event(name, "x", "20260105T100000Z", "CLASS:"+class)); a.Code/100 != 2 {
				t.Fatalf("%s: %d %s", name, a.Code, a.Body)
			}
		}
	}
	restore()
	answers := map[[3]string]string{}
	var table strings.Builder
	for _, target := range matrixTargets {
		fmt.Fprintf(&table, "%s  %s\n%-18s", target.name, target.path, "")
		for _, r := range matrixRoles {
			fmt.Fprintf(&table, " %-14s", r.name)
		}
		table.WriteString("\n")
		for _, method := range matrixMethods {
			fmt.Fprintf(&table, "  %-16s", method)
			for _, role := range matrixRoles {
				verb, _, _ := strings.Cut(method, " ")
				head, body := "Depth: 0", ""
				switch method {
				case "PROPFIND":
					body = propfind("<D:resourcetype/><D:acl/>")
				case "PROPPATCH":
					body = propset("<x xmlns=\"urn:x\">1</x>")
				case "REPORT query":
					head, body = "Depth: 1", calendarQuery("<D:getetag/>", `><C:comp-filter name="VEVENT"/>`, "")
				case "REPORT free-busy":
					body = `<C:free-busy-query xmlns:C="urn:ietf:params:xml:ns:caldav"><C:time-range start="20260101T000000Z" end="20260201T000000Z"/></C:free-busy-query>`
				case "PUT":
					name := strings.TrimSuffix(target.path[strings.LastIndexByte(target.path, '/')+1:], ".ics")
					body = event(name, "x", "20260105T100000Z")
				case "COPY", "MOVE":
					head = "Destination: " + cal + "to.ics"
				case "ACL":
					body = `<D:acl xmlns:D="DAV:"/>`
				case "MKCOL":
					body = `<D:mkcol xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:set><D:prop><D:resourcetype><D:collection/><C:calendar/></D:resourcetype></D:prop></D:set></D:mkcol>`
				}
				a := w.serve(role.user, verb, target.path, head, body)
				if a.Code >= 500 {
					t.Errorf("%s %s as %s: %d", method, target.path, role.name, a.Code)
				}
				got := fmt.Sprint(a.Code)
				if a.Code == 207 && strings.Contains(a.Body.String(), "<D:status>HTTP/1.1 403") {
					got = "207 403" // in part
				}
				answers[[3]string{target.name, method, role.name}] = got
				fmt.Fprintf(&table, " %-14s", got)
				if a.Code/100 == 2 && verb != "GET" && verb != "HEAD" && verb != "OPTIONS" && verb != "PROPFIND" && verb != "REPORT" {
					restore()
				}
			}
			table.WriteString("\n")
		}
		table.WriteString("\n")
	}
	// Who may not look learns nothing from the difference.
	for _, pair := range [][2]string{{"object", "no object"}, {"object", "object of no calendar"}, {"object", "private object"}, {"calendar", "no calendar of nobody"}, {"calendar", "no calendar"}, {"home", "no home"}} {
		for _, role := range []string{"other user", "anonymous", "admin"} {
			for _, method := range matrixMethods {
				if method == "REPORT free-busy" || method == "OPTIONS" || method == "LOCK" {
					continue // busy times are everybody's by default, and what is not there has none
				}
				if strings.HasPrefix(pair[1], "no home") || strings.HasSuffix(pair[1], "of nobody") {
					if method == "GET" || method == "HEAD" {
						continue // everybody finds everybody here; TestDirectoryPolicy has the others
					}
				}
				if a, b := answers[[3]string{pair[0], method, role}], answers[[3]string{pair[1], method, role}]; a != b {
					t.Errorf("%s as %s: %s for %s, %s for %s", method, role, a, pair[0], b, pair[1])
				}
			}
		}
	}
	const file = "testdata/access.txt"
	if update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(table.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got, old := strings.Split(table.String(), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(got), len(old)) {
		a, b := "", ""
		if i < len(got) {
			a = got[i]
		}
		if i < len(old) {
			b = old[i]
		}
		if a != b {
			t.Errorf("line %d of %s:\n got %s\nwant %s", i+1, file, a, b)
		}
	}
}

// serve hands one request to the handler without a connection.
func (w *world) serve(user, method, path, head, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if user != "" {
		r.SetBasicAuth(user, user)
	}
	if method == "PUT" || method == "POST" {
		r.Header.Set("Content-Type", "text/calendar")
	}
	if k, v, ok := strings.Cut(head, ":"); ok {
		r.Header.Set(k, strings.TrimSpace(v))
	}
	rec := httptest.NewRecorder()
	w.h.ServeHTTP(rec, r)
	return rec
}
