package imip

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseAuthResults(t *testing.T) {
	t.Parallel()
	p := func(kv ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = kv[i+1]
		}
		return m
	}
	for value, want := range map[string]*AuthResults{
		"mx.alpha.test; none": {Server: "mx.alpha.test"},
		"MX.alpha.test 1 ; dkim=pass (2048-bit key; unprotected) header.d=mail.test header.i=@mail.test header.b=a+b/c=": {
			Server: "mx.alpha.test", Results: []AuthResult{{"dkim", "pass", p("header.d", "mail.test", "header.i", "@mail.test", "header.b", "a+b/c=")}}},
		"mx; spf=Pass (sender ok) smtp.mailfrom=dave@mail.test; dmarc=pass (p=none dis=none) header.from=mail.test": {
			Server: "mx", Results: []AuthResult{{"spf", "pass", p("smtp.mailfrom", "dave@mail.test")}, {"dmarc", "pass", p("header.from", "mail.test")}}},
		`mx; dkim=fail reason="bad; dkim=pass header.d=evil.test" header.d=mail.test`: {
			Server: "mx", Results: []AuthResult{{"dkim", "fail", p("reason", "bad; dkim=pass header.d=evil.test", "header.d", "mail.test")}}},
		"mx; dkim=fail (; dkim=pass header.d=evil.test (nested) \\) ) header.d=mail.test;": {
			Server: "mx", Results: []AuthResult{{"dkim", "fail", p("header.d", "mail.test")}}},
		"mx; dkim/1 = pass header.d = mail.test header.d=evil.test": {
			Server: "mx", Results: []AuthResult{{"dkim", "pass", p("header.d", "mail.test")}}},
		"":                             nil,
		"mx 2; dkim=pass":              nil,
		"mx; dkim":                     nil,
		"mx; dkim=pass header.d":       nil,
		"mx; dkim=pass (open":          nil,
		`mx; dkim=pass reason="open`:   nil,
		"mx; dkim=pass; =pass":         nil,
		"mx dkim=pass header.d=a.test": nil,
	} {
		got, err := ParseAuthResults(value)
		if want == nil {
			if err == nil {
				t.Errorf("%s: read as %+v", value, got)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", value, err)
		} else if d := cmp.Diff(*want, got); d != "" {
			t.Errorf("%s:\n%s", value, d)
		}
	}
	if _, err := ParseAuthResults("mx;" + strings.Repeat("a=b;", 100)); !errors.Is(err, ErrTooBig) {
		t.Errorf("100 results: %v", err)
	}
}

func FuzzAuthResults(f *testing.F) {
	for _, s := range []string{
		"mx; none", "mx 1; dkim=pass (a(b)c) header.d=x.test", `mx; spf=fail reason="x\"y" smtp.mailfrom=a@b`, "mx; a=b; ;", "(", `"`, "mx;a=b c=\\",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ar, err := ParseAuthResults(s)
		if err != nil {
			return
		}
		if ar.Server == "" || len(ar.Results) > maxAuthResults {
			t.Fatalf("%+v", ar)
		}
		for _, r := range ar.Results {
			if r.Method == "" || r.Result == "" {
				t.Fatalf("%+v", r)
			}
		}
	})
}
