package caldav

import (
	"net/http"
	"slices"
	"strings"

	"github.com/kalends/kalends/caldav/acl"
)

// method says what a method needs on a kind of resource and who serves it.
// What a privilege alone cannot express (a PUT of a new object needs bind, of
// an old one write-content) the function checks itself.
type method struct {
	need   acl.Set
	exists bool // 404 when the resource is missing
	serve  func(*request) error
	above  bool // need is asked of the collection that the resource is in (RFC 3744 §3.9, §3.10)
}

var methods [kinds]map[string]method

func init() {
	read := func(f func(*request) error) method { return method{need: acl.Read, exists: true, serve: f} }
	add := func(name string, m method, on ...Kind) {
		for _, k := range on {
			if methods[k] == nil {
				methods[k] = map[string]method{}
			}
			methods[k][name] = m
		}
	}
	above := []Kind{KindSite, KindRoot, KindPrincipals, KindPrincipalFolder, KindPrincipal, KindProxy, KindCalendars}
	cols := []Kind{KindHome, KindCalendar, KindInbox, KindOutbox, KindNotification}
	items := []Kind{KindObject, KindInboxItem}
	all := slices.Concat(above, cols, items)

	add("OPTIONS", method{serve: (*request).options}, append(all, KindUnmapped)...)
	add("PROPFIND", method{exists: true, serve: (*request).propfind}, all...)
	add("PROPPATCH", method{exists: true, serve: (*request).proppatch}, slices.Concat(cols, items, []Kind{KindPrincipal, KindProxy})...)
	add("REPORT", method{exists: true, serve: (*request).report}, slices.Concat(above, cols, items)...)
	add("GET", read((*request).getListing), KindSite, KindRoot, KindPrincipals, KindPrincipalFolder, KindPrincipal, KindProxy, KindCalendars, KindHome, KindInbox, KindOutbox, KindNotification)
	add("HEAD", read((*request).getListing), KindSite, KindRoot, KindPrincipals, KindPrincipalFolder, KindPrincipal, KindProxy, KindCalendars, KindHome, KindInbox, KindOutbox, KindNotification)
	add("OPTIONS", method{serve: (*request).options}, KindBusy)
	busy := method{need: acl.ReadFreeBusy, exists: true, serve: (*request).getBusy}
	add("GET", busy, KindBusy)
	add("HEAD", busy, KindBusy)
	// In calendars the privilege to see busy times only is enough; what is shown then
	// is another matter (see views).
	look := func(f func(*request) error) method { return method{need: acl.ReadBusy, exists: true, serve: f} }
	add("GET", look((*request).getCalendar), KindCalendar)
	add("HEAD", look((*request).getCalendar), KindCalendar)
	add("GET", look((*request).getObject), KindObject)
	add("HEAD", look((*request).getObject), KindObject)
	add("GET", read((*request).getObject), KindInboxItem)
	add("HEAD", read((*request).getObject), KindInboxItem)
	add("PUT", method{serve: (*request).put}, KindObject)
	add("DELETE", method{need: acl.Unbind, above: true, exists: true, serve: (*request).deleteObject}, items...)
	add("DELETE", method{need: acl.Unbind, above: true, exists: true, serve: (*request).deleteCollection}, KindCalendar)
	add("MKCALENDAR", method{need: acl.Bind, above: true, serve: (*request).mkcalendar}, KindUnmapped, KindCalendar, KindInbox, KindOutbox, KindNotification)
	add("MKCOL", method{need: acl.Bind, above: true, serve: (*request).mkcol}, KindUnmapped, KindCalendar, KindInbox, KindOutbox, KindNotification)
	add("POST", method{exists: true, serve: (*request).post}, cols...)
	add("DELETE", method{serve: (*request).unregisterPush}, KindPush)
	add("OPTIONS", method{serve: (*request).options}, KindPush)
	add("COPY", method{need: acl.Read, exists: true, serve: (*request).copyObject}, KindObject)
	add("MOVE", method{need: acl.Unbind, above: true, exists: true, serve: (*request).moveObject}, KindObject)
	add("MOVE", method{need: acl.Bind | acl.Unbind, above: true, exists: true, serve: (*request).moveCollection}, KindCalendar)
	add("ACL", method{need: acl.WriteACL, exists: true, serve: (*request).setACL}, KindHome, KindCalendar, KindInbox, KindOutbox)
}

// allow is the Allow header of a kind.
func allow(k Kind) string {
	var names []string
	for name := range methods[k] {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// options answers OPTIONS (RFC 4791 §5.1, RFC 6638 §2).
func (q *request) options() error {
	q.w.Header().Set("Allow", allow(q.path.Kind))
	q.w.Header().Set("Content-Length", "0")
	q.w.WriteHeader(http.StatusOK)
	return nil
}
