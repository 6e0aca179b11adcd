package storage

import (
	"context"
	"errors"
	"runtime"
	"sync"
)

// pgReadJob is what one request reads by a few short statements, and what
// became of it.
type pgReadJob struct {
	ctx  context.Context // only its end and its counter of statements
	list []reading
	done bool // all of list was taken
	err  error
	turn chan []*pgReadJob // the turn, with those who go along; see pgReads
}

// pgReads are the short reads of this node. As many round trips as the machine
// has processors are under way at once. Whoever comes meanwhile waits for the
// next one, and the first of those takes the others along: a statement that
// follows another one on a connection costs the database and this node a third
// of one that both have to wake up for. Nobody joins a round trip that has left,
// so what is read is never older than the question.
type pgReads struct {
	trips int // may be under way; looking up the number of processors takes a lock
	mu    sync.Mutex
	under int // are under way
	wait  []*pgReadJob
}

const pgReadCompany = 16 // jobs in one round trip

// pgReadTrips is how many round trips may be under way on this machine.
func pgReadTrips() int { return max(2, runtime.GOMAXPROCS(0)) }

// enter waits for the turn or, with turn nil, for the end of the job.
func (l *pgReads) enter(job *pgReadJob) (turn []*pgReadJob) {
	l.mu.Lock()
	if l.under < l.trips {
		l.under++
		l.mu.Unlock()
		return []*pgReadJob{job}
	}
	job.turn = make(chan []*pgReadJob, 1)
	l.wait = append(l.wait, job)
	l.mu.Unlock()
	return <-job.turn
}

// leave hands the turn to the first who waits.
func (l *pgReads) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.wait), pgReadCompany)
	if n == 0 {
		l.under--
		return
	}
	turn := l.wait[:n:n]
	l.wait = append([]*pgReadJob(nil), l.wait[n:]...)
	turn[0].turn <- turn
}

// readTogether is one attempt of DB.readTogether.
func (p *postgres) readTogether(ctx context.Context, list []reading) error {
	job := &pgReadJob{ctx: ctx, list: list, err: ErrUnavailable} // unless it ends
	if turn := p.reads.enter(job); turn != nil {
		defer func() {
			p.reads.leave()
			for _, j := range turn {
				if j != job {
					j.turn <- nil
				}
			}
		}()
		p.readJobs(ctx, turn)
	}
	return job.err
}

// readJobs runs jobs in one round trip. When one of them fails by what it asks
// for, it and those after it are tried by themselves.
func (p *postgres) readJobs(ctx context.Context, jobs []*pgReadJob) {
	list := make([]*pgReadJob, 0, len(jobs))
	for _, j := range jobs {
		if j.err = j.ctx.Err(); j.err == nil {
			j.err = ErrUnavailable
			list = append(list, j)
		}
	}
	if len(list) < 2 {
		for _, j := range list {
			j.err = p.readOnce(ctx, j)
		}
		return
	}
	ctx = context.WithoutCancel(ctx)
	err := p.readOnce(ctx, list...)
	for _, j := range list {
		switch {
		case j.done:
			j.err = nil
		case errors.Is(err, ErrUnavailable): // not by what was asked
			j.err = err
		default:
			j.err = p.readOnce(ctx, j)
		}
	}
}

// readOnce is one round trip.
func (p *postgres) readOnce(ctx context.Context, jobs ...*pgReadJob) error {
	var list []reading
	for _, j := range jobs {
		count(j.ctx, len(j.list))
		list = append(list, j.list...)
		last := &list[len(list)-1]
		take := last.take
		last.take = func(r rows) error {
			err := take(r)
			j.done = err == nil
			return err
		}
	}
	return p.within(ctx, p.wait, func(ctx context.Context, s session) error {
		return s.(pgRead).together(uncounted(ctx), list)
	})
}
