package davxml

// Namespaces.
const (
	NSDAV            = "DAV:"
	NSCalDAV         = "urn:ietf:params:xml:ns:caldav"
	NSCalendarServer = "http://calendarserver.org/ns/"
	NSAppleICal      = "http://apple.com/ns/ical/"
	NSISchedule      = "urn:ietf:params:xml:ns:ischedule"
	NSMobileMe       = "http://me.com/_namespace/"
	NSPush           = "https://bitfire.at/webdav-push"

	nsXML   = "http://www.w3.org/XML/1998/namespace"
	nsXMLNS = "http://www.w3.org/2000/xmlns/"
)

// ErrorDescription is the child of DAV:error that carries a text for people.
// Apple's server put it there first, and clients and test suites that know only
// preconditions skip it.
var ErrorDescription = Name{"http://twistedmatrix.com/xml_namespace/dav/", "error-description"}

// Name is the expanded name of an element, property, privilege or precondition.
// Names are comparable and may be map keys. The variables of this package are
// spelled with the prefix their namespace has in our answers: D (DAV:), C
// (CalDAV), CS (calendarserver.org), I (Apple iCal), M (me.com), P (push), S
// (iSchedule).
type Name struct {
	Space string // namespace URI, "" for none
	Local string
}

// String is the name in Clark's notation, {namespace}local.
func (n Name) String() string {
	if n.Space == "" {
		return n.Local
	}
	return "{" + n.Space + "}" + n.Local
}

// IsZero tells whether n names nothing.
func (n Name) IsZero() bool { return n == Name{} }

// writable tells whether an element can have this name. Octets above ASCII in the
// local part are taken as they are: such names come from Parse, which has checked
// them. Nothing may be in the namespace of the xmlns attributes.
func (n Name) writable() bool { return isNCName(n.Local) && n.Space != nsXMLNS }

// The namespaces that have a fixed prefix. The order is that of the bits in
// nsMask.
const (
	maskD nsMask = 1 << iota
	maskC
	maskCS
	maskI
	maskS
	maskM
	maskP
	maskXML // the prefix xml needs no declaration

	// maskAnswers is what a multistatus declares at its root; the rarer ones are
	// declared where they are used.
	maskAnswers = maskD | maskC | maskCS | maskI
)

// nsMask is a set of namespaces with a fixed prefix.
type nsMask uint8

// foreignPrefix is the prefix of every element in a namespace without a fixed
// one; it is declared anew on each such element.
const foreignPrefix = "x"

// prefixOf returns the prefix of a namespace and its bit; bit is 0 for a
// namespace without a fixed prefix. No namespace has the prefix "".
func prefixOf(space string) (prefix string, bit nsMask) {
	switch space {
	case NSDAV:
		return "D", maskD
	case NSCalDAV:
		return "C", maskC
	case NSCalendarServer:
		return "CS", maskCS
	case NSAppleICal:
		return "I", maskI
	case NSISchedule:
		return "S", maskS
	case NSMobileMe:
		return "M", maskM
	case NSPush:
		return "P", maskP
	case nsXML:
		return "xml", maskXML
	case "":
		return "", 0
	}
	return foreignPrefix, 0
}

var fixedNamespaces = [...]struct {
	bit   nsMask
	space string
}{
	{maskD, NSDAV}, {maskC, NSCalDAV}, {maskCS, NSCalendarServer}, {maskI, NSAppleICal},
	{maskS, NSISchedule}, {maskM, NSMobileMe}, {maskP, NSPush},
}
