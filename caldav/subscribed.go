package caldav

import (
	"net/url"

	"github.com/kalends/kalends/caldav/davxml"
	"github.com/kalends/kalends/storage"
)

// A subscription is a collection that stands for a feed elsewhere: the client
// keeps the address here, so that all of a user's programs know it, and reads
// the feed itself. The server never fetches it (abuse A48). It is stored as a
// calendar that takes no component at all; the address is the dead property
// CS:source (Apple; DAVx5 finds such collections by their resource type).

// subscribed tells whether a calendar's row is a subscription.
func subscribed(c *storage.Collection) bool {
	return c.Kind == storage.CollectionCalendar && c.Components == 0
}

// isSubscription tells whether a MKCALENDAR or MKCOL makes one: Apple's
// MKCALENDAR has only the source, others name the resource type.
func isSubscription(body *davxml.MakeCollection) bool {
	if body.Is(davxml.CSSubscribed) {
		return true
	}
	for _, op := range body.Props {
		if op.Name == davxml.CSSource {
			return true
		}
	}
	return false
}

// validSource reads the value of CS:source: one href of a feed.
func validSource(n *davxml.Node) bool {
	hrefs := n.Hrefs()
	if len(hrefs) != 1 || len(hrefs[0]) > 4000 {
		return false
	}
	u, err := url.Parse(hrefs[0])
	if err != nil || u.Host == "" {
		return false
	}
	switch u.Scheme {
	case "http", "https", "webcal", "webcals":
		return true
	}
	return false
}
