package scheduling_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/federation/imip"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

// post is the mail of example.com: the transport that writes letters, a mail
// server that takes them, and the intake of what comes.
type post struct {
	net     *network // with its lock held: whom the mail server refuses
	w       *world
	gateway bool // answers come to the intake address
	signed  bool // example.com has a mail key
	out     *imip.Transport
	in      *imip.Intake
	letters []letter
}

type letter struct {
	to  string
	raw []byte
}

const authServ = "mx.example.com"

var mailKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

func newPost(w *world) *post {
	p := &post{net: w.net, w: w}
	rules := imip.Rules{From: imip.Mailbox{Name: "Kalends", Email: "calendar@example.com"}, Intake: "calendar@example.com", Domain: func(d string) imip.DomainRules {
		return imip.DomainRules{Local: d == "example.com", Gateway: p.gateway && d == "example.com"}
	}}
	tokens := &imip.Tokens{Store: imip.StoredTokens{DB: w.db}, Secret: bytes.Repeat([]byte("t"), 32)}
	who := imip.Accounts{DB: w.db}
	p.out = &imip.Transport{Rules: rules, Submit: p, Keys: p, Tokens: tokens, Limits: calendar.DefaultLimits(), Now: w.clock.Now, Actions: p.actions}
	p.in = &imip.Intake{Rules: rules, Directory: who, Tokens: tokens, Verifier: &imip.Verifier{AuthServ: authServ, LookupTXT: noRecord}, Receiver: w.svc,
		Quarantine: who, Policies: who, Bounces: imip.Returns{DB: w.db, Scheduling: w.svc}, Now: w.clock.Now, Log: slog.New(slog.DiscardHandler)}
	return p
}

func noRecord(_ context.Context, name string) ([]string, error) {
	return nil, &net.DNSError{Err: "no such record", Name: name, IsNotFound: true}
}

// MailKey implements imip.Keys.
func (p *post) MailKey(_ context.Context, domain string) (string, crypto.Signer, error) {
	if !p.signed || domain != "example.com" {
		return "", nil, nil
	}
	return "m1", mailKey, nil
}

func (p *post) actions(ctx context.Context, parcel scheduling.Parcel, to calendar.Address) ([]imip.Action, error) {
	token, err := p.w.svc.Link(ctx, parcel, to)
	if err != nil || token == "" {
		return nil, err
	}
	return []imip.Action{{Label: "Accept", URL: "https://cal.example.com/rsvp/" + token + "?a=accept"}}, nil
}

// Server implements imip.Sending.
func (p *post) Server() string { return "smtp.example.com" }

// Send implements imip.Sending: the mail server takes what it was not told to
// refuse.
func (p *post) Send(_ context.Context, _ string, to []string, msg []byte) ([]imip.SubmitResult, error) {
	var out []imip.SubmitResult
	for _, a := range to {
		r := imip.SubmitResult{Recipient: a, Code: 250, Text: "taken"}
		if code, err := strconv.Atoi(p.net.mode[a]); err == nil {
			r.Code, r.Text, r.Temporary, r.Err = code, "refused", code < 500, fmt.Errorf("%d refused", code)
		} else {
			p.letters = append(p.letters, letter{a, slices.Clone(msg)})
		}
		out = append(out, r)
	}
	return out, nil
}

// letter is the newest that came to an address.
func (s *script) letter(name string) []byte {
	to := address(name).Email()
	for _, l := range slices.Backward(s.w.post.letters) {
		if l.to == to {
			return l.raw
		}
	}
	s.fail("no letter came to %s", to)
	return nil
}

// head is a field of the newest letter to an address, unfolded; "none".
func (s *script) head(name, field string) string {
	head, _, _ := strings.Cut(string(s.letter(name)), "\r\n\r\n")
	for _, l := range strings.Split(strings.ReplaceAll(head, "\r\n ", " "), "\r\n") {
		if n, v, _ := strings.Cut(l, ":"); strings.EqualFold(n, field) {
			return strings.TrimSpace(v)
		}
	}
	return "none"
}

var inAngles = regexp.MustCompile(`<([^>]+)>`)

// mail: mail FILE to=A [unproven], mail FILE answers=A [unproven]: a mail comes
// in; answers: it goes where the newest letter to A wants answers, whose address
// stands as ANSWER-ADDRESS in FILE. It is proven by what our own mail server
// says, unless nobody vouches for it.
func (s *script) mail(f []string, opt map[string]string) {
	text := s.file(f[0])
	to := address(opt["to"]).Email()
	if who := opt["answers"]; who != "" {
		m := inAngles.FindStringSubmatch(s.head(who, "Reply-To"))
		if m == nil {
			m = inAngles.FindStringSubmatch(s.head(who, "From"))
		}
		to = m[1]
		text = strings.ReplaceAll(text, "ANSWER-ADDRESS", to)
	}
	if !slices.Contains(f, "unproven") {
		from := inAngles.FindStringSubmatch(text)
		text = "Authentication-Results: " + authServ + "; dmarc=pass header.from=" + calendar.Address("mailto:"+from[1]).Domain() + "\n" + text
	}
	errs := s.w.post.in.Deliver(bg, imip.Envelope{From: "sender@elsewhere.test", Recipients: []string{to}, BelieveHeader: true}, []byte(strings.ReplaceAll(text, "\n", "\r\n")))
	s.err = errs[0]
}

// linkError is what a link cannot do any more.
type linkError struct{ state scheduling.LinkState }

func (e linkError) Error() string {
	return "link-" + map[scheduling.LinkState]string{scheduling.LinkUsed: "used", scheduling.LinkStale: "stale", scheduling.LinkCancelled: "cancelled", scheduling.LinkGone: "gone", scheduling.LinkOver: "over"}[e.state]
}

