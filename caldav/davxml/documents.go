package davxml

import "bytes"

// Document writes a whole small document: root, and inside it what fill writes.
// The namespaces of DAV and CalDAV are declared at the root. It is for the answers
// that are no multistatus: principal-search-property-set, iSchedule, notifications.
func Document(root Name, fill func(*Builder)) ([]byte, error) {
	var b Builder
	b.begin(root, maskD|maskC)
	b.floor = len(b.stack)
	if fill != nil {
		fill(&b)
	}
	b.closeTo(0)
	if b.err != nil {
		return nil, b.err
	}
	return append(b.buf, '\n'), nil
}

// PropstatDocument writes a document whose root holds propstats, as the answers to
// MKCALENDAR (RFC 4791 §5.3.1, root CMkCalendarResponse) and extended MKCOL
// (RFC 5689 §3.1, root DMkColResponse). The Response given to fill has no href.
func PropstatDocument(root Name, opt Options, fill func(*Response)) ([]byte, error) {
	var buf bytes.Buffer
	m := newMultistatus(&buf, opt, root)
	r := m.push()
	r.reset(len(m.b.stack))
	fill(r)
	for m.depth > 1 {
		m.frames[m.depth-1].finish()
	}
	r.propstats()
	m.depth, r.live = 0, false
	if err := m.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// ErrorBody writes a DAV:error document with one pre- or postcondition
// (RFC 4918 §14.5). desc is a text for people and may be empty; each of children
// writes into the condition element, as the DAV:href of a conflicting resource.
func ErrorBody(cond Name, desc string, children ...func(*Builder)) []byte {
	doc, err := Document(DError, func(b *Builder) {
		b.Start(cond)
		floor := b.floor
		b.floor = len(b.stack)
		for _, c := range children {
			c(b)
			b.closeTo(b.floor)
		}
		b.floor = floor
		b.End()
		if desc != "" {
			b.Element(ErrorDescription, desc)
		}
	})
	if err != nil {
		// A child misused its Builder; the condition alone still tells the client.
		doc, _ = Document(DError, func(b *Builder) { b.Empty(cond) })
	}
	return doc
}

// HrefChild is a child for ErrorBody: the DAV:href of the resource in the way, as
// CALDAV:no-uid-conflict and DAV:lock-token-submitted have it.
func HrefChild(href string) func(*Builder) {
	return func(b *Builder) { b.Href(href) }
}

// TextChild is a child for ErrorBody: character data.
func TextChild(text string) func(*Builder) {
	return func(b *Builder) { b.Text(text) }
}

// NeededPrivilege is a privilege that the user lacks on a resource.
type NeededPrivilege struct {
	Href      string
	Privilege Name
}

// NeedPrivileges writes the DAV:error document of RFC 3744 §7.1.1.
func NeedPrivileges(needed ...NeededPrivilege) []byte {
	return ErrorBody(DNeedPrivileges, "", func(b *Builder) {
		for _, n := range needed {
			b.Start(DResource)
			b.Href(n.Href)
			b.Start(DPrivilege)
			b.Empty(n.Privilege)
			b.End()
			b.End()
		}
	})
}

// ScheduleRecipient is the outcome for one recipient of a request to an outbox.
type ScheduleRecipient struct {
	Recipient     string // calendar user address as the client wrote it
	RequestStatus string // RFC 5545 §3.8.8.3, as "2.0;Success"
	CalendarData  []byte // an iCalendar object, empty when there is none
	ContentType   string // of CalendarData, "" for text/calendar
	Cond          Name   // a violated precondition, or zero
	Description   string // a text for people, or ""
}

// ScheduleResponse writes the CALDAV:schedule-response document that answers a POST
// to an outbox (RFC 6638 §10.1), one response per recipient, in the order given.
func ScheduleResponse(recipients []ScheduleRecipient) []byte {
	doc, _ := Document(CScheduleResponse, func(b *Builder) {
		for i := range recipients {
			r := &recipients[i]
			b.Start(CResponse)
			b.Start(CRecipient)
			b.Href(r.Recipient)
			b.End()
			b.Element(CRequestStatus, r.RequestStatus)
			if len(r.CalendarData) > 0 {
				b.Start(CCalendarData)
				if r.ContentType != "" {
					b.Attr("content-type", r.ContentType)
					b.Attr("version", "2.0")
				}
				b.TextBytes(r.CalendarData)
				b.End()
			}
			b.errorAndText(r.Cond, r.Description)
			b.End()
		}
	})
	return doc
}
