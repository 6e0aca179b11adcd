package davxml

import (
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

const head = `<?xml version="1.0" encoding="utf-8"?>` + "\n" +
	`<D:multistatus xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:CS="http://calendarserver.org/ns/" xmlns:I="http://apple.com/ns/ical/">`

// written runs f on a new multistatus and returns the document.
func written(t *testing.T, opt Options, f func(*Multistatus)) string {
	t.Helper()
	var out strings.Builder
	m := NewMultistatus(&out, opt)
	f(m)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if m.Sent() != int64(out.Len()) {
		t.Errorf("Sent %d of %d", m.Sent(), out.Len())
	}
	n := parse(t, out.String())
	if n.Name != DMultistatus {
		t.Fatalf("root %v", n.Name)
	}
	return out.String()
}

func TestMultistatus(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		opt  Options
		f    func(*Multistatus)
		want string
	}{
		{"nothing", Options{}, func(*Multistatus) {}, head[:len(head)-1] + "/>\n"},
		{"found and missing", Options{}, func(m *Multistatus) {
			r := m.Response("/dav/a/")
			r.Missing(DGetETag)
			r.Prop(DDisplayName).Text("A & B")
			r.Fail(DOwner, 403, DNeedPrivileges, "no")
			r.Prop(DResourceType).Empties(DCollection, CCalendar)
			r.Missing(Name{"u:x", "y"})
			r.Prop(CCalendarDescription)
			r.Fail(DACL, 403, DNeedPrivileges, "no")
			r.End()
		}, head + `<D:response><D:href>/dav/a/</D:href>` +
			`<D:propstat><D:prop><D:displayname>A &amp; B</D:displayname><D:resourcetype><D:collection/><C:calendar/></D:resourcetype><C:calendar-description/></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>` +
			`<D:propstat><D:prop><D:getetag/><x:y xmlns:x="u:x"/></D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>` +
			`<D:propstat><D:prop><D:owner/><D:acl/></D:prop><D:status>HTTP/1.1 403 Forbidden</D:status><D:error><D:need-privileges/></D:error><D:responsedescription>no</D:responsedescription></D:propstat>` +
			`</D:response></D:multistatus>` + "\n"},
		{"404 before the others", Options{}, func(m *Multistatus) {
			r := m.Response("/")
			r.Fail(DOwner, 424, Name{}, "")
			r.Fail(DGroup, 403, DCannotModifyProtectedProperty, "")
			r.Fail(DACL, 404, Name{}, "")
		}, head + `<D:response><D:href>/</D:href>` +
			`<D:propstat><D:prop><D:acl/></D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>` +
			`<D:propstat><D:prop><D:group/></D:prop><D:status>HTTP/1.1 403 Forbidden</D:status><D:error><D:cannot-modify-protected-property/></D:error></D:propstat>` +
			`<D:propstat><D:prop><D:owner/></D:prop><D:status>HTTP/1.1 424 Failed Dependency</D:status></D:propstat>` +
			`</D:response></D:multistatus>` + "\n"},
		{"minimal", Options{Minimal: true}, func(m *Multistatus) {
			r := m.Response("/")
			r.Missing(DOwner)
			r.Fail(DGroup, 403, Name{}, "")
			m.Response("/b").Missing(DOwner)
		}, head + `<D:response><D:href>/</D:href><D:propstat><D:prop><D:group/></D:prop><D:status>HTTP/1.1 403 Forbidden</D:status></D:propstat></D:response>` +
			`<D:response><D:href>/b</D:href><D:propstat><D:prop/><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>` + "\n"},
		{"sync", Options{}, func(m *Multistatus) {
			m.SyncToken("t:2")
			m.Response("/a.ics").Prop(DGetETag).Text(`"1"`)
			m.Status("/b.ics", 404, Name{}, "")
			m.Status("/", 507, DNumberOfMatchesWithinLimits, "more")
			m.Description("part")
		}, head + `<D:response><D:href>/a.ics</D:href><D:propstat><D:prop><D:getetag>"1"</D:getetag></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>` +
			`<D:response><D:href>/b.ics</D:href><D:status>HTTP/1.1 404 Not Found</D:status></D:response>` +
			`<D:response><D:href>/</D:href><D:status>HTTP/1.1 507 Insufficient Storage</D:status><D:error><D:number-of-matches-within-limits/></D:error><D:responsedescription>more</D:responsedescription></D:response>` +
			`<D:responsedescription>part</D:responsedescription><D:sync-token>t:2</D:sync-token></D:multistatus>` + "\n"},
		{"raw property", Options{}, func(m *Multistatus) {
			r := m.Response("/")
			r.RawProp(`<calendar-color xmlns="http://apple.com/ns/ical/" symbolic-color="x">#f00</calendar-color>`)
			r.Prop(CSGetCTag).Int(-5)
		}, head + `<D:response><D:href>/</D:href><D:propstat><D:prop><calendar-color xmlns="http://apple.com/ns/ical/" symbolic-color="x">#f00</calendar-color><CS:getctag>-5</CS:getctag></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>` + "\n"},
		{"expand", Options{}, func(m *Multistatus) {
			r := m.Response("/p/")
			v := r.Prop(DGroupMembership)
			in := r.Nested("/g/")
			in.Prop(DDisplayName).Text("G")
			in.Missing(DOwner)
			in.End()
			v.StatusResponse("/gone/", 404, Name{}, "")
			r.Nested("/h/").Prop(DPrincipalURL).Href("/h/") // left open
			r.Missing(DOwner)
			r.Prop(DDisplayName).Text("P")
		}, head + `<D:response><D:href>/p/</D:href><D:propstat><D:prop><D:group-membership>` +
			`<D:response><D:href>/g/</D:href><D:propstat><D:prop><D:displayname>G</D:displayname></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat><D:propstat><D:prop><D:owner/></D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat></D:response>` +
			`<D:response><D:href>/gone/</D:href><D:status>HTTP/1.1 404 Not Found</D:status></D:response>` +
			`<D:response><D:href>/h/</D:href><D:propstat><D:prop><D:principal-URL><D:href>/h/</D:href></D:principal-URL></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>` +
			`</D:group-membership><D:displayname>P</D:displayname></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>` +
			`<D:propstat><D:prop><D:owner/></D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat></D:response></D:multistatus>` + "\n"},
		{"left open", Options{}, func(m *Multistatus) {
			b := m.Response("/").Prop(CSupportedCalendarComponentSet)
			b.Start(CComp)
			b.Attr("name", `V"EVENT`)
			m.Response("/2").Prop(Name{"", "bare"}).Start(Name{"u:x", "deep"})
		}, head + `<D:response><D:href>/</D:href><D:propstat><D:prop><C:supported-calendar-component-set><C:comp name="V&quot;EVENT"/></C:supported-calendar-component-set></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>` +
			`<D:response><D:href>/2</D:href><D:propstat><D:prop><bare><x:deep xmlns:x="u:x"/></bare></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>` + "\n"},
		{"values", Options{}, func(m *Multistatus) {
			r := m.Response("/")
			when := time.Date(2026, 11, 1, 2, 3, 4, 5, time.FixedZone("", 3600))
			r.Prop(DGetLastModified).HTTPDate(when)
			r.Prop(DCreationDate).Timestamp(when)
			r.Prop(CCalendarUserAddressSet).HrefList([]string{"mailto:a@alpha.test", "urn:uuid:1"})
			v := r.Prop(CCalendarData)
			v.Attr("version", "2.0")
			v.TextBytes([]byte("A\r\nB<\x01é\xff"))
			r.Prop(MBulkRequests).Element(Name{NSMobileMe, "simple"}, "1")
			r.Prop(Name{nsXML, "base"}).Raw("")
		}, head + `<D:response><D:href>/</D:href><D:propstat><D:prop>` +
			`<D:getlastmodified>Sun, 01 Nov 2026 01:03:04 GMT</D:getlastmodified><D:creationdate>2026-11-01T01:03:04Z</D:creationdate>` +
			`<C:calendar-user-address-set><D:href>mailto:a@alpha.test</D:href><D:href>urn:uuid:1</D:href></C:calendar-user-address-set>` +
			`<C:calendar-data version="2.0">` + "A&#13;\nB&lt;é\uFFFD</C:calendar-data>" +
			`<M:bulk-requests xmlns:M="http://me.com/_namespace/"><M:simple xmlns:M="http://me.com/_namespace/">1</M:simple></M:bulk-requests><xml:base/>` +
			`</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>` + "\n"},
	} {
		if got := written(t, c.opt, c.f); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// The calendar data that went in comes out of a parser octet for octet.
func TestCalendarDataIsExact(t *testing.T) {
	t.Parallel()
	data := "BEGIN:VCALENDAR\r\nSUMMARY:a]]>b & <c> \"d\"\t\r\n é\r\nEND:VCALENDAR\r\n"
	doc := written(t, Options{}, func(m *Multistatus) { m.Response("/").Prop(CCalendarData).Text(data) })
	got := parse(t, doc).Child(DResponse).Child(DPropStat).Child(DProp).Child(CCalendarData).Content()
	if got != data {
		t.Errorf("%q", got)
	}
}

func TestEscape(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, text, attr string }{
		{"", "", ""},
		{"plain", "plain", "plain"},
		{`<a & "b">`, `&lt;a &amp; "b"&gt;`, `&lt;a &amp; &quot;b&quot;&gt;`},
		{"a\tb\nc\rd", "a\tb\nc&#13;d", "a&#9;b&#10;c&#13;d"},
		{"\x00a\x0b\x1fb", "ab", "ab"},
		{"\x7f\u0085é\u2028😀", "\x7f\u0085é\u2028😀", "\x7f\u0085é\u2028😀"},
		{"a\uFFFEb\uFFFFc\uFFFD", "abc\uFFFD", "abc\uFFFD"},
		{"a\xffb\xc3", "a\uFFFDb\uFFFD", "a\uFFFDb\uFFFD"},
		{"\xed\xa0\x80", "\uFFFD\uFFFD\uFFFD", "\uFFFD\uFFFD\uFFFD"},
		{"\xf4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD", "\uFFFD\uFFFD\uFFFD\uFFFD"},
	} {
		if got := string(appendText(nil, c.in)); got != c.text {
			t.Errorf("text %q: %q", c.in, got)
		}
		if got := string(appendText(nil, []byte(c.in))); got != c.text {
			t.Errorf("bytes %q: %q", c.in, got)
		}
		if got := string(appendAttr(nil, c.in)); got != c.attr {
			t.Errorf("attribute %q: %q", c.in, got)
		}
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"a", "<&>\"'\r\n\t", "\x00\x1f\x7f", "é\uFFFE\uFFFF\xff", "\xed\xa0\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		doc := `<r k="` + string(appendAttr(nil, s)) + `">` + string(appendText(nil, s)) + `</r>`
		n, err := Parse(strings.NewReader(doc), Limits{Bytes: 64 << 20})
		if err != nil {
			t.Fatalf("%q: %v", doc, err)
		}
		v, _ := n.Attr("k")
		if v != n.Text {
			t.Fatalf("%q in the attribute, %q in the text", v, n.Text)
		}
		want := strings.Map(func(r rune) rune {
			if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
				return -1
			}
			return r
		}, s)
		if utf8.ValidString(s) && n.Text != want {
			t.Fatalf("%q became %q", s, n.Text)
		}
	})
}

