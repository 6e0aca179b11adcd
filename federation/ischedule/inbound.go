package ischedule

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/federation/dkim"
	"github.com/kalends/kalends/scheduling"
)

// accept takes a POST through all checks, in the order in which a receiver
// reports errors, and hands it to the Receiver. What is learned on the way
// goes to v.
func (h *Handler) accept(w http.ResponseWriter, r *http.Request, now time.Time, v *Verdict) ([]Result, *Error) {
	headers := dkim.HeadersFromMap(r.Header, r.Host)

	// Rows 1 to 7: headers.
	env, err := ReadEnvelope(headers, h.cfg.Capabilities.MaxRecipients)
	v.MessageID = env.MessageID
	if err != nil {
		return nil, asError(err, OriginatorInvalid)
	}
	v.OriginatorDomain = env.Originator.Domain()
	// A content coding would put other octets under the body hash.
	for _, c := range r.Header.Values("Content-Encoding") {
		if c = strings.TrimSpace(c); c != "" && !strings.EqualFold(c, "identity") {
			return nil, refuse(InvalidCalendarDataType, "Content-Encoding %q", c)
		}
	}

	// Row 8: the body, never more than the limit of it.
	body, refusal := h.read(w, r)
	if refusal != nil {
		return nil, refusal
	}

	// Row 9: who signed.
	proof, once, refusal := h.verify(r, headers, body, env, now, v)
	if refusal != nil {
		return nil, refusal
	}

	// Row 10: who may speak.
	if refusal := h.admit(env, proof.Domain, now); refusal != nil {
		return nil, refusal
	}

	// Rows 11 to 14: what is said.
	msg, refusal := h.message(env, body)
	if refusal != nil {
		return nil, refusal
	}
	if msg.unsupported {
		return same(env.Recipients, "3.14;Unsupported capability"), nil
	}
	return h.deliver(r, env, msg.object, proof, once)
}

// asError gives err its *Error, or wraps it under a condition.
func asError(err error, c Condition) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Condition: c, Err: err}
}

// read gives the body as sent: transfer coding removed, nothing else.
func (h *Handler) read(w http.ResponseWriter, r *http.Request) ([]byte, *Error) {
	limit := h.cfg.Capabilities.MaxContentLength
	tooLarge := &Error{Condition: MaxContentLength, Close: true, Err: fmt.Errorf("body exceeds %d octets", limit)}
	if r.ContentLength > limit {
		return nil, tooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		var max *http.MaxBytesError
		if errors.As(err, &max) {
			return nil, tooLarge
		}
		return nil, &Error{Status: http.StatusBadRequest, Close: true, Err: fmt.Errorf("reading the body: %w", err)}
	}
	return body, nil
}

// onceKey is what a repeated request is recognized by.
type onceKey struct {
	domain, selector, signature, bodyHash, recipients string
}

