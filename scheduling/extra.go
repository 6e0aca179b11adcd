package scheduling

import (
	"encoding/json"

	"github.com/kalends/kalends/scheduling/itip"
)

// extra is what the server remembers beside a scheduling object and clients
// never see: stored as JSON in the object's row.
type extra struct {
	OrganizerTransp string                `json:"ot,omitempty"`      // attendee's copy: TRANSP as the organizer has it
	Thrown          []string              `json:"thrown,omitempty"`  // attendee's copy: instances he took out himself
	Asked           int                   `json:"asked,omitempty"`   // organizer's copy: SEQUENCE of the last reschedule
	Begun           *itip.Stamp           `json:"begun,omitempty"`   // organizer's copy: what came before belongs to a former event
	Replies         map[string]itip.Stamp `json:"replies,omitempty"` // organizer's copy: newest reply per attendee
}

func readExtra(text string) (e extra) {
	if text != "" {
		_ = json.Unmarshal([]byte(text), &e) // unreadable: as if nothing were known
	}
	return e
}

// begun is Begun, the zero Stamp when there is none.
func (e extra) begun() (st itip.Stamp) {
	if e.Begun != nil {
		st = *e.Begun
	}
	return st
}

func (e extra) String() string {
	if e.OrganizerTransp == "" && len(e.Replies) == 0 && len(e.Thrown) == 0 && e.Asked == 0 && e.Begun == nil {
		return ""
	}
	b, _ := json.Marshal(e)
	return string(b)
}