// Misuse is an error of the document, not a document that looks right.
func TestMisuse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		f    func(*Multistatus)
		want error
	}{
		{"End without Start", func(m *Multistatus) { m.Response("/").Prop(DOwner).End() }, ErrUnbalanced},
		{"End of the response element", func(m *Multistatus) { r := m.Response("/"); b := r.Prop(DOwner); r.End(); b.End() }, ErrUnbalanced},
		{"Attr after text", func(m *Multistatus) { b := m.Response("/").Prop(DOwner); b.Start(DHref); b.Text("x"); b.Attr("a", "") }, ErrAttrPlace},
		{"Attr outside", func(m *Multistatus) { r := m.Response("/"); b := r.Prop(DOwner); r.End(); b.Attr("a", "") }, ErrAttrPlace},
		{"bad attribute", func(m *Multistatus) { b := m.Response("/").Prop(CSInvite); b.Attr("a b", "") }, ErrName},
		{"declaration by hand", func(m *Multistatus) { b := m.Response("/").Prop(CSInvite); b.Attr("xmlns", "u") }, ErrName},
		{"bad name", func(m *Multistatus) { m.Response("/").Prop(Name{"u", "a b"}) }, ErrName},
		{"empty name", func(m *Multistatus) { m.Response("/").Missing(Name{}) }, ErrName},
		{"name of xmlns", func(m *Multistatus) { m.Response("/").Missing(Name{nsXMLNS, "a"}) }, ErrName},
		{"markup as name", func(m *Multistatus) { m.Response("/").Fail(Name{"DAV:", "a/><b"}, 403, Name{}, "") }, ErrName},
		{"Prop after End", func(m *Multistatus) { r := m.Response("/"); r.End(); r.Prop(DOwner) }, ErrClosed},
		{"RawProp after End", func(m *Multistatus) { r := m.Response("/"); r.End(); r.RawProp("<a/>") }, ErrClosed},
		{"Missing after End", func(m *Multistatus) { r := m.Response("/"); r.End(); r.Missing(DOwner) }, ErrClosed},
		{"Nested without a property", func(m *Multistatus) { m.Response("/").Nested("/x").End() }, ErrUnbalanced},
		{"Nested after a raw property", func(m *Multistatus) { r := m.Response("/"); r.RawProp("<a/>"); r.Nested("/x") }, ErrUnbalanced},
	} {
		var out strings.Builder
		m := NewMultistatus(&out, Options{})
		c.f(m)
		m.Response("/after").Prop(DOwner).Text("x")
		if err := m.Close(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if out.Len() != 0 {
			t.Errorf("%s: wrote %s", c.name, out.String())
		}
	}
}

