package storage

import (
	"context"
	"time"
)

// BusyQuestion says that another domain asked when an account is busy.
type BusyQuestion struct {
	Account   AccountID
	Domain    string
	Asker     string // in the last question
	Questions int64
	Last      int64 // when
}

// askedLife is how long it is remembered after the last question.
const askedLife = 90 * 24 * time.Hour

// NoteBusyQuestion counts a question of another domain for each of the accounts
// whose busy times it was told (A45).
func (db *DB) NoteBusyQuestion(ctx context.Context, domain, asker string, accounts []AccountID) error {
	if err := plainText(domain, asker); err != nil || len(accounts) == 0 {
		return err
	}
	type row struct {
		Account int64 `json:"account_id"`
	}
	var list []row
	for _, a := range accounts {
		list = append(list, row{int64(a)})
	}
	text, err := jsonText(list)
	if err != nil {
		return err
	}
	return db.Tx(ctx, func(ctx context.Context, tx *Tx) error {
		return tx.s.later(ctx, `INSERT INTO busy_question (account_id, domain, asker, questions, last)
			SELECT DISTINCT r.account_id, CAST($2 AS text), CAST($3 AS text), 1, CAST($4 AS bigint) FROM @rows($1; r; account_id bigint) WHERE true ORDER BY r.account_id
			ON CONFLICT (account_id, domain) DO UPDATE SET asker = excluded.asker, questions = busy_question.questions + 1, last = excluded.last`,
			text, domain, asker, Micros(tx.Now()))
	})
}

// BusyQuestions lists which domains were told of an account's busy times, those
// that asked last first.
func (db *DB) BusyQuestions(ctx context.Context, account AccountID, limit int) ([]BusyQuestion, error) {
	return readAll(ctx, db, func(r rows) (q BusyQuestion, err error) {
		err = r.Scan((*int64)(&q.Account), &q.Domain, &q.Asker, &q.Questions, &q.Last)
		return
	}, `SELECT account_id, domain, asker, questions, last FROM busy_question WHERE account_id = $1 ORDER BY last DESC, domain LIMIT $2`, int64(account), int64(max(limit, 1)))
}
