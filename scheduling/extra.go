package scheduling

import (
	"encoding/json"
	"time"

	"github.com/kalends/kalends/scheduling/itip"
)

// extra is what the server remembers beside a scheduling object and clients
// never see: stored as JSON in the object's row.
type extra struct {
	OrganizerTransp string                `json:"ot,omitempty"`      // attendee's copy: TRANSP as the organizer has it
	Thrown          []string              `json:"thrown,omitempty"`  // attendee's copy: instances he took out himself
	Sent            string                `json:"sent,omitempty"`    // attendee's copy: what his program last sent, and the tag it had then
	Replies         map[string]itip.Stamp `json:"replies,omitempty"` // organizer's copy: newest reply per attendee
	Told            time.Time             `json:"told,omitzero"`     // DTSTAMP of what its owner queued about it last
	itip.Marks                            // organizer's copy: to what answers belong
}

func readExtra(text string) (e extra) {
	if text != "" {
		_ = json.Unmarshal([]byte(text), &e) // unreadable: as if nothing were known
	}
	return e
}

func (e extra) String() string {
	b, _ := json.Marshal(e)
	if string(b) == "{}" {
		return ""
	}
	return string(b)
}