func TestCloseTwice(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	m := NewMultistatus(&out, Options{})
	r := m.Response("/")
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	size := out.Len()
	r.End()
	r.Prop(DOwner).Text("x")
	if err := m.Close(); !errors.Is(err, ErrClosed) || out.Len() != size {
		t.Error(err, out.Len(), size)
	}
}

type failing struct{ after int }

func (f *failing) Write(p []byte) (int, error) {
	if f.after -= len(p); f.after < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

// Large answers stream: the buffer stays near the threshold, Flush is called, and a
// broken connection ends the work.
func TestStreaming(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	flushes, most := 0, int64(0)
	m := NewMultistatus(&out, Options{Threshold: 1000, Flush: func() { flushes++ }})
	for range 1000 {
		r := m.Response("/dav/x.ics")
		r.Prop(DGetETag).Text(`"12345"`)
		r.Prop(CCalendarData).Text(strings.Repeat("x", 500))
		r.Missing(DOwner)
		r.End()
		most = max(most, m.Len()-m.Sent())
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if flushes < 500 || most > 3000 {
		t.Errorf("%d flushes, %d octets held", flushes, most)
	}
	if n := parse(t, out.String()); len(n.Children) != 1000 {
		t.Error(len(n.Children))
	}

	m = NewMultistatus(&failing{after: 5000}, Options{Threshold: 1000})
	n := 0
	for ; m.Err() == nil && n < 1000; n++ {
		m.Response("/dav/x.ics").Prop(DGetETag).Text(`"12345"`)
	}
	if n == 1000 || !errors.Is(m.Close(), io.ErrClosedPipe) {
		t.Errorf("stopped after %d", n)
	}

	// Nothing has been sent yet, so the caller may still answer otherwise.
	out.Reset()
	m = NewMultistatus(&out, Options{})
	m.Response("/").Prop(DOwner)
	if m.Sent() != 0 || out.Len() != 0 || m.Len() == 0 {
		t.Error(m.Sent(), out.Len(), m.Len())
	}
}

// Any sequence of calls gives a well-formed document or an error.
func TestRandomCalls(t *testing.T) {
	t.Parallel()
	names := []Name{DOwner, CCalendarData, CSInvite, ICalendarColor, MBulkRequests, PTopic, {"u:x", "y"}, {"", "z"}}
	documents := 0
	for seed := range uint64(2000) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var out strings.Builder
		m := NewMultistatus(&out, Options{Minimal: seed%3 == 0, Threshold: 1 + int(seed%200)})
		var rs []*Response
		var b *Builder
		for range 2 + rnd.IntN(30) {
			name := names[rnd.IntN(len(names))]
			switch op := rnd.IntN(16); {
			case len(rs) == 0 || op == 0:
				rs, b = []*Response{m.Response("/<&>")}, nil
			case op == 1:
				m.Status("/", 404, name, "t")
				rs, b = nil, nil
			case op == 2:
				rs[len(rs)-1].End()
				rs, b = rs[:len(rs)-1], nil
			case op < 6:
				b = rs[len(rs)-1].Prop(name)
			case op == 6:
				rs[rnd.IntN(len(rs))].Missing(name)
			case op == 7:
				rs[rnd.IntN(len(rs))].Fail(name, 400+rnd.IntN(20), name, "")
			case op == 8 && b != nil:
				rs, b = append(rs, rs[len(rs)-1].Nested("/n")), nil
			case op == 9:
				rs[len(rs)-1].RawProp(`<q xmlns="u:q">r</q>`)
				b = nil
			case b == nil:
			case op == 10:
				b.Start(name)
			case op == 11:
				b.Element(name, "t<")
			case op == 12 && rnd.IntN(4) == 0:
				b.End()
			case op == 13:
				b.Text("x&")
			case op == 14:
				b.StatusResponse("/s", 200, Name{}, "")
			default:
				b.Raw("<k/>")
			}
		}
		if err := m.Close(); err != nil {
			if !errors.Is(err, ErrUnbalanced) {
				t.Fatalf("seed %d: %v", seed, err)
			}
			continue
		}
		documents++
		if n, err := Parse(strings.NewReader(out.String()), Limits{Depth: 200}); err != nil || n.Name != DMultistatus {
			t.Fatalf("seed %d: %v\n%s", seed, err, out.String())
		}
	}
	if documents < 500 {
		t.Errorf("only %d documents came out", documents)
	}
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	const decl = `<?xml version="1.0" encoding="utf-8"?>` + "\n"
	const ns = ` xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"`
	for _, c := range []struct {
		name string
		got  []byte
		want string
	}{
		{"plain", ErrorBody(CValidFilter, ""), `<D:error` + ns + `><C:valid-filter/></D:error>`},
		{"href", ErrorBody(CNoUIDConflict, "", HrefChild("/a b&")), `<D:error` + ns + `><C:no-uid-conflict><D:href>/a b&amp;</D:href></C:no-uid-conflict></D:error>`},
		{"description", ErrorBody(CMaxResourceSize, "too large", TextChild("10")),
			`<D:error` + ns + `><C:max-resource-size>10</C:max-resource-size><x:error-description xmlns:x="http://twistedmatrix.com/xml_namespace/dav/">too large</x:error-description></D:error>`},
		{"other namespace", ErrorBody(PPushNotAvailable, ""), `<D:error` + ns + `><P:push-not-available xmlns:P="https://bitfire.at/webdav-push"/></D:error>`},
		{"child that leaves an element open", ErrorBody(DLockTokenSubmitted, "", func(b *Builder) { b.Start(DHref) }, HrefChild("/")),
			`<D:error` + ns + `><D:lock-token-submitted><D:href/><D:href>/</D:href></D:lock-token-submitted></D:error>`},
		{"child that ends too much", ErrorBody(DLockTokenSubmitted, "x", func(b *Builder) { b.End() }),
			`<D:error` + ns + `><D:lock-token-submitted/></D:error>`},
		{"privileges", NeedPrivileges(NeededPrivilege{"/a/", DBind}, NeededPrivilege{"/b/", CReadFreeBusy}),
			`<D:error` + ns + `><D:need-privileges><D:resource><D:href>/a/</D:href><D:privilege><D:bind/></D:privilege></D:resource>` +
				`<D:resource><D:href>/b/</D:href><D:privilege><C:read-free-busy/></D:privilege></D:resource></D:need-privileges></D:error>`},
		{"schedule-response", ScheduleResponse([]ScheduleRecipient{
			{Recipient: "mailto:bob@alpha.test", RequestStatus: "2.0;Success", CalendarData: []byte("BEGIN:VCALENDAR\r\n")},
			{Recipient: "mailto:<nobody>", RequestStatus: "3.7;Invalid calendar user", Cond: CRecipientPermissions, Description: "who?"},
		}), `<C:schedule-response` + ns + `><C:response><C:recipient><D:href>mailto:bob@alpha.test</D:href></C:recipient><C:request-status>2.0;Success</C:request-status><C:calendar-data>BEGIN:VCALENDAR&#13;` + "\n" + `</C:calendar-data></C:response>` +
			`<C:response><C:recipient><D:href>mailto:&lt;nobody&gt;</D:href></C:recipient><C:request-status>3.7;Invalid calendar user</C:request-status><D:error><C:recipient-permissions/></D:error><D:responsedescription>who?</D:responsedescription></C:response></C:schedule-response>`},
		{"no recipients", ScheduleResponse(nil), `<C:schedule-response` + ns + `/>`},
	} {
		if got := string(c.got); got != decl+c.want+"\n" {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
		parse(t, string(c.got))
	}

	doc, err := Document(SQueryResult, func(b *Builder) { b.Start(SCapabilities); b.Element(SSerialNumber, "1") })
	if err != nil || parse(t, string(doc)).Child(SCapabilities).Child(SSerialNumber).Value() != "1" {
		t.Errorf("%s %v", doc, err)
	}
	if doc, err := Document(Name{"u", "r"}, nil); err != nil || parse(t, string(doc)).Name != (Name{"u", "r"}) {
		t.Errorf("%s %v", doc, err)
	}
	if _, err := Document(DProp, func(b *Builder) { b.End() }); !errors.Is(err, ErrUnbalanced) {
		t.Error(err)
	}

	doc, err = PropstatDocument(CMkCalendarResponse, Options{}, func(r *Response) {
		r.Prop(DDisplayName)
		r.Fail(CSupportedCalendarComponentSet, 403, CSupportedCalendarComponent, "")
	})
	want := `<C:mkcalendar-response` + ns + ` xmlns:CS="http://calendarserver.org/ns/" xmlns:I="http://apple.com/ns/ical/"><D:propstat><D:prop><D:displayname/></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>` +
		`<D:propstat><D:prop><C:supported-calendar-component-set/></D:prop><D:status>HTTP/1.1 403 Forbidden</D:status><D:error><C:supported-calendar-component/></D:error></D:propstat></C:mkcalendar-response>`
	if err != nil || string(doc) != decl+want+"\n" {
		t.Errorf("%s %v", doc, err)
	}
	if doc, err = PropstatDocument(DMkColResponse, Options{}, func(*Response) {}); err != nil || parse(t, string(doc)).Child(DPropStat) == nil {
		t.Errorf("%s %v", doc, err)
	}
}

func TestPhrases(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]string{200: "HTTP/1.1 200 OK", 423: "HTTP/1.1 423 Locked", 599: "HTTP/1.1 599 Status"} {
		if got := string(appendStatus(nil, code)); got != want {
			t.Error(got)
		}
	}
}

// writeResponse is what an ETag listing with data writes for one object.
func writeResponse(m *Multistatus, data []byte) {
	r := m.Response("/dav/calendars/user01/calendar/2f1c9a7e-event.ics")
	r.Prop(DGetETag).Text(`"c0ffee-17"`)
	r.Prop(CScheduleTag).Text(`"s-4"`)
	if data != nil {
		r.Prop(CCalendarData).TextBytes(data)
	}
	r.Missing(ICalendarColor)
	r.Missing(Name{"http://example.test/ns", "other"})
	r.End()
}

var sampleEvent = []byte("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Kalends//EN\r\nBEGIN:VEVENT\r\nUID:2f1c9a7e\r\nDTSTAMP:20261101T000000Z\r\n" +
	"DTSTART;TZID=Europe/Berlin:20261105T090000\r\nDTEND;TZID=Europe/Berlin:20261105T100000\r\nSUMMARY:Planning & budget for the café\r\n" +
	"ORGANIZER;CN=Alice:mailto:alice@alpha.test\r\nATTENDEE;PARTSTAT=ACCEPTED:mailto:alice@alpha.test\r\nATTENDEE;PARTSTAT=NEEDS-ACTION:mailto:bob@alpha.test\r\n" +
	"END:VEVENT\r\nEND:VCALENDAR\r\n")

// A response costs no allocation once the buffers have their size.
func TestNoAllocations(t *testing.T) {
	m := NewMultistatus(io.Discard, Options{})
	writeResponse(m, sampleEvent)
	for range 100 {
		writeResponse(m, sampleEvent)
	}
	if got := testing.AllocsPerRun(1000, func() { writeResponse(m, sampleEvent) }); got != 0 {
		t.Errorf("%v allocations per response", got)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkMultistatus10000(b *testing.B) {
	for _, c := range []struct {
		name string
		data []byte
	}{{"etags", nil}, {"data", sampleEvent}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m := NewMultistatus(io.Discard, Options{})
				for range 10_000 {
					writeResponse(m, c.data)
				}
				b.SetBytes(m.Len())
				if err := m.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A document that is written at once says before how long it is; one that is
// streamed does not.
func TestMultistatusWhole(t *testing.T) {
	for _, members := range []int{1, 100} {
		var out strings.Builder
		whole := -1
		m := NewMultistatus(&out, Options{Threshold: 1000, Whole: func(octets int) {
			if whole = octets; out.Len() != 0 {
				t.Errorf("%d members: told after %d octets", members, out.Len())
			}
		}})
		for range members {
			m.Status("/a", 404, Name{}, "")
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		if want := map[int]int{1: out.Len(), 100: -1}[members]; whole != want {
			t.Errorf("%d members in %d octets: told %d", members, out.Len(), whole)
		}
	}
}
