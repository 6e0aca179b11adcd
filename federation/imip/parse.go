package imip

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"mime/quotedprintable"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-message/charset"
	"github.com/kalends/kalends/caldav/calendar"
)

// Limits bound what reading a mail may cost (A35). A zero field takes the
// default named beside it.
type Limits struct {
	Bytes    int             // whole message: 10 MiB
	Header   int             // its header section: 256 KiB
	Depth    int             // multiparts inside of each other: 8
	Parts    int             // body parts in all: 200
	Calendar int             // one calendar part, decoded: 1 MiB
	Twins    int             // calendar parts: 6
	Object   calendar.Limits // of the calendar object
}

func (l Limits) withDefaults() Limits {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&l.Bytes, 10<<20)
	def(&l.Header, 256<<10)
	def(&l.Depth, 8)
	def(&l.Parts, 200)
	def(&l.Calendar, 1<<20)
	def(&l.Twins, 6)
	return l
}

// Sort is what a mail is to a calendar server.
type Sort uint8

const (
	SortOther    Sort = iota // written by a person, or nothing we know
	SortCalendar             // it has a calendar part
	SortBounce               // a delivery status notification (RFC 3464)
	SortAuto                 // an automatic answer without a calendar part
)

func (s Sort) String() string {
	return [...]string{"other", "calendar", "bounce", "automatic"}[s]
}

// Mail is a mail as far as a calendar server reads it.
type Mail struct {
	Raw       []byte
	From      []Mailbox // of all From fields
	To        []Mailbox // To and Cc; what cannot be read is left out
	Subject   string
	MessageID string // without angle brackets, "" when absent
	Sort      Sort
	Hops      int              // Received fields
	Loops     []string         // the installations that it came through, the last first
	Text      string           // first plain text part, at most 4 KiB, for people
	Object    *calendar.Object // nil unless SortCalendar and Fault is nil
	Method    string           // of Object
	Fault     error            // why the calendar part cannot be used
	File      []byte           // first calendar part as text when it cannot be used, at most 256 KiB
	Bounce    *Bounce          // with SortBounce

	header     []field
	froms      int  // From fields
	ambiguous  bool // a field that gives the body its meaning stands there twice
	anchored   bool // see structureAnchored
	multiparty bool // top level is a multipart
}

// Bounce is what a delivery status notification says.
type Bounce struct {
	MessageID  string // of the mail that came back, without angle brackets; may be ""
	Recipients []BounceStatus
}

// BounceStatus is the fate of one recipient (RFC 3464 §2.3).
type BounceStatus struct {
	Recipient string // local@domain
	Action    string // failed, delayed, delivered, relayed, expanded
	Status    string // enhanced code such as 5.1.1
	Detail    string
}

// candidate is a calendar part as found.
type candidate struct {
	method string // parameter, upper case
	text   []byte // UTF-8
	err    error
}

// Parse reads a mail. The error is ErrTooBig or ErrMalformed when the mail as
// a whole cannot be read; a calendar part that cannot be used is told in
// Mail.Fault, since the mail may still be kept for its recipient. raw is kept.
func Parse(raw []byte, lim Limits) (*Mail, error) {
	lim = lim.withDefaults()
	if len(raw) > lim.Bytes {
		return nil, fmt.Errorf("%w: %d octets", ErrTooBig, len(raw))
	}
	h, body, err := headerFields(raw, lim.Header)
	if err != nil {
		return nil, err
	}
	if len(h) == 0 {
		return nil, fmt.Errorf("%w: no header", ErrMalformed)
	}
	m := &Mail{Raw: raw, header: h}
	m.readHeader()
	w := walker{m: m, lim: lim, fields: func(k string) string { return fieldValue(h, k) }}
	if err := w.part(w.fields, bytes.NewReader(raw[body:]), 0, nil); err != nil {
		return nil, err
	}
	ct, params := mediaType(w.fields("Content-Type"))
	m.multiparty = strings.HasPrefix(ct, "multipart/")
	m.anchored = m.multiparty && structureAnchored(raw[body:], params["boundary"])
	w.decide()
	return m, nil
}

