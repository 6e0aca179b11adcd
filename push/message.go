package push

import (
	"crypto/sha256"
	"fmt"

	"github.com/kalends/kalends/caldav/davxml"
	"github.com/kalends/kalends/storage"
)

// Topic names a collection in push messages: the same for everybody, for as
// long as the collection lives, and nothing that tells whose it is
// (draft-bitfire-webdav-push, "Push Properties").
func Topic(c *storage.Collection) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "kalends push topic\n%d\n%d\n%s", c.Account, c.ID, c.Nonce))
	return encoding.EncodeToString(sum[:16])
}

// message is the push-message document ("Push Message"). The sync token lets a
// client that knows the state already do nothing. A home has none here: its
// token depends on what the subscriber may read.
func message(p *storage.ClaimedPush) ([]byte, error) {
	return davxml.Document(davxml.PPushMessage, func(b *davxml.Builder) {
		if !p.Gone {
			b.Element(davxml.PTopic, Topic(&p.Of))
		}
		if p.ContentNews {
			b.Start(davxml.PContentUpdate)
			if !p.Gone && p.Of.Kind != storage.CollectionHome {
				b.Element(davxml.DSyncToken, p.Of.Token())
			}
			b.End()
		}
		if p.PropertiesNews {
			b.Empty(davxml.PPropertyUpdate)
		}
	})
}

// replaceKey is the Topic header of RFC 8030 §5.4: an undelivered message gives
// way to a newer one of the same kind about the same collection, and a message
// about content never to one about properties or the other way round.
func replaceKey(p *storage.ClaimedPush) string {
	if p.Gone {
		return ""
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %v %v", Topic(&p.Of), p.ContentNews, p.PropertiesNews))
	return encoding.EncodeToString(sum[:24]) // 32 characters, the most that is allowed
}
