package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
)

// Path begins the addresses at which backends submit; the domain follows.
const Path = "/gateway/"

// Limits of one submission.
const (
	maxBody       = 1 << 20
	maxRecipients = 500
)

// Submitter carries what backends submit; *scheduling.Service is one.
type Submitter interface {
	Submit(ctx context.Context, in scheduling.Submission) ([]scheduling.RecipientResult, error)
	FreeBusy(ctx context.Context, q scheduling.FreeBusy) ([]scheduling.RecipientResult, error)
}

// Handler takes messages of backends at Path + domain.
type Handler struct {
	// Token tells whether a token is the one of the domain's backend.
	Token     func(ctx context.Context, domain, token string) (bool, error)
	Submitter Submitter
	Limits    calendar.Limits
	Allow     func(domain string) bool // so much and no more (A46); nil: no limit
	RequestID func(context.Context) string
	Log       *slog.Logger
}

// ServeHTTP answers one submission with the results as JSON.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	refuse := func(status int, text string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		b, _ := json.Marshal(map[string]string{"error": text})
		_, _ = w.Write(append(b, '\n'))
	}
	domain := strings.ToLower(strings.TrimPrefix(r.URL.Path, Path))
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuse(http.StatusMethodNotAllowed, "messages are submitted by POST")
		return
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if ok {
		var err error
		if ok, err = h.Token(r.Context(), domain, token); err != nil {
			h.Log.ErrorContext(r.Context(), "the token of a backend could not be checked", "error", err)
			refuse(http.StatusServiceUnavailable, "try again later")
			return
		}
	}
	if !ok { // the same for a domain that is no gateway, or is not ours
		w.Header().Set("WWW-Authenticate", "Bearer")
		refuse(http.StatusUnauthorized, "the token is wrong")
		return
	}
	if h.Allow != nil && !h.Allow(domain) {
		w.Header().Set("Retry-After", "60")
		refuse(http.StatusTooManyRequests, "too many messages; slow down")
		return
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "text/calendar" {
		refuse(http.StatusUnsupportedMediaType, "the body is text/calendar")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		refuse(http.StatusRequestEntityTooLarge, "the message is too long or did not arrive")
		return
	}
	in, status, text := h.understand(domain, body, r.Header)
	if status != 0 {
		refuse(status, text)
		return
	}
	in.RequestID = h.RequestID(r.Context())
	results, err := h.carry(r.Context(), in)
	var bad *calendar.Error
	switch {
	case errors.As(err, &bad):
		refuse(http.StatusUnprocessableEntity, oneLine(bad.Error()))
		return
	case err != nil:
		h.Log.ErrorContext(r.Context(), "a submission of a backend failed", "domain", domain, "error", err, "request", in.RequestID)
		w.Header().Set("Retry-After", "60")
		refuse(http.StatusServiceUnavailable, "try again later")
		return
	}
	type line struct {
		Recipient string `json:"recipient"`
		Status    string `json:"status"`
		Calendar  string `json:"calendar,omitempty"`
	}
	var out struct {
		Results []line `json:"results"`
	}
	for _, x := range results {
		out.Results = append(out.Results, line{string(x.Recipient), x.Status, string(x.Calendar)})
	}
	h.Log.InfoContext(r.Context(), "a backend submitted", "domain", domain, "method", in.Message.Method(), "recipients", len(in.Recipients), "request", in.RequestID)
	w.Header().Set("Content-Type", "application/json")
	b, _ := json.Marshal(out)
	_, _ = w.Write(append(b, '\n'))
}