// verify checks the signature and its alignment with the Originator. All
// failures look alike to the peer; only the log knows the reason.
func (h *Handler) verify(r *http.Request, headers []dkim.Header, body []byte, env Envelope, now time.Time, v *Verdict) (scheduling.Proof, onceKey, *Error) {
	domain := env.Originator.Domain()
	once := onceKey{recipients: recipientsDigest(env.Recipients)}

	if len(values(headers, headerSignature)) == 0 && h.cfg.Trusted != nil && h.cfg.Trusted(r, domain) {
		v.DKIM = dkim.None
		sum := sha256.Sum256(body)
		once.domain, once.bodyHash = domain, base64.StdEncoding.EncodeToString(sum[:])
		// Without a signature the content itself is the key.
		unsigned := sha256.Sum256([]byte("unsigned\n" + env.MessageID + "\n" + once.bodyHash + "\n" + once.recipients))
		once.signature = hex.EncodeToString(unsigned[:])
		return scheduling.Proof{Domain: domain, Weak: true}, once, nil
	}

	// Key lookups cost us network traffic, also while they are under way; a
	// network that keeps failing gets no more of them for a while.
	source := h.source(r)
	if wait := h.limits.begin(source, now); wait > 0 {
		return scheduling.Proof{}, once, &Error{Condition: VerificationFailed, Status: http.StatusTooManyRequests, RetryAfter: wait,
			Err: fmt.Errorf("too many failed verifications from %s", source)}
	}
	peer := h.cfg.Peer(domain)
	policy := dkim.Policy{
		Draft01:        peer.Dialect == DialectDraft01,
		PublicSuffix:   h.cfg.PublicSuffix,
		AllowedSigners: map[string][]string{domain: peer.Signers},
		AddressDomain:  func(a string) string { return calendar.Address(a).Domain() },
	}
	verdict, err := dkim.Verify(r.Context(), headers, body, now, h.cfg.Keys, policy)
	if err != nil && h.dialects != nil && !peer.DialectFixed && draftForm(err) {
		verdict, err = h.verifyDraft(r, headers, body, domain, policy, now)
	}
	v.DKIM, v.SigningDomain, v.Selector = verdict.Result, verdict.Domain, verdict.Selector
	if err != nil {
		var refusal *Error
		switch {
		case errors.As(err, &refusal):
			return scheduling.Proof{}, once, refusal
		case errors.Is(err, dkim.ErrNotAligned):
			return scheduling.Proof{}, once, &Error{Condition: OriginatorDenied, Err: err}
		case verdict.Result == dkim.TempError:
			return scheduling.Proof{}, once, &Error{Condition: VerificationFailed, Status: http.StatusServiceUnavailable, RetryAfter: time.Minute, Err: err}
		}
		return scheduling.Proof{}, once, &Error{Condition: VerificationFailed, Err: err}
	}
	h.limits.passed(source, now)
	once.domain, once.selector = verdict.Domain, verdict.Selector
	once.signature = hex.EncodeToString(verdict.SignatureHash[:])
	once.bodyHash = base64.StdEncoding.EncodeToString(verdict.BodyHash)
	return scheduling.Proof{Domain: verdict.Domain}, once, nil
}

// source is the network that a request came from.
func (h *Handler) source(r *http.Request) string {
	if h.cfg.Remote != nil {
		return network(h.cfg.Remote(r).String())
	}
	return network(r.RemoteAddr)
}

// draftForm: a signature refused for this reason may be one of draft -01.
func draftForm(err error) bool {
	return errors.Is(err, dkim.ErrCanonicalization) || errors.Is(err, dkim.ErrBodyLength) || errors.Is(err, dkim.ErrKeyService)
}

// verifyDraft verifies a signature under the rules of draft -01, with its key
// from the DNS, and only when it passes looks whether the Originator's domain
// speaks that draft (ischedule §11). An *Error says that this is not known yet.
func (h *Handler) verifyDraft(r *http.Request, headers []dkim.Header, body []byte, domain string, p dkim.Policy, now time.Time) (dkim.Verdict, error) {
	p.Draft01 = true
	verdict, err := dkim.Verify(r.Context(), headers, body, now, dnsKeys(h.cfg.Keys), p)
	if err != nil {
		return verdict, err
	}
	if h.cfg.Local(domain) || h.cfg.Peer(domain).Blocked || h.cfg.Peer(verdict.Domain).Blocked {
		return verdict, nil // refused next, without a question
	}
	dialect, wait, err := h.dialects.of(r.Context(), domain)
	if err != nil {
		return verdict, &Error{Condition: VerificationFailed, Status: http.StatusServiceUnavailable, RetryAfter: wait, Err: fmt.Errorf("%s: %w", domain, err)}
	}
	if dialect != DialectDraft01 {
		verdict.Result = dkim.PermError
		return verdict, fmt.Errorf("%w: %s does not speak draft -01", dkim.ErrCanonicalization, domain)
	}
	return verdict, nil
}

// dnsKeys restricts a key source to dns/txt, the only way of draft -01.
func dnsKeys(ks dkim.KeySource) dkim.KeySource {
	if r, ok := ks.(refreshingKeys); ok {
		return dnsRefresher{dnsSource{ks}, r}
	}
	return dnsSource{ks}
}

type refreshingKeys interface {
	dkim.KeySource
	dkim.Refresher
}

type dnsSource struct{ dkim.KeySource }

