package ischedule

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"mime"
	"strings"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/federation/dkim"
)

// Envelope is what the headers of a POST say (WD 8.1, WD 9): who speaks, to
// whom, and what kind of message the body claims to be. Nothing in it is
// verified yet.
type Envelope struct {
	Originator calendar.Address   // as received
	Recipients []calendar.Address // distinct, in request order, as received
	MessageID  string             // "" when absent
	Component  string             // component= of Content-Type, upper case, "" when absent
	Method     string             // method= of Content-Type, upper case, "" when absent
}

// DefaultMaxRecipients bounds the distinct recipients of one request.
const DefaultMaxRecipients = 100

// ReadEnvelope checks the headers of a request in the order in which a
// receiver reports errors: version, content type, originator, recipients.
// Blanks around commas, empty list elements, several Recipient headers and
// repeated addresses are accepted. maxRecipients 0 means DefaultMaxRecipients.
// The error is an *Error.
func ReadEnvelope(headers []dkim.Header, maxRecipients int) (Envelope, error) {
	var env Envelope
	if maxRecipients <= 0 {
		maxRecipients = DefaultMaxRecipients
	}

	// WD 9.1: a list of versions, ours must be among them.
	if !hasVersion(values(headers, headerVersion)) {
		return env, refuse(VersionNotSupported, "iSchedule-Version is absent or does not name %s", Version)
	}

	// WD 8.1, RFC 5545 §8.1.
	var err error
	if env.Component, env.Method, err = readContentType(values(headers, headerContentType)); err != nil {
		return env, &Error{Condition: InvalidCalendarDataType, Err: err}
	}

	// WD 9.4: exactly one header with one address. A comma cannot stand in an
	// address here, so any comma makes it a list.
	origs := values(headers, headerOriginator)
	if strings.TrimSpace(strings.Join(origs, "")) == "" {
		return env, refuse(OriginatorMissing, "no Originator")
	}
	if len(origs) > 1 || strings.Contains(origs[0], ",") {
		return env, refuse(TooManyOriginators, "more than one Originator")
	}
	env.Originator = calendar.Address(strings.TrimSpace(origs[0]))
	if !usableAddress(env.Originator) {
		return env, refuse(OriginatorInvalid, "Originator is not an address with a domain")
	}

	// WD 9.5: one or more headers, each a comma list.
	seen := make(map[string]bool)
	for _, v := range values(headers, headerRecipient) {
		for part := range strings.SplitSeq(v, ",") {
			part = strings.TrimSpace(part)
			if part == "" {
				continue
			}
			a := calendar.Address(part)
			key := a.Key()
			if key == "" {
				key = part
			}
			if seen[key] {
				continue
			}
			if len(seen) >= maxRecipients {
				return env, refuse(MaxRecipients, "more than %d recipients", maxRecipients)
			}
			seen[key] = true
			env.Recipients = append(env.Recipients, a)
		}
	}
	if len(env.Recipients) == 0 {
		return env, refuse(RecipientMissing, "no Recipient")
	}

	env.MessageID = strings.TrimSpace(strings.Join(values(headers, headerMessageID), ","))
	if len(env.MessageID) > maxMessageID {
		sum := sha256.Sum256([]byte(env.MessageID))
		env.MessageID = "sha256:" + hex.EncodeToString(sum[:])
	}
	return env, nil
}

// maxMessageID is the longest id that is kept as it came: the table of what was
// received has it in its key.
const maxMessageID = 500

// values are the values of all headers of that name, in order.
func values(headers []dkim.Header, name string) []string {
	var out []string
	for _, h := range headers {
		if strings.EqualFold(strings.TrimSpace(h.Name), name) {
			out = append(out, h.Value)
		}
	}
	return out
}

func hasVersion(lists []string) bool {
	for _, list := range lists {
		for v := range strings.SplitSeq(list, ",") {
			if strings.TrimSpace(v) == Version {
				return true
			}
		}
	}
	return false
}

// usableAddress tells whether an address can speak: a mail address whose
// domain can stand in DNS. Address literals cannot be aligned with a signing
// domain, so they are no originators.
func usableAddress(a calendar.Address) bool {
	if strings.ContainsFunc(string(a), func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return false
	}
	return a.IsMailto() && a.Key() != "" && validDomain(a.Domain())
}

// validDomain accepts LDH host names of at least two labels, in the A-label
// form of calendar.Address.Domain. A last label of digits is an IP address,
// not a name.
func validDomain(d string) bool {
	if len(d) > 253 || !strings.Contains(d, ".") {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(d, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := 0; i < len(label); i++ {
			if c := label[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
				return false
			}
		}
		last = label
	}
	return strings.Trim(last, "0123456789") != ""
}

var errContentType = errors.New("content type")

// readContentType reads text/calendar with its component and method
// parameters. Both are compared with the body later; here a missing one is
// "". The charset is UTF-8 when absent (RFC 5545 §3.1.4).
func readContentType(vals []string) (component, method string, err error) {
	if len(vals) != 1 {
		return "", "", fmt.Errorf("%w: %d Content-Type headers", errContentType, len(vals))
	}
	typ, params, err := mime.ParseMediaType(vals[0])
	if err != nil {
		return "", "", fmt.Errorf("%w: %v", errContentType, err)
	}
	if typ != "text/calendar" {
		return "", "", fmt.Errorf("%w: %q is not supported", errContentType, typ)
	}
	switch strings.ToLower(params["charset"]) {
	case "", "utf-8", "utf8", "us-ascii":
	default:
		return "", "", fmt.Errorf("%w: charset %q is not supported", errContentType, params["charset"])
	}
	return strings.ToUpper(params["component"]), strings.ToUpper(params["method"]), nil
}

// contentType is the Content-Type of a message we send: parameters unquoted,
// one blank after each semicolon, the form every known receiver accepts.
func contentType(component, method string) string {
	return "text/calendar; charset=utf-8; component=" + component + "; method=" + method
}

// recipientList joins addresses for one Recipient header in sender form: no
// blank beside a comma, a comma inside an address percent-encoded.
func recipientList(rs []calendar.Address) string {
	parts := make([]string, len(rs))
	for i, r := range rs {
		parts[i] = headerAddress(r)
	}
	return strings.Join(parts, ",")
}

// headerAddress writes an address for a header: a bare one gets its scheme,
// octets that cannot stand there are percent-encoded.
func headerAddress(a calendar.Address) string {
	s := strings.TrimSpace(string(a))
	if a.IsMailto() {
		if i := strings.IndexByte(s, ':'); i >= 0 && strings.EqualFold(s[:i], "mailto") {
			s = s[i+1:]
		}
		s = "mailto:" + s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c == ',' || c >= 0x7f {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