// understand reads a submission and checks that it may be made: a backend
// speaks for people of its domain and of no other, so it cannot send on what it
// was given. A status other than 0 refuses it.
func (h *Handler) understand(domain string, body []byte, header http.Header) (in scheduling.Submission, status int, text string) {
	o, err := calendar.Parse(body, h.Limits)
	if err == nil {
		err = calendar.ValidateMessage(o)
	}
	if err != nil {
		return in, http.StatusUnprocessableEntity, oneLine(err.Error())
	}
	from := calendar.Address(strings.TrimSpace(header.Get("Originator")))
	attendees := attendeeMethod(o.Method())
	if from == "" {
		from = speaker(o, attendees)
	}
	switch {
	case from.Key() == "" || from.Domain() != domain:
		return in, http.StatusForbidden, "the originator is no address of " + domain
	case !speaks(o, from, attendees):
		return in, http.StatusForbidden, "the originator is not the one the message speaks for"
	}
	var to []calendar.Address
	for _, line := range header.Values("Recipient") {
		for _, a := range strings.Split(line, ",") {
			if a = strings.TrimSpace(a); a != "" {
				to = append(to, calendar.Address(a))
			}
		}
	}
	if len(to) == 0 {
		to = addressees(o, attendees)
	}
	seen := calendar.AddressSet{}
	for _, a := range to {
		switch {
		case a.Key() == "":
			return in, http.StatusUnprocessableEntity, "a recipient is no calendar user address"
		case !a.Equal(from) && !seen.Has(a):
			seen.Add(a)
			in.Recipients = append(in.Recipients, a)
		}
	}
	if len(in.Recipients) == 0 || len(in.Recipients) > maxRecipients {
		return in, http.StatusUnprocessableEntity, "a message has 1 to 500 recipients"
	}
	in.Domain, in.Originator, in.Message, in.MessageID = domain, from, o, oneLine(header.Get("Kalends-Message-ID"))
	return in, 0, ""
}

// carry does it; people of the submitting domain itself are the backend's own
// business and are never sent back to it (A33).
func (h *Handler) carry(ctx context.Context, in scheduling.Submission) ([]scheduling.RecipientResult, error) {
	all := in.Recipients
	in.Recipients = nil
	for _, a := range all {
		if a.Domain() != in.Domain {
			in.Recipients = append(in.Recipients, a)
		}
	}
	var got []scheduling.RecipientResult
	var err error
	if len(in.Recipients) > 0 {
		if in.Message.Kind() == "VFREEBUSY" {
			got, err = h.Submitter.FreeBusy(ctx, scheduling.FreeBusy{Originator: in.Originator, Recipients: in.Recipients, Request: in.Message, RequestID: in.RequestID})
		} else {
			got, err = h.Submitter.Submit(ctx, in)
		}
	}
	if err != nil {
		return nil, err
	}
	out := make([]scheduling.RecipientResult, len(all))
	for i, a := range all {
		out[i] = scheduling.RecipientResult{Recipient: a, Status: "5.3;That person is the backend's own"}
		for _, r := range got {
			if r.Recipient.Equal(a) {
				out[i] = r
			}
		}
	}
	return out, nil
}

// attendeeMethod tells whether attendees speak by a method (RFC 5546 §1.4).
func attendeeMethod(method string) bool {
	return method == "REPLY" || method == "COUNTER" || method == "REFRESH"
}

func speaker(o *calendar.Object, attendee bool) calendar.Address {
	name := "ORGANIZER"
	if attendee {
		name = "ATTENDEE"
	}
	for _, c := range o.Components() {
		if p := c.Prop(name); p != nil {
			return calendar.Address(p.Value())
		}
	}
	return ""
}

// speaks tells whether every component is from's to say.
func speaks(o *calendar.Object, from calendar.Address, attendee bool) bool {
	for _, c := range o.Components() {
		found := false
		if attendee {
			for _, p := range c.All("ATTENDEE") {
				found = found || calendar.Address(p.Value()).Equal(from)
			}
		} else {
			found = calendar.Address(c.Value("ORGANIZER")).Equal(from)
		}
		if !found {
			return false
		}
	}
	return len(o.Components()) > 0
}

// addressees are whom a message is for when nothing else says so.
func addressees(o *calendar.Object, attendee bool) []calendar.Address {
	var out []calendar.Address
	for _, c := range o.Components() {
		if attendee {
			out = append(out, calendar.Address(c.Value("ORGANIZER")))
			continue
		}
		for _, p := range c.All("ATTENDEE") {
			out = append(out, calendar.Address(p.Value()))
		}
	}
	return out
}
