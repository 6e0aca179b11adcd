package davxml

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"
)

func parse(t testing.TB, s string) *Node {
	t.Helper()
	n, err := Parse(strings.NewReader(s), Limits{})
	if err != nil {
		t.Fatalf("Parse(%s): %v", clip(s), err)
	}
	return n
}

func TestParseTree(t *testing.T) {
	t.Parallel()
	n := parse(t, "\xEF\xBB\xBF<?xml version='1.0' encoding='utf-8'?><!-- c -->\n"+
		`<a xmlns="u:1" xmlns:p="u:2" k="v&lt;&#x41;" p:k="w"> x<!-- c -->y <p:b xmlns:p="u:3"/>t1<c xmlns=""><![CDATA[<&>]]>z</c>t2</a>`+"\n<?pi x?>\n")
	if n.Name != (Name{"u:1", "a"}) || n.Text != " xy " || len(n.Children) != 2 {
		t.Fatalf("root: %v %q %d", n.Name, n.Text, len(n.Children))
	}
	if v, ok := n.Attr("k"); !ok || v != "v<A" {
		t.Errorf("k = %q %v", v, ok)
	}
	if n.Attrs[1].Name != (Name{"u:2", "k"}) || n.Attrs[1].Value != "w" {
		t.Errorf("p:k = %v", n.Attrs[1])
	}
	b, c := n.Children[0], n.Children[1]
	if b.Name != (Name{"u:3", "b"}) || b.Tail != "t1" {
		t.Errorf("b: %v %q", b.Name, b.Tail)
	}
	if c.Name != (Name{"", "c"}) || c.Text != "<&>z" || c.Tail != "t2" {
		t.Errorf("c: %v %q %q", c.Name, c.Text, c.Tail)
	}
	if got := n.Content(); got != " xy t1t2" {
		t.Errorf("Content = %q", got)
	}
}

