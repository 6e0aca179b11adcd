package imip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/emersion/go-msgauth/dmarc"
	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"golang.org/x/net/publicsuffix"
)

// Verifier finds out who wrote a mail.
type Verifier struct {
	// LookupTXT asks the DNS; a temporary failure must be a net.Error that is
	// Temporary or a context error. Required.
	LookupTXT func(ctx context.Context, name string) ([]string, error)
	// AuthServ is the authserv-id whose Authentication-Results are believed,
	// "" for none. The mail server of that name must remove such fields from
	// what comes from outside (RFC 8601 §5).
	AuthServ string
	// Timeout of one DNS question: 5 s.
	Timeout time.Duration
}

// Evidence is what stands behind the From of a mail.
type Evidence struct {
	From  calendar.Address // mailto: form of the one From address
	Proof scheduling.Proof // Domain is that of From
	How   string           // for the trace: "dkim d=example.org", "authentication-results dmarc"
}

// maxSignatures is how many DKIM signatures of a mail are looked at; who sends
// more hides nothing behind them that we would need.
const maxSignatures = 8

// Verify proves the domain of the From address: by a DKIM signature that we
// check ourselves and that is aligned with it as DMARC demands (RFC 7489 §3.1.1),
// or, when believeHeader says that the mail came in through our own mail
// server, by the topmost Authentication-Results of the trusted server.
// ErrUnproven is final, ErrTemporary asks to be tried again. Evidence.From is
// set whenever the mail has exactly one.
func (v *Verifier) Verify(ctx context.Context, m *Mail, believeHeader bool) (Evidence, error) {
	var ev Evidence
	// RFC 7489 §6.6.1: a mail with several From addresses cannot be judged.
	if m.froms != 1 || len(m.From) != 1 {
		return ev, fmt.Errorf("%w: %d From addresses", ErrUnproven, len(m.From))
	}
	from := calendar.Address("mailto:" + m.From[0].Email)
	domain := from.Domain()
	if from.Key() == "" || domain == "" {
		return ev, fmt.Errorf("%w: From is not an address", ErrUnproven)
	}
	ev.From = from
	if m.ambiguous {
		return ev, fmt.Errorf("%w: a header field stands there twice", ErrUnproven)
	}
	how, errDKIM := v.dkim(ctx, m, domain)
	if errDKIM == nil {
		ev.Proof, ev.How = scheduling.Proof{Domain: domain}, how
		return ev, nil
	}
	if believeHeader && v.AuthServ != "" {
		how, err := v.header(m, domain)
		if err == nil {
			ev.Proof, ev.How = scheduling.Proof{Domain: domain, Weak: true}, how
			return ev, nil
		}
		if !errors.Is(errDKIM, ErrTemporary) {
			errDKIM = errors.Join(errDKIM, err)
		}
	}
	return ev, errDKIM
}

// dkim looks for a valid, aligned signature that binds what we are going to
// read.
func (v *Verifier) dkim(ctx context.Context, m *Mail, domain string) (string, error) {
	if fieldValue(m.header, "DKIM-Signature") == "" {
		return "", fmt.Errorf("%w: not signed", ErrUnproven)
	}
	lookup := func(name string) ([]string, error) { return v.lookup(ctx, name) }
	verifs, err := dkim.VerifyWithOptions(bytes.NewReader(m.Raw), &dkim.VerifyOptions{LookupTXT: lookup, MaxVerifications: maxSignatures})
	if err != nil && !errors.Is(err, dkim.ErrTooManySignatures) {
		return "", fmt.Errorf("%w: %v", ErrUnproven, err)
	}
	var reasons []string
	var later, errStrict error
	strict, asked := false, false
	for _, s := range verifs {
		d := calendar.Address("mailto:x@" + s.Domain).Domain()
		if !aligned(d, domain, false) {
			reasons = append(reasons, fmt.Sprintf("signed by %.80q", s.Domain))
			continue
		}
		if s.Err != nil {
			if dkim.IsTempFail(s.Err) || ctx.Err() != nil {
				later = s.Err
			}
			reasons = append(reasons, s.Err.Error())
			continue
		}
		if d != domain {
			if !asked {
				asked = true
				strict, errStrict = v.strict(ctx, domain)
			}
			if errStrict != nil {
				later = errStrict
				reasons = append(reasons, errStrict.Error())
				continue
			}
			if strict {
				reasons = append(reasons, "alignment must be strict")
				continue
			}
		}
		if !bindsBody(m, s.HeaderKeys) {
			reasons = append(reasons, "Content-Type is not signed")
			continue
		}
		return "dkim d=" + d, nil
	}
	text := strings.Join(reasons, "; ")
	if later != nil {
		return "", fmt.Errorf("%w: %.300s", ErrTemporary, text)
	}
	return "", fmt.Errorf("%w: %.300s", ErrUnproven, text)
}

// bindsBody tells whether the signature fixes how the body is to be read
// ("the part that was authenticated is the part applied", A35).
func bindsBody(m *Mail, signed []string) bool {
	return m.anchored || slices.ContainsFunc(signed, func(k string) bool { return strings.EqualFold(k, "Content-Type") })
}