var linkIn = regexp.MustCompile(`https://cal\.example\.com/rsvp/([a-z2-7]+)`)

// press: press ADDRESS PARTSTAT [letter=N]: who got the newest letter, or the N-th,
// follows its link and presses a button.
func (s *script) press(f []string, opt map[string]string) {
	raw := s.letter(f[0])
	if v := opt["letter"]; v != "" {
		n, err := strconv.Atoi(v)
		s.check(err)
		for _, l := range s.w.post.letters {
			if l.to == address(f[0]).Email() {
				if n--; n == 0 {
					raw = l.raw
				}
			}
		}
	}
	m := linkIn.FindSubmatch(bytes.ReplaceAll(raw, []byte("=\r\n"), nil))
	if m == nil {
		s.fail("the letter has no link")
	}
	view, next, err := s.w.svc.AnswerLink(bg, string(m[1]), f[1], "", "test")
	if s.err = err; err == nil && next == "" {
		s.err = linkError{view.State}
	}
}

// expectMail are the expectations about mail; false when what is none.
func (s *script) expectMail(what string, f []string) bool {
	switch what {
	case "letter": // letter ADDRESS FILE: the newest, octet by octet; lines end with CRLF
		text := string(s.letter(f[0]))
		if n := strings.Count(text, "\r\n"); n != strings.Count(text, "\n") || n != strings.Count(text, "\r") {
			s.fail("a line does not end with CRLF")
		}
		s.same(f[1], text)
	case "letters": // letters ADDRESS N: so far
		n := 0
		for _, l := range s.w.post.letters {
			if l.to == address(f[0]).Email() {
				n++
			}
		}
		s.equal(fmt.Sprint(n), f[1])
	case "head": // head ADDRESS FIELD VALUE|none: of the newest letter
		s.equal(s.head(f[0], f[1]), strings.Join(f[2:], " "))
	case "zone": // zone ADDRESS FILE: the VTIMEZONEs in the newest letter
		m, err := imip.Parse(s.letter(f[0]), imip.Limits{})
		s.check(errors.Join(err, m.Fault))
		var got []byte
		for _, z := range m.Object.ChildrenNamed("VTIMEZONE") {
			got = z.Append(got)
		}
		s.same(f[1], string(got))
	case "signed": // signed ADDRESS DOMAIN|none: what a receiving mail server proves of the newest letter
		s.equal(s.signed(f[0]), f[1])
	case "held": // held USER none|REASON...: mail that waits for its recipient's decision, oldest first
		var got []string
		for _, q := range slices.Backward(s.held(f[0])) {
			reason, _, _ := strings.Cut(q.Reason, ":")
			got = append(got, reason)
		}
		if len(got) == 0 {
			got = []string{"none"}
		}
		s.equal(strings.Join(got, " "), strings.Join(f[1:], " "))
	case "held-file": // held-file USER FILE: what the newest of them keeps as a file
		list := s.held(f[0])
		if len(list) == 0 {
			s.fail("nothing is held")
		}
		s.same(f[1], strings.TrimRight(list[0].File, "\r\n")+"\n")
	case "trace": // trace USER UID ADDRESS TEXT: the last step of the last attempt to tell him says TEXT
		s.trace(f)
	default:
		return false
	}
	return true
}

// same compares text octet by octet with a file of the archive, whose lines end
// with LF.
func (s *script) same(name, got string) {
	got = strings.ReplaceAll(got, "\r\n", "\n")
	if s.update {
		s.write(name, got)
	} else if want := s.file(name); want != got {
		s.fail("%s differs\n%s", name, difference(want, got))
	}
}

func (s *script) held(user string) []storage.Quarantined {
	list, err := s.w.db.ListQuarantine(bg, s.w.account(user).ID, 100)
	s.check(err)
	return list
}

func (s *script) signed(name string) string {
	m, err := imip.Parse(s.letter(name), imip.Limits{})
	s.check(err)
	record := "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(mailKey.Public().(ed25519.PublicKey))
	v := imip.Verifier{LookupTXT: func(ctx context.Context, name string) ([]string, error) {
		if name == "m1._domainkey.example.com" {
			return []string{record}, nil
		}
		return noRecord(ctx, name)
	}}
	ev, err := v.Verify(bg, m, false)
	if errors.Is(err, imip.ErrUnproven) {
		return "none"
	}
	s.check(err)
	return ev.Proof.Domain
}

func (s *script) trace(f []string) {
	list, err := s.w.db.DeliveriesTo(bg, s.w.account(f[0]).ID, f[1], address(f[2]).Key())
	s.check(err)
	if len(list) == 0 {
		s.fail("nothing was sent to him")
	}
	slices.SortFunc(list, func(a, b storage.Delivery) int { return int(a.Turn - b.Turn) })
	var attempts []struct{ Steps []scheduling.Step }
	trace := list[len(list)-1].Trace
	s.check(json.Unmarshal([]byte(trace), &attempts))
	if len(attempts) > 0 {
		if steps := attempts[len(attempts)-1].Steps; len(steps) > 0 && strings.Contains(steps[len(steps)-1].Text, strings.Join(f[3:], " ")) {
			return
		}
	}
	s.fail("the trace is %s", trace)
}

// mailCondition is the reply code of a mail that was refused, or what a link
// cannot do.
func mailCondition(err error) string {
	var e *smtp.SMTPError
	var l linkError
	switch {
	case errors.As(err, &e):
		return strconv.Itoa(e.Code)
	case errors.As(err, &l):
		return l.Error()
	}
	return ""
}
