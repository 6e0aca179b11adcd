package caldav

import (
	"crypto/sha256"
	"strconv"

	"github.com/kalends/kalends/caldav/calendar"
)

// exportedZones are the time zones of a calendar that is given as one object: their
// ids, and what each of their definitions is called in it.
type exportedZones map[string]map[[sha256.Size]byte]string

// take tells whether the definition is to be written, since it was not yet. A name is
// defined once in an object (RFC 5545 §3.6.5), and programs use the same one for
// zones of their own that differ: another definition of a name that nobody knows gets
// another name, in all of the object that it came with.
func (z exportedZones) take(o *calendar.Object, zone *calendar.Component) bool {
	id := zone.Text("TZID")
	seen, again := z[id]
	if again && calendar.KnownZone(id) {
		return false
	}
	key := sha256.Sum256(zone.Append(nil))
	name, again := seen[key]
	if !again {
		if name = id; seen == nil {
			seen = map[[sha256.Size]byte]string{}
			z[id] = seen
		} else {
			name += " (" + strconv.Itoa(len(seen)+1) + ")"
		}
		seen[key] = name
	}
	if name != id {
		renameZone(o.Component, id, name)
		zone.SetText("TZID", name)
	}
	return !again
}

// renameZone gives the times in a component another time zone id.
func renameZone(c *calendar.Component, id, name string) {
	for _, p := range c.Props {
		if p.Param("TZID") == id {
			p.SetParam("TZID", name)
		}
	}
	for _, k := range c.Children {
		renameZone(k, id, name)
	}
}
