package ischedule

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/kalends/kalends/caldav/calendar"
)

// vectorParty is an address, alone or with parameters.
type vectorParty struct{ Participant }

func (p *vectorParty) UnmarshalJSON(b []byte) error {
	if b[0] == '"' {
		return json.Unmarshal(b, &p.Address)
	}
	var v struct {
		Value  calendar.Address            `json:"value"`
		Params map[string]calendar.Address `json:"params"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	p.Address = v.Value
	if to := v.Params["DELEGATED-TO"]; to != "" {
		p.DelegatedTo = []calendar.Address{to}
	}
	if from := v.Params["DELEGATED-FROM"]; from != "" {
		p.DelegatedFrom = []calendar.Address{from}
	}
	return nil
}

func TestMatchingVectors(t *testing.T) {
	t.Parallel()
	var set struct {
		Cases []struct {
			ID         string             `json:"id"`
			Method     string             `json:"method"`
			Component  string             `json:"component"`
			Organizer  *vectorParty       `json:"organizer"`
			Attendees  []vectorParty      `json:"attendees"`
			Originator calendar.Address   `json:"originator"`
			Recipients []calendar.Address `json:"recipients"`
			Expect     struct {
				OK    bool      `json:"ok"`
				Error Condition `json:"error"`
			} `json:"expect"`
		} `json:"cases"`
	}
	vectorJSON(t, "matching.json", &set)
	if len(set.Cases) == 0 {
		t.Fatal("no cases")
	}
	for _, c := range set.Cases {
		var p Parties
		if c.Organizer != nil {
			p.Organizer = &c.Organizer.Participant
		}
		for _, a := range c.Attendees {
			p.Attendees = append(p.Attendees, a.Participant)
		}
		err := Match(c.Component, c.Method, []Parties{p}, c.Originator, c.Recipients)
		var e *Error
		switch {
		case c.Expect.OK && err != nil:
			t.Errorf("%s: %v", c.ID, err)
		case !c.Expect.OK && (!errors.As(err, &e) || e.Condition != c.Expect.Error):
			t.Errorf("%s: %v, want %s", c.ID, err, c.Expect.Error)
		}
	}
}

func TestMatchAcrossComponents(t *testing.T) {
	t.Parallel()
	org := &Participant{Address: "mailto:org@north.example"}
	att := func(as ...calendar.Address) (out []Participant) {
		for _, a := range as {
			out = append(out, Participant{Address: a})
		}
		return out
	}
	one, two := calendar.Address("mailto:one@south.example"), calendar.Address("mailto:two@south.example")
	for _, c := range []struct {
		name, method string
		parts        []Parties
		from         calendar.Address
		to           []calendar.Address
		ok           bool
	}{
		{"attendee of an override only", "REQUEST", []Parties{{org, att(one)}, {org, att(one, two)}}, org.Address, []calendar.Address{two}, true},
		{"organizers differ", "REQUEST", []Parties{{org, att(one)}, {&Participant{Address: "mailto:evil@north.example"}, att(one)}}, org.Address, []calendar.Address{one}, false},
		{"one component without organizer", "CANCEL", []Parties{{org, att(one)}, {nil, att(one)}}, org.Address, []calendar.Address{one}, false},
		{"reply to several instances", "REPLY", []Parties{{org, att(one)}, {org, att(one)}}, one, []calendar.Address{org.Address}, true},
		{"reply with somebody else's line in one instance", "REPLY", []Parties{{org, att(one)}, {org, att(two)}}, one, []calendar.Address{org.Address}, false},
		{"no attendee", "REPLY", []Parties{{org, nil}}, one, []calendar.Address{org.Address}, false},
		{"no component", "REQUEST", nil, org.Address, []calendar.Address{one}, false},
		{"invalid addresses never match", "REQUEST", []Parties{{&Participant{Address: "mailto:"}, att("mailto:")}}, "mailto:", []calendar.Address{"mailto:"}, false},
		{"method in lower case", "request", []Parties{{org, att(one)}}, org.Address, []calendar.Address{one}, true},
		{"unknown method", "FORWARD", []Parties{{org, att(one)}}, org.Address, []calendar.Address{one}, false},
	} {
		if err := Match("VEVENT", c.method, c.parts, c.from, c.to); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
