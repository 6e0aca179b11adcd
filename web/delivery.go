package web

import (
	"strings"
	"time"

	"github.com/kalends/kalends/caldav/calendar"
	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

// deliveryView answers "where is my invitation" for one attendee.
type deliveryView struct {
	State, Class string // in words; done, waiting, failed
	Open         bool   // not final yet
	Way, Why     string // how it travels, and what decided that
	Proof        string
	Code, Means  string // status and what it means
	Attempts     int
	Said         string // the peer's words
	Queued, Last string
	Next, Until  string // next try, when we give up
	Tries        []tryView
	Earlier      []deliveryView // older messages to the same attendee
}

type tryView struct {
	At, Way, Result, Said string
	Steps                 []stepView
}

type stepView struct {
	What, Text, Took string
}

// wayWords say how a message travels.
var wayWords = map[string]string{
	"ischedule": "server to server (iSchedule)",
	"mail":      "e-mail",
	"local":     "on this server",
	"gateway":   "handed to the calendar system of that domain",
}

func wayText(transport string) string {
	if w, ok := wayWords[transport]; ok {
		return w
	}
	return oneLine(transport, 40)
}

// stepWords name the steps of an attempt.
var stepWords = map[string]string{
	"dns":          "looked up the domain",
	"connect":      "connected",
	"capabilities": "asked what the other side can do",
	"post":         "handed over",
	"mail":         "mailed",
	"fallback":     "changed the way",
	"policy":       "set by the administrator",
}

// statusWords say what a SCHEDULE-STATUS means (RFC 6638 §3.2.9, RFC 5546 §3.6).
var statusWords = map[string]string{
	"1.0": "on its way",
	"1.1": "sent; whether it arrived is not known",
	"1.2": "delivered",
	"2.0": "received",
	"3.7": "the other side does not know this address",
	"3.8": "the other side does not allow it",
	"5.1": "could not be delivered",
	"5.2": "there is no way to deliver to this address",
	"5.3": "the other side refused it",
}

func statusText(status string) (code, means string) {
	code, _, _ = strings.Cut(status, ";")
	code = strings.TrimSpace(code)
	if w, ok := statusWords[code]; ok {
		return code, w
	}
	for _, p := range []struct{ prefix, means string }{{"1", "on its way"}, {"2", "received"}, {"3", "the other side refused it"}, {"4", "it collides with something there"}, {"5", "could not be delivered"}} {
		if strings.HasPrefix(code, p.prefix) {
			return oneLine(code, 10), p.means
		}
	}
	return oneLine(code, 10), ""
}

// stateOf puts a delivery's state into words.
func stateOf(d storage.Delivery) (words, class string) {
	switch d.State {
	case storage.DeliveryHeld:
		return "waits a moment, in case you take it back", "waiting"
	case storage.DeliveryQueued:
		if d.Attempts > 0 {
			return "will be tried again", "waiting"
		}
		return "waits to be sent", "waiting"
	case storage.DeliveryInFlight:
		return "being sent now", "waiting"
	case storage.DeliveryDone:
		if code, _ := statusText(d.Status); code == "1.1" {
			return "sent", "done"
		}
		return "delivered", "done"
	case storage.DeliveryFailed:
		return "failed", "failed"
	case storage.DeliverySuperseded:
		return "replaced by a newer message", "past"
	case storage.DeliveryWithdrawn:
		return "taken back before it was sent", "past"
	}
	return "unknown", "past"
}

// maxEarlier is how many deliveries before the last one are shown.
const maxEarlier = 10

// viewDelivery makes the view for one ATTENDEE from the deliveries of its
// address, newest first.
func viewDelivery(a *calendar.Property, list []storage.Delivery, local bool, now time.Time, zone *time.Location) *deliveryView {
	if agent := strings.ToUpper(a.Param("SCHEDULE-AGENT")); agent == "CLIENT" || agent == "NONE" {
		return &deliveryView{State: "not sent by this server", Class: "past", Means: "your calendar program said that it does this itself"}
	}
	if len(list) == 0 {
		v := &deliveryView{Class: "past", State: "nothing was sent yet"}
		v.Code, v.Means = statusText(a.Param("SCHEDULE-STATUS"))
		switch {
		case strings.HasPrefix(v.Code, "3") || strings.HasPrefix(v.Code, "5"):
			v.State, v.Class = "failed", "failed"
		case local:
			v.State, v.Class, v.Means = "delivered here", "done", "the person has an account on this server"
		case v.Code != "":
			v.State, v.Class = v.Means, "done"
		}
		return v
	}
	v := oneDelivery(list[0], now, zone)
	for _, d := range list[1:min(len(list), 1+maxEarlier)] {
		v.Earlier = append(v.Earlier, oneDelivery(d, now, zone))
	}
	return &v
}

func oneDelivery(d storage.Delivery, now time.Time, zone *time.Location) deliveryView {
	stamp := func(micros int64) string { return stampText(time.UnixMicro(micros), zone) }
	v := deliveryView{Way: wayText(d.Transport), Proof: oneLine(d.Proof, 200), Attempts: d.Attempts, Said: oneLine(d.Detail, 500), Queued: stamp(d.Created), Open: d.State.Open()}
	v.State, v.Class = stateOf(d)
	v.Code, v.Means = statusText(d.Status)
	if d.Transport == "local" && d.State == storage.DeliveryDone {
		v.State = "delivered here"
	}
	if d.Updated > d.Created {
		v.Last = stamp(d.Updated)
	}
	if d.State == storage.DeliveryHeld || d.State == storage.DeliveryQueued {
		v.Next = stamp(d.NotBefore) + " (" + inText(time.UnixMicro(d.NotBefore), now) + ")"
		if d.Expires > 0 {
			v.Until = stamp(d.Expires)
		}
	}
	for _, t := range scheduling.ReadTrace(d.Trace) {
		code, means := statusText(t.Status)
		tv := tryView{At: stampText(t.At, zone), Way: wayText(t.Transport), Result: strings.TrimSpace(code + " " + means), Said: oneLine(t.Detail, 500)}
		if t.Retry {
			tv.Result = "did not work this time"
		}
		for _, s := range t.Steps {
			what := stepWords[s.What]
			if what == "" {
				what = oneLine(s.What, 40)
			}
			sv := stepView{What: what, Text: oneLine(s.Text, 300)}
			if s.Took > 0 {
				sv.Took = s.Took.Round(time.Millisecond).String()
			}
			tv.Steps = append(tv.Steps, sv)
			if decides(s.What) {
				v.Why = sv.Text
			}
		}
		v.Tries = append(v.Tries, tv)
	}
	if v.Way == "" {
		v.Way = "the way is chosen when it is sent"
	}
	return v
}

func stampText(t time.Time, zone *time.Location) string {
	return t.In(zone).Format("2 Jan 2006, 15:04:05")
}
