package storage

import "context"

// Peer is what administrators say about one other domain, as JSON whose
// meaning is the server's; the name "*" stands for all domains without a row.
type Peer struct {
	Name     string
	Settings string
	Created  int64
	Changed  int64
}

// EveryPeer is the name of the settings for all domains without their own.
const EveryPeer = "*"

func peerName(name string) (string, error) {
	if name == EveryPeer {
		return name, nil
	}
	return domainName(name)
}

// SetPeer writes the settings of a domain.
func (db *DB) SetPeer(ctx context.Context, name, settings string) error {
	name, err := peerName(name)
	if err != nil {
		return err
	}
	if err := plainText(settings); err != nil {
		return err
	}
	_, err = db.write(ctx, `INSERT INTO peer (name, settings, created, changed) VALUES ($1, $2, $3, $3)
		ON CONFLICT (name) DO UPDATE SET settings = excluded.settings, changed = excluded.changed`, name, settings, Micros(db.clock()))
	return err
}

// Peers lists all settings of other domains by name.
func (db *DB) Peers(ctx context.Context) ([]Peer, error) {
	return readAll(ctx, db, func(r rows) (p Peer, err error) {
		err = r.Scan(&p.Name, &p.Settings, &p.Created, &p.Changed)
		return
	}, `SELECT name, settings, created, changed FROM peer ORDER BY name`)
}

// RemovePeer forgets the settings of a domain; ErrNotFound.
func (db *DB) RemovePeer(ctx context.Context, name string) error {
	name, err := peerName(name)
	if err != nil {
		return err
	}
	return affectedOne(db.write(ctx, `DELETE FROM peer WHERE name = $1`, name))
}
