package dkim

import (
	"bytes"
	"crypto/sha256"
	"sort"
	"strings"
)

// Header is one header field as it stands in the request, in order of
// appearance. Name keeps the spelling of the sender where the caller knows it.
// Value may be folded (CRLF and a blank) or already joined, and may have
// blanks around it.
type Header struct{ Name, Value string }

// HeadersFromMap lists the fields of an http.Header. Values of one name keep
// their order, which is all that the canonicalizations need; names are sorted.
// host (http.Request.Host) is added as Host, unless empty.
func HeadersFromMap(h map[string][]string, host string) []Header {
	names := make([]string, 0, len(h))
	for n := range h {
		names = append(names, n)
	}
	sort.Strings(names)
	out := make([]Header, 0, len(names)+2)
	if host != "" {
		out = append(out, Header{"Host", host})
	}
	for _, n := range names {
		if host != "" && strings.EqualFold(n, "Host") {
			continue
		}
		for _, v := range h[n] {
			out = append(out, Header{n, v})
		}
	}
	return out
}

// Canon names a header canonicalization.
type Canon string

const (
	// ISchedule combines all instances of a name (draft -05 §7.2.1).
	ISchedule Canon = "ischedule-relaxed"
	// Relaxed is RFC 6376 §3.4.2; the form of draft -02.
	Relaxed Canon = "relaxed"
	// Simple is RFC 6376 §3.4.1 as draft -01 peers emit it: `Name: value` in
	// the spelling of h=.
	Simple Canon = "simple"
	// SimpleHTTP is the undefined name that DAViCal gives to the same form,
	// with a body that is not canonicalized at all.
	SimpleHTTP Canon = "simple-http"
)

// CanonicalHeaders returns the octets that are signed: the fields named in h=
// in that order, then the DKIM-Signature with an empty b=, without a final
// CRLF. signature is the value of the DKIM-Signature field; when it is no tag
// list, it is taken as it is. A name in h= that the request lacks contributes
// nothing.
//
// ischedule §7.3; RFC 6376 §3.4, §3.7, §5.4.2.
func CanonicalHeaders(c Canon, h []Header, names []string, signature string) []byte {
	if tags, err := parseTags(signature); err == nil {
		signature = emptyB(signature, tags)
	}
	return canonicalHeaders(c, h, names, signature)
}

// emptyB deletes the value of b= with the white space around it.
func emptyB(value string, tags tagList) string {
	for _, t := range tags {
		if t.name == "b" {
			return value[:t.start] + value[t.end:]
		}
	}
	return value
}

func canonicalHeaders(c Canon, h []Header, names []string, signature string) []byte {
	size := len(signature) + 64
	for i := range h {
		if !strings.EqualFold(h[i].Name, "DKIM-Signature") {
			size += len(h[i].Name) + len(h[i].Value) + 4
		}
	}
	dst := make([]byte, 0, min(size, 64<<10))
	for i, name := range names {
		if c == ISchedule {
			dst = appendCombined(dst, h, name)
			continue
		}
		// RFC 6376 §5.4.2: instances are taken from the bottom, one per
		// occurrence of the name in h=.
		occurrence := 0
		for _, earlier := range names[:i] {
			if strings.EqualFold(earlier, name) {
				occurrence++
			}
		}
		if v, ok := fromBottom(h, name, occurrence); ok {
			dst = appendField(dst, c, name, v)
			dst = append(dst, '\r', '\n')
		}
	}
	if c == ISchedule {
		dst = append(dst, "dkim-signature:"...)
		return newSquasher(true).append(dst, signature)
	}
	return appendField(dst, c, "DKIM-Signature", signature)
}

// appendCombined writes all instances of name as one line (draft -05 §7.2.1).
func appendCombined(dst []byte, h []Header, name string) []byte {
	sq, found := newSquasher(true), false
	for i := range h {
		if !strings.EqualFold(h[i].Name, name) {
			continue
		}
		if found {
			dst = sq.append(dst, ",")
		} else {
			dst = append(append(dst, strings.ToLower(name)...), ':')
		}
		found = true
		dst = sq.append(dst, h[i].Value)
	}
	if found {
		dst = append(dst, '\r', '\n')
	}
	return dst
}

// appendField writes one field without its CRLF.
func appendField(dst []byte, c Canon, name, value string) []byte {
	if c == Relaxed {
		dst = append(append(dst, strings.ToLower(name)...), ':')
		return newSquasher(false).append(dst, value)
	}
	// ischedule §11: name in the spelling of h=, one blank, the value.
	return append(append(append(dst, name...), ": "...), trimFWS(value)...)
}

// fromBottom returns the n-th instance of name counted from the last one.
func fromBottom(h []Header, name string, n int) (string, bool) {
	for i := len(h) - 1; i >= 0; i-- {
		if strings.EqualFold(h[i].Name, name) {
			if n == 0 {
				return h[i].Value, true
			}
			n--
		}
	}
	return "", false
}

func countInstances(h []Header, name string) (n int) {
	for i := range h {
		if strings.EqualFold(h[i].Name, name) {
			n++
		}
	}
	return n
}

// squasher unfolds, makes one SP of every run of blanks and drops them at both
// ends and, for ischedule-relaxed, around commas.
type squasher struct {
	commas  bool
	pending bool // a run of blanks was seen and may become one SP
	drop    bool // nothing but the beginning or a comma was written last
}

func newSquasher(commas bool) *squasher { return &squasher{commas: commas, drop: true} }

func (q *squasher) append(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c > ',' && !q.pending { // neither a blank, a comma nor a fold
			dst, q.drop = append(dst, c), false
			continue
		}
		switch {
		case isBlank(c):
			q.pending = true
			continue
		case c == '\r' && i+1 < len(s) && s[i+1] == '\n':
			i++
			continue
		}
		comma := q.commas && c == ','
		if q.pending && !q.drop && !comma {
			dst = append(dst, ' ')
		}
		q.pending, q.drop = false, comma
		dst = append(dst, c)
	}
	return dst
}

// CanonicalBody is the body canonicalization "simple": all CRLF at the end
// become one, an empty body becomes CRLF; a bare LF is never touched. The
// result may share memory with body.
//
// RFC 6376 §3.4.3.
func CanonicalBody(body []byte) []byte {
	trimmed := trimBody(body)
	if len(trimmed)+2 <= len(body) {
		return body[:len(trimmed)+2]
	}
	return append(trimmed[:len(trimmed):len(trimmed)], '\r', '\n')
}

func trimBody(body []byte) []byte {
	for bytes.HasSuffix(body, []byte("\r\n")) {
		body = body[:len(body)-2]
	}
	return body
}

// bodyHash returns SHA-256 of the body and its length as canonicalized, without
// a copy of the body.
func bodyHash(c Canon, body []byte) (sum [sha256.Size]byte, length int) {
	if c == SimpleHTTP {
		return sha256.Sum256(body), len(body)
	}
	trimmed := trimBody(body)
	length = len(trimmed) + 2
	if length <= len(body) {
		return sha256.Sum256(body[:length]), length
	}
	hash := sha256.New()
	hash.Write(trimmed)
	hash.Write([]byte("\r\n"))
	hash.Sum(sum[:0])
	return sum, length
}