// XML 1.0 §4.3.3: UTF-16 is read by every processor; what is declared holds.
func TestParseEncodings(t *testing.T) {
	t.Parallel()
	utf16 := func(s string, order binary.AppendByteOrder) string {
		var b []byte
		for _, u := range utf16.Encode([]rune(s)) {
			b = order.AppendUint16(b, u)
		}
		return string(b)
	}
	const wide = `<?xml version="1.0" encoding="UTF-16"?><a>é€😀</a>`
	for name, c := range map[string][2]string{
		"UTF-16, big end first":      {utf16("\ufeff"+wide, binary.BigEndian), "é€😀"},
		"UTF-16, little end first":   {utf16("\ufeff"+wide, binary.LittleEndian), "é€😀"},
		"UTF-16 without a mark":      {utf16(wide, binary.LittleEndian), "é€😀"},
		"UTF-16 without a mark, big": {utf16(wide, binary.BigEndian), "é€😀"},
		"UTF-16 in name alone":       {wide, "é€😀"},
		"US-ASCII":                   {`<?xml version='1.0' encoding='us-ascii'?><a>x</a>`, "x"},
		"ASCII":                      {`<?xml version='1.0' encoding = "ASCII" standalone="yes"?><a>x&#233;</a>`, "xé"},
		"ISO 8859-1":                 {"<?xml version='1.0' encoding='ISO-8859-1'?><a>x\xe9</a>", "xé"},
		"no encoding":                {"<?xml version='1.0'?><a>é</a>", "é"},
	} {
		if n := parse(t, c[0]); n.Text != c[1] {
			t.Errorf("%s: %q", name, n.Text)
		}
	}
	for name, s := range map[string]string{
		"an odd number":   "\xff\xfe<",
		"half a pair":     utf16("\ufeff<a>", binary.BigEndian) + "\xd8\x3d" + utf16("</a>", binary.BigEndian),
		"pair, wrong way": utf16("\ufeff<a>", binary.BigEndian) + "\xde\x00\xd8\x3d" + utf16("</a>", binary.BigEndian),
		"unknown":         `<?xml version="1.0" encoding="koi8-r"?><a/>`,
		"not ASCII":       "<?xml version='1.0' encoding='us-ascii'?><a>\xe9</a>",
	} {
		if _, err := Parse(strings.NewReader(s), Limits{}); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseEmpty(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", " \r\n\t", "\xEF\xBB\xBF"} {
		if n, err := Parse(strings.NewReader(s), Limits{}); n != nil || err != nil {
			t.Errorf("Parse(%q) = %v, %v", s, n, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	deep := func(n int) string { return strings.Repeat("<a>", n) + strings.Repeat("</a>", n) }
	var attrs strings.Builder
	for i := range 33 {
		fmt.Fprintf(&attrs, ` a%d=""`, i)
	}
	nested := ""
	for i := range 10 {
		nested += "<a"
		for j := range 20 {
			nested += fmt.Sprintf(` xmlns:p%d_%d="u"`, i, j)
		}
		nested += ">"
	}
	nested += strings.Repeat("</a>", 10)
	for _, c := range []struct {
		name, body string
		kind       error
	}{
		{"A12 doctype", `<!DOCTYPE a><a/>`, ErrDoctype},
		{"A12 entity bomb", `<!DOCTYPE a [<!ENTITY x "y"><!ENTITY z "&x;&x;">]><a>&z;</a>`, ErrDoctype},
		{"A12 external entity", `<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>`, ErrDoctype},
		{"A12 doctype after declaration", `<?xml version="1.0"?> <!DOCTYPE a SYSTEM "x"><a/>`, ErrDoctype},
		{"unknown entity", `<a>&nbsp;</a>`, ErrMalformed},
		{"A14 deep", deep(33), ErrTooLarge},
		{"A12 many elements", "<r>" + strings.Repeat("<a/>", 100_000) + "</r>", ErrTooLarge},
		{"A12 many attributes", "<a" + attrs.String() + "/>", ErrTooLarge},
		{"many declarations", nested, ErrTooLarge},
		{"A08 size", "<a>" + strings.Repeat(" ", 1<<20) + "</a>", ErrTooLarge},
		{"not UTF-8", "<a>\xff</a>", ErrMalformed},
		{"XML 1.1", `<?xml version="1.1"?><a/>`, ErrMalformed},
		{"NUL", "<a>\x00</a>", ErrMalformed},
		{"control character", "<a>&#1;</a>", ErrMalformed},
		{"undeclared prefix", `<p:a/>`, ErrMalformed},
		{"undeclared attribute prefix", `<a p:b=""/>`, ErrMalformed},
		{"prefix out of scope", `<a><b xmlns:p="u"/><p:c/></a>`, ErrMalformed},
		{"prefix undeclared", `<a xmlns:p="u"><b xmlns:p=""/></a>`, ErrMalformed},
		{"prefix for nothing", `<D:propfind xmlns:D="DAV:" xmlns:x=""/>`, ErrMalformed},
		{"xml rebound", `<a xmlns:xml="u"/>`, ErrMalformed},
		{"xml namespace on another prefix", `<a xmlns:p="http://www.w3.org/XML/1998/namespace"/>`, ErrMalformed},
		{"xmlns declared", `<a xmlns:xmlns="u"/>`, ErrMalformed},
		{"xmlns as element prefix", `<xmlns:a/>`, ErrMalformed},
		{"declared twice", `<a xmlns:p="u" xmlns:p="v"/>`, ErrMalformed},
		{"attribute twice", `<a b="" b=""/>`, ErrMalformed},
		{"attribute twice by namespace", `<a xmlns:p="u" xmlns:q="u" p:b="" q:b=""/>`, ErrMalformed},
		{"two colons", `<a:b:c xmlns:a="u"/>`, ErrMalformed},
		{"empty prefix", `<:a/>`, ErrMalformed},
		{"local part begins with a digit", `<p:0 xmlns:p="u"/>`, ErrMalformed},
		{"local part begins with a mark", "<p:\u0301a xmlns:p=\"u\"/>", ErrMalformed},
		{"prefix begins with a digit", `<a xmlns:0p="u"/>`, ErrMalformed},
		{"second root", `<a/><b/>`, ErrMalformed},
		{"trailing text", `<a/>x`, ErrMalformed},
		{"leading text", `x<a/>`, ErrMalformed},
		{"trailing NUL", "<a/>\x00", ErrMalformed},
		{"declaration inside", `<a><?xml version="1.0"?></a>`, ErrMalformed},
		{"declaration late", ` <?xml version="1.0"?><a/>`, ErrMalformed},
		{"not closed", `<a><b></b>`, ErrMalformed},
		{"crossed", `<a><b></a></b>`, ErrMalformed},
		{"end prefix differs", `<p:a xmlns:p="u" xmlns:q="u"></q:a>`, ErrMalformed},
		{"end alone", `</a>`, ErrMalformed},
		{"only a comment", `<!-- x -->`, ErrMalformed},
		{"bare attribute", `<a b/>`, ErrMalformed},
		{"less-than in attribute", `<a b="<"/>`, ErrMalformed},
		{"JSON", `{"a":1}`, ErrMalformed},
	} {
		n, err := Parse(strings.NewReader(c.body), Limits{})
		if n != nil || !errors.Is(err, c.kind) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.kind)
		}
		var e *Error
		if !errors.As(err, &e) || len(e.Error()) > 300 {
			t.Errorf("%s: not a short *Error: %v", c.name, err)
		}
	}
}

// Just inside of the limits is accepted.
func TestParseLimitEdges(t *testing.T) {
	t.Parallel()
	lim := Limits{Bytes: 40, Depth: 2, Elements: 3, Attributes: 2, Namespaces: 2}
	for _, c := range []struct {
		body string
		ok   bool
	}{
		{`<a><b/><b/></a>`, true},
		{`<a><b/><b/><b/></a>`, false},
		{`<a><b><c/></b></a>`, false},
		{`<a b="" c=""/>`, true},
		{`<a b="" c="" d=""/>`, false},
		{`<a xmlns="u" xmlns:p="v"><b/></a>`, true},
		{`<a xmlns="u" xmlns:p="v"><b xmlns="w"/></a>`, false},
		{`<a>` + strings.Repeat("x", 33) + `</a>`, true},
		{`<a>` + strings.Repeat("x", 34) + `</a>`, false},
	} {
		_, err := Parse(strings.NewReader(c.body), lim)
		if c.ok && err != nil || !c.ok && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", c.body, err)
		}
	}
}

// A declaration goes out of force with its element, also for the limit.
func TestScopeEnds(t *testing.T) {
	t.Parallel()
	n := parse(t, "<r>"+strings.Repeat(`<p:a xmlns:p="u" xmlns:q="v"/>`, 1000)+"</r>")
	if len(n.Children) != 1000 {
		t.Fatal(len(n.Children))
	}
}

// A08, A12: a body in a hundred thousand pieces is put together once.
func TestManyPieces(t *testing.T) {
	t.Parallel()
	const n = 100_000
	root := parse(t, "<a>"+strings.Repeat("x<!---->", n)+"</a>")
	if len(root.Text) != n {
		t.Fatalf("text of %d", len(root.Text))
	}
}

func TestReaderErrorIsKept(t *testing.T) {
	t.Parallel()
	cause := errors.New("the line went dead")
	_, err := Parse(io.MultiReader(strings.NewReader("<a>"), iotest.ErrReader(cause)), Limits{})
	if !errors.Is(err, cause) || !errors.Is(err, ErrMalformed) {
		t.Fatal(err)
	}
}

func TestDoctypeBody(t *testing.T) {
	t.Parallel()
	_, err := Parse(strings.NewReader(`<!DOCTYPE a><a/>`), Limits{})
	var e *Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	n := parse(t, string(e.Body()))
	if n.Name != DError || n.Child(DNoExternalEntities) == nil {
		t.Fatalf("%s", e.Body())
	}
}

func TestFragment(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, doc, want string }{
		{"inherited prefix", `<r xmlns:A="u:a" xmlns:B="u:b"><A:p x="1" A:y="2">t</A:p></r>`,
			`<A:p xmlns:A="u:a" x="1" A:y="2">t</A:p>`},
		{"inherited default", `<r xmlns="u:r"><p><q/></p></r>`, `<p xmlns="u:r"><q/></p>`},
		{"no namespace", `<r><p/></r>`, `<p/>`},
		{"default undone", `<r xmlns="u:r"><p xmlns=""><q/></p></r>`, `<p xmlns=""><q/></p>`},
		{"inner default undone", `<r xmlns="u:r"><p><q xmlns=""/></p></r>`, `<p xmlns="u:r"><q xmlns=""/></p>`},
		{"own declarations stay", `<r xmlns:A="u:a"><A:p xmlns:A="u:b" xmlns:Z="u:z"/></r>`,
			`<A:p xmlns:A="u:b" xmlns:Z="u:z"/>`},
		{"nearest declaration", `<r xmlns:A="u:a"><s xmlns:A="u:b"><A:p/></s></r>`, `<A:p xmlns:A="u:b"/>`},
		{"used below", `<r xmlns:A="u:a" xmlns:B="u:b"><A:p><B:q/><B:q/></A:p></r>`,
			`<A:p xmlns:A="u:a" xmlns:B="u:b"><B:q/><B:q/></A:p>`},
		{"language from outside", `<r xml:lang="de"><p><q/></p></r>`, `<p xml:lang="de"><q/></p>`},
		{"own language", `<r xml:lang="de"><p xml:lang="fr">x</p></r>`, `<p xml:lang="fr">x</p>`},
		{"mixed content", "<r><p>a<b>c</b>d<e/> f\n</p></r>", "<p>a<b>c</b>d<e/> f\n</p>"},
		{"escapes", `<r><p k="&quot;&lt;&#10;&#9;'">&lt;&amp;&gt;&#13;"</p></r>`,
			`<p k="&quot;&lt;&#10;&#9;'">&lt;&amp;&gt;&#13;"</p>`},
		{"cdata", `<r><p><![CDATA[a<b]]>]]&gt;</p></r>`, `<p>a&lt;b]]&gt;</p>`},
		{"QName in text", `<r xmlns:A="u:a" xmlns:B="u:b" xmlns:C="u:c"><p k="B:x">so A:y, D:z</p></r>`,
			`<p xmlns:A="u:a" xmlns:B="u:b" k="B:x">so A:y, D:z</p>`},
	} {
		n := parse(t, c.doc)
		p := n.Children[0]
		if p.Local == "s" {
			p = p.Children[0]
		}
		if got := p.Fragment(); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
		roundTrip(t, p)
	}
}

