package ischedule

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/kalends/kalends/caldav/calendar"
)

// MaxResponseSize bounds the answer to a POST, in octets.
const MaxResponseSize = 1 << 20

// Result is the outcome for one recipient in a schedule-response (WD 10.4).
type Result struct {
	Recipient    calendar.Address
	Status       string // request-status, "2.0;Success"
	CalendarData []byte // free-busy only, CRLF line ends
	Description  string // response-description
}

// ResponseDocument writes a schedule-response, one response per result in the
// order given.
func ResponseDocument(results []Result) []byte {
	w := newDocument("schedule-response")
	for _, r := range results {
		w.open("response")
		w.text("recipient", string(r.Recipient))
		w.text("request-status", r.Status)
		if len(r.CalendarData) > 0 {
			w.open("calendar-data", "content-type", "text/calendar", "version", "2.0")
			w.escape(string(r.CalendarData))
			w.close("calendar-data")
		}
		if r.Description != "" {
			w.text("response-description", r.Description)
		}
		w.close("response")
	}
	w.close("schedule-response")
	return append(w.Bytes(), '\n')
}

// ErrorDocument writes an IS:error (WD 10.3); description may be "".
func ErrorDocument(c Condition, description string) []byte {
	w := newDocument("error")
	w.empty(string(c))
	if description != "" {
		w.text("response-description", description)
	}
	w.close("error")
	return append(w.Bytes(), '\n')
}

// Outcome is what an answer means for one recipient that was addressed.
type Outcome struct {
	Recipient    calendar.Address // as it was sent
	Code         string           // iTIP code, always set
	Text         string           // what the peer added, may be ""
	Disposition  Disposition
	CalendarData []byte // free-busy answer, CRLF line ends
}

// Answer is a peer's whole answer to one POST.
type Answer struct {
	Outcomes    []Outcome // one per addressed recipient, in the order sent
	Condition   Condition // element of an IS:error; "" when there was none
	Description string    // response-description of the error, for the log
	Err         error     // why the body could not be used
}

// ReadAnswer interprets the status and body of an answer to a POST that
// addressed sent. It accepts what known peers write: bare addresses, other
// letter case, DAV:href inside recipient, CDATA, status without text.
// A recipient without response gets 5.1, a response for somebody else is
// ignored, and of contradicting responses the worse counts. An IS:error or a
// status other than 200 concerns all recipients.
func ReadAnswer(httpStatus int, body []byte, sent []calendar.Address) Answer {
	var a Answer
	root, err := parseXML(body, MaxResponseSize)
	switch {
	case err != nil:
		a.Err = err
	case root.is("error"):
		a.Condition = "error"
		for _, k := range root.kids {
			switch {
			case k.is("response-description") || k.is("responsedescription"):
				a.Description = clip(k.value())
			case a.Condition == "error":
				a.Condition = Condition(clip(k.name.Local))
			}
		}
	case !root.is("schedule-response"):
		a.Err = fmt.Errorf("root element %q is not a schedule-response", clip(root.name.Local))
	}
	if httpStatus != http.StatusOK || a.Condition != "" || a.Err != nil {
		d := HTTPDisposition(httpStatus, a.Condition)
		for _, r := range sent {
			a.Outcomes = append(a.Outcomes, Outcome{Recipient: r, Code: StatusUnavailable, Text: a.reason(httpStatus), Disposition: d})
		}
		return a
	}

	found := make(map[string]Outcome)
	for _, resp := range root.kids {
		if !resp.is("response") {
			continue
		}
		addr := calendar.Address(recipientOf(resp))
		key := addr.Key()
		if key == "" {
			continue
		}
		o := Outcome{Code: StatusUnavailable, Text: "the peer's status cannot be read"}
		if el := resp.child("request-status"); el != nil {
			if code, text, ok := ParseStatus(el.value()); ok {
				o.Code, o.Text = code, clip(text)
			}
		}
		if el := resp.child("calendar-data"); el != nil {
			o.CalendarData = crlf(el.text)
		}
		if before, ok := found[key]; !ok || worse(o.Code, before.Code) {
			found[key] = o
		}
	}
	for _, r := range sent {
		o, ok := found[r.Key()]
		if !ok {
			o = Outcome{Code: StatusUnavailable, Text: "the peer did not answer for this recipient"}
		}
		o.Recipient, o.Disposition = r, DispositionOf(o.Code)
		a.Outcomes = append(a.Outcomes, o)
	}
	return a
}

func (a *Answer) reason(httpStatus int) string {
	switch {
	case a.Condition != "":
		return string(a.Condition)
	case httpStatus != http.StatusOK:
		return fmt.Sprintf("HTTP %d", httpStatus)
	}
	return "the peer's answer cannot be read"
}

// recipientOf is the address of a response: text, or the DAV:href that -00 and
// DAViCal put there.
func recipientOf(resp *element) string {
	el := resp.child("recipient")
	if el == nil {
		return ""
	}
	if v := el.value(); v != "" {
		return v
	}
	for _, k := range el.kids {
		if k.name.Space == "DAV:" && k.name.Local == "href" {
			return k.value()
		}
	}
	return ""
}

// crlf gives iCalendar text its line ends back after XML took them.
func crlf(s string) []byte {
	s = strings.TrimLeft(s, " \t\r\n")
	s = strings.NewReplacer("\r\n", "\r\n", "\r", "\r\n", "\n", "\r\n").Replace(s)
	s = strings.TrimRight(s, " \t\r\n")
	if s == "" {
		return nil
	}
	return []byte(s + "\r\n")
}

// clip bounds foreign text that ends up in logs and statuses and drops
// control characters.
func clip(s string) string {
	const limit = 300
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "")
	}
	return s
}