func (s dnsSource) Keys(ctx context.Context, domain, selector string, methods []string) ([]string, error) {
	return s.KeySource.Keys(ctx, domain, selector, dnsOnly(methods))
}

type dnsRefresher struct {
	dnsSource
	r dkim.Refresher
}

func (s dnsRefresher) Refresh(ctx context.Context, domain, selector string, methods []string) ([]string, bool, error) {
	return s.r.Refresh(ctx, domain, selector, dnsOnly(methods))
}

func dnsOnly(methods []string) []string {
	return slices.DeleteFunc(slices.Clone(methods), func(m string) bool { return m != "dns/txt" })
}

// admit: our own people never come from outside, blocked domains not at all,
// the others within their rate.
func (h *Handler) admit(env Envelope, signer string, now time.Time) *Error {
	domain := env.Originator.Domain()
	switch {
	case h.cfg.Local(domain):
		return refuse(OriginatorDenied, "Originator is in a local domain")
	case h.cfg.Peer(domain).Blocked || signer != domain && h.cfg.Peer(signer).Blocked:
		return refuse(OriginatorDenied, "domain is blocked")
	}
	if wait := h.limits.message(signer, h.cfg.Peer(signer).Rates, env.Component == "VFREEBUSY", len(env.Recipients), now); wait > 0 {
		return &Error{Condition: OriginatorDenied, Status: http.StatusTooManyRequests, RetryAfter: wait,
			Err: fmt.Errorf("%s exceeds its rate", signer)}
	}
	return nil
}

// message is a body that passed all checks. unsupported: it needs a calendar
// scale that is not ours, which each recipient is told (3.14).
type message struct {
	object      *calendar.Object
	unsupported bool
}

// message parses the body and applies the rules of iTIP, of matching and of
// our own capabilities.
func (h *Handler) message(env Envelope, body []byte) (message, *Error) {
	caps := &h.cfg.Capabilities
	o, err := calendar.Parse(body, calendar.Limits{Bytes: int(caps.MaxContentLength)})
	if err != nil {
		return message{}, &Error{Condition: InvalidCalendarData, Err: err}
	}
	// A rule in a calendar scale we do not know cannot be validated; it is not
	// the sender's fault, and each recipient is told so below.
	var found Outline
	scan(o.Component, &found)
	foreign := found.RScale != "" && !slices.Contains(caps.RScales, found.RScale)
	if err := calendar.ValidateMessage(o); err != nil && !foreign {
		return message{}, &Error{Condition: InvalidSchedulingMessage, Err: err}
	}
	// WD 8.1: the parameters of Content-Type say what is in the body.
	if !strings.EqualFold(env.Component, o.Kind()) || !strings.EqualFold(env.Method, o.Method()) {
		return message{}, refuse(InvalidSchedulingMessage, "Content-Type says %s %s, the body %s %s",
			clip(env.Component), clip(env.Method), clip(o.Kind()), clip(o.Method()))
	}
	if !caps.Allows(o.Kind(), o.Method()) {
		return message{}, refuse(InvalidSchedulingMessage, "%s %s is not accepted here", clip(o.Kind()), clip(o.Method()))
	}
	if err := Match(o.Kind(), o.Method(), partiesOf(o), env.Originator, env.Recipients); err != nil {
		return message{}, asError(err, InvalidSchedulingMessage)
	}
	if foreign {
		return message{unsupported: true}, nil
	}
	outline, err := outlineOf(o, len(body), caps.MaxInstances)
	if err != nil {
		return message{}, &Error{Condition: InvalidSchedulingMessage, Err: err}
	}
	if o.Kind() == "VFREEBUSY" && outline.End.Sub(outline.Start) > MaxFreeBusyRange {
		return message{}, refuse(InvalidSchedulingMessage, "free-busy range of %s", outline.End.Sub(outline.Start))
	}
	var misfit *Misfit
	if errors.As(caps.Fits(outline), &misfit) {
		c, ok := misfitConditions[misfit.Limit]
		if !ok {
			c = InvalidSchedulingMessage
		}
		return message{}, &Error{Condition: c, Err: misfit}
	}
	return message{object: o}, nil
}

