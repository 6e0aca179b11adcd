package acl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// ErrEncoding is wrapped by every error of Encode and Decode.
var ErrEncoding = errors.New("acl: not a stored access control list")

// maxEncoded bounds what Decode reads.
const maxEncoded = 1 << 20

// storedACE is the stored form of an entry. Names are written, not bits, so a list
// outlives a change of the constants.
type storedACE struct {
	To        string `json:"to"`
	Grant     string `json:"grant,omitempty"` // local names, separated by blanks
	Deny      string `json:"deny,omitempty"`
	Protected bool   `json:"protected,omitempty"`
	Inherited bool   `json:"inherited,omitempty"`
}

var kindNames = map[Kind]string{
	Owner: "owner", Self: "self", Everyone: "all",
	Authenticated: "authenticated", Unauthenticated: "unauthenticated",
	ProxyRead: "proxy-read", ProxyWrite: "proxy-write",
}

// Encode writes a list as compact JSON for storage, such as
//
//	[{"to":"owner","grant":"all","protected":true},{"to":"account:7","grant":"read bind"}]
//
// It fails when an entry cannot be stored: a principal without an id, or privileges
// without a name.
func Encode(aces []ACE) ([]byte, error) {
	out := make([]storedACE, len(aces))
	for i, a := range aces {
		s := storedACE{Protected: a.Protected, Inherited: a.Inherited}
		var ok bool
		if s.To, ok = principalText(a.Principal); !ok {
			return nil, fmt.Errorf("%w: entry %d has no principal", ErrEncoding, i)
		}
		if !a.Grant.Nameable() || !a.Deny.Nameable() || a.Grant|a.Deny == 0 {
			return nil, fmt.Errorf("%w: entry %d has no privileges that can be named", ErrEncoding, i)
		}
		s.Grant, s.Deny = setText(a.Grant), setText(a.Deny)
		out[i] = s
	}
	b, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEncoding, err)
	}
	return b, nil
}

// Decode reads what Encode wrote. No octets are an empty list. Everything it does
// not know is an error: an entry half understood could open too much.
func Decode(data []byte) ([]ACE, error) {
	if len(data) == 0 {
		return nil, nil
	}
	if len(data) > maxEncoded {
		return nil, fmt.Errorf("%w: %d octets", ErrEncoding, len(data))
	}
	var in []storedACE
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEncoding, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("%w: something follows the list", ErrEncoding)
	}
	aces := make([]ACE, 0, len(in))
	for i, s := range in {
		a := ACE{Protected: s.Protected, Inherited: s.Inherited}
		var okTo, okGrant, okDeny bool
		a.Principal, okTo = parsePrincipal(s.To)
		a.Grant, okGrant = parseSet(s.Grant)
		a.Deny, okDeny = parseSet(s.Deny)
		if !okTo || !okGrant || !okDeny || a.Grant|a.Deny == 0 {
			return nil, fmt.Errorf("%w: entry %d", ErrEncoding, i)
		}
		aces = append(aces, a)
	}
	return aces, nil
}

func principalText(p Principal) (string, bool) {
	switch p.Kind {
	case Account:
		return "account:" + strconv.FormatInt(p.ID, 10), p.ID > 0
	case Group:
		return "group:" + strconv.FormatInt(p.ID, 10), p.ID > 0
	case Property:
		// A local name has no blank.
		return "property:" + p.Property.Local + " " + p.Property.Space,
			p.Property.Local != "" && !strings.Contains(p.Property.Local, " ")
	}
	s, ok := kindNames[p.Kind]
	return s, ok
}

func parsePrincipal(s string) (Principal, bool) {
	if what, rest, ok := strings.Cut(s, ":"); ok {
		switch what {
		case "account", "group":
			p := Principal{Kind: Account}
			if what == "group" {
				p.Kind = Group
			}
			var err error
			p.ID, err = strconv.ParseInt(rest, 10, 64)
			return p, err == nil && p.ID > 0 && strconv.FormatInt(p.ID, 10) == rest
		case "property":
			local, space, ok := strings.Cut(rest, " ")
			return Principal{Kind: Property, Property: Name{space, local}}, ok && local != ""
		}
		return Principal{}, false
	}
	for k, name := range kindNames {
		if name == s {
			return Principal{Kind: k}, true
		}
	}
	return Principal{}, false
}

// setText lists the fewest names that make up a nameable set.
func setText(s Set) string {
	if s == All {
		return "all"
	}
	var out []string
	left := s
	for _, t := range trees {
		for _, p := range t.Children {
			if left.Has(p.Set) {
				out = append(out, p.Name.Local)
				left &^= p.Set
				continue
			}
			for _, c := range p.Children {
				if left.Has(c.Set) {
					out = append(out, c.Name.Local)
					left &^= c.Set
				}
			}
		}
	}
	return strings.Join(out, " ")
}

func parseSet(s string) (Set, bool) {
	var out Set
	for f := range strings.FieldsSeq(s) {
		p, ok := byLocal[f]
		if !ok {
			return 0, false
		}
		out |= p
	}
	return out, true
}
