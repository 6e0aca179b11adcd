package caldav

import (
	"net/url"
	"strings"

	"github.com/kalends/kalends/caldav/acl"
	"github.com/kalends/kalends/storage"
)

// Kind is what a path names. The set is closed: every table of this package
// (methods, properties, reports) is indexed by it.
type Kind uint8

// The kinds of resources.
const (
	KindNone            Kind = iota
	KindSite                 // / : answers discovery only
	KindRoot                 // /dav/
	KindPrincipals           // /dav/principals/
	KindPrincipalFolder      // /dav/principals/users/
	KindPrincipal            // /dav/principals/users/U/
	KindProxy                // /dav/principals/users/U/calendar-proxy-read/
	KindCalendars            // /dav/calendars/
	KindHome                 // /dav/calendars/U/
	KindCalendar             // /dav/calendars/U/calendar/
	KindInbox                // /dav/calendars/U/inbox/
	KindOutbox               // /dav/calendars/U/outbox/
	KindNotification         // /dav/calendars/U/notification/
	KindBusy                 // /dav/calendars/U/freebusy/ : what takes the owner's time, for who knows URLs only
	KindUnmapped             // a collection name in a home that nothing has yet
	KindObject               // /dav/calendars/U/calendar/x.ics
	KindInboxItem            // /dav/calendars/U/inbox/x.ics
	KindPush                 // /dav/push/TOKEN : a registration for push messages
	kinds
)

var kindNames = [kinds]string{"none", "site", "root", "principals", "principal folder", "principal", "proxy principal", "calendars", "home", "calendar", "inbox", "outbox", "notification", "free/busy", "unmapped", "object", "inbox item", "push registration"}

func (k Kind) String() string { return kindNames[k] }

// collection reports whether the kind's paths end in a slash.
func (k Kind) collection() bool { return k < KindObject && k != KindNone }

// Path is a parsed path below the DAV root. Which kind of collection a name
// in a home is, only the database knows: Parse leaves Kind at KindCalendar and
// KindObject, and Kind is corrected when the row has been read.
type Path struct {
	Kind       Kind
	Folder     string // users, groups, resources, locations
	Handle     string // the account
	Collection string // decoded name
	Object     string // decoded name
	Proxy      string // calendar-proxy-read or calendar-proxy-write
	NoSlash    bool   // a collection's path was written without its final slash
}

// Folders of principals, by the kind of account.
var folders = map[string]storage.AccountKind{"users": storage.KindUser, "groups": storage.KindGroup, "resources": storage.KindResource, "locations": storage.KindRoom}

const (
	root           = "/dav/"
	maxPathOctets  = 4096
	maxNameOctets  = 255
	principalsPath = root + "principals/"
	calendarsPath  = root + "calendars/"
	pushPath       = root + "push/"
)

// ParsePath reads an escaped path. Segments are decoded once; dot segments,
// empty segments but at the end, control characters and names that are too long
// name nothing (abuse A10, A17).
func ParsePath(escaped string) (Path, bool) {
	if escaped == "/" || escaped == "" {
		return Path{Kind: KindSite}, true
	}
	if len(escaped) > maxPathOctets || escaped[0] != '/' {
		return Path{}, false
	}
	slash := strings.HasSuffix(escaped, "/")
	if slash { // base + "/" + "/" is the same collection
		escaped = strings.TrimRight(escaped, "/") + "/"
	}
	var seg [5]string
	n := 0
	for part := range strings.SplitSeq(strings.Trim(escaped, "/"), "/") {
		s, err := url.PathUnescape(part)
		if err != nil || n == len(seg) || s == "" || s == "." || s == ".." || len(s) > maxNameOctets || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }) {
			return Path{}, false
		}
		seg[n] = s
		n++
	}
	if strings.HasPrefix(escaped, "//") || seg[0] != "dav" {
		return Path{}, false
	}
	p := Path{NoSlash: !slash}
	switch {
	case n == 1:
		p.Kind = KindRoot
	case seg[1] == "principals" && n == 2:
		p.Kind = KindPrincipals
	case seg[1] == "principals" && n == 3 && folders[seg[2]] != 0:
		p.Kind, p.Folder = KindPrincipalFolder, seg[2]
	case seg[1] == "principals" && n == 4 && folders[seg[2]] != 0 && validHandle(seg[3]):
		p.Kind, p.Folder, p.Handle = KindPrincipal, seg[2], seg[3]
	case seg[1] == "push" && n == 3 && !slash:
		p.Kind, p.Object, p.NoSlash = KindPush, seg[2], false
	case seg[1] == "principals" && n == 5 && folders[seg[2]] != 0 && folders[seg[2]] != storage.KindGroup && validHandle(seg[3]) && proxyMode(seg[4]) != acl.NoProxy:
		p.Kind, p.Folder, p.Handle, p.Proxy = KindProxy, seg[2], seg[3], seg[4]
	case seg[1] == "calendars" && n == 2:
		p.Kind = KindCalendars
	case seg[1] == "calendars" && n == 3 && validHandle(seg[2]):
		p.Kind, p.Handle = KindHome, seg[2]
	case seg[1] == "calendars" && n == 4 && validHandle(seg[2]):
		p.Kind, p.Handle, p.Collection = KindCalendar, seg[2], seg[3]
	case seg[1] == "calendars" && n == 5 && validHandle(seg[2]):
		p.Kind, p.Handle, p.Collection, p.Object = KindObject, seg[2], seg[3], seg[4]
		p.NoSlash = false
		if slash {
			return Path{}, false
		}
	default:
		return Path{}, false
	}
	return p, true
}

