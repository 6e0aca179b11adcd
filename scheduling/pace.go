package scheduling

import (
	"context"
	"strings"
	"time"

	"github.com/kalends/kalends/storage"
)

// pace delays what would be too much for other systems (abuse A34), and loses
// none of it. Somebody who was sent Config.Burst messages about one event within
// Config.BurstWindow gets the next one when the window is over: what changes
// until then is planned into it, for it has not left. Of what an account sends
// beyond Config.PerHour each further hour's measure goes an hour later. Local
// people are not concerned: what they get costs no message.
func (d *delivery) pace(ctx context.Context) error {
	const most = 24 * time.Hour
	var account storage.AccountID
	uid := ""
	for i := range d.queued {
		if outside(&d.queued[i]) {
			account, uid = d.queued[i].Account, d.queued[i].UID
			break
		}
	}
	if account == 0 {
		return nil
	}
	cfg := &d.s.cfg
	total, recent, err := d.tx.SentSince(ctx, account, uid, micros(d.now.Add(-time.Hour)), micros(d.now.Add(-cfg.BurstWindow)))
	if err != nil {
		return err
	}
	for i := range d.queued {
		x := &d.queued[i]
		if !outside(x) || x.Account != account {
			continue
		}
		at := time.UnixMicro(x.NotBefore)
		if r := recent[x.RecipientKey]; r.Messages >= cfg.Burst && x.UID == uid {
			at = later(at, time.UnixMicro(r.Newest).Add(cfg.BurstWindow))
		}
		if hours := total / cfg.PerHour; hours > 0 {
			at = later(at, d.now.Add(min(time.Duration(hours)*time.Hour, most)))
		}
		total++
		x.Expires += micros(at) - x.NotBefore
		x.NotBefore = micros(at)
	}
	return nil
}

// outside tells whether a queued delivery is an iTIP message to another system.
func outside(x *storage.Delivery) bool {
	return x.Transport != transportLocal && !strings.HasPrefix(x.RecipientKey, alarmKey)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