// roundTrip checks that a fragment stands for itself.
func roundTrip(t *testing.T, n *Node) {
	t.Helper()
	f := n.Fragment()
	again, err := Parse(strings.NewReader(f), Limits{Bytes: 64 << 20, Attributes: 256, Namespaces: 4096})
	if err != nil {
		t.Fatalf("fragment %q: %v", f, err)
	}
	if n.Lang() != again.Lang() {
		t.Fatalf("language %q became %q in %q", n.Lang(), again.Lang(), f)
	}
	if f2 := again.Fragment(); f2 != f {
		t.Fatalf("fragment changed:\n%q\n%q", f, f2)
	}
	bare := *again
	if n.Lang() != "" && len(bare.Attrs) == len(n.Attrs)+1 {
		bare.Attrs = bare.Attrs[:len(bare.Attrs)-1] // the language stated anew
	}
	if !n.Equal(&bare) {
		t.Fatalf("meaning changed: %q", f)
	}
}

func TestInnerXML(t *testing.T) {
	t.Parallel()
	n := parse(t, `<r xmlns:A="u:a">x &amp; <A:p/> y<q>z</q></r>`)
	want := `x &amp; <A:p xmlns:A="u:a"/> y<q>z</q>`
	if got := n.InnerXML(); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// A tree made by hand has no prefixes of its own.
func TestFragmentOfBuiltNode(t *testing.T) {
	t.Parallel()
	n := &Node{Name: DOwner, Attrs: []Attr{{Name: Name{"u:x", "k"}, Value: "1"}, {Name: Name{nsXML, "lang"}, Value: "de"}},
		Children: []*Node{{Name: DHref, Text: "/a&b", Tail: "!"}, {Name: Name{"", "bare"}}, {Name: CCalendar}}}
	roundTrip(t, n)
	if got := parse(t, n.Fragment()); !got.Equal(n) {
		t.Errorf("%s", n.Fragment())
	}
}

func TestEqual(t *testing.T) {
	t.Parallel()
	a := parse(t, `<a xmlns="u" x="1" y="2">t<b/>u</a>`)
	for s, want := range map[string]bool{
		`<p:a xmlns:p="u" y="2" x="1">t<p:b/>u</p:a>`: true,
		`<a xmlns="v" x="1" y="2">t<b/>u</a>`:         false,
		`<a xmlns="u" x="1" y="3">t<b/>u</a>`:         false,
		`<a xmlns="u" x="1">t<b/>u</a>`:               false,
		`<a xmlns="u" x="1" y="2">t<b/>v</a>`:         false,
		`<a xmlns="u" x="1" y="2">t<c/>u</a>`:         false,
		`<a xmlns="u" x="1" y="2">t<b/><b/>u</a>`:     false,
	} {
		if got := a.Equal(parse(t, s)); got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
	if a.Equal(nil) || !(*Node)(nil).Equal(nil) {
		t.Error("nil")
	}
}

func TestNilNode(t *testing.T) {
	t.Parallel()
	var n *Node
	if n.Child(DProp) != nil || n.Value() != "" || n.Href() != "" || n.Hrefs() != nil || n.Names() != nil || n.Lang() != "" {
		t.Error("a nil node is not empty")
	}
	if _, ok := n.Attr("x"); ok {
		t.Error("a nil node has an attribute")
	}
}

func FuzzParse(f *testing.F) {
	for _, b := range bodies {
		f.Add([]byte(b))
	}
	for _, s := range []string{
		`<a xmlns="u" xmlns:p="v"><p:b xml:lang="x" p:c="p:d">e&#13;<![CDATA[f]]><!--g--><h xmlns=""/>i</p:b></a>`,
		`<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>`, "<a>\xef\xbf\xbe</a>", `<a b='"'/>`, "<?xml version='1.0'?><a/>", `<xml:a/>`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := Parse(strings.NewReader(string(data)), Limits{})
		if err != nil {
			var e *Error
			if n != nil || !errors.As(err, &e) || e.Kind == nil {
				t.Fatalf("error %v", err)
			}
			return
		}
		if n == nil {
			return
		}
		roundTrip(t, n)
		for _, c := range n.Children {
			roundTrip(t, c)
		}
		if inner := n.InnerXML(); inner != "" {
			if _, err := Parse(strings.NewReader("<r>"+inner+"</r>"), Limits{Bytes: 64 << 20, Depth: 64, Attributes: 256, Namespaces: 4096}); err != nil {
				t.Fatalf("inner XML %q: %v", inner, err)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ name, body string }{
		{"propfind", bodyApplePrincipal}, {"query", bodyPythonQuery},
		{"multiget1000", multigetOf(1000)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(strings.NewReader(c.body), Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func multigetOf(n int) string {
	var s strings.Builder
	s.WriteString(`<C:calendar-multiget xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop><D:getetag/><C:calendar-data/></D:prop>`)
	for i := range n {
		fmt.Fprintf(&s, "<D:href>/dav/calendars/user01/calendar/%08d.ics</D:href>", i)
	}
	s.WriteString(`</C:calendar-multiget>`)
	return s.String()
}