func (m *Mail) readHeader() {
	count := map[string]int{}
	for _, f := range m.header {
		key := strings.ToLower(f.name)
		count[key]++
		switch key {
		case "from":
			if list, err := parseMailboxes(f.value); err == nil {
				m.From = append(m.From, list...)
			}
		case "to", "cc":
			if list, err := parseMailboxes(f.value); err == nil && len(m.To) < 1000 {
				m.To = append(m.To, list...)
			}
		case "received":
			m.Hops++
		case loopField:
			m.Loops = append(m.Loops, cleanLine(f.value, 100))
		}
	}
	m.froms = count["from"]
	for _, k := range []string{"content-type", "content-transfer-encoding", "mime-version", "message-id"} {
		m.ambiguous = m.ambiguous || count[k] > 1
	}
	m.Subject = cleanLine(decodeWords(fieldValue(m.header, "Subject")), 200)
	m.MessageID = messageID(fieldValue(m.header, "Message-ID"))
}

// loopField names an installation that wrote a mail (A33), in lower case. Who
// hands a mail on to a backend keeps the marks that it had.
const loopField = "kalends-loop"

func writeLoops(b *bytes.Buffer, ids []string) {
	for _, id := range ids {
		writeField(b, "Kalends-Loop", cleanLine(id, 100))
	}
}

// messageID takes the id out of its angle brackets; "" when it is none or too
// long to be one.
func messageID(v string) string {
	v = strings.TrimSpace(v)
	if i := strings.IndexByte(v, '<'); i >= 0 {
		v = v[i+1:]
		if j := strings.IndexByte(v, '>'); j >= 0 {
			v = v[:j]
		}
	}
	if len(v) > 998 || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return ""
	}
	return v
}

// structureAnchored reports whether the first delimiter line of a multipart
// body is the one of the boundary that the header declares. Many signers
// (Gmail among them) leave Content-Type out of their DKIM signature; anybody
// who replays such a mail could then declare the boundary of some inner
// attachment to turn it into a body part. When the outermost delimiter is the
// declared one, the parts are those the signer wrote.
func structureAnchored(body []byte, boundary string) bool {
	if boundary == "" {
		return false
	}
	for pos := 0; pos < len(body); {
		line, next := nextLine(body, pos)
		pos = next
		if bytes.HasPrefix(line, []byte("--")) {
			return string(bytes.TrimRight(line[2:], " \t")) == boundary
		}
	}
	return false
}

type walker struct {
	m          *Mail
	lim        Limits
	fields     func(string) string
	parts      int
	candidates []candidate
	tnef       bool
	report     string // report-type of a multipart/report
}

// part reads one entity. under are the parameters of the multipart around it.
func (w *walker) part(h func(string) string, body io.Reader, depth int, under map[string]string) error {
	if w.parts++; w.parts > w.lim.Parts {
		return fmt.Errorf("%w: more than %d parts", ErrTooBig, w.lim.Parts)
	}
	ct := h("Content-Type")
	t, params := mediaType(ct)
	if ct == "" {
		t = "text/plain"
	}
	_, disp := mediaType(h("Content-Disposition"))
	name := strings.ToLower(disp["filename"])
	if name == "" {
		name = strings.ToLower(params["name"])
	}
	encoding := strings.ToLower(strings.TrimSpace(h("Content-Transfer-Encoding")))
	switch {
	case strings.HasPrefix(t, "multipart/"):
		if depth >= w.lim.Depth {
			return fmt.Errorf("%w: multiparts %d deep", ErrTooBig, depth+1)
		}
		if t == "multipart/report" && depth == 0 {
			w.report = strings.ToLower(params["report-type"])
		}
		return w.multipart(body, params, depth)
	case t == "text/calendar", t == "application/ics", t == "application/octet-stream" && path.Ext(name) == ".ics":
		if len(w.candidates) >= w.lim.Twins {
			return fmt.Errorf("%w: more than %d calendar parts", ErrTooBig, w.lim.Twins)
		}
		w.candidates = append(w.candidates, w.calendar(t, params, encoding, body))
	case t == "application/ms-tnef", name == "winmail.dat":
		w.tnef = true
	case t == "text/plain" && w.m.Text == "":
		text, _ := readText(body, encoding, params["charset"], 64<<10)
		w.m.Text = cleanText(string(text), 4<<10)
	case w.report == "delivery-status" && t == "message/delivery-status":
		w.bounce().readStatus(body, encoding)
	case w.report == "delivery-status" && (t == "message/rfc822" || t == "text/rfc822-headers" || t == "message/global" || t == "message/global-headers"):
		text, _ := readText(body, encoding, "", 256<<10)
		if fields, _, err := headerFields(text, len(text)); err == nil {
			w.bounce().MessageID = messageID(fieldValue(fields, "Message-ID"))
		}
	}
	return nil
}

