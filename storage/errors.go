package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
)

// SQLite's result codes (primary in the low eight bits).
const (
	sqliteBusy       = 5
	sqliteLocked     = 6
	sqliteIOError    = 10
	sqliteFull       = 13
	sqliteCantOpen   = 14
	sqliteConstraint = 19
	sqlitePrimaryKey = 1555
	sqliteUnique     = 2067
	sqliteNotNull    = 1299
)

// failure is what can be done about an error of the database.
type failure uint8

const (
	failureOther       failure = iota
	failureRetry               // serialization, deadlock, lock timeout, busy: run again
	failureUnique              // may be a race: run again once
	failureGone                // connection lost before anything was committed
	failureUnavailable         // the server refuses
	failureGuard               // a statement's own guard (see PutPlain) stopped it
	failureFull
)

// classify looks at an error as the drivers return it.
func classify(err error) failure {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch {
		case pg.Code == "40001", pg.Code == "40P01", pg.Code == "55P03":
			return failureRetry
		case pg.Code == "23505":
			return failureUnique
		case pg.Code == "53100":
			return failureFull
		case pg.Code == "22012":
			return failureGuard
		case pg.Code == "57P01", pg.Code == "57P02", strings.HasPrefix(pg.Code, "08"), pg.Code == "25006", pg.Code == "57P05", pg.Code == "25P03":
			return failureGone
		case pg.Code == "57P03", strings.HasPrefix(pg.Code, "53"):
			return failureUnavailable
		}
		return failureOther
	}
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		switch code := lite.Code(); code {
		case sqlitePrimaryKey, sqliteUnique:
			return failureUnique
		case sqliteNotNull:
			return failureGuard
		default:
			switch code & 0xff {
			case sqliteBusy, sqliteLocked:
				return failureRetry
			case sqliteFull:
				return failureFull
			case sqliteIOError, sqliteCantOpen:
				if strings.Contains(lite.Error(), syscall.ENOSPC.Error()) {
					return failureFull
				}
				return failureUnavailable
			}
		}
		return failureOther
	}
	var connect *pgconn.ConnectError
	var network net.Error
	switch {
	case errors.As(err, &connect):
		return failureUnavailable
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return failureOther
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET),
		errors.As(err, &network), pgconn.SafeToRetry(err), strings.Contains(err.Error(), "conn closed"):
		return failureGone
	}
	return failureOther
}

// describe wraps an error of a driver in the package's own vocabulary.
func describe(err error) error {
	if err == nil {
		return nil
	}
	switch classify(err) {
	case failureUnique:
		if isUIDConflict(err) {
			return fmt.Errorf("%w: %w: %w", ErrUIDConflict, ErrExists, err)
		}
		return fmt.Errorf("%w: %w", ErrExists, err)
	case failureFull:
		return fmt.Errorf("%w: %w", ErrFull, err)
	case failureGone, failureUnavailable, failureRetry:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// isUIDConflict tells whether the unique index that makes a UID unique in its
// calendar (RFC 4791 §5.3.2.1, CALDAV:no-uid-conflict) was violated.
func isUIDConflict(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.ConstraintName == "object_uid"
	}
	var lite *sqlite.Error
	return errors.As(err, &lite) && lite.Code() == sqliteUnique && strings.Contains(lite.Error(), "object.uid")
}

func validUTF8(s string) bool { return utf8.ValidString(s) }

// deadlocked tells a transaction that lost against another from one that
// waited in vain.
func deadlocked(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "40P01" || pg.Code == "40001")
}
