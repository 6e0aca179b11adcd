package imip

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html"
	"mime/quotedprintable"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling/itip"
)

// Letter is one mail to one recipient, ready to be written.
type Letter struct {
	Sender    Sender
	To        Mailbox
	User      Mailbox // whose change it is; the text names him, whoever sends
	SentBy    Mailbox // the delegate who made it for him; Email "": he himself
	MessageID string  // local@domain without angle brackets; the same on every retry
	Date      time.Time
	Object    *calendar.Object // with METHOD
	Kind      itip.Kind
	Changes   []itip.FieldChange // told with KindChanged
	Loops     []string           // the installations that it came through, this one first, for their loop guard
	Actions   []Action           // links offered in the text, from the configured URL only (A18)
}

// Action is a link that the reader can follow to answer.
type Action struct{ Label, URL string }

const (
	actionsLead = "Without a calendar, answer here; a page opens, and nothing is sent before you press a button there:"
	actionsFoot = "These links are yours alone and work once: whoever has them can answer for you."
)

// Compose writes the mail (clients.md section 5): multipart/mixed of a
// multipart/alternative (text/plain, text/html, text/calendar with the METHOD
// as parameter) and the object again as the attachment invite.ics. The result
// depends on the Letter alone: lines end with CRLF and have less than 998
// octets, the calendar is folded at 75, boundaries derive from the Message-ID.
func Compose(l Letter) ([]byte, error) {
	method := l.Object.Method()
	if method == "" || strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" {
		return nil, fmt.Errorf("%w: %.20q", ErrNoMethod, method)
	}
	if !wellFormedID(l.MessageID) {
		return nil, fmt.Errorf("%w: Message-ID %.100q", ErrConfig, l.MessageID)
	}
	for _, m := range []*Mailbox{&l.Sender.From, &l.Sender.ReplyTo, &l.SentBy, &l.To} {
		if m.Email == "" && (m == &l.Sender.ReplyTo || m == &l.SentBy) {
			continue
		}
		email, err := wireEmail(calendar.Address("mailto:" + m.Email))
		if err != nil {
			return nil, err
		}
		m.Email = email
	}
	n := tell(l.Object, l.Kind, l.Changes, l.User)
	n.Foot = append(n.Foot, foot(l))
	for _, a := range l.Actions {
		if !safeLink(a.URL) {
			return nil, fmt.Errorf("%w: action URL", ErrConfig)
		}
	}
	ics := foldedBytes(withZones(lowerSchemes(l.Object), l.Date))

	var b bytes.Buffer
	writeField(&b, "Date", l.Date.UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	writeField(&b, "From", l.Sender.From.format())
	if by := l.SentBy; by.Email != "" && l.Sender.From.Email == l.User.Email {
		writeField(&b, "Sender", by.format()) // RFC 5322 §3.6.2: the author is another
	}
	if l.Sender.ReplyTo.Email != "" {
		writeField(&b, "Reply-To", l.Sender.ReplyTo.format())
	}
	writeField(&b, "To", l.To.format())
	writeField(&b, "Subject", encodeText(cleanLine(n.Subject, 250)))
	writeField(&b, "Message-ID", "<"+l.MessageID+">")
	writeField(&b, "References", "<"+threadID(l.Object, l.MessageID)+">")
	writeField(&b, "Auto-Submitted", "auto-generated") // RFC 3834 §5
	writeLoops(&b, l.Loops)
	writeField(&b, "MIME-Version", "1.0")
	outer, inner := boundary(l.MessageID, "mixed"), boundary(l.MessageID, "alternative")
	b.WriteString("Content-Type: multipart/mixed; boundary=\"" + outer + "\"\r\n\r\n")

	b.WriteString("--" + outer + "\r\nContent-Type: multipart/alternative; boundary=\"" + inner + "\"\r\n\r\n")
	b.WriteString("--" + inner + "\r\n")
	writeText(&b, "text/plain; charset=UTF-8", n.plain(l.Actions))
	b.WriteString("--" + inner + "\r\n")
	writeText(&b, "text/html; charset=UTF-8", n.html(l.Actions))
	b.WriteString("--" + inner + "\r\n")
	contentType := "text/calendar; method=" + method + "; charset=UTF-8"
	if sevenBit(ics) {
		b.WriteString("Content-Type: " + contentType + "\r\nContent-Transfer-Encoding: 7bit\r\n\r\n")
		b.Write(ics)
	} else {
		b.WriteString("Content-Type: " + contentType + "\r\nContent-Transfer-Encoding: base64\r\n\r\n")
		writeBase64(&b, ics)
	}
	b.WriteString("--" + inner + "--\r\n\r\n")

	b.WriteString("--" + outer + "\r\nContent-Type: application/ics; name=\"invite.ics\"\r\n" +
		"Content-Disposition: attachment; filename=\"invite.ics\"\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	writeBase64(&b, ics)
	b.WriteString("--" + outer + "--\r\n")
	return b.Bytes(), nil
}

func foot(l Letter) string {
	from, user := l.Sender.From.Email, l.User.Email
	if by := l.SentBy.Email; by != "" {
		return "Sent by Kalends, a calendar server, for " + by + ", who acts for " + user + "."
	}
	if from == user || user == "" {
		return "Sent by Kalends, the calendar server of " + calendar.Address("mailto:"+l.Sender.From.Email).Domain() + "."
	}
	return "Sent by Kalends, a calendar server, for " + user + "."
}

// wellFormedID checks local@domain of dot-atoms (RFC 5322 §3.6.4).
func wellFormedID(id string) bool {
	if len(id) > 200 || strings.Count(id, "@") != 1 {
		return false
	}
	for _, part := range strings.Split(id, "@") {
		for _, atom := range strings.Split(part, ".") {
			if atom == "" || strings.Trim(atom, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~") != "" {
				return false
			}
		}
	}
	return true
}

// threadID is an id that all mails about one UID refer to, so that mail
// programs show them together.
func threadID(o *calendar.Object, id string) string {
	h := sha256.Sum256([]byte("thread\x00" + o.UID()))
	_, domain, _ := strings.Cut(id, "@")
	return "thread-" + hex.EncodeToString(h[:12]) + "@" + domain
}

func boundary(id, level string) string {
	h := sha256.Sum256([]byte(level + "\x00" + id))
	return "=_" + level[:3] + "_" + hex.EncodeToString(h[:15])
}

// lowerSchemes is the object with every "MAILTO:" of a person in lower case: some
// programs look for that alone (want 21), and to all it is the same (RFC 3986 §3.1).
func lowerSchemes(o *calendar.Object) *calendar.Object {
	lower := func(v string) string {
		if len(v) > 7 && strings.EqualFold(v[:7], "mailto:") {
			return "mailto:" + v[7:]
		}
		return v
	}
	o = o.Clone()
	for _, c := range o.Components() {
		for _, p := range c.Props {
			if p.Name() != "ORGANIZER" && p.Name() != "ATTENDEE" {
				continue
			}
			if v := p.Value(); lower(v) != v {
				p.SetValue(lower(v))
			}
			for _, q := range slices.Clone(p.Params()) {
				values := slices.Clone(q.Values)
				for i, v := range values {
					values[i] = lower(v)
				}
				if !slices.Equal(values, q.Values) {
					p.SetParam(q.Name, values...)
				}
			}
		}
	}
	return o
}

// foldedBytes is the object as text whose lines have at most 75 octets, end
// with CRLF and are not folded inside of a character. An object keeps the
// octets it was read from, so one that does not comply is written anew.
func foldedBytes(o *calendar.Object) []byte {
	b := o.Bytes()
	good := bytes.Count(b, []byte("\n")) == bytes.Count(b, []byte("\r\n"))
	for line := range bytes.SplitSeq(b, []byte("\r\n")) {
		good = good && len(line) <= 75 && utf8.Valid(line)
	}
	if good {
		return b
	}
	o = o.Clone()
	rewrite(o.Component)
	return o.Bytes()
}

func rewrite(c *calendar.Component) {
	for i, p := range c.Props {
		c.Props[i] = calendar.NewProperty(p.Name(), p.Value(), p.Params()...)
	}
	for _, k := range c.Children {
		rewrite(k)
	}
}

func sevenBit(b []byte) bool {
	col := 0
	for _, c := range b {
		if c >= 0x80 || c == 0 {
			return false
		}
		if col++; c == '\n' {
			col = 0
		}
		if col > 900 {
			return false
		}
	}
	return bytes.HasSuffix(b, []byte("\r\n"))
}

func writeText(b *bytes.Buffer, contentType, text string) {
	b.WriteString("Content-Type: " + contentType + "\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	w := quotedprintable.NewWriter(b)
	_, _ = w.Write([]byte(text)) // a bytes.Buffer takes everything
	_ = w.Close()
	b.WriteString("\r\n")
}

func writeBase64(b *bytes.Buffer, data []byte) {
	s := base64.StdEncoding.EncodeToString(data)
	for len(s) > 76 {
		b.WriteString(s[:76] + "\r\n")
		s = s[76:]
	}
	b.WriteString(s + "\r\n")
}

// plain is the notice as text, lines ending with CRLF.
func (n notice) plain(actions []Action) string {
	var b strings.Builder
	line := func(s string) { b.WriteString(s + "\r\n") }
	line(n.Lead)
	line("")
	if len(n.Changes) > 0 {
		line("What has changed")
		for _, c := range n.Changes {
			line("  " + c.Label + ": " + c.words(" -> "))
		}
		line("")
	}
	width := 0
	for _, f := range n.Facts {
		width = max(width, len(f.Label))
	}
	for _, f := range n.Facts {
		for i, v := range f.Values {
			label := ""
			if i == 0 {
				label = f.Label + ":"
			}
			line(fmt.Sprintf("%-*s %s", width+1, label, v))
		}
	}
	if n.Text != "" {
		line("")
		line(strings.ReplaceAll(n.Text, "\n", "\r\n"))
	}
	if n.Hint != "" {
		line("")
		line(n.Hint)
	}
	if len(actions) > 0 {
		line("")
		line(actionsLead)
		for _, a := range actions {
			line("  " + cleanLine(a.Label, 60) + ": " + a.URL)
		}
		line(actionsFoot)
	}
	line("")
	line("-- ")
	for _, f := range n.Foot {
		line(f)
	}
	return b.String()
}

func (c change) words(arrow string) string {
	switch {
	case c.Note != "":
		return c.Note
	case c.Old == "" && c.New == "":
		return "changed"
	case c.Old == "":
		return c.New + " (new)"
	case c.New == "":
		return c.Old + " (removed)"
	}
	return c.Old + arrow + c.New
}

// html is the notice as HTML. It sets no colours of text or background, so
// that it is readable in light and dark mails, loads nothing, and shows
// foreign text as text (A37).
func (n notice) html(actions []Action) string {
	var b strings.Builder
	e := html.EscapeString
	line := func(s string) { b.WriteString(s + "\r\n") }
	line(`<!DOCTYPE html>`)
	line(`<html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">`)
	line(`<meta name="supported-color-schemes" content="light dark"><title>` + e(n.Subject) + `</title></head>`)
	line(`<body style="font-family:system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;font-size:15px;line-height:1.45;margin:0;padding:16px">`)
	line(`<p style="font-size:17px;margin:0 0 16px">` + e(n.Lead) + `</p>`)
	if len(n.Changes) > 0 {
		line(`<p style="margin:0 0 4px"><strong>What has changed</strong></p>`)
		line(`<ul style="margin:0 0 16px;padding-left:20px">`)
		for _, c := range n.Changes {
			value := e(c.words(" -> "))
			if c.Note == "" && c.Old != "" && c.New != "" {
				value = `<s>` + e(c.Old) + `</s> &rarr; <strong>` + e(c.New) + `</strong>`
			}
			line(`<li>` + e(c.Label) + `: ` + value + `</li>`)
		}
		line(`</ul>`)
	}
	line(`<table role="presentation" cellpadding="0" cellspacing="0" style="border-collapse:collapse;border-left:3px solid #4a7fb5">`)
	for _, f := range n.Facts {
		vals := make([]string, len(f.Values))
		for i, v := range f.Values {
			vals[i] = e(v)
			if f.Label == "Link" {
				vals[i] = `<a href="` + e(v) + `" rel="noreferrer noopener">` + e(v) + `</a>`
			}
		}
		line(`<tr><td style="padding:3px 12px;vertical-align:top;opacity:.75;white-space:nowrap">` + e(f.Label) + `</td><td style="padding:3px 0;vertical-align:top">` + strings.Join(vals, "<br>\r\n") + `</td></tr>`)
	}
	line(`</table>`)
	if n.Text != "" {
		line(`<p style="white-space:pre-wrap;margin:16px 0 0">` + strings.ReplaceAll(e(n.Text), "\n", "\r\n") + `</p>`)
	}
	if n.Hint != "" {
		line(`<p style="margin:16px 0 0">` + e(n.Hint) + `</p>`)
	}
	if len(actions) > 0 {
		line(`<p style="margin:16px 0 0">` + e(actionsLead) + `</p>`)
		b.WriteString(`<p style="margin:8px 0 0">`)
		for _, a := range actions {
			line(`<a href="` + e(a.URL) + `" rel="noreferrer noopener" style="display:inline-block;padding:6px 14px;margin-right:8px;border:1px solid #4a7fb5;border-radius:4px;text-decoration:none">` + e(cleanLine(a.Label, 60)) + `</a>`)
		}
		line(`</p>`)
		line(`<p style="margin:8px 0 0;font-size:13px;opacity:.75">` + e(actionsFoot) + `</p>`)
	}
	foot := make([]string, len(n.Foot))
	for i, f := range n.Foot {
		foot[i] = e(f)
	}
	line(`<p style="margin:20px 0 0;font-size:13px;opacity:.75">` + strings.Join(foot, "<br>\r\n") + `</p>`)
	line(`</body></html>`)
	return b.String()
}
