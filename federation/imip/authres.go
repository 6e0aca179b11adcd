package imip

import (
	"fmt"
	"strings"
)

// AuthResults is an Authentication-Results field (RFC 8601 §2.2).
type AuthResults struct {
	Server  string // authserv-id, lower case
	Results []AuthResult
}

// AuthResult is the verdict of one method.
type AuthResult struct {
	Method string            // dkim, dmarc, spf, … lower case
	Result string            // pass, fail, none, … lower case
	Props  map[string]string // "header.d" -> value; names in lower case; the first of a name counts
}

const maxAuthResults = 50

// ParseAuthResults reads the value of an Authentication-Results field.
// Comments are passed over wherever they stand and quoted strings are taken as
// they are, so that neither can smuggle in a result. A result that does not
// follow the grammar ends the reading with an error: half a verdict is none.
func ParseAuthResults(value string) (AuthResults, error) {
	var out AuthResults
	if len(value) > 16<<10 {
		return out, fmt.Errorf("%w: Authentication-Results", ErrTooBig)
	}
	s := authScanner{s: value}
	id, _ := s.word()
	if id == "" {
		return out, fmt.Errorf("%w: Authentication-Results without a server", ErrMalformed)
	}
	out.Server = strings.ToLower(id)
	if v, ok := s.word(); ok && v != "1" { // RFC 8601 §2.2 authres-version
		return out, fmt.Errorf("%w: Authentication-Results of version %.10q", ErrMalformed, v)
	}
	for {
		s.blanks()
		if s.done() {
			return out, s.err()
		}
		if !s.take(';') {
			return out, fmt.Errorf("%w: Authentication-Results at %d", ErrMalformed, s.i)
		}
		s.blanks()
		if s.done() {
			return out, s.err()
		}
		r, none, err := s.result()
		if err != nil {
			return out, err
		}
		if none {
			continue
		}
		if len(out.Results) == maxAuthResults {
			return out, fmt.Errorf("%w: Authentication-Results", ErrTooBig)
		}
		out.Results = append(out.Results, r)
	}
}

type authScanner struct {
	s      string
	i      int
	broken bool
}

func (s *authScanner) done() bool { return s.i >= len(s.s) }

func (s *authScanner) err() error {
	if s.broken {
		return fmt.Errorf("%w: Authentication-Results with an open comment or string", ErrMalformed)
	}
	return nil
}

func (s *authScanner) take(c byte) bool {
	if !s.done() && s.s[s.i] == c {
		s.i++
		return true
	}
	return false
}

// blanks passes over white space and comments, which may be nested
// (RFC 5322 §3.2.2).
func (s *authScanner) blanks() {
	depth := 0
	for ; s.i < len(s.s); s.i++ {
		switch c := s.s[s.i]; {
		case c == '(':
			depth++
		case depth > 0 && c == ')':
			depth--
		case depth > 0 && c == '\\':
			s.i++
		case depth > 0, c == ' ', c == '\t', c == '\r', c == '\n':
		default:
			return
		}
	}
	s.i = len(s.s)
	if depth > 0 {
		s.broken = true
	}
}

// word reads a token or a quoted string after blanks.
func (s *authScanner) word() (string, bool) {
	s.blanks()
	if s.take('"') {
		var b strings.Builder
		for ; s.i < len(s.s); s.i++ {
			switch c := s.s[s.i]; c {
			case '"':
				s.i++
				return b.String(), true
			case '\\':
				if s.i++; s.i < len(s.s) {
					b.WriteByte(s.s[s.i])
				}
			default:
				b.WriteByte(c)
			}
		}
		s.broken = true
		return "", false
	}
	start := s.i
	for s.i < len(s.s) && strings.IndexByte(" \t\r\n;=()\"", s.s[s.i]) < 0 {
		s.i++
	}
	return s.s[start:s.i], s.i > start
}

// result reads "method[/version]=result [reason=…] [ptype.property=value]…" or
// the lone "none".
func (s *authScanner) result() (r AuthResult, none bool, err error) {
	bad := func() (AuthResult, bool, error) {
		return AuthResult{}, false, fmt.Errorf("%w: Authentication-Results at %d", ErrMalformed, s.i)
	}
	method, _ := s.word()
	if method == "" || method[0] == '/' {
		return bad()
	}
	s.blanks()
	if !s.take('=') {
		if strings.EqualFold(method, "none") && (s.done() || s.s[s.i] == ';') {
			return r, true, s.err()
		}
		return bad()
	}
	method, _, _ = strings.Cut(strings.ToLower(method), "/")
	value, _ := s.word()
	if value == "" {
		return bad()
	}
	r = AuthResult{Method: method, Result: strings.ToLower(value), Props: map[string]string{}}
	for {
		s.blanks()
		if s.done() || s.s[s.i] == ';' {
			if s.broken {
				return bad()
			}
			return r, false, nil
		}
		name, ok := s.word()
		if !ok {
			return bad()
		}
		s.blanks()
		if !s.take('=') {
			return bad()
		}
		value, ok := s.value()
		if !ok {
			return bad()
		}
		if name = strings.ToLower(name); len(r.Props) < 20 {
			if _, dup := r.Props[name]; !dup {
				r.Props[name] = value
			}
		}
	}
}

// value reads a property value: a token that may hold "=" (header.b= values
// are base64) or a quoted string.
func (s *authScanner) value() (string, bool) {
	s.blanks()
	if !s.done() && s.s[s.i] == '"' {
		return s.word()
	}
	start := s.i
	for s.i < len(s.s) && strings.IndexByte(" \t\r\n;()\"", s.s[s.i]) < 0 {
		s.i++
	}
	return s.s[start:s.i], s.i > start
}
