package discover

import (
	"net/url"
	"slices"
	"strings"
)

// OrderSRV returns the records in the order in which they are to be tried:
// priority ascending, within a priority a draw by weight. intn(n) returns a
// number in [0, n).
//
// RFC 2782, "Weight".
func OrderSRV(records []SRV, intn func(n int) int) []SRV {
	rest := slices.Clone(records)
	// Records of weight 0 stand first in their priority, so that they are
	// drawn only by the number 0.
	slices.SortStableFunc(rest, func(a, b SRV) int {
		if a.Priority != b.Priority {
			return int(a.Priority) - int(b.Priority)
		}
		return min(int(a.Weight), 1) - min(int(b.Weight), 1)
	})
	out := make([]SRV, 0, len(rest))
	for len(rest) > 0 {
		group, sum := 0, 0
		for group < len(rest) && rest[group].Priority == rest[0].Priority {
			sum += int(rest[group].Weight)
			group++
		}
		for ; group > 0; group-- {
			pick, draw := 0, intn(sum+1)
			for running := int(rest[0].Weight); running < draw && pick < group-1; {
				pick++
				running += int(rest[pick].Weight)
			}
			sum -= int(rest[pick].Weight)
			out = append(out, rest[pick])
			rest = slices.Delete(rest, pick, pick+1)
		}
	}
	return out
}

// TXTPath returns the value of `path=` in the TXT records beside an SRV record,
// or "" when there is none that is valid: one string is one pair, the key has
// no case, the first one wins even when it is bad.
//
// ischedule §2.2; RFC 6763 §6.4.
func TXTPath(records [][]string) string {
	for _, record := range records {
		for _, pair := range record {
			key, value, _ := strings.Cut(pair, "=")
			if !strings.EqualFold(key, "path") {
				continue
			}
			if validPath(value) {
				return value
			}
			return ""
		}
	}
	return ""
}

// validPath: one leading slash, nothing that would end the path or the request
// line, and a URL made of it must keep its host.
func validPath(p string) bool {
	if !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") {
		return false
	}
	for i := 0; i < len(p); i++ {
		if c := p[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`?#\"<>^{|}`+"`", c) >= 0 {
			return false
		}
	}
	u, err := url.Parse("https://host" + p)
	return err == nil && u.Host == "host" && u.EscapedPath() == p
}

// unescape undoes the zone file escapes (\DDD, \X) in which the DNS library
// returns the strings of TXT records (RFC 1035 §5.1).
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 >= len(s) {
			out = append(out, s[i])
			continue
		}
		i++
		if i+2 < len(s) && isDigit(s[i]) && isDigit(s[i+1]) && isDigit(s[i+2]) {
			out = append(out, (s[i]-'0')*100+(s[i+1]-'0')*10+(s[i+2]-'0'))
			i += 2
			continue
		}
		out = append(out, s[i])
	}
	return string(out)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
