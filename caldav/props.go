package caldav

import (
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/acl"
	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/caldav/davxml"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

// MinDate and MaxDate bound the dates of stored objects (RFC 4791 §5.2.6, §5.2.7).
var (
	MinDate = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)
	MaxDate = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

const utcStamp = "20060102T150405Z"

// kindSet is a set of kinds as bits.
type kindSet uint32

func on(ks ...Kind) (s kindSet) {
	for _, k := range ks {
		s |= 1 << k
	}
	return s
}

func (s kindSet) has(k Kind) bool { return s&(1<<k) != 0 }

var (
	anyKind      = ^kindSet(0)
	principals   = on(KindPrincipal)
	proxied      = on(KindPrincipal, KindProxy)
	principalTop = on(KindSite, KindRoot, KindPrincipals, KindPrincipalFolder, KindPrincipal, KindProxy, KindCalendars)
	collections  = on(KindCalendar, KindInbox, KindOutbox, KindNotification)
	calendars    = on(KindCalendar)
	synced       = on(KindCalendar, KindInbox, KindOutbox, KindNotification)
	homes        = on(KindHome)
	listings     = on(KindSite, KindRoot, KindPrincipals, KindCalendars) // short ones, that a browser is shown
	items        = on(KindObject, KindInboxItem)
	collected    = collections | homes
)

// property is a live property: where it exists, whether allprop shows it, and
// who writes its value. write is called with the element open and reports
// whether the resource has the property at all.
type property struct {
	on      kindSet
	allprop bool // RFC 4918 §9.1: only the properties of RFC 4918 itself
	need    acl.Set
	has     func(q *request, r *resource) bool
	write   func(q *request, r *resource, b *davxml.Builder)
}

var properties map[davxml.Name]*property

func init() {
	type w = func(q *request, r *resource, b *davxml.Builder)
	text := func(f func(q *request, r *resource) string) w {
		return func(q *request, r *resource, b *davxml.Builder) { b.Text(f(q, r)) }
	}
	hrefs := func(f func(q *request, r *resource) []string) w {
		return func(q *request, r *resource, b *davxml.Builder) { b.HrefList(f(q, r)) }
	}
	href := func(f func(q *request, r *resource) string) w {
		return func(q *request, r *resource, b *davxml.Builder) { b.Href(f(q, r)) }
	}
	properties = map[davxml.Name]*property{
		// RFC 4918 §15
		davxml.DResourceType: {on: anyKind, allprop: true, write: writeResourceType},
		davxml.DDisplayName: {on: proxied | collected | items | listings, allprop: true,
			has:   func(q *request, r *resource) bool { return displayName(r) != "" },
			write: text(func(q *request, r *resource) string { return displayName(r) })},
		davxml.DGetETag: {on: items | collected | listings, allprop: true, has: hasToken, write: text(etagOf)},
		davxml.DGetContentType: {on: items | collected | listings, allprop: true, write: text(func(q *request, r *resource) string {
			switch {
			case r.obj != nil:
				return contentType(r.obj.Component)
			case r.path.Kind == KindCalendar:
				return calendarType
			}
			return listingType
		})},
		davxml.DGetContentLength: {on: items | homes | listings, allprop: true, has: func(_ *request, r *resource) bool {
			return r.obj != nil && r.view == viewAll || r.path.Kind == KindHome && r.col != nil || listings.has(r.path.Kind)
		}, write: func(q *request, r *resource, b *davxml.Builder) {
			if r.obj != nil {
				b.Int(r.obj.Size)
			} else {
				b.Int(int64(len(q.pageOf(r).page)))
			}
		}},
		davxml.DGetLastModified: {on: items | collections, allprop: true, write: func(q *request, r *resource, b *davxml.Builder) {
			if r.obj != nil {
				b.HTTPDate(time.UnixMicro(r.obj.Modified))
			} else {
				b.HTTPDate(time.UnixMicro(r.col.Modified))
			}
		}},
		davxml.DCreationDate: {on: items | collections, allprop: true, write: func(q *request, r *resource, b *davxml.Builder) {
			if r.obj != nil {
				b.Timestamp(time.UnixMicro(r.obj.Created))
			} else {
				b.Timestamp(time.UnixMicro(r.col.Created))
			}
		}},
		davxml.DSupportedLock: {on: anyKind, allprop: true, write: func(*request, *resource, *davxml.Builder) {}},
		davxml.DLockDiscovery: {on: anyKind, allprop: true, write: func(*request, *resource, *davxml.Builder) {}},
		// RFC 5397, 3744
		davxml.DCurrentUserPrincipal:   {on: anyKind, write: href(func(q *request, r *resource) string { return principalPath(q.user) })},
		davxml.DPrincipalCollectionSet: {on: anyKind, write: href(func(*request, *resource) string { return principalsPath })},
		davxml.DOwner:                  {on: collected | items | proxied, write: href(func(q *request, r *resource) string { return principalPath(r.home) })},
		davxml.DGroup:                  {on: collected | items, write: func(*request, *resource, *davxml.Builder) {}},
		// Who may see a resource at all may know what he may do with it (RFC 3744 §3.7).
		davxml.DCurrentUserPrivilegeSet: {on: anyKind, write: func(q *request, r *resource, b *davxml.Builder) { writePrivileges(b, r.privs, classOf(r.path.Kind)) }},
		davxml.DSupportedPrivilegeSet:   {on: anyKind, write: func(q *request, r *resource, b *davxml.Builder) { writePrivilegeTree(b, classOf(r.path.Kind)) }},
		davxml.DACL:                     {on: anyKind, need: acl.ReadACL, write: writeACL},
		// RFC 3744 §5.6: entries grant and deny, in any order, but not to everybody but somebody.
		davxml.DACLRestrictions:    {on: anyKind, write: func(q *request, r *resource, b *davxml.Builder) { b.Empties(davxml.DNoInvert) }},
		davxml.DInheritedACLSet:    {on: anyKind, write: hrefs(inheritedFrom)},
		davxml.DSupportedReportSet: {on: anyKind, write: writeReports},
		davxml.DSupportedMethodSet: {on: anyKind, write: func(q *request, r *resource, b *davxml.Builder) {
			for m := range strings.SplitSeq(allow(r.path.Kind), ", ") {
				b.Start(davxml.DSupportedMethod)
				b.Attr("name", m)
				b.End()
			}
		}},
		davxml.DPrincipalURL: {on: proxied, write: href(func(q *request, r *resource) string { return r.href() })},
		davxml.DAlternateURISet: {on: proxied, write: hrefs(func(q *request, r *resource) (out []string) {
			if r.path.Kind == KindProxy {
				return nil
			}
			for _, a := range scheduling.AddressesOf(*r.home) {
				if s := string(a); !strings.HasPrefix(s, "/") {
					out = append(out, s)
				}
			}
			return out
		})},
		davxml.DGroupMemberSet:         {on: proxied, write: hrefs(members)},
		davxml.DGroupMembership:        {on: proxied, write: hrefs(memberships)},
		davxml.CSCalendarProxyReadFor:  {on: principals, write: hrefs(proxyFor(acl.ReadProxy))},
		davxml.CSCalendarProxyWriteFor: {on: principals, write: hrefs(proxyFor(acl.WriteProxy))},
		// calendarserver.org: the same through nested groups
		{Space: davxml.NSCalendarServer, Local: "expanded-group-member-set"}: {on: principals, write: hrefs(allMembers)},
		{Space: davxml.NSCalendarServer, Local: "expanded-group-membership"}: {on: principals, write: hrefs(allMemberships)},
		davxml.DResourceID: {on: principals | calendars | homes, write: href(func(q *request, r *resource) string {
			if r.col != nil {
				return "urn:uuid:" + uuidOf(uint64(r.col.Account), uint64(r.col.ID))
			}
			if r.home.UUID != "" {
				return "urn:uuid:" + r.home.UUID
			}
			return "urn:uuid:" + uuidOf(uint64(r.home.ID), 0)
		})},
		// RFC 6578, ctag, RFC 5995
		davxml.DSyncToken: {on: synced | homes, has: hasToken, write: text(tokenOf)},
		davxml.CSGetCTag:  {on: synced | homes, has: hasToken, write: text(ctagOf)},
		davxml.DAddMember: {on: calendars, write: href(func(q *request, r *resource) string { return r.href() + "?action=add-member" })},
		// RFC 4791 §5.2, §6.2
		davxml.CCalendarHomeSet: {on: principals, has: hasHome, write: href(func(q *request, r *resource) string { return homePath(r.home) })},
		davxml.CCalendarDescription: {on: calendars, has: func(q *request, r *resource) bool { return r.col.Description != "" },
			write: text(func(q *request, r *resource) string { return r.col.Description })},
		davxml.CCalendarTimezone: {on: calendars, has: func(q *request, r *resource) bool { return r.col.Timezone != "" || r.col.TimezoneID != "" },
			write: writeTimezone},
		davxml.CCalendarTimezoneID: {on: calendars, has: func(q *request, r *resource) bool { return r.col.TimezoneID != "" },
			write: text(func(q *request, r *resource) string { return r.col.TimezoneID })},
		// RFC 7809 §5.1
		davxml.CTimezoneServiceSet: {on: homes, has: func(q *request, r *resource) bool { return len(q.h.cfg.ZoneServices) > 0 },
			write: hrefs(func(q *request, r *resource) []string { return q.h.cfg.ZoneServices })},
		davxml.CSupportedCalendarComponentSet:  {on: calendars | on(KindInbox, KindOutbox), write: writeComponents},
		davxml.CSupportedCalendarComponentSets: {on: homes, write: writeComponentSets},
		davxml.CSupportedCalendarData: {on: calendars | on(KindInbox, KindOutbox), write: func(q *request, r *resource, b *davxml.Builder) {
			for _, t := range formatTypes {
				b.Start(davxml.CCalendarData)
				b.Attr("content-type", t)
				b.Attr("version", "2.0")
				b.End()
			}
		}},
		davxml.CSupportedCollationSet: {on: calendars | on(KindInbox), write: func(q *request, r *resource, b *davxml.Builder) {
			for _, c := range []string{davxml.CollationASCII, davxml.CollationOctet, davxml.CollationUnicode} {
				b.Element(davxml.Name{Space: davxml.NSCalDAV, Local: "supported-collation"}, c)
			}
		}},
		davxml.CMaxResourceSize:         {on: calendars | on(KindInbox), write: func(q *request, r *resource, b *davxml.Builder) { b.Int(q.h.cfg.MaxBody) }},
		davxml.CMaxInstances:            {on: calendars | on(KindInbox), write: func(q *request, r *resource, b *davxml.Builder) { b.Int(int64(q.h.cfg.MaxInstances)) }},
		davxml.CMaxAttendeesPerInstance: {on: calendars | on(KindInbox), write: func(q *request, r *resource, b *davxml.Builder) { b.Int(int64(q.h.cfg.MaxAttendees)) }},
		davxml.CMinDateTime:             {on: calendars | on(KindInbox), write: text(func(*request, *resource) string { return MinDate.Format(utcStamp) })},
		davxml.CMaxDateTime:             {on: calendars | on(KindInbox), write: text(func(*request, *resource) string { return MaxDate.Format(utcStamp) })},
		// RFC 6638 §2, §9
		davxml.CCalendarUserAddressSet: {on: principals, write: hrefs(func(q *request, r *resource) (out []string) {
			for _, a := range scheduling.AddressesOf(*r.home) {
				out = append(out, string(a))
			}
			return out
		})},
		davxml.CCalendarUserType:  {on: principals, write: text(func(q *request, r *resource) string { return userType(r.home.Kind) })},
		davxml.CScheduleInboxURL:  {on: principals, has: hasHome, write: href(func(q *request, r *resource) string { return homePath(r.home) + "inbox/" })},
		davxml.CScheduleOutboxURL: {on: principals, has: hasHome, write: href(func(q *request, r *resource) string { return homePath(r.home) + "outbox/" })},
		davxml.CSNotificationURL:  {on: principals, has: hasHome, write: href(func(q *request, r *resource) string { return homePath(r.home) + "notification/" })},
		davxml.CScheduleTag:       {on: items, has: func(q *request, r *resource) bool { return r.obj.ScheduleTag != "" }, write: text(func(q *request, r *resource) string { return quote(r.obj.ScheduleTag) })},
		davxml.CScheduleCalendarTransp: {on: calendars, write: func(q *request, r *resource, b *davxml.Builder) {
			if r.col.Transparent {
				b.Empty(davxml.CTransparent)
			} else {
				b.Empty(davxml.COpaque)
			}
		}},
		davxml.CScheduleDefaultCalendarURL: {on: on(KindInbox), write: href(func(q *request, r *resource) string {
			name := r.home.Settings.DefaultCalendar
			if name == "" {
				name = "calendar"
			}
			return collectionPath(r.home, name)
		})},
		davxml.CCalendarFreeBusySet: {on: on(KindInbox), write: hrefs(func(q *request, r *resource) (out []string) {
			cols := r.sister
			if cols == nil {
				cols, _ = q.h.db.Collections(q.ctx, r.home.ID)
			}
			for _, c := range cols {
				if c.Kind == storage.CollectionCalendar && !c.Transparent && c.Components&storage.CompEvent != 0 {
					out = append(out, collectionPath(r.home, c.Name))
				}
			}
			return out
		})},
		// RFC 7529 §5.2
		davxml.CSupportedRScaleSet: {on: calendars | on(KindHome, KindInbox), write: func(q *request, r *resource, b *davxml.Builder) {
			b.Element(davxml.CSupportedRScale, "GREGORIAN")
		}},
		// RFC 7953 §7.2.4; the second is what Apple's programs call it
		davxml.CCalendarAvailability:  {on: calendars | on(KindInbox), has: hasAvailability, write: text(availabilityOf)},
		davxml.CSCalendarAvailability: {on: calendars | on(KindInbox), has: hasAvailability, write: text(availabilityOf)},
		// RFC 4331 §3, §4: of the owner, whichever of his collections is asked
		davxml.DQuotaUsedBytes: {on: collected, write: func(q *request, r *resource, b *davxml.Builder) { b.Int(q.used(r)) }},
		davxml.DQuotaAvailableBytes: {on: collected, has: func(q *request, _ *resource) bool { return q.h.cfg.Quota > 0 },
			write: func(q *request, r *resource, b *davxml.Builder) { b.Int(max(0, q.h.cfg.Quota-q.used(r))) }},
		{Space: davxml.NSCalendarServer, Local: "max-collections"}: {on: homes, has: func(q *request, _ *resource) bool { return q.h.cfg.MaxCalendars > 0 },
			write: func(q *request, _ *resource, b *davxml.Builder) { b.Int(int64(q.h.cfg.MaxCalendars)) }},
		// calendarserver.org, Apple
		davxml.CSEmailAddressSet: {on: principals, write: func(q *request, r *resource, b *davxml.Builder) {
			for _, e := range r.home.Emails {
				b.Element(davxml.Name{Space: davxml.NSCalendarServer, Local: "email-address"}, e)
			}
		}},
		davxml.CSFirstName: {on: principals, has: func(_ *request, r *resource) bool { return firstName(r.home) != "" },
			write: text(func(_ *request, r *resource) string { return firstName(r.home) })},
		davxml.CSLastName: {on: principals, has: func(_ *request, r *resource) bool { return lastName(r.home) != "" },
			write: text(func(_ *request, r *resource) string { return lastName(r.home) })},
		davxml.CSRecordType: {on: proxied, write: text(func(q *request, r *resource) string {
			switch r.path.Proxy {
			case proxyRead:
				return "read-delegate-group"
			case proxyWrite:
				return "write-delegate-group"
			}
			return folderOf(r.home.Kind)
		})},
		davxml.ICalendarColor: {on: calendars, has: func(q *request, r *resource) bool { return r.col.Color != "" },
			write: text(func(q *request, r *resource) string { return r.col.Color })},
		davxml.ICalendarOrder: {on: calendars, has: func(q *request, r *resource) bool { return r.col.Order != "" },
			write: text(func(q *request, r *resource) string { return r.col.Order })},
	}
}

// etagOf is the ETag that GET gives (RFC 4918 §15.6).
func etagOf(q *request, r *resource) string {
	switch {
	case r.obj != nil:
		return quote(r.obj.ETag)
	case r.path.Kind == KindHome:
		h := fnv.New64a()
		h.Write([]byte(tokenOf(q, r)))
		return quote(strconv.FormatUint(h.Sum64(), 16))
	case listings.has(r.path.Kind):
		return q.pageOf(r).etag
	}
	return quote(r.col.Tag + "-" + strconv.FormatInt(r.col.Seq, 10))
}

// calendarTimezone is the zone's definition as it was set, else that of the id
// that was set (RFC 7809 §5.2).
func calendarTimezone(q *request, r *resource) string {
	if r.col.Timezone != "" {
		return r.col.Timezone
	}
	z, err := calendar.VTimezone(r.col.TimezoneID, q.now())
	if err != nil {
		return ""
	}
	o := calendar.NewObject("-//Kalends//Kalends//EN")
	o.Children = append(o.Children, z)
	return string(o.Bytes())
}

// writeTimezone writes calendar-timezone in the notation that the request asks for
// by a content-type on the element, as calendar-data is asked for.
func writeTimezone(q *request, r *resource, b *davxml.Builder) {
	zone := calendarTimezone(q, r)
	if f, _ := formatOf(q.zoneType); f != formatText {
		if o, err := calendar.Parse([]byte(zone), q.h.cfg.Limits); err == nil {
			b.Attr("content-type", formatTypes[f])
			b.Attr("version", "2.0")
			zone = f.write(o)
		}
	}
	b.Text(zone)
}

// availabilityOf is the calendar-availability of a collection.
func availabilityOf(_ *request, r *resource) string {
	for _, d := range r.dead {
		if d.Space == scheduling.AvailabilitySpace && d.Local == scheduling.AvailabilityLocal {
			return scheduling.AvailabilityText(d.XML)
		}
	}
	return ""
}

func hasAvailability(q *request, r *resource) bool { return availabilityOf(q, r) != "" }

func hasHome(q *request, r *resource) bool { return r.home.Kind != storage.KindGroup }

func displayName(r *resource) string {
	switch {
	case r.path.Kind == KindProxy:
		return r.path.Proxy
	case r.path.Kind == KindPrincipal:
		if r.home.DisplayName != "" {
			return r.home.DisplayName
		}
		return r.home.Handle
	case r.obj != nil:
		return ""
	case r.path.Kind == KindHome:
		if r.home.DisplayName != "" {
			return r.home.DisplayName
		}
		return r.home.Handle
	case r.path.Kind == KindSite || r.path.Kind == KindRoot:
		return "Kalends"
	case r.path.Kind == KindPrincipals:
		return "People, groups, rooms and resources"
	case r.path.Kind == KindCalendars:
		return "Calendars"
	case r.col != nil && r.col.DisplayName != "":
		return r.col.DisplayName
	case r.col != nil:
		return r.col.Name
	}
	return ""
}

// userType is CALDAV:calendar-user-type (RFC 6638 §2.4.2).
func userType(k storage.AccountKind) string {
	switch k {
	case storage.KindGroup:
		return "GROUP"
	case storage.KindRoom:
		return "ROOM"
	case storage.KindResource:
		return "RESOURCE"
	}
	return "INDIVIDUAL"
}

func writeResourceType(q *request, r *resource, b *davxml.Builder) {
	switch r.path.Kind {
	case KindPrincipal:
		b.Empties(davxml.DCollection, davxml.DPrincipal)
	case KindProxy:
		kind := davxml.CSCalendarProxyRead
		if r.path.Proxy == proxyWrite {
			kind = davxml.CSCalendarProxyWrite
		}
		b.Empties(davxml.DCollection, davxml.DPrincipal, kind)
	case KindCalendar:
		if subscribed(r.col) {
			b.Empties(davxml.DCollection, davxml.CSSubscribed)
			return
		}
		b.Empties(davxml.DCollection, davxml.CCalendar)
	case KindInbox:
		b.Empties(davxml.DCollection, davxml.CScheduleInbox)
	case KindOutbox:
		b.Empties(davxml.DCollection, davxml.CScheduleOutbox)
	case KindNotification:
		b.Empties(davxml.DCollection, davxml.CSNotification)
	case KindObject, KindInboxItem:
	default:
		b.Empty(davxml.DCollection)
	}
}

func members(q *request, r *resource) (out []string) {
	if r.path.Kind == KindProxy {
		return proxyMembers(q, r)
	}
	if r.home.Kind != storage.KindGroup {
		return nil
	}
	list, err := q.h.db.Members(q.ctx, r.home.ID)
	if err != nil {
		q.h.cfg.Log.Error("members of a group cannot be read", "error", err, "request", q.requestID())
	}
	for i := range list {
		out = append(out, principalPath(&list[i]))
	}
	return out
}

func memberships(q *request, r *resource) (out []string) {
	if r.path.Kind == KindProxy {
		return nil
	}
	list, err := q.h.db.MemberOf(q.ctx, r.home.ID)
	if err != nil {
		q.h.cfg.Log.Error("groups of an account cannot be read", "error", err, "request", q.requestID())
	}
	for i := range list {
		out = append(out, principalPath(&list[i]))
	}
	return append(out, proxyMemberships(q, r)...)
}

func allMembers(q *request, r *resource) (out []string) {
	if r.home.Kind != storage.KindGroup {
		return nil
	}
	list, err := q.h.db.AllMembers(q.ctx, r.home.ID)
	if err != nil {
		q.h.cfg.Log.Error("members of a group cannot be read", "error", err, "request", q.requestID())
	}
	for i := range list {
		out = append(out, principalPath(&list[i]))
	}
	return out
}

func allMemberships(q *request, r *resource) (out []string) {
	list, err := q.groupsOf(r.home.ID)
	if err != nil {
		q.h.cfg.Log.Error("groups of an account cannot be read", "error", err, "request", q.requestID())
	}
	for i := range list {
		out = append(out, principalPath(&list[i]))
	}
	return out
}

// groupsOf are the groups that an account is in, over any number of steps.
func (q *request) groupsOf(id storage.AccountID) ([]storage.Account, error) {
	ids, err := q.h.db.GroupsOf(q.ctx, id)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	found, err := q.h.db.AccountsByID(q.ctx, ids)
	out := make([]storage.Account, 0, len(found))
	for _, id := range ids {
		if a, ok := found[id]; ok {
			out = append(out, a)
		}
	}
	return out, err
}

var componentBits = []struct {
	bit  storage.Components
	name string
}{{storage.CompEvent, "VEVENT"}, {storage.CompTodo, "VTODO"}, {storage.CompJournal, "VJOURNAL"}, {storage.CompFreeBusy, "VFREEBUSY"}, {storage.CompAvailability, "VAVAILABILITY"}, {storage.CompPoll, "VPOLL"}}

func writeComponents(q *request, r *resource, b *davxml.Builder) {
	for _, c := range componentBits {
		if r.col.Components&c.bit != 0 || subscribed(r.col) && c.bit <= storage.CompTodo || r.path.Kind != KindCalendar && c.bit <= storage.CompFreeBusy && c.bit != storage.CompJournal {
			b.Start(davxml.CComp)
			b.Attr("name", c.name)
			b.End()
		}
	}
}

// writeComponentSets says which sets MKCALENDAR takes: any.
func writeComponentSets(q *request, r *resource, b *davxml.Builder) {
	for _, set := range [][]string{{"VEVENT"}, {"VTODO"}, {"VJOURNAL"}, {"VEVENT", "VTODO"}, {"VEVENT", "VTODO", "VJOURNAL"}} {
		b.Start(davxml.CSupportedCalendarComponentSet)
		for _, c := range set {
			b.Start(davxml.CComp)
			b.Attr("name", c)
			b.End()
		}
		b.End()
	}
}

// uuidOf makes a stable name of two ids for DAV:resource-id (RFC 5842 §3.1).
func uuidOf(a, b uint64) string {
	const hex = "0123456789abcdef"
	var x [16]byte
	for i := range 8 {
		x[i], x[8+i] = byte(a>>(56-8*i)), byte(b>>(56-8*i))
	}
	x[6], x[8] = x[6]&0x0f|0x80, x[8]&0x3f|0x80 // RFC 9562 §5.8: made by the vendor's rule
	out := make([]byte, 0, 36)
	for i, v := range x {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			out = append(out, '-')
		}
		out = append(out, hex[v>>4], hex[v&15])
	}
	return string(out)
}
