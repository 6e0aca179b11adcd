package davxml

// Request bodies in the shapes that clients send, used by the tests and as seeds
// of the fuzz targets.

const (
	bodyApplePrincipal = `<?xml version="1.0" encoding="UTF-8"?>
<A:propfind xmlns:A="DAV:">
  <A:prop>
    <B:calendar-home-set xmlns:B="urn:ietf:params:xml:ns:caldav"/>
    <B:calendar-user-address-set xmlns:B="urn:ietf:params:xml:ns:caldav"/>
    <A:current-user-principal/>
    <A:displayname/>
    <C:dropbox-home-URL xmlns:C="http://calendarserver.org/ns/"/>
    <C:email-address-set xmlns:C="http://calendarserver.org/ns/"/>
    <C:notification-URL xmlns:C="http://calendarserver.org/ns/"/>
    <A:principal-collection-set/>
    <A:principal-URL/>
    <A:resource-id/>
    <B:schedule-inbox-URL xmlns:B="urn:ietf:params:xml:ns:caldav"/>
    <B:schedule-outbox-URL xmlns:B="urn:ietf:params:xml:ns:caldav"/>
    <A:supported-report-set/>
  </A:prop>
</A:propfind>`

	bodyAppleHome = `<?xml version="1.0" encoding="UTF-8"?>
<A:propfind xmlns:A="DAV:"><A:prop><A:add-member/><C:allowed-sharing-modes xmlns:C="http://calendarserver.org/ns/"/><D:autoprovisioned xmlns:D="http://apple.com/ns/ical/"/><E:bulk-requests xmlns:E="http://me.com/_namespace/"/><B:calendar-alarm xmlns:B="urn:ietf:params:xml:ns:caldav"/><D:calendar-color xmlns:D="http://apple.com/ns/ical/"/><B:calendar-description xmlns:B="urn:ietf:params:xml:ns:caldav"/><B:calendar-free-busy-set xmlns:B="urn:ietf:params:xml:ns:caldav"/><D:calendar-order xmlns:D="http://apple.com/ns/ical/"/><B:calendar-timezone xmlns:B="urn:ietf:params:xml:ns:caldav"/><A:current-user-privilege-set/><B:default-alarm-vevent-date xmlns:B="urn:ietf:params:xml:ns:caldav"/><A:displayname/><C:getctag xmlns:C="http://calendarserver.org/ns/"/><A:owner/><C:pre-publish-url xmlns:C="http://calendarserver.org/ns/"/><A:resourcetype/><C:source xmlns:C="http://calendarserver.org/ns/"/><B:supported-calendar-component-set xmlns:B="urn:ietf:params:xml:ns:caldav"/><A:supported-report-set/><A:sync-token/></A:prop></A:propfind>`

	bodyAppleMkcalendar = `<?xml version="1.0" encoding="UTF-8"?>
<B:mkcalendar xmlns:B="urn:ietf:params:xml:ns:caldav">
  <A:set xmlns:A="DAV:">
    <A:prop>
      <D:calendar-order xmlns:D="http://apple.com/ns/ical/">7</D:calendar-order>
      <B:supported-calendar-component-set>
        <B:comp name="VTODO"/>
      </B:supported-calendar-component-set>
      <D:calendar-color xmlns:D="http://apple.com/ns/ical/" symbolic-color="orange">#FF9500FF</D:calendar-color>
      <A:displayname>Groceries &amp; more</A:displayname>
      <B:calendar-timezone>BEGIN:VCALENDAR&#13;
VERSION:2.0&#13;
END:VCALENDAR&#13;
</B:calendar-timezone>
      <B:schedule-calendar-transp><B:transparent/></B:schedule-calendar-transp>
    </A:prop>
  </A:set>
</B:mkcalendar>`

	bodyAppleProppatch = `<?xml version="1.0" encoding="UTF-8"?>
<A:propertyupdate xmlns:A="DAV:" xmlns:D="http://apple.com/ns/ical/" xml:lang="de">
  <A:set><A:prop><D:calendar-color symbolic-color="custom">#1BADF8FF</D:calendar-color></A:prop></A:set>
  <A:remove><A:prop><D:calendar-order/></A:prop></A:remove>
  <A:set><A:prop><B:default-alarm-vevent-datetime xmlns:B="urn:ietf:params:xml:ns:caldav"><![CDATA[BEGIN:VALARM
TRIGGER:-PT15M
END:VALARM
]]></B:default-alarm-vevent-datetime></A:prop></A:set>
</A:propertyupdate>`

	bodyApplePrincipalSearch = `<?xml version="1.0" encoding="UTF-8"?>
<C:calendarserver-principal-search xmlns:C="http://calendarserver.org/ns/" context="attendee">
  <C:search-token>car</C:search-token>
  <C:search-token>ol</C:search-token>
  <C:limit><C:nresults>50</C:nresults></C:limit>
  <A:prop xmlns:A="DAV:"><A:displayname/><C:email-address-set/><C:record-type/></A:prop>
</C:calendarserver-principal-search>`

	bodyAppleExpand = `<?xml version="1.0" encoding="UTF-8"?>
<A:expand-property xmlns:A="DAV:">
  <A:property name="calendar-proxy-write-for" namespace="http://calendarserver.org/ns/">
    <A:property name="displayname" namespace="DAV:"/>
    <A:property name="calendar-user-address-set" namespace="urn:ietf:params:xml:ns:caldav"/>
    <A:property name="email-address-set" namespace="http://calendarserver.org/ns/"/>
  </A:property>
  <A:property name="calendar-proxy-read-for" namespace="http://calendarserver.org/ns/">
    <A:property name="displayname"/>
  </A:property>
</A:expand-property>`

	bodyAppleQuery = `<?xml version="1.0" encoding="UTF-8"?>
<B:calendar-query xmlns:B="urn:ietf:params:xml:ns:caldav">
  <A:prop xmlns:A="DAV:"><A:getetag/><A:getcontenttype/></A:prop>
  <B:filter>
    <B:comp-filter name="VCALENDAR">
      <B:comp-filter name="VEVENT">
        <B:time-range start="20261026T000000Z"/>
      </B:comp-filter>
    </B:comp-filter>
  </B:filter>
</B:calendar-query>`

	bodyDAVx5Mkcalendar = `<?xml version='1.0' encoding='UTF-8' ?><CAL:mkcalendar xmlns="DAV:" xmlns:CAL="urn:ietf:params:xml:ns:caldav"><set><prop><resourcetype><collection /><CAL:calendar /></resourcetype><displayname>Privat</displayname><n1:calendar-color xmlns:n1="http://apple.com/ns/ical/">#8bc34aff</n1:calendar-color><CAL:calendar-timezone-id>Europe/Vienna</CAL:calendar-timezone-id><CAL:calendar-timezone>BEGIN:VCALENDAR
VERSION:2.0
END:VCALENDAR
</CAL:calendar-timezone><CAL:supported-calendar-component-set><CAL:comp name="VEVENT" /><CAL:comp name="VTODO" /></CAL:supported-calendar-component-set></prop></set></CAL:mkcalendar>`

	bodyDAVx5Multiget = `<?xml version='1.0' encoding='UTF-8' ?><CAL:calendar-multiget xmlns="DAV:" xmlns:CAL="urn:ietf:params:xml:ns:caldav"><prop><getcontenttype /><getetag /><CAL:schedule-tag /><CAL:calendar-data content-type="text/calendar" version="2.0" /></prop><href>/dav/calendars/u/calendar/a.ics</href><href>/dav/calendars/u/calendar/b%20c.ics</href><href>/dav/calendars/u/calendar/a.ics</href></CAL:calendar-multiget>`

	bodyDAVx5Sync = `<?xml version='1.0' encoding='UTF-8' ?><sync-collection xmlns="DAV:"><sync-token>https://alpha.test/ns/sync/17</sync-token><sync-level>1</sync-level><prop><getetag /></prop></sync-collection>`

	bodyDAVx5Query = `<?xml version='1.0' encoding='UTF-8' ?><CAL:calendar-query xmlns="DAV:" xmlns:CAL="urn:ietf:params:xml:ns:caldav"><prop><getetag /></prop><CAL:filter><CAL:comp-filter name="VCALENDAR"><CAL:comp-filter name="VEVENT"><CAL:time-range start="20260823T092600Z" /></CAL:comp-filter></CAL:comp-filter></CAL:filter></CAL:calendar-query>`

	bodyThunderbirdCalendar = `<?xml version="1.0" encoding="UTF-8"?>
<D:propfind xmlns:D="DAV:" xmlns:CS="http://calendarserver.org/ns/" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><D:resourcetype/><D:owner/><D:current-user-principal/><D:current-user-privilege-set/><D:supported-report-set/><C:supported-calendar-component-set/><CS:getctag/></D:prop></D:propfind>`

	bodyThunderbirdSync = `<?xml version="1.0" encoding="UTF-8"?>
<sync-collection xmlns="DAV:"><sync-token/><sync-level>1</sync-level><prop><getcontenttype/><getetag/></prop></sync-collection>`

	bodyThunderbirdSearch = `<?xml version="1.0" encoding="UTF-8"?>
<D:principal-property-search xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">
<D:property-search><D:prop><C:calendar-home-set/></D:prop><D:match>/dav/calendars/u/</D:match></D:property-search>
<D:prop><C:calendar-home-set/><C:calendar-user-address-set/><C:schedule-inbox-URL/><C:schedule-outbox-URL/></D:prop>
</D:principal-property-search>`

	bodyEvolutionQuery = `<?xml version="1.0" encoding="utf-8"?>
<C:calendar-query xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:">
 <D:prop><D:getetag/><C:calendar-data><C:comp name="VCALENDAR"><C:comp name="VEVENT"><C:prop name="UID"/></C:comp></C:comp></C:calendar-data></D:prop>
 <C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"><C:time-range start="20261101T000000Z" end="20261201T000000Z"/></C:comp-filter></C:comp-filter></C:filter>
</C:calendar-query>`

	bodyTsdavQuery = `<c:calendar-query xmlns:c="urn:ietf:params:xml:ns:caldav" xmlns:d="DAV:"><d:prop><d:getetag><c:expand start="20261101T000000Z" end="20261201T000000Z"/></d:getetag></d:prop><c:filter><c:comp-filter name="VCALENDAR"><c:comp-filter name="VEVENT"/></c:comp-filter></c:filter></c:calendar-query>`

	bodyTsdavFreeBusy = `<c:free-busy-query xmlns:c="urn:ietf:params:xml:ns:caldav"><c:time-range start="20261101T000000Z" end="20261201T000000Z"/></c:free-busy-query>`

	bodyPythonQuery = `<?xml version='1.0' encoding='utf-8'?>
<ns0:calendar-query xmlns:ns0="urn:ietf:params:xml:ns:caldav" xmlns:ns1="DAV:"><ns1:prop><ns0:calendar-data><ns0:expand start="20261101T000000Z" end="20261108T000000Z"/></ns0:calendar-data></ns1:prop><ns0:filter><ns0:comp-filter name="VCALENDAR"><ns0:comp-filter name="VTODO"><ns0:prop-filter name="COMPLETED"><ns0:is-not-defined/></ns0:prop-filter><ns0:prop-filter name="STATUS"><ns0:text-match negate-condition="yes">CANCELLED</ns0:text-match></ns0:prop-filter><ns0:prop-filter name="CATEGORIES"><ns0:text-match collation="i;octet">Home, sweet</ns0:text-match></ns0:prop-filter></ns0:comp-filter></ns0:comp-filter></ns0:filter></ns0:calendar-query>`

	bodyOutlookRooms = `<?xml version='1.0'?>
<D:principal-property-search xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" test="anyof">
  <D:property-search><D:prop><C:calendar-user-type/></D:prop><D:match match-type="equals">ROOM</D:match></D:property-search>
  <D:property-search><D:prop><C:calendar-user-type/></D:prop><D:match match-type="equals" caseless="no">RESOURCE</D:match></D:property-search>
  <D:prop><D:displayname/><C:calendar-user-address-set/></D:prop>
  <D:apply-to-principal-collection-set/>
</D:principal-property-search>`

	bodyMkcol = `<?xml version="1.0" encoding="utf-8" ?>
<d:mkcol xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:set><d:prop><d:resourcetype><d:collection/><c:calendar/></d:resourcetype></d:prop></d:set><d:set><d:prop><d:displayname>one</d:displayname></d:prop></d:set></d:mkcol>`

	bodyACL = `<?xml version="1.0" encoding="utf-8" ?>
<D:acl xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">
  <D:ace><D:principal><D:href>/dav/principals/users/bob/</D:href></D:principal><D:grant><D:privilege><D:read/></D:privilege><D:privilege><D:write-content/></D:privilege></D:grant></D:ace>
  <D:ace><D:principal><D:property><D:owner/></D:property></D:principal><D:grant><D:privilege><D:all/></D:privilege></D:grant><D:protected/></D:ace>
  <D:ace><D:principal><D:authenticated/></D:principal><D:grant><D:privilege><C:read-free-busy/></D:privilege></D:grant></D:ace>
  <D:ace><D:invert><D:principal><D:self/></D:principal></D:invert><D:deny><D:privilege><D:write/></D:privilege></D:deny></D:ace>
</D:acl>`

	bodyAnyOf = `<C:calendar-query xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:"><D:prop><D:getetag/></D:prop><D:limit><D:nresults>20</D:nresults></D:limit>
<C:filter><C:comp-filter name="VCALENDAR" test="anyof"><C:comp-filter name="VEVENT" test="anyof"><C:prop-filter name="SUMMARY" test="anyof"><C:text-match match-type="starts-with" collation="i;unicode-casemap">é</C:text-match></C:prop-filter><C:prop-filter name="ATTENDEE"><C:param-filter name="partstat"><C:text-match>NEEDS-ACTION</C:text-match></C:param-filter><C:param-filter name="RSVP"><C:is-not-defined/></C:param-filter></C:prop-filter></C:comp-filter><C:comp-filter name="VTODO"/></C:comp-filter></C:filter>
<C:timezone-id>Europe/Berlin</C:timezone-id></C:calendar-query>`

	bodyPrincipalMatch = `<D:principal-match xmlns:D="DAV:"><D:principal-property><D:owner/></D:principal-property><D:prop><D:displayname/></D:prop></D:principal-match>`

	bodyOther = `<D:acl-principal-prop-set xmlns:D="DAV:"><D:prop><D:displayname/></D:prop></D:acl-principal-prop-set>`
)

var bodies = []string{
	bodyApplePrincipal, bodyAppleHome, bodyAppleMkcalendar, bodyAppleProppatch, bodyApplePrincipalSearch,
	bodyAppleExpand, bodyAppleQuery, bodyDAVx5Mkcalendar, bodyDAVx5Multiget, bodyDAVx5Sync, bodyDAVx5Query,
	bodyThunderbirdCalendar, bodyThunderbirdSync, bodyThunderbirdSearch, bodyEvolutionQuery, bodyTsdavQuery,
	bodyTsdavFreeBusy, bodyPythonQuery, bodyOutlookRooms, bodyMkcol, bodyACL, bodyAnyOf, bodyPrincipalMatch,
	bodyOther, `<D:principal-search-property-set xmlns:D="DAV:"/>`,
}