func (w *walker) multipart(body io.Reader, params map[string]string, depth int) error {
	b := params["boundary"]
	if b == "" || len(b) > 200 {
		return fmt.Errorf("%w: multipart without a boundary", ErrMalformed)
	}
	r := multipart.NewReader(body, b)
	for {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			// A mail whose end is missing keeps the parts that were whole;
			// the calendar object's own END tells whether it was.
			if errors.Is(err, io.ErrUnexpectedEOF) || w.parts > 1 {
				return nil
			}
			return fmt.Errorf("%w: %v", ErrMalformed, err)
		}
		h := p.Header
		if err := w.part(func(k string) string { return h.Get(k) }, p, depth+1, params); err != nil {
			return err
		}
	}
}

// calendar decodes one calendar part.
func (w *walker) calendar(t string, params map[string]string, encoding string, body io.Reader) candidate {
	c := candidate{method: strings.ToUpper(strings.TrimSpace(params["method"]))}
	c.text, c.err = readText(body, encoding, params["charset"], w.lim.Calendar)
	return c
}

// readText decodes the transfer encoding and the character set. Text without a
// character set, or in "us-ascii" with other octets, is UTF-8 when it can be,
// else Windows-1252, which is what such mails hold.
func readText(r io.Reader, encoding, label string, max int) ([]byte, error) {
	switch encoding {
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, &skipBlanks{r: r})
	case "quoted-printable":
		r = quotedprintable.NewReader(r)
	}
	b, err := io.ReadAll(io.LimitReader(r, int64(max)+1))
	if len(b) > max {
		return b[:max], fmt.Errorf("%w: part of more than %d octets", ErrTooBig, max)
	}
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return b, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	label = strings.ToLower(strings.Trim(label, `"' `))
	switch label {
	case "utf-8", "utf8":
		return b, nil
	case "", "us-ascii", "ascii", "unknown-8bit", "binary":
		if utf8.Valid(b) {
			return b, nil
		}
		label = "windows-1252"
	}
	conv, err := charset.Reader(label, bytes.NewReader(b))
	if err != nil {
		return b, fmt.Errorf("%w: %.40q", ErrCharset, label)
	}
	out, err := io.ReadAll(io.LimitReader(conv, int64(max)*3+1))
	if err != nil {
		return b, fmt.Errorf("%w: %v", ErrCharset, err)
	}
	return out, nil
}

// skipBlanks drops what may stand between base64 characters in a mail
// (RFC 2045 §6.8: line ends and other characters are ignored).
type skipBlanks struct{ r io.Reader }

func (s *skipBlanks) Read(p []byte) (int, error) {
	for {
		n, err := s.r.Read(p)
		k := 0
		for _, c := range p[:n] {
			if c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '=' {
				p[k] = c
				k++
			}
		}
		if k > 0 || err != nil || n == 0 {
			return k, err
		}
	}
}

// decide settles what the mail is and which object it carries.
func (w *walker) decide() {
	m := w.m
	switch {
	case len(w.candidates) > 0:
		m.Sort = SortCalendar
		m.Object, m.Method, m.Fault = w.object()
		if c := w.candidates[0]; m.Fault != nil && c.err == nil && len(c.text) <= 256<<10 && utf8.Valid(c.text) && bytes.IndexByte(c.text, 0) < 0 {
			m.File = c.text
		}
		return
	case w.report == "delivery-status":
		m.Sort = SortBounce
		w.bounce()
	case w.report != "" || automatic(m.header):
		m.Sort = SortAuto
	}
	m.Bounce = w.m.Bounce
	if m.Sort != SortBounce {
		m.Bounce = nil
	}
	m.Fault = ErrNoCalendar
	if w.tnef {
		m.Fault = ErrTNEF
	}
}