// validHandle reports whether s can be an account's handle, [a-z0-9._-]{1,64}.
func validHandle(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

// String is the one spelling of the path that answers use: percent-encoded
// once, collections with a final slash. ParsePath reads it back.
func (p Path) String() string {
	switch p.Kind {
	case KindSite:
		return "/"
	case KindRoot:
		return root
	case KindPrincipals:
		return principalsPath
	case KindPrincipalFolder:
		return principalsPath + p.Folder + "/"
	case KindPrincipal:
		return principalsPath + p.Folder + "/" + p.Handle + "/"
	case KindProxy:
		return principalsPath + p.Folder + "/" + p.Handle + "/" + p.Proxy + "/"
	case KindCalendars:
		return calendarsPath
	case KindHome:
		return calendarsPath + p.Handle + "/"
	case KindObject, KindInboxItem:
		return calendarsPath + p.Handle + "/" + escape(p.Collection) + "/" + escape(p.Object)
	case KindPush:
		return pushPath + escape(p.Object)
	case KindNone:
		return ""
	}
	return calendarsPath + p.Handle + "/" + escape(p.Collection) + "/"
}

// above is the path of the collection that an object or a calendar is in.
func (p Path) above() Path {
	if items.has(p.Kind) {
		return Path{Kind: KindCalendar, Handle: p.Handle, Collection: p.Collection}
	}
	return Path{Kind: KindHome, Handle: p.Handle}
}

// escape percent-encodes a path segment: everything but unreserved characters
// and "@" (RFC 3986 §3.3).
func escape(s string) string {
	plain := func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~' || c == '@'
	}
	i := 0
	for i < len(s) && plain(s[i]) {
		i++
	}
	if i == len(s) {
		return s
	}
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)+8)
	for i := range len(s) {
		if c := s[i]; plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

// homePath, principalPath and the others build the paths of an account.
func homePath(a *storage.Account) string { return calendarsPath + a.Handle + "/" }

func collectionPath(a *storage.Account, name string) string {
	return calendarsPath + a.Handle + "/" + escape(name) + "/"
}

func folderOf(k storage.AccountKind) string {
	for name, kind := range folders {
		if kind == k {
			return name
		}
	}
	return "users"
}

func principalPath(a *storage.Account) string {
	return principalsPath + folderOf(a.Kind) + "/" + a.Handle + "/"
}

// parseHref reads an href of a request body or a Destination header: an
// absolute path, or an absolute URI of this very server (abuse A17).
func parseHref(href string, sameHost func(*url.URL) bool) (Path, bool) {
	href = strings.TrimSpace(href)
	if strings.HasPrefix(href, "/") && !strings.HasPrefix(href, "//") {
		if i := strings.IndexAny(href, "?#"); i >= 0 {
			href = href[:i]
		}
		return ParsePath(href)
	}
	u, err := url.Parse(href)
	if err != nil || u.Host == "" || u.User != nil || !sameHost(u) {
		return Path{}, false
	}
	return ParsePath(u.EscapedPath())
}
