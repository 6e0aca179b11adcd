package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/kalends/kalends/scheduling"
	"github.com/kalends/kalends/storage"
)

// ErrUsage marks a refusal that is about how a command was called, not about
// the state of the installation.
var ErrUsage = errors.New("server: wrong usage")

// Admin does what administrators ask for: accounts, domains, keys, queues,
// import and export. It works on the database alone, so that it is the same
// whether a server runs or not, and notes every change in the audit trail.
// Its errors are one line for people; errors.Is finds ErrUsage and the errors
// of storage in them.
type Admin struct {
	db    *storage.DB
	cfg   Config
	actor string // for the audit trail
	log   *slog.Logger
}

// OpenAdmin opens the configured database for administration. An empty
// database gets its schema, an older one is left to `kalends migrate up` or
// the server's start: a command must not change the schema under a server.
func OpenAdmin(ctx context.Context, cfg Config, actor string, log *slog.Logger) (*Admin, error) {
	a, err := openUnchecked(ctx, cfg, actor, log)
	if err != nil {
		return nil, err
	}
	if err := a.checkSchema(ctx); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// OpenForMigration opens the database without a look at its schema.
func OpenForMigration(ctx context.Context, cfg Config, actor string, log *slog.Logger) (*Admin, error) {
	return openUnchecked(ctx, cfg, actor, log)
}

func openUnchecked(ctx context.Context, cfg Config, actor string, log *slog.Logger) (*Admin, error) {
	db, err := OpenDatabase(ctx, &cfg, log)
	if err != nil {
		return nil, err
	}
	return NewAdmin(db, cfg, actor, log), nil
}

// NewAdmin returns an Admin over an open database, which stays the caller's.
func NewAdmin(db *storage.DB, cfg Config, actor string, log *slog.Logger) *Admin {
	return &Admin{db: db, cfg: cfg, actor: actor, log: log}
}

// Close closes the database.
func (a *Admin) Close() error { return a.db.Close() }

func (a *Admin) checkSchema(ctx context.Context) error {
	st, err := a.db.MigrationStatus(ctx)
	switch {
	case err != nil:
		return explained(err, "the database %s cannot be used: %v; check database_url and that it runs", redactURL(a.cfg.DatabaseURL), plain(err))
	case st.Dirty:
		return explained(storage.ErrDirty, "a schema migration stopped half way at version %d; put the schema right, then run `kalends migrate force %d`", st.Version, st.Version)
	case st.Version > st.Latest:
		return explained(storage.ErrNewer, "the database has schema version %d and this binary knows up to %d; use the newer binary", st.Version, st.Latest)
	case st.Version == 0:
		if err := a.db.Migrate(ctx); err != nil {
			return explained(err, "the schema cannot be made: %v", plain(err))
		}
	case st.Version < st.Latest:
		return explained(nil, "the database has schema version %d and this binary needs %d; make a backup, then run `kalends migrate up` or start the new server", st.Version, st.Latest)
	}
	return nil
}

// service is a scheduling service that only queues: what is for other systems
// a running server sends, without the wait after a DELETE, for the person who
// runs a command has decided.
func (a *Admin) service() *scheduling.Service {
	c := SchedulingConfig(&a.cfg, a.log)
	c.HoldDelete = -1
	c.Now = a.db.Now
	c.Node = "command"
	return scheduling.New(a.db, queueOnly{}, c)
}

// queueOnly stands for the transport of the server that will send: with none
// the service would tell everybody that there is no way to them. Nothing is
// sent from here, because the worker does not run in a command.
type queueOnly struct{}

var errQueueOnly = errors.New("server: a command sends nothing itself; a running server does")

// Send refuses.
func (queueOnly) Send(context.Context, scheduling.Parcel) ([]scheduling.RecipientResult, error) {
	return nil, errQueueOnly
}

// FreeBusy refuses.
func (queueOnly) FreeBusy(context.Context, scheduling.Question) ([]scheduling.RecipientResult, error) {
	return nil, errQueueOnly
}

func (a *Admin) audit(ctx context.Context, action, subject, detail string) error {
	if err := a.db.Audit(ctx, a.actor, action, subject, detail); err != nil {
		return explained(err, "%s of %s is done, but the audit trail could not be written: %v", action, subject, plain(err))
	}
	return nil
}

// explainedError says to people what to do and keeps the cause for errors.Is.
type explainedError struct {
	text  string
	cause error
}

func (e *explainedError) Error() string { return e.text }
func (e *explainedError) Unwrap() error { return e.cause }

func explained(cause error, format string, args ...any) error {
	return &explainedError{fmt.Sprintf(format, args...), cause}
}

func usage(format string, args ...any) error { return explained(ErrUsage, format, args...) }

// plain is the text of an error on one line, without the name of a package in
// front.
func plain(err error) string {
	s := strings.Join(strings.Fields(err.Error()), " ")
	for _, p := range []string{"storage: ", "scheduling: ", "calendar: "} {
		s = strings.TrimPrefix(s, p)
	}
	return s
}

// SchemaState is where the schema of the database stands.
type SchemaState struct {
	Engine  string `json:"engine"`
	Version uint   `json:"version"`
	Latest  uint   `json:"latest"`
	Dirty   bool   `json:"dirty"`
}

// SchemaStatus tells where the schema stands.
func (a *Admin) SchemaStatus(ctx context.Context) (SchemaState, error) {
	st, err := a.db.MigrationStatus(ctx)
	if err != nil {
		return SchemaState{}, explained(err, "the schema cannot be read: %v", plain(err))
	}
	return SchemaState{a.db.Engine(), st.Version, st.Latest, st.Dirty}, nil
}

// MigrateUp brings the schema to the version of this binary.
func (a *Admin) MigrateUp(ctx context.Context) error {
	if err := a.db.Migrate(ctx); err != nil {
		return explained(err, "%s", plain(err))
	}
	return nil
}

// MigrateDown takes back the newest steps with the data in them.
func (a *Admin) MigrateDown(ctx context.Context, steps int) error {
	st, err := a.SchemaStatus(ctx)
	if err != nil {
		return err
	}
	if steps < 1 || steps > int(st.Version) {
		return usage("the schema is at version %d: between 1 and %d steps can be taken back", st.Version, st.Version)
	}
	if err := a.db.MigrateDown(ctx, steps); err != nil {
		return explained(err, "%s", plain(err))
	}
	return nil
}

// MigrateForce notes that the schema is at version and clean.
func (a *Admin) MigrateForce(ctx context.Context, version int) error {
	st, err := a.SchemaStatus(ctx)
	if err != nil {
		return err
	}
	if version < 0 || version > int(st.Latest) {
		return usage("version %d is unknown; this binary knows 0 (empty) to %d", version, st.Latest)
	}
	if version == 0 {
		version = -1 // how storage calls an empty database
	}
	if err := a.db.MigrateForce(ctx, version); err != nil {
		return explained(err, "%s", plain(err))
	}
	return nil
}

// stamp is a stored time for people; "" for none.
func stamp(micros int64) string {
	if micros == 0 {
		return ""
	}
	return time.UnixMicro(micros).UTC().Format(time.RFC3339)
}

// CheckFiles tests the files that a configuration names.
func CheckFiles(cfg Config) error {
	if cfg.TLSCert != "" {
		if _, err := tls.LoadX509KeyPair(cfg.TLSCert, cfg.TLSKey); err != nil {
			return explained(err, "tls_cert and tls_key cannot be used: %s", plain(err))
		}
	}
	if _, err := NewOutgoing(&cfg, func(string) bool { return false }); err != nil {
		return explained(err, "%s", plain(err))
	}
	return nil
}