// misfitConditions: what the element of IS:error is for a limit of ours.
var misfitConditions = map[string]Condition{
	"max-content-length": MaxContentLength,
	"attachments":        AttachmentNotSupported,
	"min-date-time":      MinDateTime,
	"max-date-time":      MaxDateTime,
	"max-instances":      MaxInstances,
}

// limitConditions: the same for a limit of the calendars themselves.
var limitConditions = map[calendar.Code]Condition{
	calendar.CodeMaxSize:      MaxContentLength,
	calendar.CodeMinDate:      MinDateTime,
	calendar.CodeMaxDate:      MaxDateTime,
	calendar.CodeMaxInstances: MaxInstances,
}

// or is d where there is no condition.
func (c Condition) or(d Condition) Condition {
	if c == "" {
		return d
	}
	return c
}

// deliver hands the message over and puts the results in request order.
func (h *Handler) deliver(r *http.Request, env Envelope, o *calendar.Object, proof scheduling.Proof, once onceKey) ([]Result, *Error) {
	in := scheduling.Inbound{
		Via:        "ischedule",
		Proof:      proof,
		Originator: env.Originator,
		Recipients: env.Recipients,
		Message:    o,
	}
	if h.cfg.RequestID != nil {
		in.RequestID = h.cfg.RequestID(r.Context())
	}
	in.Once = newLike(in.Once)
	in.Once.Domain, in.Once.Selector, in.Once.SignatureHash = once.domain, once.selector, once.signature
	in.Once.MessageID, in.Once.BodyHash, in.Once.Recipients = env.MessageID, once.bodyHash, once.recipients

	receive := h.cfg.Receiver.Receive
	if o.Kind() == "VFREEBUSY" {
		receive = h.cfg.Receiver.AnswerFreeBusy
		in.Recipients = h.limits.about(in.Recipients, h.cfg.Now()) // A45: the others are answered 5.1
	}
	var got []scheduling.RecipientResult
	if len(in.Recipients) > 0 {
		var err error
		if got, err = receive(r.Context(), in); err != nil {
			return nil, h.failure(err)
		}
	}
	byKey := make(map[string]scheduling.RecipientResult, len(got))
	for _, g := range got {
		byKey[g.Recipient.Key()] = g
	}
	out := make([]Result, len(env.Recipients))
	for i, a := range env.Recipients {
		out[i] = Result{Recipient: a, Status: "5.1;Service unavailable"}
		if g, ok := byKey[a.Key()]; ok && g.Status != "" {
			out[i].Status, out[i].CalendarData = g.Status, g.Calendar
		}
	}
	return out, nil
}

// failure maps an error of the Receiver: nothing was applied.
func (h *Handler) failure(err error) *Error {
	switch {
	case errors.Is(err, scheduling.ErrReplayConflict):
		// One id names one message; a second one under it is no retry.
		return &Error{Condition: VerificationFailed, Err: err}
	case calendar.CodeOf(err) != "":
		return &Error{Condition: limitConditions[calendar.CodeOf(err)].or(InvalidSchedulingMessage), Err: err}
	}
	status := 0
	if h.cfg.ErrorStatus != nil {
		status = h.cfg.ErrorStatus(err)
	}
	if status == 0 {
		status = http.StatusServiceUnavailable
	}
	e := &Error{Status: status, Err: err}
	if status == http.StatusServiceUnavailable {
		e.RetryAfter = time.Minute
	}
	return e
}

// newLike allocates what p points to, for a type this package does not import.
func newLike[T any](*T) *T { return new(T) }

// same gives every recipient one status.
func same(rs []calendar.Address, status string) []Result {
	out := make([]Result, len(rs))
	for i, r := range rs {
		out[i] = Result{Recipient: r, Status: status}
	}
	return out
}

// recipientsDigest identifies a recipient list by its comparison forms.
func recipientsDigest(rs []calendar.Address) string {
	h := sha256.New()
	for _, r := range rs {
		key := r.Key()
		if key == "" {
			key = string(r)
		}
		h.Write([]byte(key + "\n"))
	}
	return hex.EncodeToString(h.Sum(nil))
}