// strict reports whether the domain's DMARC record wants strict DKIM alignment
// (RFC 7489 §6.3, adkim). No record means relaxed.
func (v *Verifier) strict(ctx context.Context, domain string) (bool, error) {
	names := []string{domain}
	if org := orgDomain(domain); org != domain {
		names = append(names, org)
	}
	for _, name := range names {
		txts, err := v.lookup(ctx, "_dmarc."+name)
		if err != nil {
			var ne net.Error
			if errors.As(err, &ne) && (ne.Timeout() || isTemporary(err)) {
				return false, fmt.Errorf("DMARC record of %s: %w", name, err)
			}
			continue
		}
		for _, txt := range txts {
			if rec, err := dmarc.Parse(txt); err == nil && strings.HasPrefix(strings.TrimSpace(txt), "v=DMARC1") {
				return rec.DKIMAlignment == dmarc.AlignmentStrict, nil
			}
		}
	}
	return false, nil
}

func isTemporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

func (v *Verifier) lookup(ctx context.Context, name string) ([]string, error) {
	d := v.Timeout
	if d <= 0 {
		d = 5 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	txts, err := v.LookupTXT(ctx, name)
	if err != nil && ctx.Err() != nil {
		return nil, &net.DNSError{Err: err.Error(), Name: name, IsTimeout: true, IsTemporary: true}
	}
	if err != nil && isTemporary(err) { // the DKIM verifier looks at the outermost error only
		return nil, &net.DNSError{Err: err.Error(), Name: name, IsTemporary: true}
	}
	return txts, err
}

// header reads the topmost Authentication-Results. Further ones, of whatever
// server, are not looked at: who stands below the top may be anybody.
func (v *Verifier) header(m *Mail, domain string) (string, error) {
	all := fieldValues(m.header, "Authentication-Results")
	if len(all) == 0 {
		return "", fmt.Errorf("%w: no Authentication-Results", ErrUnproven)
	}
	ar, err := ParseAuthResults(all[0])
	if err != nil {
		return "", fmt.Errorf("%w: %v", ErrUnproven, err)
	}
	if ar.Server != strings.ToLower(v.AuthServ) {
		return "", fmt.Errorf("%w: Authentication-Results of %.80q", ErrUnproven, ar.Server)
	}
	// RFC 8601 §2.3: a DMARC verdict is about the From domain itself.
	for _, r := range ar.Results {
		if r.Method == "dmarc" && r.Result == "fail" {
			return "", fmt.Errorf("%w: %s says dmarc=fail", ErrUnproven, ar.Server)
		}
	}
	for _, want := range []struct{ method, prop string }{
		{"dmarc", "header.from"}, {"dkim", "header.d"}, {"dkim", "header.i"}, {"spf", "smtp.mailfrom"}, {"spf", "smtp.mail"},
	} {
		for _, r := range ar.Results {
			if r.Method != want.method || r.Result != "pass" || r.Props[want.prop] == "" {
				continue
			}
			of := r.Props[want.prop]
			if !strings.Contains(of, "@") {
				of = "x@" + of
			} else if of[0] == '@' {
				of = "x" + of
			}
			if aligned(calendar.Address("mailto:"+of).Domain(), domain, want.method == "dmarc") {
				return "authentication-results " + ar.Server + " " + r.Method, nil
			}
		}
	}
	return "", fmt.Errorf("%w: %s vouches for nothing of %s", ErrUnproven, ar.Server, domain)
}

// aligned compares a signing domain with the From domain: equal, or in relaxed
// mode of the same organization (RFC 7489 §3.1).
func aligned(signer, from string, strict bool) bool {
	if signer == "" || from == "" {
		return false
	}
	if signer == from {
		return true
	}
	return !strict && orgDomain(signer) == orgDomain(from) && orgDomain(from) != ""
}

// orgDomain is the organizational domain (RFC 7489 §3.2), "" for a public
// suffix, which speaks for nobody below it.
func orgDomain(domain string) string {
	org, err := publicsuffix.EffectiveTLDPlusOne(domain)
	if err != nil {
		return ""
	}
	return org
}

// Speaks checks that from may say what the message says (RFC 6047 §2.2.1 and
// §2.2.2, RFC 5546 §6): an organizer's method needs from to be the ORGANIZER,
// an attendee's method needs him among the ATTENDEEs of every component.
// SENT-BY counts for nothing here: anybody can write it.
func Speaks(o *calendar.Object, from calendar.Address) error {
	key := from.Key()
	if key == "" {
		return fmt.Errorf("%w: no sender", ErrSpeaker)
	}
	comps := o.Components()
	if len(comps) == 0 {
		return fmt.Errorf("%w: nothing said", ErrSpeaker)
	}
	for _, c := range comps {
		if AttendeeMethod(o.Method()) {
			if !slices.ContainsFunc(c.All("ATTENDEE"), func(p *calendar.Property) bool { return calendar.Address(p.Value()).Key() == key }) {
				return fmt.Errorf("%w: %s from %.100s who is not its ATTENDEE", ErrSpeaker, o.Method(), from.Email())
			}
			continue
		}
		if calendar.Address(c.Value("ORGANIZER")).Key() != key {
			return fmt.Errorf("%w: %s from %.100s who is not its ORGANIZER", ErrSpeaker, o.Method(), from.Email())
		}
	}
	return nil
}

// AttendeeMethod reports whether a method is spoken by attendees to the
// organizer (RFC 5546 §1.4).
func AttendeeMethod(method string) bool {
	switch method {
	case "REPLY", "COUNTER", "REFRESH":
		return true
	}
	return false
}