// automatic recognizes answers of programs. Auto-Submitted alone says little,
// since calendar programs set it on invitations too; it is asked only of mails
// without a calendar part (peers.md, Mail).
func automatic(h []field) bool {
	auto, _, _ := strings.Cut(strings.ToLower(fieldValue(h, "Auto-Submitted")), ";") // RFC 3834 §5
	if auto = strings.TrimSpace(auto); auto != "" && auto != "no" {
		return true
	}
	for _, k := range []string{"X-Autoreply", "X-Autorespond", "X-Autorespond-From", "X-Auto-Reply"} {
		if fieldValue(h, k) != "" {
			return true
		}
	}
	switch strings.ToLower(fieldValue(h, "Precedence")) {
	case "bulk", "junk", "auto_reply":
		return true
	}
	return false
}

// object picks the calendar object. All parts must say the same thing: which
// of two different ones a person was shown cannot be known (A35).
func (w *walker) object() (*calendar.Object, string, error) {
	var first *calendar.Object
	var method string
	for i, c := range w.candidates {
		if c.err != nil {
			return nil, "", c.err
		}
		o, err := calendar.Parse(c.text, w.lim.Object)
		if err != nil {
			return nil, "", fmt.Errorf("%w: %w", ErrCalendar, err)
		}
		own := o.Method()
		if own != "" && c.method != "" && own != c.method {
			return nil, "", fmt.Errorf("%w: %.20q and %.20q", ErrMethodConflict, own, c.method)
		}
		if own == "" {
			own = c.method
		}
		switch {
		case i == 0:
			first, method = o, own
		case !sameMeaning(first, o):
			return nil, "", ErrTwins
		case own != "" && method != "" && own != method:
			return nil, "", fmt.Errorf("%w: %.20q and %.20q", ErrMethodConflict, method, own)
		case method == "":
			method = own
		}
	}
	if method == "" {
		return nil, "", ErrNoMethod
	}
	if first.Method() == "" {
		first.Set(calendar.NewProperty("METHOD", method))
	}
	if err := calendar.ValidateMessage(first); err != nil {
		return nil, method, fmt.Errorf("%w: %w", ErrCalendar, err)
	}
	return first, method, nil
}

// decodeWords resolves encoded words of any known character set.
func decodeWords(s string) string {
	if !strings.Contains(s, "=?") {
		return s
	}
	out, err := wordDecoder.DecodeHeader(s)
	if err != nil {
		return s
	}
	return out
}

func (w *walker) bounce() *Bounce {
	if w.m.Bounce == nil {
		w.m.Bounce = &Bounce{}
	}
	return w.m.Bounce
}

// readStatus reads the body of message/delivery-status: groups of fields, the
// first about the message, the others about one recipient each (RFC 3464 §2.1).
func (b *Bounce) readStatus(r io.Reader, encoding string) {
	text, _ := readText(r, encoding, "", 64<<10)
	for len(text) > 0 && len(b.Recipients) < 100 {
		fields, n, err := headerFields(text, len(text))
		if err != nil {
			return
		}
		text = text[n:]
		final := fieldValue(fields, "Original-Recipient")
		if final == "" {
			final = fieldValue(fields, "Final-Recipient")
		}
		if final == "" {
			continue
		}
		_, addr, ok := strings.Cut(final, ";")
		if !ok {
			addr = final
		}
		code, _, _ := strings.Cut(fieldValue(fields, "Status"), " ")
		b.Recipients = append(b.Recipients, BounceStatus{
			Recipient: strings.Trim(strings.TrimSpace(addr), "<>"),
			Action:    strings.ToLower(fieldValue(fields, "Action")),
			Status:    cleanLine(code, 20),
			Detail:    cleanLine(fieldValue(fields, "Diagnostic-Code"), 300),
		})
	}
}
