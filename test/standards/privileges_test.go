package standards

import (
	"strings"
	"testing"
)

// RFC 3744 §3.7, §5.4: who may read may know what he may do; programs that
// cannot tell take a shared calendar for writable.
func TestSharedPrivilegesShow(t *testing.T) {
	engines(t, func(w *world) {
		w.do("alice", "ACL", cal, "", report("D:acl", "<D:ace><D:principal><D:href>/dav/principals/users/bob/</D:href></D:principal><D:grant><D:privilege><D:read/></D:privilege></D:grant></D:ace>")).want(200)
		w.do("bob", "PROPFIND", cal, "Depth: 0", propfind("<D:current-user-privilege-set/>")).want(207, "<D:read/>").lacks("<D:write", "<D:bind/>", "<D:all/>")
	})
}

// RFC 6638 §3.2.2.3: an attendee who accepts and removes the event within the
// same second has declined.
func TestQuickSecondAnswer(t *testing.T) {
	engines(t, func(w *world) {
		w.do("alice", "PUT", cal+"o.ics", "", meeting("o", 7, "alice", "carol")).want(201)
		path, text := w.copyOf("carol", "o")
		w.do("carol", "PUT", path, "", strings.Replace(text, "PARTSTAT=NEEDS-ACTION", "PARTSTAT=ACCEPTED", 1)).want(204)
		w.do("carol", "DELETE", path, "", "").want(204)
		w.contains("alice's event", attendee(w.do("alice", "GET", cal+"o.ics", "", "").text, "carol"), "PARTSTAT=DECLINED")
	})
}
